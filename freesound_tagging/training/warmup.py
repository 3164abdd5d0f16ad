"""The warm-up pipeline: trains stage by stage, each on the folds' clips and on what the stage before has learned."""

import dataclasses
import math
import operator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ..augment import PUBLISHED, compose
from ..lwlrap import clip_lwlrap, lwlrap
from ..machine.device import device_named
from ..machine.executors import executor_of
from ..networks.models import FIRST_WEIGHTS
from .plan import clips_of, schedule_of
from .runfolder import RunFolder, name_of
from .sets import TrainingSets
from .stages import batch_size_for, select_noisy
from .together import train_stages


class WarmupPipeline:
    """Train a network by the four stages over all folds, and keep all that was computed.

    Each finished fold of a stage leaves its weights in `weights`, and in `work` its history and its predictions of the
    clips that the fold holds out. Running again, or running on after an interruption, trains only what is not there.

    Parameters
    ----------
    sets : dict of str to (SpectrogramStore, array (clips, labels))
        The clips of ``"curated"`` and ``"noisy"`` and the labels that they carry; both stores built with the same
        MelConfig.
    vocabulary : sequence of str
    architecture : {"cnn-model-1", "vgg16"}
    profile : Profile
    work, weights : path
        Folders for this run; made if need be.
    seed : int
        Decides folds, first weights, excerpts and augmentation. On one CPU the same seed gives the same weights.
    device : str or torch.device, optional
        A CUDA GPU if there is one, else the CPU; with "processes" the CPU, with Ray what the executor's folds get.
    augmentation : sequence of callable
        Functions of `augment`, in order.
    progress : bool
        Show a progress bar a stage.
    compiled : bool
        Train through `torch.compile`, on a GPU. Off until a GPU's figures show that it pays (``make bench``); on CPUs
        it gains 8 to 17 % in float32, but compiled bfloat16, which is faster, gives NaN (torch 2.15).
    tensorboard : path, optional
        A folder for logs that TensorBoard shows, a run a stage and fold. Off if not given: it slows training down.
    executor : {"auto", "in-process", "processes", "ray"} or RayExecutor
        Where folds are trained: in this process one after the other, side by side in processes that share the cores,
        or over the GPUs and machines of a Ray cluster (see `machine.RayExecutor`). "auto" is "processes" on a CPU and
        "in-process" on a GPU. What comes of it is kept here, and is the same for the same number of torch's threads.
    test : sequence of path
        The test clips, if there are any: training clips that are among them, or there more than once themselves, are
        named in a warning. Clips that are the same, a noisy and a curated one too, are held out by the same fold.

    Raises
    ------
    ValueError
        If `work` holds a run of other data or settings, or `weights` networks of a run that is not in `work`.
        The message says what differs.
    """

    def __init__(self, sets, vocabulary, architecture, profile, work, weights, seed=0, device=None,
                 augmentation=PUBLISHED, progress=True, compiled=False, tensorboard=None,
                 executor="auto", test=()):
        if profile.batch_size is None:
            n_trained = len(sets["curated"][0]) * (profile.n_folds - 1) // profile.n_folds
            profile = dataclasses.replace(profile, batch_size=batch_size_for(n_trained))
        self.vocabulary, self.architecture, self.profile = tuple(vocabulary), architecture, profile
        seed = operator.index(seed)
        self.work, self.weights, self.seed = Path(work), Path(weights), seed
        self.executor = executor_of(executor, profile.n_folds, device_named(device) if executor == "auto" else None)
        theirs = self.executor.device()
        self.device = torch.device(device or theirs) if theirs else device_named(device)
        self.compiled = compiled
        if theirs is not None and theirs != self.device.type:
            raise ValueError(f"device={str(device)!r}, and the executor's folds get {theirs!r}: leave device out, or "
                             "give RayExecutor(num_gpus=0) for a CPU and num_gpus=1 for a GPU")
        if compiled and self.device.type == "cpu":
            raise ValueError("compiled=True: expected False on a CPU, where its bfloat16 gives NaN (torch 2.15)")
        self.augmentation, self.progress, self.tensorboard = compose(augmentation), progress, tensorboard
        self.stages = {config.stage: config for config in profile.stages}
        self.sets = TrainingSets(sets, self.vocabulary, profile.n_folds, seed, test)
        self.stores, self.targets, self.folds = self.sets.stores, self.sets.targets, self.sets.folds
        self.folder = RunFolder(self.work, self.weights, {
            "architecture": architecture, "first weights": FIRST_WEIGHTS, "seed": seed, "vocabulary": self.vocabulary,
            "clips and labels": self.sets.clips.identity,
            **({"held out together": self.sets.twins} if self.sets.twins else {}),
            "augmentation": [name_of(step) for step in augmentation],
            **{f"MelConfig.{k}": v for k, v in dataclasses.asdict(self.sets.stores["curated"].config).items()},
            **dataclasses.asdict(profile)})

    def __repr__(self):
        profile, where = self.profile, f", {self.executor}"
        return (f"{self.architecture}: {profile.n_folds} folds, width {profile.width}, batches of "
                f"{profile.batch_size}, on {self.device.type}{where}")

    def run(self):
        """Train all stages in order.

        Returns
        -------
        pandas.DataFrame
            `table`.
        """
        run_together(self)
        return self.table()

    def run_stage(self, stage):
        """Train one stage, every fold that is not finished yet.

        Parameters
        ----------
        stage : int
            The stages that it builds on have to be finished.

        Returns
        -------
        list of dict of str to numpy.ndarray
            `history`.

        Raises
        ------
        RuntimeError
            If a stage that it builds on is not finished, or another process trains in `work`.
        FloatingPointError, OutOfMemory
            If a loss is not finite or the GPU has too little memory. Finished folds are kept.
        """
        train_stages({self: [stage]})
        return self.history(stage)

    def training_clips(self, stage, fold):
        """What a fold trains on in a stage: never a clip that the fold holds out.

        Parameters
        ----------
        stage, fold : int

        Returns
        -------
        dict of str to numpy.ndarray, int64
            Numbers of clips in the stores ``"curated"`` and ``"noisy"``.
        """
        return {name: np.flatnonzero(chosen) for name, chosen in clips_of(self, stage)[fold].items()}

    def selected(self, stage):
        """The noisy clips that a stage selects, over all folds.

        Parameters
        ----------
        stage : int
            A stage that trains on selected clips; those that score for it have to be finished.

        Returns
        -------
        numpy.ndarray, bool (noisy clips,)
        """
        config = self.stages[stage]
        scores = [clip_lwlrap(self.targets["noisy"], self.out_of_fold(earlier)["noisy"])
                  for earlier in config.scored_by]
        return select_noisy(np.stack(scores) * self.sets.known["noisy"], self.targets["noisy"], self.folds["noisy"],
                            config.threshold, config.cap) & self.sets.known["noisy"]

    def out_of_fold(self, stage):
        """Predictions of each clip by the network of the fold that holds it out.

        Parameters
        ----------
        stage : int

        Returns
        -------
        dict of str to numpy.ndarray, float32 (clips, labels)
            For ``"curated"`` and ``"noisy"``.

        Raises
        ------
        RuntimeError
            If a fold of the stage is not finished.
        """
        predictions = {name: np.empty(targets.shape, np.float32) for name, targets in self.targets.items()}
        for fold in range(self.profile.n_folds):
            record = self.folder.record(stage, fold)
            for name in predictions:
                predictions[name][self.folds[name] == fold] = record[name]
        return predictions

    def history(self, stage):
        """How a stage's trainings went.

        Parameters
        ----------
        stage : int

        Returns
        -------
        list of dict of str to numpy.ndarray
            A fold each: `loss` of every step; `lwlrap` of every epoch, on the middle excerpts of the clips held out
            of the set that the stage is about (noisy for stage 1, else curated).
        """
        return [{name: self.folder.record(stage, fold)[name] for name in ("loss", "lwlrap")}
                for fold in range(self.profile.n_folds)]

    def table(self):
        """Cross-validated lwlrap of each stage's model, in the form of the published Table 2.

        Returns
        -------
        pandas.DataFrame
            Rows ``model 1`` to ``model 4`` as far as finished; columns ``lwlrap noisy`` and ``lwlrap curated``.
        """
        rows = {}
        for stage in self.stages:
            if all(self.folder.is_finished(stage, fold) for fold in range(self.profile.n_folds)):
                predictions = self.out_of_fold(stage)
                rows[f"model {stage}"] = {
                    f"lwlrap {name}": lwlrap(self.targets[name][known], predictions[name][known])
                    for name, known in self.sets.known.items()}
        return pd.DataFrame.from_dict(rows, "index", columns=["lwlrap noisy", "lwlrap curated"])

    def n_steps(self, stage):
        """Gradient steps of each fold of a stage.

        Parameters
        ----------
        stage : int

        Returns
        -------
        list of int
        """
        return [math.prod(schedule_of(self, stage, clips)) for clips in clips_of(self, stage)]


def run_together(*pipelines):
    """Train several networks: side by side on a Ray cluster, each going on as soon as its own stage is done.

    Parameters
    ----------
    *pipelines : WarmupPipeline
        In folders of their own. The first one's executor trains all.

    Returns
    -------
    list of pandas.DataFrame
        `WarmupPipeline.table` of each.

    Raises
    ------
    Exception
        As `WarmupPipeline.run_stage`.
    """
    train_stages({pipeline: list(pipeline.stages) for pipeline in pipelines})
    return [pipeline.table() for pipeline in pipelines]
