"""`submission.csv`, and its score where the labels of the test clips are known."""

import warnings

import numpy as np
import pandas as pd

from ..clips.dataset import FSDKaggle2019
from ..clips.tables import few, label_columns, label_matrix, read_table
from ..lwlrap import lwlrap, lwlrap_bounds, per_class_lwlrap
from ..machine.files import as_path, whole_file

# lwlrap on the public leaderboard, as published: of CNN-model-1's models alone, of the three, and with VGG-16's.
LEADERBOARD = {"cnn-model-1, model 2": 0.723, "cnn-model-1, model 3": 0.724, "cnn-model-1, model 4": 0.724,
               "cnn-model-1, ensemble": 0.733, "ensemble of all": 0.738}
# The published Table 2: cross-validated lwlrap of CNN-model-1's models on either set.
TABLE_2 = pd.DataFrame({"published noisy": [0.65057, 0.38142, 0.56716, 0.57590],
                        "published curated": [0.41096, 0.86222, 0.87930, 0.87718]},
                       index=[f"model {stage}" for stage in (1, 2, 3, 4)])


def write_submission(path, fnames, vocabulary, probabilities):
    """Write `submission.csv`: a row a clip, a column a label.

    Parameters
    ----------
    path : path
    fnames : sequence of str (clips,)
    vocabulary : sequence of str (labels,)
        In the order of ``sample_submission.csv``.
    probabilities : array (clips, labels)

    Returns
    -------
    pandas.DataFrame
        What was written.

    Raises
    ------
    ValueError
        If the sizes do not fit or a probability is not a number.
    """
    fnames, probabilities = list(fnames), np.asarray(probabilities)  # a Series may be numbered otherwise
    if probabilities.shape != (len(fnames), len(vocabulary)):
        raise ValueError(f"probabilities of shape {probabilities.shape} for {len(fnames)} clips and "
                         f"{len(vocabulary)} labels: expected {(len(fnames), len(vocabulary))}")
    if np.isnan(probabilities).any():
        raise ValueError(f"the probabilities of {fnames[np.flatnonzero(np.isnan(probabilities).any(1))[0]]} "
                         "are not all numbers; nothing was written")
    submission = pd.DataFrame(probabilities, columns=list(vocabulary))
    submission.insert(0, "fname", fnames)
    with whole_file(path) as part:
        submission.to_csv(part, index=False)
    return submission


def leaderboards(truth, scores, usage=None):
    """lwlrap on all clips and on those of each leaderboard.

    Parameters
    ----------
    truth, scores : array (clips, labels)
        As for `lwlrap`.
    usage : sequence of str (clips,), optional
        ``"Public"`` or ``"Private"``.

    Returns
    -------
    dict of str to float
        ``"public"`` and ``"private"``, each where it has a clip, and ``"overall"``.
    """
    usage = np.asarray(usage if usage is not None else [""] * len(truth))
    parts = {"public": usage == "Public", "private": usage == "Private", "overall": np.full(len(truth), True)}
    return {name: lwlrap(truth[part], scores[part]) for name, part in parts.items() if part.any()}


def score_submission(submission, truth):
    """Score a submission as the competition did, where the labels are known.

    Where a clip's true label has the same score as one that is not, the figure depends on how such ties are broken
    (`lwlrap` says how they are here, and that the competition's rule is not known): a warning says how many clips
    have ties, and between which figures the score lies.

    Parameters
    ----------
    submission : path
        A file as `write_submission` writes; clips and labels in any order.
    truth : path
        A table with `fname`, `labels` and perhaps `usage`, such as Zenodo's ``test_post_competition.csv``.
        Clips of it with a usage that the submission has none of are left out: Kaggle's test set today is the
        private one. If it is a data set's own, that says which labels there are; else a submission's labels are told
        from other columns by their names and numbers (`tables.label_columns`).

    Returns
    -------
    scores : dict of str to float
        As `leaderboards` gives it.
    per_class : pandas.DataFrame
        Indexed by label: `lwlrap` and `clips`, the number of clips that carry it.

    Raises
    ------
    ValueError
        If clips are missing, double or unknown, labels are missing or unknown, a column is no label, or a score is not
        a number. The message names them.
    """
    table, known = read_table(submission, ["fname"]), read_table(truth, ["fname", "labels"]).set_index("fname")
    if not len(table):
        raise ValueError(f"{submission} has no rows; expected one for each clip of {truth}")
    labels = label_columns(table, submission, _vocabulary_of(truth), carried=set().union(*known["labels"]))
    scores = table.set_index("fname")[labels].apply(pd.to_numeric, errors="coerce")
    if "usage" in known:
        known = known[known["usage"].isin(known["usage"].reindex(scores.index).dropna().unique())]
    wrong = {
        "lacks the clips": known.index.difference(scores.index),
        "has clips that the truth does not know": scores.index.difference(known.index),
        "has scores that are not numbers for": scores.index[~np.isfinite(scores).all(axis=1)],
    }
    for what, names in wrong.items():
        if len(names):
            raise ValueError(f"{submission} {what} {few(names)} (the truth is {truth})")
    labels = label_matrix(known.reset_index(), scores.columns, truth)
    scores = scores.loc[known.index]
    result = leaderboards(labels, scores.to_numpy(), known.get("usage"))
    least, greatest, tied = lwlrap_bounds(labels, scores)
    if tied:
        warnings.warn(f"{submission} gives a true label and another one the same score in {tied} of {len(scores)} "
                      f"clips: as ties are broken, lwlrap overall is {least:.5f} to {greatest:.5f}", stacklevel=2)
    per_class, _ = per_class_lwlrap(labels, scores)
    return result, pd.DataFrame({"lwlrap": per_class, "clips": labels.sum(0).astype(int)}, index=scores.columns)


def _vocabulary_of(truth):
    """The labels of the data set that a table of the test clips' labels belongs to; None if it stands alone."""
    for root in as_path(truth).resolve().parents[:3]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                data = FSDKaggle2019(root, drop_faulty=False, missing="list")
        except (OSError, ValueError):
            continue
        is_its_own = data.truth is not None and data.truth.samefile(as_path(truth))
        if is_its_own and (data.sample is not None or len(data.curated)):
            return data.vocabulary
    return None
