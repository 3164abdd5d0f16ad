"""Who votes: the ensemble out of fold, its calibration, and choices of stages that are better by more than chance."""

import copy
import dataclasses
import json
import shutil

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import label_ranking_average_precision_score

from freesound_tagging.prediction import calibration_error
from freesound_tagging.training.stages import StageConfig
from freesound_tagging.training.voters import better_choice, calibrate, who_votes


def scored(truth, scores):
    return label_ranking_average_precision_score(truth, scores, sample_weight=truth.sum(1))


@pytest.fixture(scope="module")
def stages():
    """400 clips with one or two of six labels: two stages that know something, and one that only disturbs."""
    rng = np.random.default_rng(0)
    truth = (rng.random((400, 6)) < 0.2).astype(np.float32)
    truth[np.arange(400), rng.integers(6, size=400)] = 1
    return truth, {stage: (truth + rng.normal(0, noise, truth.shape)).astype(np.float32)
                   for stage, noise in ((1, 5.0), (2, 0.6), (3, 0.6))}


def test_a_choice_without_a_stage_that_only_disturbs_is_better(stages):
    """Its interval is that of a paired t-test of the clips' differences, as for twice 5 % of six choices at once."""
    truth, predictions = stages
    best = better_choice(truth, predictions, (1, 2, 3))
    assert best.stages == (2, 3) and best.tried == 6
    now, then = (scored(truth, np.mean([predictions[stage] for stage in choice], axis=0))
                 for choice in ((1, 2, 3), (2, 3)))
    assert best.score == pytest.approx(then) and best.better == pytest.approx(then - now)
    one_label = truth.sum(1) == 1  # of equal weight, so that the textbook's test is the same
    found = better_choice(truth[one_label], {stage: scores[one_label] for stage, scores in predictions.items()},
                          (1, 2, 3))
    clips = [[label_ranking_average_precision_score([row], [score]) for row, score in zip(
        truth[one_label], np.mean([predictions[stage][one_label] for stage in choice], axis=0))]
        for choice in (found.stages, (1, 2, 3))]
    interval = scipy.stats.ttest_rel(*clips).confidence_interval(1 - 0.05 / 6)
    assert (found.low, found.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_chance_is_no_better_choice():
    """Of stages that know the same, in 40 draws; without the correction for six choices it would be about six."""
    found = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = np.eye(6, dtype=np.float32)[rng.integers(6, size=60)]
        same = truth + rng.normal(0, 1, truth.shape)
        found += better_choice(truth, {stage: same + rng.normal(0, 0.3, truth.shape) for stage in (1, 2, 3)},
                               (1, 2, 3)) is not None
    assert found <= 3


def test_clips_without_a_label_do_not_count(stages):
    truth, predictions = stages
    more = {stage: np.r_[scores, np.random.default_rng(stage).random((50, 6))] for stage, scores in predictions.items()}
    found, expected = (dataclasses.astuple(better_choice(*given, (1, 2, 3))) for given in (
        (np.r_[truth, np.zeros((50, 6))], more), (truth, predictions)))
    assert found[0] == expected[0] and found[1:] == pytest.approx(expected[1:])


def test_one_stage_leaves_no_choice(stages):
    truth, predictions = stages
    assert better_choice(truth, {1: predictions[1]}, (1,)) is None


def test_the_table_has_the_ensemble_of_those_that_vote(finished_run):
    table = finished_run.table()
    assert list(table.index) == ["model 1", "model 2", "model 3", "model 4", "ensemble"]
    mean = np.mean([finished_run.out_of_fold(stage) for stage in (2, 3, 4)], axis=0, dtype=float)
    for name in ("noisy", "curated"):
        of = finished_run.clips.is_of(name)
        assert table.loc["ensemble", f"lwlrap {name}"] == pytest.approx(scored(finished_run.targets[of], mean[of]))


def with_models(run, predictions, **votes):
    """A run whose models say what is given."""
    run = copy.copy(run)
    run.out_of_fold = predictions.__getitem__
    stages = [dataclasses.replace(config, votes=votes.get(f"stage_{config.stage}", config.votes))
              for config in run.profile.stages]
    run.profile = dataclasses.replace(run.profile, stages=stages)
    return run


@pytest.fixture
def disturbed(finished_run):
    """Models 3 and 4 know the labels, and 1 and 2 the opposite."""
    truth, rng = finished_run.targets, np.random.default_rng(0)
    return {stage: np.clip(np.where(truth > 0, high, 0.5) + rng.normal(0, 0.1, truth.shape), 0.01, 0.99)
            for stage, high in ((1, 0.1), (2, 0.0), (3, 0.8), (4, 0.8))}


def test_the_line_of_the_profile_that_makes_it_better_is_said(finished_run, disturbed):
    said = who_votes(with_models(finished_run, disturbed))
    assert "On the curated clips held out, the mean of stages 3 and 4 has a lwlrap of " in said
    assert "more than that of 2, 3 and 4 which vote (" in said and "for all 14 choices together)" in said
    assert said.endswith("): votes = false in stage 2 of the profile makes it the ensemble of a new run.")
    other = who_votes(with_models(finished_run, disturbed, stage_3=False, stage_4=False))
    assert "votes = false in stage 2 and votes = true in stages 3 and 4 of the profile" in other
    assert who_votes(with_models(finished_run, disturbed, stage_2=False)) == ""


def test_a_run_that_is_not_finished_says_nothing_of_it(make_pipeline, tmp_path):
    assert make_pipeline(tmp_path).report() == "no stage is finished yet"
    assert who_votes(make_pipeline(tmp_path)) == ""


def test_a_finished_run_keeps_its_calibration_beside_its_networks(finished_run):
    kept = json.loads((finished_run.weights / "calibration.json").read_text())
    mine = finished_run.clips.is_of("curated")
    mean = np.mean([finished_run.out_of_fold(stage)[mine] for stage in (2, 3, 4)], axis=0, dtype=float)
    assert {name: kept[name] for name in ("set", "clips", "labels", "stages")} == {
        "set": "curated", "clips": 36, "labels": 12, "stages": [2, 3, 4]}
    assert kept["run"] == json.loads((finished_run.work / "run.json").read_text())["run"]
    assert kept["error_before"] == pytest.approx(calibration_error(mean, finished_run.targets[mine]))
    scores = kept["slope"] * np.log(mean / (1 - mean)) + kept["intercept"]
    errors = 1 / (1 + np.exp(-scores)) - finished_run.targets[mine]
    assert abs(errors.mean()) < 1e-5, "where the likelihood is greatest, as many are expected as there are"
    assert abs((errors * np.log(mean / (1 - mean))).mean()) < 1e-5


def test_a_calibration_that_is_right_is_left_and_a_damaged_one_written_anew(finished_run):
    path = finished_run.weights / "calibration.json"
    text, before = path.read_text(), path.stat().st_mtime_ns
    finished_run.write_card()
    assert path.stat().st_mtime_ns == before
    path.write_text("{")
    finished_run.write_card()
    assert path.read_text() == text


def test_a_new_run_in_a_folder_of_weights_does_not_inherit_a_calibration(make_pipeline, finished_run, tmp_path):
    make_pipeline(tmp_path)
    shutil.copy(finished_run.weights / "calibration.json", tmp_path / "weights")
    make_pipeline(tmp_path)
    assert (tmp_path / "weights/calibration.json").exists(), "of the same run it stays"
    shutil.rmtree(tmp_path / "work")
    make_pipeline(tmp_path)
    assert not (tmp_path / "weights/calibration.json").exists()


def test_networks_that_know_nothing_have_no_calibration(finished_run, disturbed):
    assert calibrate(with_models(finished_run, {stage: disturbed[2] for stage in disturbed})) is None


def test_labels_count_of_what_the_last_voting_stage_is_validated_on(finished_run):
    stages = (StageConfig(1, ("clean",), 1, 0.1), StageConfig(2, ("noisy", "clean"), 1, 0.1),
              StageConfig(3, ("other",), 1, 0.1, votes=False))
    assert dataclasses.replace(finished_run.profile, stages=stages).trusted == "noisy"
