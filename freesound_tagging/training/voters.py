"""Who votes: the ensemble on clips held out, its calibration, and whether other stages would do better."""

import dataclasses
import itertools

import numpy as np
from scipy import stats

from ..lwlrap import clip_lwlrap
from ..prediction.calibration import calibration_error, cross_fitted, fit_calibration
from ..prediction.inference import ensemble_mean


@dataclasses.dataclass(frozen=True)
class Choice:
    """Stages that vote, and by how much the mean of their models is better than that of others."""

    stages: tuple
    score: float  # lwlrap
    better: float  # by so much
    low: float  # and with the confidence of `better_choice` by at least so much
    high: float
    tried: int  # choices, all of which the interval takes into account


def better_choice(truth, predictions, voting, confidence=0.95):
    """The best other choice of stages, if it is better by more than chance.

    Differences are of each clip's lwlrap, weighted by its number of labels as lwlrap weights it, clip by clip
    (Student's t). As the best of many choices is good by chance, too, the intervals are those of Bonferroni: with the
    confidence given, all of them hold together. Clips are taken as independent.

    Parameters
    ----------
    truth : array (clips, labels)
    predictions : dict of int to array (clips, labels)
        Of each stage, of clips held out.
    voting : sequence of int
        The stages that vote.
    confidence : float

    Returns
    -------
    Choice or None
    """
    truth = np.asarray(truth, np.float64)
    labelled = truth.any(axis=1)
    truth, weights = truth[labelled], truth[labelled].sum(1)
    choices = [stages for size in range(1, len(predictions) + 1)
               for stages in itertools.combinations(sorted(predictions), size) if stages != tuple(sorted(voting))]
    if not choices or len(truth) < 2:
        return None

    def scores(stages):
        return clip_lwlrap(truth, ensemble_mean([predictions[stage][labelled] for stage in stages]))
    now, best = scores(voting), None
    quantile = stats.t.ppf(1 - (1 - confidence) / 2 / len(choices), len(truth) - 1)
    for stages in choices:
        others = scores(stages)
        better = np.average(others - now, weights=weights)
        half = quantile * np.std(weights / weights.mean() * (others - now - better), ddof=1) / np.sqrt(len(truth))
        if better > half and (best is None or better > best.better):
            best = Choice(stages, float(np.average(others, weights=weights)), float(better), float(better - half),
                          float(better + half), len(choices))
    return best


def who_votes(pipeline):
    """Whether another choice of stages would do better than those that vote, and how to have it.

    Parameters
    ----------
    pipeline : WarmupPipeline

    Returns
    -------
    str
        A sentence; empty where none is better by more than chance, or a stage is not finished.
    """
    if pipeline.unfinished():
        return ""
    mine, voting = pipeline.trusted_clips(), pipeline.voting
    predictions = {stage: pipeline.out_of_fold(stage)[mine] for stage in pipeline.stages}
    best = better_choice(pipeline.targets[mine], predictions, voting)
    if best is None:
        return ""
    lines = [f"votes = {word} in stage{'s' * (len(stages) > 1)} {_and(stages)}" for word, stages in (
        ("false", sorted({*voting} - {*best.stages})), ("true", sorted({*best.stages} - {*voting}))) if stages]
    return (f"On the {pipeline.profile.trusted} clips held out, the mean of stage{'s' * (len(best.stages) > 1)} "
            f"{_and(best.stages)} has a lwlrap of {best.score:.3f}, {best.better:.3f} more than that of {_and(voting)} "
            f"which vote ({best.low:.3f} to {best.high:.3f}, with 95 % for all {best.tried} choices together): "
            f"{' and '.join(lines)} of the profile makes it the ensemble of a new run.")


def calibrate(pipeline):
    """Fit what makes probabilities of the means of a finished run's ensemble.

    On the clips of the set whose labels are trusted (`Profile.trusted`), each predicted by the voting models of the
    fold that holds it out. The ensemble that tags is the mean of all folds' models, which errs somewhat less.

    Parameters
    ----------
    pipeline : WarmupPipeline
        Finished.

    Returns
    -------
    Calibration or None
        None where no line fits (`fit_calibration`), such as of networks that know nothing.
    """
    mine = pipeline.trusted_clips()
    predictions, targets = pipeline.ensemble_out_of_fold()[mine], pipeline.targets[mine]
    try:
        after = calibration_error(cross_fitted(predictions, targets, pipeline.folds[mine]), targets)
        found = fit_calibration(predictions, targets)
    except ValueError:
        return None
    return dataclasses.replace(found, fitted={
        "set": pipeline.profile.trusted, "clips": int(mine.sum()), "labels": targets.shape[1],
        "stages": list(pipeline.voting), "error_before": calibration_error(predictions, targets),
        "error_after": after, "run": pipeline.folder.name})


def _and(stages):
    *others, last = map(str, stages)
    return f"{', '.join(others)} and {last}" if others else last
