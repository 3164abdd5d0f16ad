import re

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import label_ranking_average_precision_score

from freesound_tagging.images.excerpts import pixels_on, window_starts
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.networks.weights import find_weights, load_tagger, save_tagger
from freesound_tagging.prediction import inference
from freesound_tagging.prediction.__main__ import main
from freesound_tagging.prediction.ensemble import Ensemble
from freesound_tagging.prediction.inference import ensemble_mean, predict
from freesound_tagging.prediction.submission import score_submission, write_submission

LABELS = tuple(f"label {i}" for i in range(5))


def tagger_of(seed, **changes):
    torch.manual_seed(seed)
    spec = {"network": "cnn-model-1", "options": {"width": 2}, "vocabulary": LABELS, "mel": MelConfig(),
            "mean": (0.4,) * 3, "std": (0.2,) * 3, "stage": 2, "fold": seed}
    return Tagger(NetworkSpec(**spec | changes)).eval()


def test_averaged_predictions_equal_a_plain_loop(demo_stores):
    store, tagger = demo_stores["test"], tagger_of(0)
    plain = []
    with torch.no_grad():
        for clip in range(len(store)):
            image = torch.tensor(store[clip] / 255, dtype=torch.float32)
            windows = []
            for start in window_starts(image.shape[1]):
                window = image[:, start:start + 128].expand(1, 3, -1, -1)
                windows.append(torch.sigmoid(tagger.network((window - 0.4) / 0.2)))
            plain.append(torch.cat(windows).mean(0).numpy())
    for batch_size in (1, 7, 256):
        ours = predict(tagger, pixels_on("cpu", store), store.starts, store.lengths, batch_size)
        np.testing.assert_allclose(ours, plain, atol=1e-5)


def test_no_clips_give_no_predictions(demo_stores):
    tagger = tagger_of(0)
    assert predict(tagger, pixels_on("cpu", demo_stores["test"]), [], []).shape == (0, 5)


def test_predicting_leaves_a_network_in_the_mode_it_was_in(demo_stores):
    store, tagger = demo_stores["test"], tagger_of(0).train()
    before = tagger.network[0][1].running_mean.clone()
    predict(tagger, pixels_on("cpu", store), store.starts[:2], store.lengths[:2])
    assert tagger.training
    assert torch.equal(tagger.network[0][1].running_mean, before)


def test_an_ensemble_is_the_mean_of_its_networks(demo_stores, tmp_path):
    store = demo_stores["test"]
    taggers = [tagger_of(0), tagger_of(1, network="vgg16", options={"width": 4})]
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for tagger, path in zip(taggers, paths):
        save_tagger(tagger, path)
    both = Ensemble.load(paths, "cpu", torch.float32).predict(store, progress=False)
    alone = [predict(tagger, pixels_on("cpu", store), store.starts, store.lengths) for tagger in taggers]
    np.testing.assert_allclose(both, alone, atol=1e-6)
    np.testing.assert_allclose(ensemble_mean(both), (alone[0] + alone[1]) / 2, rtol=1e-6)


@pytest.mark.parametrize(("tolerance", "used"), [(1.0, torch.bfloat16), (1e-9, torch.float32)])
def test_half_precision_is_used_where_it_changes_little(demo_stores, tmp_path, monkeypatch, tolerance, used):
    """As on a GPU, with the half precision that a CPU has."""
    save_tagger(tagger_of(0), tmp_path / "a.safetensors")
    exact, half = (Ensemble.load(tmp_path / "a.safetensors", "cpu", precision).predict(
        demo_stores["test"], progress=False) for precision in (torch.float32, torch.bfloat16))
    monkeypatch.setattr(inference, "inference_precision", lambda device: torch.bfloat16)
    monkeypatch.setattr(inference, "TOLERANCE", tolerance)
    chosen = Ensemble.load(tmp_path / "a.safetensors", "cpu").predict(demo_stores["test"], progress=False)
    np.testing.assert_array_equal(chosen, half if used == torch.bfloat16 else exact)
    assert 0 < np.abs(half - exact).mean() < 5e-3


def test_the_same_model_of_the_same_fold_does_not_count_twice(demo_stores, tmp_path):
    for name in ("a", "b"):
        save_tagger(tagger_of(0), tmp_path / f"{name}.safetensors")
    with pytest.raises(ValueError, match=r"b\.safetensors and .*a\.safetensors have the same weights; delete"):
        Ensemble.load([tmp_path / "a.safetensors", tmp_path / "b.safetensors"])


@pytest.mark.parametrize(("change", "message"), [
    ({"vocabulary": LABELS[::-1]}, r"b\.safetensors has another vocabulary"),
    ({"mel": MelConfig(hop_length=347)}, r"b\.safetensors was trained on images of MelConfig.*hop_length=347"),
])
def test_networks_that_do_not_belong_together_are_refused(demo_stores, tmp_path, change, message):
    save_tagger(tagger_of(0), tmp_path / "a.safetensors")
    save_tagger(tagger_of(1, **change), tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match=message):
        Ensemble.load([tmp_path / "a.safetensors", tmp_path / "b.safetensors"])


@pytest.mark.parametrize(("asked", "differs"), [
    ((*LABELS[:4], "label 9"), "label 4, label 9"), (LABELS[::-1], "their order"), (LABELS[:4], "label 4")])
def test_networks_for_other_labels_than_the_data_sets_are_refused(tmp_path, asked, differs):
    save_tagger(tagger_of(0), tmp_path / "a.safetensors")
    Ensemble.load(tmp_path / "a.safetensors", "cpu", vocabulary=list(LABELS))
    with pytest.raises(ValueError, match=rf"a\.safetensors was trained on other labels .*\(what differs: {differs}\)"):
        Ensemble.load(tmp_path / "a.safetensors", "cpu", vocabulary=asked)


def test_a_submission_is_written_whole_and_in_order(tmp_path):
    probabilities = np.random.default_rng(0).random((2, 5), np.float32)
    write_submission(tmp_path / "submission.csv", ["a.wav", "b.wav"], LABELS, probabilities)
    read = pd.read_csv(tmp_path / "submission.csv", index_col="fname")
    assert list(read.columns) == list(LABELS)
    assert list(read.index) == ["a.wav", "b.wav"]
    np.testing.assert_allclose(read, probabilities)
    probabilities[1, 3] = np.nan
    with pytest.raises(ValueError, match=r"probabilities of b\.wav are not all numbers"):
        write_submission(tmp_path / "other.csv", ["a.wav", "b.wav"], LABELS, probabilities)
    with pytest.raises(ValueError, match=r"expected \(1, 5\)"):
        write_submission(tmp_path / "other.csv", ["a.wav"], LABELS, probabilities)
    assert not (tmp_path / "other.csv").exists()


@pytest.fixture
def scored(tmp_path):
    rng = np.random.default_rng(0)
    fnames = [f"{i}.wav" for i in range(40)]
    truth = rng.random((40, 5)) < 0.3
    truth[np.arange(40), rng.integers(0, 5, 40)] = True
    usage = np.where(rng.random(40) < 0.25, "Public", "Private")
    scores = rng.random((40, 5), np.float32)
    pd.DataFrame({"fname": fnames, "labels": [",".join(np.array(LABELS)[row]) for row in truth], "usage": usage,
                  "license": "CC0"}).to_csv(tmp_path / "truth.csv", index=False)
    submission = write_submission(tmp_path / "submission.csv", fnames, LABELS, scores)
    return tmp_path, truth, scores, usage, submission


def test_scores_are_scikit_learns_on_each_leaderboard(scored):
    folder, truth, scores, usage, submission = scored
    shuffled = submission.sample(frac=1, random_state=0)[["fname", *LABELS[::-1]]]
    shuffled.to_csv(folder / "submission.csv", index=False)
    result, per_class = score_submission(folder / "submission.csv", folder / "truth.csv")

    def sklearns(part):
        return label_ranking_average_precision_score(truth[part], scores[part], sample_weight=truth[part].sum(1))
    assert result == pytest.approx({"overall": sklearns(np.full(40, True)), "public": sklearns(usage == "Public"),
                                    "private": sklearns(usage == "Private")})
    assert per_class["clips"].to_dict() == dict(zip(LABELS, truth.sum(0)))
    weighted = (per_class["lwlrap"] * per_class["clips"]).sum() / truth.sum()
    assert weighted == pytest.approx(result["overall"])


def test_a_score_says_what_ties_make_of_it(scored, capsys):
    folder, truth, scores, _, submission = scored
    scores[:3] = 0.5  # three clips with all labels equal
    submission[list(LABELS)] = scores
    submission.to_csv(folder / "submission.csv", index=False)
    with pytest.warns(UserWarning, match=r"in 3 of 40 clips: as ties are broken, lwlrap overall is"):
        result, _ = score_submission(folder / "submission.csv", folder / "truth.csv")
    assert main([str(folder / "submission.csv"), str(folder / "truth.csv")]) == 0
    said = capsys.readouterr()
    bounds = re.search(r"lwlrap overall is (\d\.\d+) to (\d\.\d+)", said.err)
    # By scikit-learn, with the true labels of the three clips moved up and down a little.
    expected = [label_ranking_average_precision_score(
        truth, scores + sign * 1e-5 * truth + 1e-7 * np.arange(5), sample_weight=truth.sum(1))
                for sign in (-1, 1)]
    assert [float(bounds[1]), float(bounds[2])] == pytest.approx(expected, abs=1e-5)
    assert expected[0] < result["overall"] < expected[1]


def test_a_submission_of_the_private_clips_alone_is_scored_on_them(scored):
    folder, _, _, usage, submission = scored
    submission[usage == "Private"].to_csv(folder / "submission.csv", index=False)
    result, _ = score_submission(folder / "submission.csv", folder / "truth.csv")
    assert set(result) == {"overall", "private"}


@pytest.mark.parametrize(("change", "message"), [
    (lambda s: s[s.fname != "3.wav"], r"lacks the clips 3\.wav"),
    (lambda s: pd.concat([s, s[:1]]), r"lists 0\.wav more than once"),
    (lambda s: s.replace({"fname": {"3.wav": "x.wav"}}), r"lacks the clips 3\.wav"),
    (lambda s: pd.concat([s, s[:1].assign(fname="x.wav")]), r"has clips that the truth does not know x\.wav"),
    (lambda s: s.assign(**{"label 2": np.nan}), r"has scores that are not numbers for 0\.wav"),
    (lambda s: s.drop(columns="label 2"), "carries the label 'label 2'"),
])
def test_submissions_that_do_not_fit_the_truth_are_refused_by_name(scored, change, message):
    folder, *_, submission = scored
    change(submission).to_csv(folder / "submission.csv", index=False)
    with pytest.raises(ValueError, match=message):
        score_submission(folder / "submission.csv", folder / "truth.csv")


TRUTH = "fname,labels\na.wav,Bark\nb.wav,Meow\n"


@pytest.mark.parametrize(("extra", "wrong"), [
    ({"Unnamed: 0": [0, 1]}, "'Unnamed: 0'"), ({"fold": [0, 1]}, "'fold'"), ({"windows": [3, 7]}, "'windows'")])
def test_a_column_that_is_no_label_is_not_scored_as_one(tmp_path, extra, wrong):
    (tmp_path / "truth.csv").write_text(TRUTH)
    perfect = pd.DataFrame({"fname": ["a.wav", "b.wav"], "Bark": [0.9, 0.1], "Meow": [0.2, 0.8], "Purr": [0, 0.05]})
    perfect.to_csv(tmp_path / "s.csv", index=False)
    assert score_submission(tmp_path / "s.csv", tmp_path / "truth.csv")[0]["overall"] == 1
    perfect.assign(**extra).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(ValueError, match=rf"s\.csv has columns that are no labels: {wrong}; delete them"):
        score_submission(tmp_path / "s.csv", tmp_path / "truth.csv")


def test_scores_of_any_size_are_scored(tmp_path):
    (tmp_path / "truth.csv").write_text(TRUTH)
    logits = pd.DataFrame({"fname": ["a.wav", "b.wav"], "Bark": [9, -1], "Meow": [-2, 8], "Purr": [0.1, 0.2]})
    logits.to_csv(tmp_path / "s.csv", index=False)
    assert score_submission(tmp_path / "s.csv", tmp_path / "truth.csv")[0]["overall"] == 1


def test_the_data_set_of_the_truth_says_what_the_labels_are(tmp_path, demo):
    scores = demo.targets(demo.test) * 0.5 + 0.25
    write_submission(tmp_path / "s.csv", demo.test["fname"], demo.vocabulary, scores)
    assert score_submission(tmp_path / "s.csv", demo.truth)[0]["overall"] == 1
    table = pd.read_csv(tmp_path / "s.csv")
    table.assign(best=table[demo.vocabulary].max(axis=1)).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(ValueError, match="columns that are no labels: 'best'"):
        score_submission(tmp_path / "s.csv", demo.truth)
    table.drop(columns=demo.vocabulary[3]).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(ValueError, match=f"has no column of the labels {demo.vocabulary[3]}"):
        score_submission(tmp_path / "s.csv", demo.truth)


def test_a_network_that_gives_no_numbers_is_named(finished_run, demo_stores, tmp_path):
    broken = load_tagger(find_weights(finished_run.weights)[0])
    next(broken.network.parameters()).data[:] = np.nan
    save_tagger(broken, tmp_path / "stage-2_fold-0.safetensors")
    with pytest.raises(ValueError, match=r"stage-2_fold-0\.safetensors gives probabilities that are not numbers"):
        Ensemble.load(tmp_path / "stage-2_fold-0.safetensors").predict(demo_stores["test"], progress=False)


def test_a_network_under_the_name_of_another_is_refused(demo_stores, tmp_path):
    save_tagger(tagger_of(0), tmp_path / "stage-4_fold-1.safetensors")
    with pytest.raises(ValueError, match="is named as model 4 of fold 1 and is model 2 of fold 0"):
        Ensemble.load(tmp_path / "stage-4_fold-1.safetensors")


def test_infinity_is_no_score(scored):
    folder, *_, submission = scored
    submission.astype({"label 2": float}).assign(**{"label 2": np.inf}).to_csv(folder / "submission.csv", index=False)
    with pytest.raises(ValueError, match="has scores that are not numbers for"):
        score_submission(folder / "submission.csv", folder / "truth.csv")


def test_a_submission_without_rows_is_refused(scored):
    folder, *_, submission = scored
    submission[:0].to_csv(folder / "submission.csv", index=False)
    with pytest.raises(ValueError, match=r"submission\.csv has no rows; expected one for each clip of .*truth\.csv"):
        score_submission(folder / "submission.csv", folder / "truth.csv")
