"""A stage as data: which can be, how long it trains, which clips it trusts; all by hand."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freesound_tagging.lwlrap import clip_lwlrap
from freesound_tagging.training.profile import published_stages
from freesound_tagging.training.stages import StageConfig, batch_size_for, select_noisy


def stage(**changes):
    """A third stage, of which some settings are given."""
    return StageConfig(**{"stage": 3, "trains_on": ["curated"], "passes": 1, "lr": 0.01} | changes)


@pytest.mark.parametrize(("changes", "said"), [
    ({"stage": 0}, "stage=0: expected a whole number, at least 1"),
    ({"stage": 1.0}, "stage=1.0: expected a whole number"),
    ({"passes": 0}, "passes=0: expected a whole number, at least 1"),
    ({"passes": 1.0}, "passes=1.0: expected a whole number"),
    ({"least_steps": 0}, "least_steps=0: expected a whole number, at least 1"),
    ({"lr": -0.1}, "lr=-0.1: expected a number, at least 0"), ({"lr": "1"}, "lr='1': expected a number"),
    ({"threshold": -0.1}, "threshold=-0.1: expected a number, at least 0"),
    ({"threshold": None}, "threshold=None: expected a number"),
    ({"threshold": 50}, "threshold=50: expected a number, at least 0, at most 1"),
    ({"trains_on": ["curated", "test"]}, "'test': test clips are not trained on"),
    ({"selects_from": "test", "scored_by": [1]}, "'test': test clips are not trained on"),
    ({"cap": 0}, "cap=0: expected a whole number, at least 1"), ({"cap": 1.0}, "cap=1.0: expected a whole number"),
    ({"votes": 1}, "votes=1: expected true or false"),
    ({"trains_on": "curated"}, "trains_on='curated': expected a list of names"),
    ({"trains_on": ["curated", 1]}, "trains_on=['curated', 1]: expected a list of names"),
    ({"trains_on": []}, "trains_on=(): expected the names of one set or more"),
    ({"selects_from": "noisy", "scored_by": 1}, "scored_by=1: expected a list of stages"),
    ({"selects_from": "noisy", "scored_by": [True]}, "scored_by=[True]: expected a list of stages"),
    ({"selects_from": "noisy", "scored_by": [1, 3]}, "stage 3 builds on stage 3: expected an earlier one"),
    ({"selects_from": "noisy", "scored_by": [0]}, "stage 3 builds on stage 0: expected an earlier one"),
    ({"starts_from": 3}, "stage 3 builds on stage 3: expected an earlier one"),
    ({"starts_from": 0}, "stage 3 builds on stage 0: expected an earlier one"),
    ({"starts_from": "2"}, "stage 3 builds on stage '2': expected an earlier one"),
    ({"selects_from": "noisy"}, "selects_from='noisy' and scored_by=(): expected both"),
    ({"scored_by": [1]}, "selects_from=None and scored_by=(1,): expected both"),
])
def test_a_stage_that_cannot_be_is_refused_by_the_setting(changes, said):
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        stage(**changes)
    assert str(caught.value).startswith(said)


def test_a_stage_at_the_edge_of_what_can_be_is_taken():
    least = stage(stage=1, least_steps=1, lr=0, threshold=0, cap=1, votes=False)
    assert (least.trains_on, least.scored_by) == (("curated",), ())
    between = stage(lr=0.5, threshold=0.5, starts_from=1, selects_from="noisy", scored_by=[2, 1])
    assert (between.lr, between.threshold, between.starts_from, between.scored_by) == (0.5, 0.5, 1, (2, 1))
    of_numpy = stage(lr=np.float64(0.5), passes=np.int64(3), cap=np.int32(2))
    assert [type(value) for value in (of_numpy.lr, of_numpy.passes, of_numpy.cap)] == [float, int, int]
    assert stage(starts_from=2, trains_on=("noisy", "curated")).trains_on == ("noisy", "curated")


def test_a_selection_in_words():
    assert stage().selection == ""
    assert stage(selects_from="noisy", scored_by=(1, 2), threshold=0.5, cap=5).selection == (
        "geometric mean of lwlrap under models 1 and 2 at least 0.5, at most 5 of a fold and label")
    assert stage(selects_from="noisy", scored_by=(2,), threshold=1.0).selection == "lwlrap under model 2 at least 1"


def test_how_long_a_stage_trains_follows_from_its_clips():
    """The figures that full.toml gives, by hand."""
    first, second, *_ = published_stages()
    assert first.schedule(17_834, 128) == (50, 140)
    assert second.schedule(4_473, 128) == (100, 35)
    assert first.schedule(80, 32) == (20, 25)  # 50 passes of 3 batches are fewer than 500 steps
    assert second.schedule(1, 1) == (20, 25)
    assert stage(passes=6, least_steps=1).schedule(91, 30) == (1, 24), "an epoch has 25 steps, or all that there are"
    assert stage(passes=9, least_steps=60).schedule(1, 1) == (2, 30)
    assert stage(passes=3, least_steps=80).schedule(10, 10) == (3, 27), "81 steps, the least that are as many an epoch"
    assert [batch_size_for(clips) for clips in (1, 2, 40, 63, 64, 128, 5000)] == [2, 2, 32, 32, 64, 128, 128]


def test_selection_worked_out_by_hand():
    targets = np.array([[1, 0], [1, 0], [1, 0], [1, 1], [0, 1], [1, 0]])
    folds = np.array([0, 0, 0, 0, 0, 1])
    scores = [[1.0, 0.9, 0.4, 1.0, 0.25, 0.5], [1.0, 0.9, 0.5, 0.25, 1.0, 0.5]]
    # geometric means: 1, 0.9, 0.447, 0.5, 0.5, 0.5
    assert select_noisy(scores, targets, folds, 0.5).tolist() == [True, True, False, True, True, True]
    assert select_noisy(scores, targets, folds, 0.5, cap=2).tolist() == [True, True, False, False, True, True]
    assert select_noisy(scores, targets, folds, 0.5, cap=1).tolist() == [True, False, False, False, True, True]
    as_lists = select_noisy(scores, targets.tolist(), folds.tolist(), 0.5, 2)
    assert as_lists.tolist() == [True, True, False, False, True, True]
    assert select_noisy(scores[:1], targets, folds, 1.0).tolist() == [True, False, False, True, False, False]


def test_of_many_clips_of_equal_means_the_first_are_selected():
    means, ones = np.tile([0.6, 0.9, 0.7], 300), np.ones((900, 1))
    chosen = select_noisy(means[None], ones, np.zeros(900, int), 0.5, cap=4)
    assert np.flatnonzero(chosen).tolist() == [1, 4, 7, 10]
    chosen = select_noisy(means[None], ones, np.zeros(900, int), 0.5, cap=302)
    assert np.flatnonzero(chosen).tolist() == sorted([*range(1, 900, 3), 2, 5])


def test_of_no_clips_none_is_selected():
    for cap in (None, 3):
        chosen = select_noisy(np.zeros((2, 0)), np.zeros((0, 4)), np.zeros(0, int), 0.5, cap)
        assert chosen.shape == (0,) and chosen.dtype == bool


def test_a_mean_of_exactly_one_half_is_selected_however_it_rounds():
    """Labels at ranks 2, 3 and 9 have precisions 1/2, 2/3 and 1/3, whose mean is 1/2."""
    truth = np.zeros((1, 10), int)
    truth[0, [1, 2, 8]] = 1
    half = clip_lwlrap(truth, -np.arange(10.0)[None])[0]
    assert half < 0.5, "rounding would lose it"
    scores = np.array([[half, 1 / 4, half - 1e-9]] * 2)
    assert select_noisy(scores, np.ones((3, 1)), np.zeros(3, int), 0.5).tolist() == [True, False, False]
    scores = np.array([[half, 1 / 2]] * 2)  # equal means: the earlier clip
    assert select_noisy(scores, np.ones((2, 1)), np.zeros(2, int), 0.5, cap=1).tolist() == [True, False]


@given(st.integers(0, 2**32), st.integers(1, 6), st.floats(0, 1))
def test_selection_obeys_threshold_and_cap_and_wastes_no_room(seed, cap, threshold):
    rng = np.random.default_rng(seed)
    n = 60
    targets = (rng.random((n, 4)) < 0.3) | np.eye(4, dtype=bool)[rng.integers(0, 4, n)]
    folds, scores = rng.integers(0, 3, n), rng.random((2, n))
    chosen = select_noisy(scores, targets, folds, threshold, cap)
    mean = np.sqrt(scores[0] * scores[1])
    assert (mean[chosen] >= threshold - 1e-12).all()
    count = np.stack([targets[chosen & (folds == fold)].sum(0) for fold in range(3)])
    assert (count <= cap).all()
    left_out = (mean >= threshold + 1e-12) & ~chosen
    for clip in np.flatnonzero(left_out):  # some label of its had no room
        assert (count[folds[clip]][targets[clip]] == cap).any()
