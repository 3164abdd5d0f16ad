"""The warm-up pipeline: trains stage by stage, each on the folds' clips and on what the stage before has learned."""

import dataclasses
import functools
import hashlib
import math
import operator

import numpy as np
import pandas as pd
import torch

from ..lwlrap import clip_lwlrap, lwlrap
from ..machine.device import device_named
from ..machine.executors import executor_of
from ..machine.files import as_path
from ..networks.check import check_network
from ..networks.models import FIRST_WEIGHTS, PUBLISHED_NETWORKS, find
from ..networks.tagger import NetworkSpec
from ..prediction.inference import ensemble_mean
from .card import write_card
from .fold import FoldTraining, check_compiled, train_fold
from .functions import code_of, imported_code, name_of
from .held_out import deal_folds
from .pool import SharedClips
from .queue import SessionBudget, train_runs
from .runfolder import RunFolder
from .stages import batch_size_for, select_noisy
from .voters import who_votes


class WarmupPipeline:
    """Train a network by the stages of a profile over all folds, and keep all that was computed.

    Each finished fold of a stage leaves its weights in `weights`, and in `work` its history and its predictions of the
    clips that the fold holds out. Running again, or running on after an interruption, trains only what is not there;
    another process that runs the same trains beside this one.

    Parameters
    ----------
    clips : Clips
        All that its stages train on, by sets.
    store : SpectrogramStore
        Their images, as the profile's `mel` makes them.
    profile : Profile
    work, weights : path
        Folders for this run; made if need be.
    seed : int
        Decides folds, first weights, excerpts and augmentation. On one CPU the same seed gives the same weights.
    device : str or torch.device, optional
        A CUDA GPU if there is one, else the CPU; with "processes" the CPU, with Ray what the executor's folds get.
    progress : bool
        Show a progress bar.
    compiled : bool
        Train through `torch.compile`, which takes a C++ compiler. On a CPU that trains in float32 some networks gain
        by it (docs/speed.md); compiled bfloat16 gives NaN there (torch 2.15). On a GPU nobody has measured whether it
        pays (``make bench``).
    tensorboard : path, optional
        A folder of this run's own for logs that TensorBoard shows, a run a stage and fold.
    executor : {"auto", "in-process", "processes", "ray"} or RayExecutor
        Where folds are trained: in this process one after the other, side by side in processes that share the cores,
        or over the GPUs and machines of a Ray cluster (see `machine.RayExecutor`). "auto" is "processes" on a CPU, a
        process a GPU where there are several and `device` names none, and "in-process" on one GPU. What comes of it is
        kept here, and is the same for the same number of torch's threads.
    test : sequence of path
        The test clips, if there are any: training clips that are among them, or there more than once themselves, are
        named in a warning. Clips that are the same, a noisy and a curated one too, are held out by the same fold.
    trained_targets : array (clips, labels), optional
        What is trained on in place of the clips' own labels, in [0, 1], such as soft ones; the own labels still count
        for folds, selection, validation and scores.
    change : callable, optional
        Given the fastai Learner of each fold before it trains, to change it: a callback, another optimizer.
    earlier : sequence of (path, path)
        What earlier sessions have left of this run, its folders `work` and `weights`, which may be read-only: what is
        finished there is copied.

    Raises
    ------
    ValueError
        If `work` or one of `earlier` holds a run of other data or settings, or `weights` networks of another run.
        The message says what differs. If clips, store and profile do not fit each other, or the network fails in a
        training step or a prediction (`check_network`).
    """

    def __init__(self, clips, store, profile, work, weights, seed=0, device=None, progress=True, compiled=False,
                 tensorboard=None, executor="auto", test=(), trained_targets=None, change=None, earlier=()):
        _check_fit(clips, store, profile)
        self.start = profile.begins_with()
        self.clips, self.store, self.targets = clips, store, clips.sounding(store.spans)
        if profile.batch_size is None:
            counts = [sum(int(clips.is_of(name).sum()) for name in config.trains_on) for config in profile.stages]
            profile = dataclasses.replace(
                profile, batch_size=batch_size_for(min(counts) * (profile.n_folds - 1) // profile.n_folds))
        self.profile, self.stages = profile, {config.stage: config for config in profile.stages}
        self.work, self.weights, self.seed = as_path(work), as_path(weights), operator.index(seed)
        self.executor = executor_of(executor, profile.n_folds, device_named(device) if executor == "auto" else None)
        theirs = self.executor.device()
        self.device = torch.device(device or theirs) if theirs else device_named(device)
        if theirs is not None and theirs != self.device.type:
            raise ValueError(f"device={str(device)!r}, and the executor's folds get {theirs!r}: leave device out, or "
                             "give RayExecutor(num_gpus=0) for a CPU and num_gpus=1 for a GPU")
        if compiled:
            check_compiled(self.device)
        self.compiled, self.progress, self.tensorboard, self.change = compiled, progress, tensorboard, change
        self._code = imported_code([*profile.augmentation, change, find(profile.network)])
        self._selected = {}  # what finished folds have selected for each stage
        self.known = np.array([clip not in store.problems for clip in range(len(store))])
        self.folds, twins = deal_folds(clips, store, profile.n_folds, self.seed, test)
        if trained_targets is None:
            self.shared = SharedClips(store, self.targets)
        else:
            _check_targets(trained_targets, self.targets.shape)
            self.shared = SharedClips(store, trained_targets, self.targets)
        self.folder = RunFolder(self.work, self.weights, {
            "first weights": FIRST_WEIGHTS, "seed": self.seed, "vocabulary": clips.vocabulary,
            "clips and labels": self.shared.identity, "folds": hashlib.sha256(self.folds.tobytes()).hexdigest()[:16],
            **({"held out together": twins} if twins else {}),
            **({"change": [name_of(change), code_of(change)]} if change else {}), **profile.described()},
            profile.text, earlier)
        if profile.network not in PUBLISHED_NETWORKS and self.unfinished():
            check_network(self._spec(1, 0))

    def __repr__(self):
        profile = self.profile
        begins = f", {self.start.taken(self.clips.vocabulary)}" if self.start else ""
        return (f"{profile.network}: {profile.n_folds} folds, {len(profile.stages)} stages, batches of "
                f"{profile.batch_size}, on {self.device.type}, {self.executor}{begins}")

    def run(self, hours=None):
        """Train all stages in order.

        Parameters
        ----------
        hours : float, optional
            No fold is begun that, by those before, would not be finished then: running again goes on.

        Returns
        -------
        pandas.DataFrame
            `table`.
        """
        return run_together(self, hours=hours)[0]

    def run_stage(self, stage, budget=None):
        """Train one stage, every fold that is not finished yet.

        Parameters
        ----------
        stage : int
            The stages that it builds on have to be finished.
        budget : SessionBudget, optional
            The same for all stages, so that each knows how long a fold took before.

        Returns
        -------
        list of dict of str to numpy.ndarray, or None
            `history`; None if the time was up before.

        Raises
        ------
        RuntimeError
            If a stage that it builds on is not finished.
        ValueError
            If the profile has no such stage.
        FloatingPointError, OutOfMemory
            If a loss is not finite or the GPU has too little memory. Finished folds are kept.
        """
        return self.history(stage) if train_runs({self: [stage]}, budget) else None

    def unfinished(self, stages=None):
        """The folds of stages, all if not given, that are not finished: list of (stage, fold), in order."""
        return [(stage, fold) for stage in stages or self.stages for fold in range(self.profile.n_folds)
                if not self.folder.is_finished(stage, fold)]

    def finished(self):
        """The stages of which every fold is finished: list of int."""
        return [stage for stage in self.stages if not self.unfinished([stage])]

    def todo(self, stages=None):
        """Those of `unfinished` that can be trained now, as all that they build on is finished."""
        return [(stage, fold) for stage, fold in self.unfinished(stages)
                if all(self.folder.is_finished(*other) for other in self._inputs(stage, fold))]

    def check_ready(self, stage, fold):
        """Raise RuntimeError if something that a fold builds on is not finished."""
        for other in sorted(self._inputs(stage, fold)):
            self.folder.check_finished(*other)

    def _inputs(self, stage, fold):
        """The folds that a fold of a stage builds on: that which it starts from, all of the stages that select."""
        if stage not in self.stages:
            raise ValueError(f"stage={stage!r}: expected one of the profile's, {', '.join(map(str, self.stages))}")
        config = self.stages[stage]
        if config.starts_from is not None:
            yield config.starts_from, fold
        for earlier in config.scored_by:
            for other in range(self.profile.n_folds):
                yield earlier, other

    def trained_on(self, stage):
        """The clips that a stage trains on, each but in the fold that holds it out: bool (clips,)."""
        config = self.stages[stage]
        of_sets = np.logical_or.reduce([self.clips.is_of(name) for name in config.trains_on])
        return self.known & (of_sets | self.selected(stage) if config.selects_from else of_sets)

    def training_clips(self, stage, fold):
        """What a fold trains on in a stage, never a clip that it holds out: numbers of clips, int64."""
        return np.flatnonzero(self.trained_on(stage) & (self.folds != fold))

    def selected(self, stage):
        """The clips that a stage selects, over all folds.

        Parameters
        ----------
        stage : int
            A stage that trains on selected clips; those that score for it have to be finished.

        Returns
        -------
        numpy.ndarray, bool (clips,)
        """
        if stage not in self._selected:
            self._selected[stage] = self._select(stage)
        return self._selected[stage].copy()

    def _select(self, stage):
        config, chosen = self.stages[stage], np.zeros(len(self.clips), bool)
        of = self.clips.is_of(config.selects_from)
        scores = [clip_lwlrap(self.targets[of], self.out_of_fold(earlier)[of]) for earlier in config.scored_by]
        chosen[of] = select_noisy(np.stack(scores) * self.known[of], self.targets[of], self.folds[of],
                                  config.threshold, config.cap)
        return chosen & self.known

    def n_steps(self, stage):
        """Gradient steps of each fold of a stage: list of int."""
        return [math.prod(self._schedule(stage, fold)) for fold in range(self.profile.n_folds)]

    def _schedule(self, stage, fold):
        return self.stages[stage].schedule(len(self.training_clips(stage, fold)), self.profile.batch_size)

    def training(self, stage, fold):
        """How a fold of a stage is trained.

        Returns
        -------
        FoldTraining
            Can be sent to any process.
        """
        config, profile = self.stages[stage], self.profile
        epochs, steps = self._schedule(stage, fold)
        spec, start = self._spec(stage, fold), None
        if config.starts_from is not None:
            start = self.folder.start(dataclasses.replace(spec, stage=config.starts_from))
        elif self.start:
            start = self.start.of(fold)
        validated = self.clips.is_of(config.trains_on[0]) & self.known & (self.folds == fold)
        return FoldTraining(
            spec, start, self.training_clips(stage, fold), np.flatnonzero(validated), self._held_out(fold),
            profile.batch_size, epochs, steps, config.lr, profile.weight_decay, profile.augmentation,
            seed=int(np.random.SeedSequence((self.seed, stage, fold)).generate_state(1)[0]),
            device=self.device, compiled=self.compiled, change=self.change, code=self._code)

    def _spec(self, stage, fold):
        profile, theirs = self.profile, self.start and self.start.of(fold).spec
        normalization = (theirs.mean, theirs.std) if theirs else self.normalization
        return NetworkSpec(profile.network, profile.options, self.clips.vocabulary, profile.mel, *normalization,
                           stage, fold, self.seed, self.voting)

    def _held_out(self, fold):
        """The clips that a fold holds out, set by set."""
        return tuple(np.flatnonzero(self.clips.is_of(name) & (self.folds == fold)) for name in self.clips.sets)

    @functools.cached_property
    def normalization(self):
        """Mean and standard deviation of all pixels in [0, 1], each the same for the three channels."""
        counts, values = self.store.histogram(), np.arange(256) / 255
        mean = np.average(values, weights=counts)
        std = np.sqrt(np.average((values - mean) ** 2, weights=counts))
        return (float(mean),) * 3, (float(std),) * 3

    def out_of_fold(self, stage):
        """Predictions of each clip by the network of the fold that holds it out.

        Parameters
        ----------
        stage : int

        Returns
        -------
        numpy.ndarray, float32 (clips, labels)

        Raises
        ------
        RuntimeError
            If a fold of the stage is not finished.
        """
        predictions = np.empty(self.targets.shape, np.float32)
        for fold in range(self.profile.n_folds):
            predictions[np.concatenate(self._held_out(fold))] = self.folder.record(stage, fold)["held_out"]
        return predictions

    @property
    def voting(self):
        """The stages whose models are the ensemble: tuple of int."""
        return tuple(config.stage for config in self.profile.stages if config.votes)

    def trusted_clips(self):
        """Those of the set whose labels count (`Profile.trusted`) that could be read: numpy.ndarray, bool (clips,)."""
        return self.clips.is_of(self.profile.trusted) & self.known

    def ensemble_out_of_fold(self):
        """`out_of_fold` of the ensemble: the mean of the stages that vote, float32 (clips, labels)."""
        return ensemble_mean([self.out_of_fold(stage) for stage in self.voting])

    def history(self, stage):
        """How a stage's trainings went.

        Parameters
        ----------
        stage : int

        Returns
        -------
        list of dict of str to numpy.ndarray
            A fold each: `loss` of every step; `lwlrap` of every epoch, on the middle excerpts of the clips held out
            of the first set that the stage trains on.
        """
        return [{name: self.folder.record(stage, fold)[name] for name in ("loss", "lwlrap")}
                for fold in range(self.profile.n_folds)]

    def table(self):
        """Cross-validated lwlrap of each stage's model, in the form of the published Table 2, and of the ensemble.

        Returns
        -------
        pandas.DataFrame
            Rows ``model 1``, ``model 2``, ... as far as finished, and ``ensemble``, the mean of the models that vote,
            if these are several and finished; a column ``lwlrap <set>`` for each set, in the order in which stages use
            them, of the clips that could be read.
        """
        finished = self.finished()
        predictions = {f"model {stage}": self.out_of_fold(stage) for stage in finished}
        if len(self.voting) > 1 and set(self.voting) <= set(finished):
            predictions["ensemble"] = self.ensemble_out_of_fold()
        sets = list(dict.fromkeys([*self.profile.sets, *self.clips.sets]))
        which = {name: self.clips.is_of(name) & self.known for name in sets}
        rows = {model: {f"lwlrap {name}": lwlrap(self.targets[mine], of_all[mine]) for name, mine in which.items()}
                for model, of_all in predictions.items()}
        return pd.DataFrame.from_dict(rows, "index", columns=[f"lwlrap {name}" for name in sets])

    def who_votes(self):
        """A sentence, where another choice of stages to vote would do better by more than chance; else empty (str)."""
        return who_votes(self)

    def report(self):
        """`table` and `who_votes` as text, and which stages have selected nothing: str."""
        nothing = [f"Stage {stage} has selected no {config.selects_from} clip, as the models agree with none by its "
                   f"threshold of {config.threshold:g}." for stage, config in self.stages.items()
                   if config.selects_from and stage in self.finished() and not self.selected(stage).any()]
        table = self.table().round(5).to_string() if self.finished() else "no stage is finished yet"
        return "\n".join([table, *nothing, *filter(None, [self.who_votes()])])

    def write_card(self):
        """Once all folds are finished: say beside the networks what they are (`card`), and keep their calibration."""
        if not self.unfinished():
            write_card(self)


def run_together(*pipelines, hours=None, budget=None, train=train_fold):
    """Train several networks: side by side on a Ray cluster, each going on as soon as its own stage is done.

    Parameters
    ----------
    *pipelines : WarmupPipeline
        In folders of their own. The first one's executor trains all.
    hours : float, optional
        No fold is begun that, by those before, would not be finished then.
    budget : SessionBudget, optional
        In place of `hours`, where these began before.
    train : callable
        What trains a fold, in place of `train_fold`.

    Returns
    -------
    list of pandas.DataFrame
        `WarmupPipeline.table` of each.

    Raises
    ------
    Exception
        As `WarmupPipeline.run_stage`.
    """
    train_runs({pipeline: list(pipeline.stages) for pipeline in pipelines}, budget or SessionBudget(hours), train)
    for pipeline in pipelines:
        pipeline.write_card()
    return [pipeline.table() for pipeline in pipelines]


def _check_targets(targets, shape):
    """Refuse what is no target of each clip and label."""
    if np.shape(targets) != shape:
        raise ValueError(f"trained_targets of shape {np.shape(targets)}: expected (clips, labels), {shape}")
    if not ((np.asarray(targets) >= 0) & (np.asarray(targets) <= 1)).all():
        raise ValueError("trained_targets: expected numbers in [0, 1]")


def _check_fit(clips, store, profile):
    """Refuse clips, images and settings that are not of each other."""
    fnames = [path.name for path in clips.paths]
    if store.fnames != fnames:
        raise ValueError(f"a store of {len(store)} clips in {store.folder} is not of these {len(fnames)}: expected "
                         "that of SpectrogramStore.build(clips.paths, ...)")
    if (clips.spans is None) != (store.spans is None):
        raise ValueError(f"the store in {store.folder} has {'not ' * (store.spans is None)}been cut at the clips' "
                         "times: expected SpectrogramStore.build(clips.paths, ..., spans=clips.spans)")
    if store.config != profile.mel:
        differ = [f"{name} is {value!r} and the profile has {getattr(profile.mel, name)!r}"
                  for name, value in vars(store.config).items() if value != getattr(profile.mel, name)]
        raise ValueError(f"the images in {store.folder} were made otherwise: {'; '.join(differ)}. Build the store with "
                         "the profile's mel")
    lacking = [name for name in profile.sets if not clips.is_of(name).any()]
    if lacking:
        raise ValueError(f"no {' and no '.join(lacking)} clips, and the profile's stages train on them: there are "
                         f"{', '.join(clips.sets) or 'none'}")
