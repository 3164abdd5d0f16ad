"""Folds: those of iterstrat to the clip, whole groups, each label spread evenly."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freesound_tagging.clips.folds import stratified_folds


@pytest.fixture(scope="module")
def published():
    """How the published runs were dealt: `MultilabelStratifiedKFold` of the package iterative-stratification."""
    splitter = pytest.importorskip("iterstrat.ml_stratifiers").MultilabelStratifiedKFold

    def published(targets, n_folds, seed):
        folds = np.empty(len(targets), np.int64)
        columns = np.column_stack([targets, np.zeros(len(targets))]).astype(int)  # it wants two columns at least
        for fold, (_, held_out) in enumerate(splitter(n_folds, shuffle=True, random_state=seed).split(
                columns, columns)):
            folds[held_out] = fold
        return folds
    return published


def clips_of(n_labels, clips_a_label):
    """Label by label, and a fifth of the clips with a second label."""
    rng, first = np.random.default_rng(0), np.repeat(np.arange(n_labels), clips_a_label)
    other = (first + rng.integers(1, n_labels, len(first))) % n_labels
    return np.eye(n_labels)[first] + np.eye(n_labels)[other] * (rng.random((len(first), 1)) < 0.2)


@pytest.mark.parametrize("density", [0.02, 0.1, 0.5, 1.0])
def test_any_clips_are_dealt_as_the_published_runs_dealt_them(published, density):
    """Of one label or several, with clips that have none, and of many or few ties."""
    rng = np.random.default_rng(round(100 * density))
    for _ in range(25):
        n_clips, n_labels, seed = rng.integers(2, 90), rng.integers(1, 13), int(rng.integers(2**32))
        targets = rng.random((n_clips, n_labels)) < density * rng.random(n_labels)
        n_folds = int(rng.integers(2, min(n_clips, 11) + 1))
        np.testing.assert_array_equal(stratified_folds(targets, n_folds, seed), published(targets, n_folds, seed))


def test_clips_where_all_is_a_tie_are_dealt_as_the_published_runs_dealt_them(published):
    for targets in (np.zeros((23, 3)), np.ones((23, 3)), np.tile(np.eye(4), (6, 1)), np.eye(20)):
        for n_folds in (2, 5, 10):
            for seed in range(3):
                np.testing.assert_array_equal(stratified_folds(targets, n_folds, seed),
                                              published(targets, n_folds, seed))


def test_clips_as_the_demo_has_them_are_dealt_as_the_published_runs_dealt_them(published):
    for clips_a_label in (5, 14):
        targets = clips_of(12, clips_a_label)
        for n_folds in (2, 3, 10):
            np.testing.assert_array_equal(stratified_folds(targets, n_folds, 7), published(targets, n_folds, 7))
            np.testing.assert_array_equal(stratified_folds(targets, n_folds), published(targets, n_folds, 0))


@pytest.mark.parametrize("name", ["curated", "noisy"])
def test_the_competitions_clips_are_dealt_as_the_published_runs_dealt_them(published, shared, name):
    table = shared / f"fsdkaggle2019/kaggle/train_{name}.csv"
    if not table.exists():
        pytest.skip(f"the competition's tables are not at {table.parent}")
    targets = pd.read_csv(table)["labels"].str.get_dummies(",").to_numpy(np.float32)
    assert targets.shape[1] == 80
    folds = stratified_folds(targets, 10)
    np.testing.assert_array_equal(folds, published(targets, 10, 0))
    assert np.ptp([targets[folds == fold].sum(0) for fold in range(10)], axis=0).max() <= 5


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 2**31), st.data())
def test_folds_partition_any_clips_and_spread_each_label(n_folds, n_labels, seed, data):
    n_clips = data.draw(st.integers(n_folds, 40))
    rng = np.random.default_rng(seed)
    targets = rng.random((n_clips, n_labels)) < rng.random()
    folds = stratified_folds(targets, n_folds, seed)
    assert set(folds) <= set(range(n_folds))
    assert len(folds) == n_clips
    np.testing.assert_array_equal(folds, stratified_folds(targets, n_folds, seed))
    assert np.bincount(folds, minlength=n_folds).max() < n_clips, "every fold leaves clips to train on"


def test_a_label_of_fewer_clips_than_folds_is_in_as_many_folds_as_clips():
    targets = np.zeros((30, 2), int)
    targets[:, 0] = 1
    targets[:3, 1] = 1
    folds = stratified_folds(targets, 10)
    assert len(set(folds[:3])) == 3
    assert np.bincount(folds, minlength=10).min() >= 1


def test_folds_spread_each_label_evenly_and_follow_the_seed():
    targets = clips_of(10, 16)
    folds = stratified_folds(targets, 4, seed=3)
    counts = np.stack([targets[folds == fold].sum(0) for fold in range(4)])
    assert (np.ptp(counts, axis=0) <= 3).all(), counts
    assert np.ptp(np.bincount(folds, minlength=4)) <= 6
    np.testing.assert_array_equal(folds, stratified_folds(targets, 4, seed=3))
    assert (folds != stratified_folds(targets, 4, seed=4)).any()


def test_folds_of_a_single_label_and_their_limits():
    assert sorted(stratified_folds(np.ones((4, 1)), 2)) == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="n_folds=5: expected 2 to 4"):
        stratified_folds(np.ones((4, 1)), 5)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 2**31), st.data())
def test_a_group_is_in_one_fold_and_the_same_seed_gives_the_same_folds(n_folds, n_labels, seed, data):
    n_clips = data.draw(st.integers(n_folds, 40))
    rng = np.random.default_rng(seed)
    groups = 7 * np.concatenate([np.arange(n_folds), rng.integers(0, n_clips, n_clips - n_folds)])
    targets = rng.random((n_clips, n_labels)) < rng.random()
    folds = stratified_folds(targets, n_folds, seed, groups)
    assert len({*zip(groups, folds)}) == len(set(groups))
    assert {*folds} <= {*range(n_folds)}
    np.testing.assert_array_equal(folds, stratified_folds(targets, n_folds, seed, groups))
    order = rng.permutation(n_clips)  # a group's clips need not be side by side
    mixed = stratified_folds(targets[order], n_folds, seed, groups[order])
    np.testing.assert_array_equal(mixed, folds[order])


def test_a_label_is_carried_from_one_on():
    targets = np.random.default_rng(0).random((60, 5)) < 0.3
    np.testing.assert_array_equal(stratified_folds(np.where(targets, 3.9, 0.4), 4), stratified_folds(targets, 4))


@pytest.mark.parametrize("n_clips", [0, 1])
def test_too_few_clips_to_deal_are_said(n_clips):
    with pytest.raises(ValueError, match=f"n_folds=2: expected 2 to {n_clips}, the number of clips"):
        stratified_folds(np.ones((n_clips, 3)), 2)


def test_groups_of_one_clip_change_nothing():
    targets = np.random.default_rng(0).random((60, 5)) < 0.3
    np.testing.assert_array_equal(stratified_folds(targets, 4, 1, np.arange(60)), stratified_folds(targets, 4, 1))


def test_the_recordings_of_a_label_are_spread_as_evenly_as_their_sizes_allow():
    """Of recordings that have one label each, no fold has more of it than another and the largest recording."""
    rng = np.random.default_rng(0)
    sizes, label = rng.geometric(0.2, 90), np.arange(90) % 6
    groups = np.repeat(np.arange(90), sizes)
    targets = np.eye(6)[label[groups]]
    folds = stratified_folds(targets, 5, 0, groups)
    counts = np.stack([targets[folds == fold].sum(0) for fold in range(5)])
    assert (np.ptp(counts, axis=0) <= [sizes[label == each].max() for each in range(6)]).all()
    # By hand: two recordings of 4 clips and four of 2 are 16 clips, 8 in either fold.
    groups = np.repeat(np.arange(6), [4, 2, 2, 4, 2, 2])
    assert np.bincount(stratified_folds(np.ones((16, 1)), 2, 0, groups)).tolist() == [8, 8]


def test_recordings_of_several_labels_are_spread_better_than_by_chance():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(400), rng.geometric(0.15, 400))
    of_group = rng.integers(0, 12, 400)[groups]
    targets = np.eye(12)[np.where(rng.random(len(groups)) < 0.8, of_group, rng.integers(0, 12, len(groups)))]
    targets = np.maximum(targets, rng.random(targets.shape) < 0.03)

    def off(folds):
        """How far a label's clips in a fold are from a fifth of them, in the mean."""
        return np.abs([targets[folds == fold].sum(0) - targets.sum(0) / 5 for fold in range(5)]).mean()

    by_chance = (rng.permutation(400) % 5)[groups]
    assert off(stratified_folds(targets, 5, 0, groups)) < 0.7 * off(by_chance)


def test_groups_and_folds_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="n_folds=3: expected 2 to 2, the number of groups"):
        stratified_folds(np.ones((4, 1)), 3, groups=[0, 0, 5, 5])
    with pytest.raises(ValueError, match=r"groups of shape \(3,\): expected \(4,\), a number for each clip"):
        stratified_folds(np.ones((4, 1)), 2, groups=[0, 0, 5])


def test_a_generator_can_be_given_in_a_seeds_place():
    targets = np.random.default_rng(0).random((60, 5)) < 0.3
    one, same, other = (stratified_folds(targets, 4, np.random.default_rng(seed)) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_folds_of_other_shares_get_these_of_each_label():
    rng = np.random.default_rng(0)
    targets = np.eye(5, dtype=int)[rng.permutation(np.repeat(np.arange(5), (40, 40, 20, 8, 4)))]
    folds = stratified_folds(targets, 2, shares=(0.75, 0.25))
    assert targets[folds == 1].sum(0).tolist() == [10, 10, 5, 2, 1], "a quarter of each"
    assert np.array_equal(stratified_folds(targets, 4, shares=(0.25,) * 4), stratified_folds(targets, 4))
    for shares in ((0.5, 0.5, 0.5), (1, 0), (0.7, 0.7)):
        with pytest.raises(ValueError, match="expected 2 numbers above 0, together 1"):
            stratified_folds(targets, 2, shares=shares)
