"""Label-weighted label-ranking average precision, the competition's metric."""

import numpy as np
import pandas as pd


def _precisions(truth, scores, of_equals="later"):
    """Precision at the rank of each true label: (truth as bool, float64 (clips, labels), 0 where not true).

    Of equal scores the later label ranks first, or those that are "true", or those that are "false".
    """
    truth, scores = np.asarray(truth), np.asarray(scores)
    if truth.ndim != 2 or truth.shape != scores.shape:
        raise ValueError(f"truth of shape {truth.shape} and scores of shape {scores.shape}: "
                         "expected the same (clips, labels) of both")
    if not np.isin(truth, (0, 1)).all():
        raise ValueError("truth holds values other than 0 and 1: expected the labels themselves, not soft targets")
    if np.isnan(scores).any():
        raise ValueError(f"scores of clip {np.flatnonzero(np.isnan(scores).any(1))[0]} are not a number: "
                         "expected a score for every label")
    truth = truth.astype(bool)
    among_equals = {"later": np.zeros_like(truth), "true": truth, "false": ~truth}[of_equals]
    order = np.lexsort((among_equals, scores), axis=1)[:, ::-1]  # best first; lexsort is stable
    hits = np.take_along_axis(truth, order, 1)
    at_rank = hits.cumsum(1) / np.arange(1, truth.shape[1] + 1)
    precisions = np.empty(truth.shape)
    np.put_along_axis(precisions, order, at_rank * hits, 1)
    return truth, precisions


def lwlrap(truth, scores):
    """Mean over all (clip, true label) pairs of the precision at that label's rank among the clip's scores.

    Equal to scikit-learn's `label_ranking_average_precision_score` with each clip weighted by its number of labels,
    where a clip's scores are all different. Of equal scores the label of the higher index ranks first. The organizers'
    `argsort(scores)[::-1]` says the same where numpy's sort keeps the order of equals, which it does not promise;
    `lwlrap_bounds` says what ties can make of a figure. Clips without a label do not count.

    Parameters
    ----------
    truth : array (clips, labels)
        0 or 1.
    scores : array (clips, labels)
        Any real numbers; only their order within a clip matters.

    Returns
    -------
    float
        In (0, 1]; NaN if no clip has a label.

    Raises
    ------
    ValueError
        If the shapes differ, truth is not binary, or a score is NaN.

    References
    ----------
    Fonseca et al., "Audio tagging with noisy labels and minimal supervision", DCASE 2019, section 4.1.
    """
    truth, precisions = _precisions(truth, scores)
    return float(precisions.sum() / truth.sum()) if truth.any() else float("nan")


def lwlrap_bounds(truth, scores):
    """Between which values `lwlrap` lies, however equal scores are ranked.

    Parameters
    ----------
    truth, scores : array (clips, labels)
        Of 0 and 1; any real numbers.

    Returns
    -------
    least, greatest : float
        With the labels that are not true before the true ones of the same score, and behind them.
    tied : int
        Clips in which a true label has the same score as one that is not.
    """
    (truth, least), (_, greatest) = (_precisions(truth, scores, first) for first in ("false", "true"))
    tied = int((least < greatest).any(1).sum())
    count = truth.sum()
    return (least.sum() / count, greatest.sum() / count, tied) if count else (float("nan"), float("nan"), 0)


def per_class_lwlrap(truth, scores):
    """`lwlrap` of each label, and each label's weight in the whole.

    Parameters
    ----------
    truth, scores : array (clips, labels)
        Of 0 and 1; any real numbers.

    Returns
    -------
    per_class : numpy.ndarray, float64 (labels,)
        The mean of the label's precisions; 0 for a label that no clip carries, as in the organizers' code.
    weight : numpy.ndarray, float64 (labels,)
        The label's share of all (clip, true label) pairs. ``(per_class * weight).sum()`` is `lwlrap`.
    """
    truth, precisions = _precisions(truth, scores)
    count = truth.sum(0)
    return precisions.sum(0) / np.maximum(count, 1), count / max(count.sum(), 1)


def clip_lwlrap(truth, scores):
    """`lwlrap` of each clip alone, under the labels that it carries.

    Parameters
    ----------
    truth, scores : array (clips, labels)
        Of 0 and 1; any real numbers.

    Returns
    -------
    numpy.ndarray, float64 (clips,)
        1 where all of the clip's labels rank above all others; NaN for a clip without a label.
    """
    truth, precisions = _precisions(truth, scores)
    count = truth.sum(1)
    return np.where(count > 0, precisions.sum(1) / np.maximum(count, 1), np.nan)


def geometric_mean(scores):
    """The mean of each clip's lwlrap under several models, by which noisy clips are selected.

    Parameters
    ----------
    scores : array (models, clips)

    Returns
    -------
    numpy.ndarray, float64 (clips,)
        To 12 digits: that of 5/12 and 3/5 is 0.5.
    """
    return np.round(np.prod(scores, axis=0) ** (1 / len(scores)), 12)


def confused_pairs(truth, scores, vocabulary):
    """How often another label is ranked above the true one, for each pair of labels.

    Parameters
    ----------
    truth, scores : array (clips, labels)
        Of 0 and 1; any real numbers.
    vocabulary : sequence of str

    Returns
    -------
    pandas.DataFrame
        A row for each pair that occurs, the most frequent first: `true`; `above`, a label that is ranked above it
        without being true; `clips`, in how many; `of`, how many clips carry the true label.
    """
    truth = np.asarray(truth, bool)
    scores = np.asarray(scores)
    above = np.zeros((len(vocabulary),) * 2, int)
    for label in range(len(vocabulary)):
        carry = truth[:, label]
        above[label] = ((scores[carry] > scores[carry, label, None]) & ~truth[carry]).sum(0)
    pairs = pd.DataFrame({"true": np.repeat(list(vocabulary), len(vocabulary)),
                          "above": np.tile(list(vocabulary), len(vocabulary)), "clips": above.ravel(),
                          "of": np.repeat(truth.sum(0), len(vocabulary))})
    pairs = pairs[pairs["clips"] > 0]
    share = pairs["clips"] / pairs["of"]
    return pairs.assign(share=share).sort_values(["clips", "share"], ascending=False).drop(
        columns="share").reset_index(drop=True)
