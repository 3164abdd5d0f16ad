"""Probabilities that are probabilities: two numbers fitted as scikit-learn fits them, and where they are applied."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
from sklearn.calibration import calibration_curve
from sklearn.linear_model import LogisticRegression

import freesound_tagging
from freesound_tagging.__main__ import main
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.networks.weights import save_tagger, weights_path
from freesound_tagging.notebook import timeline_figure
from freesound_tagging.prediction import Calibration, Ensemble, calibration_error, ensemble_mean, fit_calibration
from freesound_tagging.prediction.calibration import cross_fitted, read_calibration, reliability

FITTED = {"set": "curated", "clips": 60, "labels": 3, "stages": [2, 3], "error_before": 0.25, "error_after": 0.125,
          "run": "f00d"}
LINE = Calibration(2.0, math.log(3), FITTED)


@pytest.fixture(scope="module")
def clips():
    """Probabilities of 300 clips and 4 labels that are too small, and what the clips carry."""
    rng = np.random.default_rng(0)
    log_odds = rng.normal(-2, 1.5, (300, 4))
    targets = rng.random((300, 4)) < 1 / (1 + np.exp(-(1.5 * log_odds + 1)))
    return (1 / (1 + np.exp(-log_odds))).astype(np.float32), targets.astype(np.float32)


@pytest.fixture
def networks(tmp_path):
    """A folder of two networks that have learnt nothing, models 2 and 3 of a run."""
    save(tmp_path / "weights", (2, 3))
    return tmp_path / "weights"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Five seconds of noise, which are some windows."""
    path = tmp_path_factory.mktemp("sound") / "noise.wav"
    sf.write(path, 0.1 * np.random.default_rng(0).standard_normal(5 * 44_100), 44_100)
    return path


def save(folder, stages, seed=0, labels=("Bark", "Meow", "Tap")):
    for stage in stages:
        with torch.random.fork_rng():
            torch.manual_seed(10 * seed + stage)
            tagger = Tagger(NetworkSpec("cnn-model-1", {"width": 1}, labels, MelConfig(), (0.5,) * 3, (0.2,) * 3,
                                        stage=stage, fold=0, seed=seed, voting=stages))
        save_tagger(tagger.eval(), weights_path(folder, stage, 0))


def by_hand(probabilities, slope=2.0, factor=3.0):
    """The odds to the power of the slope, times a factor."""
    odds = factor * (probabilities / (1 - probabilities)) ** slope
    return odds / (1 + odds)


def test_the_two_numbers_are_those_of_logistic_regression(clips):
    probabilities, targets = clips
    log_odds = np.log(probabilities / (1 - probabilities.astype(float))).reshape(-1, 1)
    expected = LogisticRegression(C=np.inf, tol=1e-10).fit(log_odds, targets.ravel())
    line = fit_calibration(probabilities, targets)
    assert (line.slope, line.intercept) == (pytest.approx(expected.coef_[0, 0], abs=1e-5),
                                            pytest.approx(expected.intercept_[0], abs=1e-5))
    np.testing.assert_allclose(line(probabilities).ravel(), expected.predict_proba(log_odds)[:, 1], atol=1e-5)


def test_probabilities_by_hand():
    """Even odds become three to one; a third of even odds its square, a ninth, times three; what is sure stays so."""
    given = np.array([0.5, 0.25, 0, 1, np.nan], np.float32)
    with np.errstate(all="raise"):
        made = LINE(given)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, [0.75, 0.25, 0, 1, np.nan], atol=1e-7)


def test_certainties_can_be_fitted_on(clips):
    """A network that says 0 or 1 has log-odds without end."""
    probabilities, targets = (array.copy() for array in clips)
    probabilities[0, :2], targets[0, :2] = (0, 1), (1, 0)
    assert 0 < fit_calibration(probabilities, targets).slope < fit_calibration(*clips).slope


@pytest.mark.parametrize(("made", "said"), [
    (lambda p, t: (1 - p, t), r"^a slope of -\d.*: expected above 0 and below 100"),
    (lambda p, t: (np.where(t, 0.9, 0.1), t), "told without a mistake"), (lambda p, t: (p, 0 * t), "or none")])
def test_no_line_is_fitted_to_networks_that_know_nothing_or_all(clips, made, said):
    with pytest.raises(ValueError, match=said):
        fit_calibration(*made(*clips))


def test_the_error_by_hand():
    """Two clips of 0.95, one right: 0.45 off; one of 0.55, right: 0.45 off; one of 1.0 goes to the first two."""
    probabilities = np.array([[0.95, 0.1], [0.3, 0.95], [0.55, 0.2], [0.1, 1.0]])
    targets = np.array([[1, 1], [1, 0], [1, 0], [0, 1]])
    assert calibration_error(probabilities[:3], targets[:3]) == pytest.approx(0.45)
    assert calibration_error(probabilities, targets) == pytest.approx((3 * (2.9 / 3 - 2 / 3) + 0.45) / 4)
    table = reliability(probabilities, targets)
    assert table["clips"].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 3] and table["right"].isna().sum() == 8


def test_reliability_is_scikit_learns_curve(clips):
    probabilities, targets = clips
    top = probabilities.argmax(1)
    right, mean = calibration_curve(targets[np.arange(300), top], probabilities.max(1), n_bins=10)
    table = reliability(probabilities, targets)
    table = table[table["clips"] > 0]
    np.testing.assert_allclose(table["right"], right)
    np.testing.assert_allclose(table["probability"], mean, rtol=1e-6)


def test_what_is_fitted_on_other_folds_knows_nothing_of_its_own(clips):
    probabilities, targets = clips
    folds = np.arange(300) % 3
    made = cross_fitted(probabilities, targets, folds)
    for fold in range(3):
        others = np.where((folds == fold)[:, None], 0, targets)
        np.testing.assert_array_equal(cross_fitted(probabilities, others, folds)[folds == fold], made[folds == fold])
    expected = fit_calibration(probabilities[folds > 0], targets[folds > 0])(probabilities[folds == 0])
    np.testing.assert_array_equal(made[folds == 0], expected)
    assert calibration_error(made, targets) < calibration_error(probabilities, targets) / 2


def test_what_is_written_is_read(tmp_path):
    LINE.write(tmp_path)
    assert read_calibration(tmp_path / "calibration.json") == LINE


@pytest.mark.parametrize("text", [
    "", "[]", "{}", "nonsense", json.dumps({"slope": 1}), *(json.dumps({"slope": 1, "intercept": 0, **FITTED, **wrong})
                                                            for wrong in ({"slope": -1}, {"slope": "steep"},
                                                                          {"slope": float("nan")}, {"stages": 2},
                                                                          {"intercept": None}, {"labels": "3"}))])
def test_a_damaged_file_is_refused_in_a_line_that_names_it(networks, text, capsys, sound):
    (networks / "calibration.json").write_text(text)
    assert main([str(sound), "--weights", str(networks), "--device", "cpu"]) == 1
    said = capsys.readouterr().err.strip()
    assert said.count("\n") == 0 and f"{networks / 'calibration.json'} is damaged" in said and "delete it" in said


def test_sounds_have_calibrated_probabilities_and_say_so(networks, sound):
    raw = Ensemble.load(networks, "cpu")
    LINE.write(networks)
    networks = Ensemble.load(networks, "cpu")
    assert networks.calibration == LINE and raw.calibration is None
    assert repr(networks) == f"{raw!r}, probabilities calibrated"
    for calibrated, before in ((networks.tag(sound), raw.tag(sound)), (networks.timeline(sound), raw.timeline(sound))):
        np.testing.assert_allclose(calibrated, by_hand(before.to_numpy(float)), rtol=1e-5)
        assert (np.argsort(calibrated, 1) == np.argsort(before, 1)).all(axis=None)
    assert networks.timeline(sound).attrs == {**raw.timeline(sound).attrs, "calibrated": True}
    assert "calibrated" not in raw.timeline(sound).attrs


def test_raw_ones_are_those_without_a_calibration_to_the_bit(networks, sound):
    raw = Ensemble.load(networks, "cpu")
    LINE.write(networks)
    for listen in ("tag", "timeline"):
        expected = getattr(raw, listen)(sound)
        found = getattr(freesound_tagging, listen)(sound, networks, "cpu", raw=True)
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
        assert found.attrs == expected.attrs


def test_a_submission_is_raw(networks, sound, tmp_path):
    store = SpectrogramStore.build([sound], tmp_path / "store", n_jobs=1, progress=False)
    expected = Ensemble.load(networks, "cpu").predict(store, progress=False)
    LINE.write(networks)
    calibrated = Ensemble.load(networks, "cpu")
    np.testing.assert_array_equal(calibrated.predict(store, progress=False), expected)
    np.testing.assert_allclose(calibrated.tag(sound, raw=True).iloc[0], ensemble_mean(expected)[0], atol=1e-6)


def test_the_command_speaks_of_calibrated_probabilities_and_of_raw_ones(networks, sound, tmp_path, capsys):
    command = [str(sound), "--weights", str(networks), "--device", "cpu", "--json", "--top", "1"]

    def said(*more):
        assert main([*command, *more]) == 0
        return capsys.readouterr().out
    before = said()
    LINE.write(networks)
    after = json.loads(said("--csv", str(tmp_path / "t.csv"), "--timeline", str(tmp_path / "w.csv")))
    assert said("--raw") == before and "calibrated" not in json.loads(before) and after["calibrated"] is True
    (raw,), (label,) = json.loads(before)["labels"], after["labels"]
    assert label == {"label": raw["label"], "probability": pytest.approx(by_hand(raw["probability"]), rel=1e-5)}
    ensemble = Ensemble.load(networks, "cpu")
    np.testing.assert_allclose(pd.read_csv(tmp_path / "t.csv", index_col="path"), ensemble.tag(sound), rtol=1e-5)
    np.testing.assert_allclose(pd.read_csv(tmp_path / "w.csv").iloc[:, 4:], ensemble.timeline(sound), rtol=1e-5)


def test_an_event_is_from_even_odds_on_where_probabilities_are_calibrated():
    windows = pd.DataFrame({"Bark": [0.0, 0.45, 0.0, 0.55, 0.0]}, pd.Index(np.arange(5.0), name="second"))
    assert freesound_tagging.events(windows)["probability"].tolist() == [0.45, 0.55]
    windows.attrs["calibrated"] = True
    assert freesound_tagging.events(windows)["probability"].tolist() == [0.55]
    assert len(freesound_tagging.events(windows, threshold=0.3)) == 2


def test_a_figure_of_calibrated_windows_has_the_labels_of_even_odds():
    windows = pd.DataFrame({str(label): [0.4] for label in range(5)} | {"Bark": [0.6]}, pd.Index([0.0], name="second"))
    assert len(timeline_figure(windows).axes[0].get_yticklabels()) == 6
    windows.attrs["calibrated"] = True
    assert [text.get_text() for text in timeline_figure(windows).axes[0].get_yticklabels()] == ["Bark"]


def test_a_calibration_is_for_the_networks_that_it_was_fitted_on_alone(networks, monkeypatch):
    LINE.write(networks)
    both = Ensemble.load(networks, "cpu")
    assert both.select([True, False]).calibration is None and both.select([True, True]).calibration == LINE
    monkeypatch.chdir(networks.parent)
    both = Ensemble.load(networks.name, "cpu")
    monkeypatch.chdir("/")
    assert both.select([True, True]).calibration == LINE, "of the networks in memory, wherever one is now"
    assert Ensemble.load(weights_path(networks, 2, 0), "cpu").calibration is None
    dataclasses.replace(LINE, fitted=FITTED | {"labels": 80}).write(networks)
    assert Ensemble.load(networks, "cpu").calibration is None


def test_networks_of_two_runs_have_the_mean_of_both_lines(networks, tmp_path):
    save(tmp_path / "others", (2, 3), seed=1)
    LINE.write(networks)
    assert Ensemble.load([networks, tmp_path / "others"], "cpu").calibration is None, "of one nothing is known"
    dataclasses.replace(LINE, slope=1.0, intercept=0.0).write(tmp_path / "others")
    line = Ensemble.load([networks, tmp_path / "others"], "cpu").calibration
    assert (line.slope, line.intercept) == (1.5, pytest.approx(math.log(3) / 2))
