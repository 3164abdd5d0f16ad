"""A stage of the warm-up pipeline as data: what it trains on, for how long, and which clips it trusts."""

import dataclasses

import numpy as np

from ..lwlrap import geometric_mean
from ..machine.checks import as_python, check_number, of_python

LEAST_STEPS = 500  # gradient steps of a stage, however few its clips: fewer leave a network half trained
EPOCH_STEPS = 25  # an epoch, after which a network is validated, has at least so many steps
BATCH_SIZE = 128  # of the published system


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """One stage: what it starts from, what it trains on, and for how long.

    Raises
    ------
    ValueError
        If a setting cannot be. The message names it.
    """

    stage: int  # its number, from 1 on
    trains_on: tuple  # of str: the sets whose clips it trains on; the first is what it is validated on
    passes: int  # over the stage's clips
    lr: float  # the greatest of the one-cycle policy
    starts_from: int | None = None  # the stage whose network of the same fold is trained further; None: a new network
    least_steps: int = LEAST_STEPS  # gradient steps, where the passes are fewer
    selects_from: str | None = None  # a set of which clips are added that are selected by the three settings below
    scored_by: tuple = ()  # the stages whose out-of-fold lwlrap of a clip is averaged geometrically
    threshold: float = 0.0  # the least average of a selected clip
    cap: int | None = None  # the most clips selected per fold and label
    votes: bool = True  # its networks are members of the ensemble

    def __post_init__(self):
        as_python(self)
        for name, least in (("stage", 1), ("passes", 1), ("least_steps", 1)):
            check_number(name, getattr(self, name), least, whole=True)
        check_number("lr", self.lr, 0)
        check_number("threshold", self.threshold, 0, 1)
        if self.cap is not None:
            check_number("cap", self.cap, 1, whole=True)
        if not isinstance(self.votes, bool):
            raise ValueError(f"votes={self.votes!r}: expected true or false")
        for name, kind in (("trains_on", str), ("scored_by", int)):
            object.__setattr__(self, name, _tuple_of(name, getattr(self, name), kind))
        if "test" in (*self.trains_on, self.selects_from):
            raise ValueError("'test': test clips are not trained on; those that are to be belong in a set of another "
                             "name")
        if not self.trains_on:
            raise ValueError("trains_on=(): expected the names of one set or more")
        earlier = [*self.scored_by, *([] if self.starts_from is None else [self.starts_from])]
        for number in earlier:
            if type(number) is not int or not 1 <= number < self.stage:
                raise ValueError(f"stage {self.stage} builds on stage {number!r}: expected an earlier one")
        if (self.selects_from is None) == bool(self.scored_by):
            raise ValueError(f"selects_from={self.selects_from!r} and scored_by={self.scored_by!r}: expected both, a "
                             "set and the stages whose models select of it, or neither")

    @property
    def selection(self):
        """How it selects clips, in words: ``"geometric mean of lwlrap under models 1 and 2 at least 0.5, ..."``."""
        models = " and ".join(map(str, self.scored_by))
        mean = f"geometric mean of lwlrap under models {models}" if len(self.scored_by) > 1 else (
            f"lwlrap under model {models}")
        most = f", at most {self.cap} of a fold and label" if self.cap else ""
        return f"{mean} at least {self.threshold:g}{most}" if self.selects_from else ""

    def schedule(self, n_clips, batch_size):
        """How long a training on some clips is.

        Parameters
        ----------
        n_clips, batch_size : int

        Returns
        -------
        epochs, steps : int
            The number of epochs, and the gradient steps of each. An epoch is a pass over the clips, or `EPOCH_STEPS`
            where a pass is fewer.
        """
        steps = max(self.least_steps, self.passes * -(-n_clips // batch_size))
        epochs = max(1, min(self.passes, steps // EPOCH_STEPS))
        return epochs, -(-steps // epochs)


def batch_size_for(n_clips):
    """128, or for fewer clips the largest power of two that they fill, but at least the 2 of a batch normalization.

    Parameters
    ----------
    n_clips : int
        The clips that a fold trains on.

    Returns
    -------
    int
    """
    return min(BATCH_SIZE, 1 << (max(n_clips, 2).bit_length() - 1))


def select_noisy(scores, targets, folds, threshold, cap=None):
    """Choose the noisy clips whose labels the models agree with.

    Parameters
    ----------
    scores : array (stages, clips)
        `clip_lwlrap` of each noisy clip under its own labels, out-of-fold, by the model of each stage.
        Their geometric mean counts, to 12 digits: that of 5/12 and 3/5 is 0.5.
    targets : array (clips, labels)
        The labels that the clips carry.
    folds : array of int (clips,)
        The fold that holds each clip out.
    threshold : float
        The least mean of a selected clip.
    cap : int, optional
        The most clips selected per fold and label, those of the highest mean; of equal means the earlier clip.
        A clip of several labels counts for each, and is selected only while each of its labels has room.

    Returns
    -------
    numpy.ndarray, bool (clips,)
    """
    mean = geometric_mean(scores)
    chosen = mean >= threshold
    if cap is None:
        return chosen
    targets, folds = np.asarray(targets, bool), np.asarray(folds)
    taken = np.zeros((folds.max(initial=-1) + 1, targets.shape[1]), int)
    capped = np.zeros(len(chosen), bool)
    for clip in np.argsort(-mean, kind="stable"):
        if chosen[clip] and (taken[folds[clip]][targets[clip]] < cap).all():
            capped[clip] = True
            taken[folds[clip]] += targets[clip]
    return capped


def _tuple_of(name, values, kind):
    """The values as a tuple, if all are of a kind."""
    if isinstance(values, (list, tuple)) and all(type(of_python(value)) is kind for value in values):
        return tuple(map(of_python, values))
    raise ValueError(f"{name}={values!r}: expected a list of {'names' if kind is str else 'stages'}")
