"""What each fold of a stage trains on, and the tasks that come of it."""

import dataclasses
import math
from pathlib import Path

import numpy as np

from ..networks.tagger import NetworkSpec
from .fold import FoldTraining


def clips_of(pipeline, stage):
    """The clips that each fold of a stage trains on: never one that it holds out.

    Parameters
    ----------
    pipeline : WarmupPipeline
    stage : int
        One for which the stages that choose its clips are finished.

    Returns
    -------
    list of dict of str to numpy.ndarray, bool (clips,)
        Of each fold for ``"curated"`` and ``"noisy"``: which clips of the set.
    """
    config, sets = pipeline.stages[stage], pipeline.sets
    wanted = {"curated": sets.known["curated"] & config.curated, "noisy": sets.known["noisy"] & (config.noisy == "all")}
    if config.noisy == "selected":
        wanted["noisy"] = pipeline.selected(stage)
    return [{name: wanted[name] & (sets.folds[name] != fold) for name in wanted}
            for fold in range(pipeline.profile.n_folds)]


def schedule_of(pipeline, stage, clips):
    """How long a fold of a stage trains.

    Parameters
    ----------
    pipeline : WarmupPipeline
    stage : int
    clips : dict of str to numpy.ndarray, bool
        What it trains on, one of `clips_of`.

    Returns
    -------
    epochs, steps : int
        Of an epoch.
    """
    return pipeline.stages[stage].schedule(sum(int(chosen.sum()) for chosen in clips.values()),
                                           pipeline.profile.batch_size)


def trainings(pipeline, stage):
    """What a stage has to train.

    Parameters
    ----------
    pipeline : WarmupPipeline
    stage : int

    Returns
    -------
    list of (int, FoldTraining or None)
        Of each fold: its gradient steps, and how it is trained; None if it is finished.
    """
    return [(math.prod(schedule_of(pipeline, stage, clips)),
             None if pipeline.folder.is_finished(stage, fold) else _training(pipeline, stage, fold, clips))
            for fold, clips in enumerate(clips_of(pipeline, stage))]


def _training(pipeline, stage, fold, clips):
    config, sets, profile = pipeline.stages[stage], pipeline.sets, pipeline.profile
    validated = "curated" if config.curated else "noisy"
    epochs, steps = schedule_of(pipeline, stage, clips)
    spec = NetworkSpec(pipeline.architecture, {"width": profile.width}, pipeline.vocabulary,
                       sets.stores["curated"].config, *sets.normalization, stage, fold, int(pipeline.seed))
    start = None
    if config.starts_from is not None:
        start = pipeline.folder.start(dataclasses.replace(spec, stage=config.starts_from))
    return FoldTraining(
        spec, start,
        trained=np.concatenate([sets.numbers(name, chosen) for name, chosen in clips.items()]),
        validated=sets.numbers(validated, (sets.folds[validated] == fold) & sets.known[validated]),
        held_out={name: sets.numbers(name, folds == fold) for name, folds in sets.folds.items()},
        batch_size=profile.batch_size, epochs=epochs, steps=steps, lr=config.lr, augmentation=pipeline.augmentation,
        seed=int(np.random.SeedSequence((pipeline.seed, stage, fold)).generate_state(1)[0]),
        device=pipeline.device, compiled=pipeline.compiled,
        tensorboard=pipeline.tensorboard and Path(pipeline.tensorboard) / f"stage-{stage}_fold-{fold}")
