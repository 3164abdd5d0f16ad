import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import gmean
from sklearn.metrics import label_ranking_average_precision_score

from freesound_tagging.lwlrap import (
    clip_lwlrap,
    confused_pairs,
    geometric_mean,
    lwlrap,
    lwlrap_bounds,
    per_class_lwlrap,
)


def organizers_per_class(truth, scores):
    """One clip after the other as the organizers do it, argsort(scores)[::-1], but with a stable sort."""
    n_clips, n_labels = truth.shape
    precisions = np.zeros((n_clips, n_labels))
    for clip in range(n_clips):
        ranking = np.argsort(scores[clip], kind="stable")[::-1]
        hits = truth[clip][ranking] > 0
        for rank, label in enumerate(ranking):
            if hits[rank]:
                precisions[clip, label] = hits[:rank + 1].sum() / (rank + 1)
    count = truth.sum(0)
    return precisions.sum(0) / np.maximum(1, count), count / count.sum()


@st.composite
def clips(draw, ties):
    n_clips, n_labels = draw(st.integers(1, 12)), draw(st.integers(2, 10))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    truth = rng.random((n_clips, n_labels)) < draw(st.floats(0.05, 0.9))
    truth[0, 0] = True
    scores = rng.integers(0, 3, truth.shape) if ties else rng.permuted(
        np.tile(np.arange(n_labels, dtype=float), (n_clips, 1)), axis=1) + 0.5 * rng.random((n_clips, 1))
    return truth.astype(int), scores


@given(clips(ties=False))
def test_equals_scikit_learn_weighted_by_labels_without_ties(data):
    truth, scores = data
    labelled = truth.sum(1) > 0
    expected = label_ranking_average_precision_score(
        truth[labelled], scores[labelled], sample_weight=truth[labelled].sum(1))
    assert lwlrap(truth, scores) == pytest.approx(expected, abs=1e-12)


@given(clips(ties=True))
def test_equals_the_organizers_code_with_a_stable_sort(data):
    truth, scores = data
    per_class, weight = per_class_lwlrap(truth, scores)
    expected, expected_weight = organizers_per_class(truth, scores)
    np.testing.assert_allclose(per_class, expected)
    np.testing.assert_allclose(weight, expected_weight)
    assert lwlrap(truth, scores) == pytest.approx((expected * expected_weight).sum())


@given(clips(ties=False))
def test_clips_weighted_by_their_labels_give_the_whole(data):
    truth, scores = data
    count = truth.sum(1)
    assert np.nansum(clip_lwlrap(truth, scores) * count) / count.sum() == pytest.approx(lwlrap(truth, scores))


def test_cases_worked_out_by_hand():
    truth = [[1, 0, 1, 0], [0, 1, 0, 0]]
    scores = [[0.9, 0.8, 0.7, 0.1], [0.1, 0.2, 0.3, 0.4]]
    # Clip 0 ranks labels 0, 1, 2, 3: label 0 has precision 1/1, label 2 has 2/3. Clip 1: label 1 is third, 1/3.
    assert lwlrap(truth, scores) == pytest.approx((1 + 2 / 3 + 1 / 3) / 3)
    np.testing.assert_allclose(clip_lwlrap(truth, scores), [(1 + 2 / 3) / 2, 1 / 3])
    per_class, weight = per_class_lwlrap(truth, scores)
    np.testing.assert_allclose(per_class, [1, 1 / 3, 2 / 3, 0])
    np.testing.assert_allclose(weight, [1 / 3, 1 / 3, 1 / 3, 0])


def test_of_equal_scores_the_later_label_ranks_first():
    assert lwlrap([[1, 0, 0]], [[0, 0, 0]]) == pytest.approx(1 / 3)
    assert lwlrap([[0, 0, 1]], [[0, 0, 0]]) == 1


def test_bounds_worked_out_by_hand():
    # Clip 0: labels 0 (true), 1 and 2 (true) are equal: true ones first 1/1 and 2/2, last 1/2 and 2/3.
    # Clip 1 has ties, but none with a true label; clip 2 none at all; clip 3 no label.
    truth = [[1, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]]
    scores = [[0.5, 0.5, 0.5], [0.9, 0.1, 0.1], [0.9, 0.5, 0.1], [0.5, 0.5, 0.5]]
    least, greatest, tied = lwlrap_bounds(truth, scores)
    assert least == pytest.approx((1 / 2 + 2 / 3 + 1 + 1 / 2) / 4)
    assert greatest == pytest.approx((1 + 1 + 1 + 1 / 2) / 4)
    assert tied == 1
    assert lwlrap_bounds([[1, 0], [0, 1], [1, 0]], [[0.5, 0.5], [0.1, 0.1], [0.9, 0.1]])[2] == 2, "clips"
    assert lwlrap_bounds([[1, 1, 0]], [[0.5, 0.5, 0.1]]) == (1, 1, 0), "ties among true labels change nothing"
    assert lwlrap_bounds([[0, 0]], [[0.5, 0.5]])[2] == 0


@given(clips(ties=True))
def test_every_way_to_break_ties_lies_within_the_bounds(data):
    truth, scores = data
    least, greatest, tied = lwlrap_bounds(truth, scores)
    jitter = np.random.default_rng(0).random((20, *truth.shape)) * 0.5
    broken = [lwlrap(truth, scores + noise) for noise in jitter] + [lwlrap(truth, scores)]
    assert least - 1e-12 <= min(broken) <= max(broken) <= greatest + 1e-12
    assert (tied == 0) == (least == greatest)


def test_a_clip_is_1_exactly_when_its_labels_rank_first():
    truth = np.eye(3)[[0, 1, 2, 0]] + np.eye(3)[[1, 1, 1, 2]] > 0
    assert clip_lwlrap(truth, truth + 0.5).tolist() == [1.0] * 4


def test_the_geometric_mean_of_several_models_is_scipys_to_12_digits():
    scores = np.random.default_rng(0).random((3, 50))
    np.testing.assert_allclose(geometric_mean(scores), gmean(scores), atol=5.1e-13, rtol=0)
    np.testing.assert_array_equal(geometric_mean([[5 / 12], [3 / 5]]), [0.5])
    twelve = geometric_mean([[1 / 3, 2 / 3]])
    assert twelve.tolist() == [0.333333333333, 0.666666666667] and twelve.dtype == np.float64


def test_clips_without_a_label_do_not_count():
    assert lwlrap([[0, 0], [1, 0]], [[0.9, 0.1], [0.9, 0.1]]) == 1
    assert np.isnan(clip_lwlrap([[0, 0]], [[0.9, 0.1]])).all()
    assert np.isnan(lwlrap([[0, 0]], [[0.9, 0.1]]))


@pytest.mark.parametrize(("truth", "scores", "message"), [
    ([[1, 0]], [[0.5]], "expected the same"),
    ([[0.5, 0]], [[0.5, 0.1]], "other than 0 and 1"),
    ([[1, 0], [1, 0]], [[0.5, 0.1], [np.nan, 0]], "scores of clip 1 are not a number"),
])
def test_bad_input_is_refused(truth, scores, message):
    with pytest.raises(ValueError, match=message):
        lwlrap(truth, scores)


def test_confused_pairs_by_hand():
    truth = [[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]]
    scores = [[0.5, 0.6, 0.7],  # a: b and c above it
              [0.1, 0.2, 0.3],  # a and b: c above both; b above a is no confusion, as b is true
              [0.9, 0.1, 0.1],  # right
              [0.4, 0.5, 0.5]]  # c: b is not above it, as it is equal
    pairs = confused_pairs(truth, scores, ["a", "b", "c"])
    assert pairs.to_numpy().tolist() == [["a", "c", 2, 3], ["b", "c", 1, 1], ["a", "b", 1, 3]]
    assert list(pairs) == ["true", "above", "clips", "of"] and pairs["clips"].dtype == pairs["of"].dtype == int
    assert confused_pairs(np.eye(3), np.eye(3), "abc").empty
