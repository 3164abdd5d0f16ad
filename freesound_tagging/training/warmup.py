"""The warm-up pipeline: trains stage by stage, each on the folds' clips and on what the stage before has learned."""

import dataclasses
import functools
import math
import os
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ..augment import PUBLISHED, compose, name_of
from ..clips.audio import digest_of
from ..clips.dataset import stratified_folds
from ..clips.twins import find_twins, name_twins
from ..lwlrap import clip_lwlrap, lwlrap
from ..machine.device import device_named
from ..machine.executors import executor_of
from ..networks.tagger import NetworkSpec
from .fold import FoldTraining, SharedClips
from .runfolder import RunFolder
from .stages import (  # noqa: F401 (all of them are looked for here)
    PROFILES,
    Profile,
    StageConfig,
    batch_size_for,
    published_stages,
    select_noisy,
)
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
        A CUDA GPU if there is one, else the CPU; with Ray what the executor's folds get.
    augmentation : sequence of callable
        Functions of `augment`, in order.
    progress : bool
        Show a progress bar a stage.
    compiled : bool
        Train through `torch.compile`, on a GPU. Off until a GPU's figures show that it pays (``make bench``); on CPUs
        it gains a few percent in float32, but compiled bfloat16, which is faster, gives NaN (torch 2.15).
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
        self.stores = {name: sets[name][0] for name in ("curated", "noisy")}
        self.targets = {name: np.asarray(sets[name][1]) for name in ("curated", "noisy")}
        for name, store in self.stores.items():
            if self.targets[name].shape != (len(store), len(vocabulary)):
                raise ValueError(f"{name}: targets of shape {self.targets[name].shape} for {len(store)} clips and "
                                 f"{len(vocabulary)} labels; give the label matrix of the store's clips")
        if profile.batch_size is None:
            n_trained = len(self.stores["curated"]) * (profile.n_folds - 1) // profile.n_folds
            profile = dataclasses.replace(profile, batch_size=batch_size_for(n_trained))
        self.vocabulary, self.architecture, self.profile = tuple(vocabulary), architecture, profile
        self.work, self.weights, self.seed = Path(work), Path(weights), seed
        self.known = {name: np.array([clip not in store.problems for clip in range(len(store))])
                      for name, store in self.stores.items()}  # bool (clips,): could be read
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
        self.folds = {name: stratified_folds(targets, profile.n_folds, seed) for name, targets in self.targets.items()}
        twins = self._hold_out_together(test)
        self.clips = SharedClips(self.stores.values(), self.targets.values())
        self._folder = RunFolder(self.work, self.weights, {
            "architecture": architecture, "seed": seed, "vocabulary": self.vocabulary,
            "clips and labels": self.clips.identity, **({"held out together": twins} if twins else {}),
            "augmentation": [name_of(step) for step in augmentation],
            **{f"MelConfig.{k}": v for k, v in dataclasses.asdict(self.stores["curated"].config).items()},
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
        return self._plan(stage)[fold]

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
        return select_noisy(np.stack(scores) * self.known["noisy"], self.targets["noisy"], self.folds["noisy"],
                            config.threshold, config.cap) & self.known["noisy"]

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
            record = self._folder.record(stage, fold)
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
        return [{name: self._folder.record(stage, fold)[name] for name in ("loss", "lwlrap")}
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
            if all(self._folder.is_finished(stage, fold) for fold in range(self.profile.n_folds)):
                predictions = self.out_of_fold(stage)
                rows[f"model {stage}"] = {
                    f"lwlrap {name}": lwlrap(self.targets[name][known], predictions[name][known])
                    for name, known in self.known.items()}
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
        return [self._steps(stage, clips) for clips in self._plan(stage)]

    def _hold_out_together(self, test):
        """Give clips that are the same one fold. Returns the number of groups of them."""
        sets = {name: [(file["fname"], file["digest"] if known else "")
                       for file, known in zip(store.files, self.known[name])] for name, store in self.stores.items()}
        sizes = {file["stat"][0] for store in self.stores.values() for file in store.files}
        # Of test clips only those that can be the same are read.
        sets["test"] = [(os.path.basename(path), digest_of(path) if os.path.getsize(path) in sizes else "")
                        for path in test if os.path.isfile(path)]
        groups = find_twins(sets)
        if groups:
            tested = any(len({name for name, _ in group} - {"test"}) < len({name for name, _ in group}) > 1
                         for group in groups)
            warnings.warn(name_twins(groups, sets) + ". Those to train on are held out by the same fold" + (
                "; a score on test clips that are trained on says nothing: delete them from one of the tables"
                if tested else ""), stacklevel=3)
        groups = [[clip for clip in group if clip[0] != "test"] for group in groups]
        for (leader, number), *others in filter(None, groups):
            for name, other in others:
                self.folds[name][other] = self.folds[leader][number]
        return sum(len(group) > 1 for group in groups)

    def _plan(self, stage):
        """`training_clips` of every fold, the selection made once."""
        config = self.stages[stage]
        wanted = {"curated": self.known["curated"] & config.curated,
                  "noisy": self.known["noisy"] & (config.noisy == "all")}
        if config.noisy == "selected":
            wanted["noisy"] = self.selected(stage)
        return [{name: np.flatnonzero(wanted[name] & (self.folds[name] != fold)) for name in wanted}
                for fold in range(self.profile.n_folds)]

    def _schedule(self, stage, clips):
        return self.stages[stage].schedule(sum(map(len, clips.values())), self.profile.batch_size)

    def _steps(self, stage, clips):
        return math.prod(self._schedule(stage, clips))

    def trainings(self, stage):
        """What a stage has to train.

        Parameters
        ----------
        stage : int

        Returns
        -------
        list of (int, FoldTraining or None)
            Of each fold: its gradient steps, and how it is trained; None if it is finished.
        """
        return [(self._steps(stage, clips),
                 None if self._folder.is_finished(stage, fold) else self._training(stage, fold, clips))
                for fold, clips in enumerate(self._plan(stage))]

    def keep(self, training, tagger, record, logs=()):
        """Write what came of a training: the fold is then finished.

        Parameters
        ----------
        training : FoldTraining
        tagger, record, logs
            What `folds.train_fold` or `folds.train_fold_away` returned.
        """
        for name in logs:
            training.tensorboard.mkdir(parents=True, exist_ok=True)
            (training.tensorboard / name).write_bytes(logs[name])
        self._folder.save(tagger, **record)

    def only_trainer(self):
        """A context in which no other process trains in this run's folder."""
        return self._folder.only_trainer()

    def _training(self, stage, fold, clips):
        config = self.stages[stage]
        offset = {"curated": 0, "noisy": len(self.stores["curated"])}  # of a set's first clip in `self.clips`
        validated = "curated" if config.curated else "noisy"
        epochs, steps = self._schedule(stage, clips)
        spec = NetworkSpec(self.architecture, self.profile.width, self.vocabulary, self.stores["curated"].config,
                           *self._normalization, stage, fold)
        start = None
        if config.starts_from is not None:
            start = self._folder.tagger(dataclasses.replace(spec, stage=config.starts_from)).state_dict()
        return FoldTraining(
            spec, start,
            trained=np.concatenate([clips[name] + offset[name] for name in offset]),
            validated=np.flatnonzero((self.folds[validated] == fold) & self.known[validated]) + offset[validated],
            held_out={name: np.flatnonzero(self.folds[name] == fold) + offset[name] for name in offset},
            batch_size=self.profile.batch_size, epochs=epochs, steps=steps, lr=config.lr,
            augmentation=self.augmentation,
            seed=int(np.random.SeedSequence((self.seed, stage, fold)).generate_state(1)[0]),
            device=self.device, compiled=self.compiled,
            tensorboard=self.tensorboard and Path(self.tensorboard) / f"stage-{stage}_fold-{fold}")

    @functools.cached_property
    def _normalization(self):
        """Mean and standard deviation of all training pixels, the same for the three channels."""
        counts = sum(store.histogram() for store in self.stores.values())
        values = np.arange(256) / 255
        mean = np.average(values, weights=counts)
        std = np.sqrt(np.average((values - mean) ** 2, weights=counts))
        return (float(mean),) * 3, (float(std),) * 3


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
