"""The stages of the warm-up pipeline as data: what each trains on, for how long, and which noisy clips it trusts."""

import dataclasses

import numpy as np

LEAST_STEPS = 500  # gradient steps of a stage, however few its clips: fewer leave a network half trained
PASSES = (50, 100, 60, 60)  # of the four stages over their clips, where that is more
LEARNING_RATES = (1e-2,) * 4  # the greatest of each stage's own cycle
BATCH_SIZE = 128  # of the published system
EPOCH_STEPS = 25  # an epoch, after which a network is validated, has at least so many steps


@dataclasses.dataclass(frozen=True)
class StageConfig:
    """One stage: what it starts from, what it trains on, and for how long."""

    stage: int
    starts_from: int | None  # the stage whose network of the same fold is trained further; None: a new network
    curated: bool  # train on the curated clips
    noisy: str  # train on noisy clips: "none", "all", or "selected" by the three settings below
    passes: int  # over the stage's clips
    lr: float  # the greatest of the one-cycle policy
    least_steps: int = LEAST_STEPS  # gradient steps, where the passes are fewer
    scored_by: tuple = ()  # the stages whose out-of-fold lwlrap of a clip is averaged geometrically
    threshold: float = 0.0  # the least average of a selected clip
    cap: int | None = None  # the most clips selected per fold and label

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


@dataclasses.dataclass(frozen=True)
class Profile:
    """The size of a run."""

    n_folds: int
    width: int  # channels of the networks' first block
    stages: tuple  # of StageConfig
    batch_size: int | None = None  # None: `batch_size_for` the run's curated clips

    def __post_init__(self):
        for name, least, why in (("n_folds", 2, "one to train on, one to hold out"), ("width", 1, "channels"),
                                 ("batch_size", 2, "a batch normalization needs two")):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and value >= least):
                raise ValueError(f"{name}={value!r}: expected a whole number, at least {least} ({why})")


def batch_size_for(n_clips):
    """128, or for fewer clips the largest power of two that they fill, but at least the 2 of a batch normalization.

    Parameters
    ----------
    n_clips : int
        The curated clips that a fold trains on.

    Returns
    -------
    int
    """
    return min(BATCH_SIZE, 1 << (max(n_clips, 2).bit_length() - 1))


def published_stages(passes=PASSES, lrs=LEARNING_RATES, least_steps=LEAST_STEPS):
    """The four published stages.

    How long a stage trains, and at which learning rate, is in the author's training notebooks, which could not be
    had. Here one rule decides for any data: each stage makes `PASSES` over its
    clips, in batches of `batch_size_for` the data, but never fewer than `LEAST_STEPS` gradient steps, at the same
    learning rate. On the full data the passes count: stage 1 sees 17,800 clips, many of them wrongly labelled, 50
    times (7,000 steps of 128), enough to learn what sound looks like and, with mixed targets, too few to learn the
    wrong labels by heart; stage 2 sees 4,500 clips 100 times (3,500 steps); stages 3 and 4 go on from a network that
    is good already, with the selected clips added, 60 times each. Together that is about 2.5 million excerpts a fold.
    One cycle and batches of 128 are what fastai's users took in this competition. On a few hundred clips the least
    steps count: below them the stages are cut off before they have learned what they are there for
    (`benchmarks/study.py` compares the pipeline with simpler trainings of as many steps).

    Parameters
    ----------
    passes : sequence of 4 int
    lrs : sequence of 4 float
    least_steps : int

    Returns
    -------
    tuple of StageConfig
    """
    rules = (
        {"starts_from": None, "curated": False, "noisy": "all"},
        {"starts_from": 1, "curated": True, "noisy": "none"},
        {"starts_from": 2, "curated": True, "noisy": "selected", "scored_by": (1, 2), "threshold": 0.5, "cap": 5},
        {"starts_from": 3, "curated": True, "noisy": "selected", "scored_by": (3,), "threshold": 1.0},
    )
    return tuple(StageConfig(stage, passes=n, lr=lr, least_steps=least_steps, **rule)
                 for stage, (rule, n, lr) in enumerate(zip(rules, passes, lrs), 1))


def full_profile():
    """The published size: 10 folds, 64 channels. It has not been tried on the real data."""
    return Profile(10, 64, published_stages())


def demo_profile():
    """Minutes on two CPU cores, for a few hundred clips: 2 folds, 4 channels, and fewer steps than recordings need."""
    return Profile(2, 4, published_stages((8,) * 4, least_steps=150))


def tiny_profile():
    """A run of seconds, to see that everything works on a data set; its networks know nothing."""
    return Profile(2, 2, published_stages((2, 2, 2, 2), least_steps=1))


class _Profiles(dict):
    def __missing__(self, name):
        raise ValueError(f"profile={name!r}: expected one of {', '.join(self)}")


PROFILES = _Profiles(full=full_profile, demo=demo_profile, tiny=tiny_profile)


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
    mean = np.round(np.prod(scores, axis=0) ** (1 / len(scores)), 12)
    chosen = mean >= threshold
    if cap is None:
        return chosen
    targets, folds = np.asarray(targets, bool), np.asarray(folds)
    taken = np.zeros((folds.max() + 1, targets.shape[1]), int)
    capped = np.zeros(len(chosen), bool)
    for clip in np.argsort(-mean, kind="stable"):
        if chosen[clip] and (taken[folds[clip]][targets[clip]] < cap).all():
            capped[clip] = True
            taken[folds[clip]] += targets[clip]
    return capped
