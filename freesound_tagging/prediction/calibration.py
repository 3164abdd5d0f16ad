"""Probabilities that are probabilities: two numbers, fitted on clips that the networks were not trained on."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from ..machine.files import as_path, whole_file

CALIBRATION = "calibration.json"  # beside the networks that it is of
BINS = 10  # of equal width, from 0 to 1
LEAST = 1e-7  # a probability that is fitted on, and its distance from 1: 0 and 1 have no finite log-odds
STEEPEST = 100.0  # a slope beyond is that of clips with next to no mistake


@dataclasses.dataclass(frozen=True)
class Calibration:
    """A straight line in log-odds, ``expit(slope * logit(p) + intercept)``, one for all labels: no order changes.

    Fitted by logistic regression, which is Platt's scaling (2000) of log-odds.

    Attributes
    ----------
    slope : float
        Above 0; 1 with an intercept of 0 changes nothing.
    intercept : float
    fitted : dict
        What it was fitted on: `set`, `clips` and `labels` (numbers), `stages` whose mean it is of, the expected
        calibration error of the top label (`calibration_error`) as `error_before` and `error_after`, and the `run`.
    """

    slope: float
    intercept: float
    fitted: dict = dataclasses.field(default_factory=dict)

    def __call__(self, probabilities):
        """Calibrated probabilities: float32 of the same shape; 0, 1 and NaN stay what they are."""
        with np.errstate(divide="ignore"):
            log_odds = logit(np.asarray(probabilities, np.float64))
        return expit(self.slope * log_odds + self.intercept).astype(np.float32)

    def write(self, folder):
        """Keep it in a folder of networks, as ``calibration.json``."""
        with whole_file(as_path(folder) / CALIBRATION) as part:
            part.write_text(json.dumps({"slope": self.slope, "intercept": self.intercept, **self.fitted}, indent=1)
                            + "\n")


def fit_calibration(probabilities, targets):
    """Fit a calibration, all labels together.

    Parameters
    ----------
    probabilities : array (clips, labels)
        Of clips that the networks were not trained on.
    targets : array (clips, labels)
        1 where a clip carries a label, else 0.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If no line fits: the probabilities do not rise with the labels, or tell them without a mistake, or are none.
    """
    from scipy.optimize import minimize

    targets, given = np.asarray(targets, np.float64).ravel(), np.asarray(probabilities, np.float64)
    if not ((given >= 0) & (given <= 1)).all():  # nor what is not a number
        raise ValueError("probabilities that are none: expected numbers from 0 to 1")
    log_odds = logit(np.clip(given.ravel(), LEAST, 1 - LEAST))

    carried = targets > 0
    if not 0 < carried.sum() < len(carried) or log_odds[carried].min() > log_odds[~carried].max():
        raise ValueError("labels that are all carried, or none, or told without a mistake: expected clips of which the "
                         "networks know some better than others")

    def of(line):
        scores = line[0] * log_odds + line[1]
        errors, loss = expit(scores) - targets, np.logaddexp(0, scores) - targets * scores
        return loss.mean(), np.array([(errors * log_odds).mean(), errors.mean()])

    slope, intercept = minimize(of, (1.0, 0.0), jac=True, method="BFGS", options={"gtol": 1e-8}).x.tolist()
    if not 0 < slope < STEEPEST or not math.isfinite(intercept):
        raise ValueError(f"a slope of {slope:g}: expected above 0 and below {STEEPEST:g}, of networks that know "
                         "something")
    return Calibration(slope, intercept)


def cross_fitted(probabilities, targets, folds):
    """Probabilities of which each fold's are calibrated by what was fitted on the other folds.

    Parameters
    ----------
    probabilities, targets : array (clips, labels)
        As for `fit_calibration`.
    folds : array of int (clips,)

    Returns
    -------
    numpy.ndarray, float32 (clips, labels)

    Raises
    ------
    ValueError
        As `fit_calibration`.
    """
    probabilities, targets, folds = np.asarray(probabilities), np.asarray(targets), np.asarray(folds)
    calibrated = np.empty(probabilities.shape, np.float32)
    for fold in np.unique(folds):
        own = folds == fold
        calibrated[own] = fit_calibration(probabilities[~own], targets[~own])(probabilities[own])
    return calibrated


def reliability(probabilities, targets, bins=BINS):
    """How often the most probable label is right, by its probability.

    Parameters
    ----------
    probabilities, targets : array (clips, labels)
    bins : int
        Of equal width, from 0 to 1.

    Returns
    -------
    pandas.DataFrame
        A row a bin: `clips`, the number of those whose most probable label has a probability in it; `probability`, the
        mean of these, and `right`, the share of clips that carry the label; both NaN of an empty bin.
    """
    probabilities, targets = np.asarray(probabilities, np.float64), np.asarray(targets)
    top = probabilities.argmax(1)[:, None]
    confidence, right = (np.take_along_axis(array, top, 1)[:, 0] for array in (probabilities, targets))
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    clips = np.bincount(place, minlength=bins)
    sums = {name: np.bincount(place, values, bins) for name, values in (("probability", confidence), ("right", right))}
    return pd.DataFrame({"clips": clips, **{name: np.divide(total, clips, np.full(bins, np.nan), where=clips > 0)
                                            for name, total in sums.items()}})


def calibration_error(probabilities, targets, bins=BINS):
    """Expected calibration error of the most probable label: how far its probability is from the share that is right.

    Parameters
    ----------
    probabilities, targets, bins
        As for `reliability`.

    Returns
    -------
    float
        The mean over clips of the bins' differences, 0 to 1.

    References
    ----------
    Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
    """
    table = reliability(probabilities, targets, bins)
    apart = (table["probability"] - table["right"]).abs()
    return float((apart * table["clips"]).sum() / table["clips"].sum())


def read_calibration(path):
    """Read what `Calibration.write` wrote; ValueError if it is damaged."""
    try:
        fitted = json.loads(Path(path).read_text(encoding="utf-8"))
        slope, intercept = float(fitted.pop("slope")), float(fitted.pop("intercept"))
        if not 0 < slope < STEEPEST or not math.isfinite(intercept):
            raise ValueError(f"slope {slope} and intercept {intercept}")
        if type(fitted["labels"]) is not int or not all(type(stage) is int for stage in fitted["stages"]):
            raise ValueError("labels and stages are no whole numbers")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({' '.join(repr(error)[:200].split())}): expected what a finished "
                         "training writes; delete it, and probabilities are raw, or run the training again, which "
                         "writes it anew") from error
    return Calibration(slope, intercept, fitted)


def lines_beside(paths):
    """The calibrations that lie beside networks.

    Parameters
    ----------
    paths : sequence of path
        The networks' files.

    Returns
    -------
    dict of pathlib.Path to Calibration or None
        By the folder; None where there is no ``calibration.json``.

    Raises
    ------
    ValueError
        If a file is damaged.
    """
    folders = dict.fromkeys(as_path(path).parent for path in paths)
    return {folder: read_calibration(folder / CALIBRATION) if (folder / CALIBRATION).is_file() else None
            for folder in folders}


def calibration_of(paths, specs, lines):
    """The calibration of an ensemble, where its networks are those that were fitted.

    Networks of several folders, each a run, have one if each folder has: the mean of the folders' lines.

    Parameters
    ----------
    paths : sequence of path
        The networks' files.
    specs : sequence of NetworkSpec
    lines : dict of pathlib.Path to Calibration or None
        Of `lines_beside`.

    Returns
    -------
    Calibration or None
        None if a folder has none, or one of other stages than these or of other labels.
    """
    stages = {}
    for path, spec in zip(map(as_path, paths), specs):
        stages.setdefault(path.parent, set()).add(spec.stage)
    found = [lines[folder] for folder in stages]
    for line, of in zip(found, stages.values()):
        if not line or set(line.fitted["stages"]) != of or line.fitted["labels"] != len(specs[0].vocabulary):
            return None
    if len(found) == 1:
        return found[0]
    return Calibration(*np.mean([(line.slope, line.intercept) for line in found], axis=0).tolist())
