"""An ensemble of networks in memory, which predicts stores and listens to sounds of any length."""

import copy
import functools
import os
import sys
import threading
import time
import warnings

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from ..clips.audio import seconds_of
from ..clips.streams import is_given
from ..clips.tables import few
from ..images.excerpts import count_windows, pixels_on, to_images
from ..machine.checks import check_number
from ..machine.device import as_prepared, autocast_as_before, device_named, enough_memory, precision_named
from ..machine.files import as_path
from ..machine.numerics import USUAL, as_usual
from ..networks.tagger import fold_batchnorm
from ..networks.weights import find_weights, load_tagger, stage_and_fold
from .calibration import calibration_of, lines_beside
from .inference import TRIED, choose_precision, first_images, half_precision_pays, predict
from .listening import listen
from .paths import sounds_of

CHOOSING = threading.Lock()  # of any ensemble's precision: one of its own would keep an ensemble from being pickled


class Ensemble:
    """Networks that belong together, in memory and ready to predict. Make one with `load`.

    Several threads may use one. A process that is forked after tagging with two torch threads or more never answers, as
    torch's threads are not in it: load networks after the fork, or call ``torch.set_num_threads(1)`` before.

    Attributes
    ----------
    paths : list of path
        The networks' files.
    taggers : list of Tagger
        In evaluation mode, batch normalization folded into convolutions, all on `device`, in float32 or the precision
        that was asked for.
    quick : list of Tagger or None
        The same with the same weights in half precision, where that changes little, as they predict on a GPU, and many
        windows on a CPU that is made for it; None until they have.
    device : torch.device
    vocabulary : tuple of str
    mel : MelConfig
        How the images are made that all of them look at.
    calibration : Calibration or None
        What makes probabilities of what they say in sounds, where a ``calibration.json`` beside them knows it.
    """

    def __init__(self, paths, taggers, device, precision=None, lines=None):
        self.paths, self.taggers, self.device = list(paths), taggers, device
        self.vocabulary, self.mel = taggers[0].spec.vocabulary, taggers[0].spec.mel
        self.quick, self._precision = None, precision
        for tagger in taggers:
            tagger.precision = precision or torch.float32
        self._lines = lines_beside(self.paths) if lines is None else lines
        self.calibration = calibration_of(self.paths, [tagger.spec for tagger in self.taggers], self._lines)

    @classmethod
    def load(cls, weights="weights", device=None, precision=None, vocabulary=None):
        """Read networks.

        Parameters
        ----------
        weights : path or sequence of path
            A folder, for all networks in it and below of the stages that vote in their run, of the author's files
            models 2, 3 and 4; or network files (`load_tagger`), such as those of several seeds, or exports of any name.
        device : str or torch.device, optional
            A CUDA GPU if there is one, else the CPU.
        precision : str or torch.dtype, optional
            What to compute in, ``"float32"``, ``"bfloat16"`` or ``"float16"``. If not given, each network is tried in
            half precision on the first windows that come on a GPU, or on a CPU that is made for bfloat16 when 256
            windows or more are to be predicted, 3 minutes of sound, and goes on in it if its probabilities change by
            less than 0.001 in the mean (`choose_precision`); all else is in float32.
        vocabulary : sequence of str, optional
            The labels that the networks have to have, in order.

        Returns
        -------
        Ensemble

        Raises
        ------
        FileNotFoundError
            If there is no network.
        ValueError
            If a file is no network or is named as another one, networks differ in vocabulary or in how images are
            made, they are for other labels than `vocabulary`, or one counts twice: the same model of the same fold and
            seed, or the same weights. If a ``calibration.json`` beside them is damaged.
        """
        precision = precision_named(precision)
        weights = [weights] if isinstance(weights, (str, os.PathLike)) else list(weights)
        paths = [path for given in map(as_path, weights) for path in (
            find_weights(given) if _is_folder(given) else [given])]
        if not paths:
            raise ValueError(f"weights={weights}: expected at least one network")
        device, taggers = device_named(device), []
        for path in paths:
            tagger = fold_batchnorm(load_tagger(path))
            _check_that_it_belongs(path, tagger, paths, taggers)
            taggers.append(tagger)
        if vocabulary is not None and taggers[0].spec.vocabulary != tuple(vocabulary):
            differ = sorted(set(taggers[0].spec.vocabulary) ^ set(vocabulary)) or ["their order"]
            raise ValueError(f"{paths[0]} was trained on other labels than these (what differs: {few(differ)}); give "
                             "networks that were trained on the labels of this data set")
        return cls(paths, [tagger.to(device) for tagger in taggers], device, precision)

    def __repr__(self):
        kinds = pd.Series([tagger.spec.network for tagger in self.taggers]).value_counts(sort=False)
        networks = " and ".join(f"{count} of {kind}" for kind, count in kinds.items())
        calibrated = ", probabilities calibrated" if self.calibration else ""
        return f"Ensemble: networks {networks} for {len(self.vocabulary)} labels, on {self.device}{calibrated}"

    def select(self, chosen):
        """The ensemble of some of these networks, which both then share.

        Parameters
        ----------
        chosen : sequence of bool (networks,)

        Returns
        -------
        Ensemble

        Raises
        ------
        ValueError
            If `chosen` is not of that kind, or none is chosen.
        """
        chosen = np.asarray(chosen)
        if chosen.shape != (len(self.taggers),) or chosen.dtype != bool or not chosen.any():
            raise ValueError(f"chosen={chosen.tolist()}: expected True or False for each of {len(self.taggers)} "
                             "networks, and one True at least")
        numbers = np.flatnonzero(chosen)
        some = Ensemble([self.paths[n] for n in numbers], [self.taggers[n] for n in numbers], self.device,
                        self._precision, self._lines)
        some.quick = self.quick and [self.quick[n] for n in numbers]
        return some

    @np.errstate(**USUAL)
    def predict(self, store, batch_size=256, progress=True, budget=None):
        """Probabilities of each network over all clips of a store, one network after the other: raw, not calibrated.

        The store is put on the device once.

        Parameters
        ----------
        store : SpectrogramStore
        batch_size : int
        progress : bool
            Show a progress bar.
        budget : Budget, optional
            The progress bar shows its estimate.

        Returns
        -------
        numpy.ndarray, float32 (networks, clips, labels)
            The ensemble is its mean over the first axis, `ensemble_mean`.

        Raises
        ------
        ValueError
            If the networks were trained on images made otherwise than the store's, one gives what is not a number, or
            `batch_size` is not 1 or more.
        """
        check_number("batch_size", batch_size, 1, whole=True)
        if self.mel != store.config:
            raise ValueError(f"{self.paths[0]} was trained on images of {self.mel}, but the store's are of "
                             f"{store.config}; build the store with the network's settings")
        probabilities, before = [], time.monotonic()
        with as_prepared(self.device):
            pixels = pixels_on(self.device, store)
            taggers = self._for(lambda: count_windows(store.lengths, self.mel.excerpt_frames),
                                lambda: first_images(self.taggers[0], pixels, store.starts, store.lengths))
            with tqdm(range(len(self.taggers)), "networks", file=sys.stdout, disable=not progress) as bar:
                for number in bar:
                    probabilities.append(self._finite(taggers, number, lambda tagger: predict(
                        tagger, pixels, store.starts, store.lengths, batch_size)))
                    if budget:
                        left = (time.monotonic() - before) * (len(self.taggers) / len(probabilities) - 1)
                        bar.set_postfix_str(budget.estimate(left))
        return np.stack(probabilities)

    def listen(self, paths, batch_size=256, progress=False, raw=False):
        """Listen to sounds, one after the other, in memory that does not grow with how long or how many they are.

        What lasts at most 15 minutes is seen as the published system sees a clip; a longer sound in sections of 10
        minutes, each as a clip of its own (`sections`). Windows of all sections and sounds go through the networks at
        most `batch_size` at a time. Settings of this process are left as they are.

        Parameters
        ----------
        paths : path or sequence of path
            Files that libsndfile reads, or pipes (`clips.streams`).
        batch_size : int
        progress : bool or callable
            Show a progress bar on standard error, in seconds of sound, if it takes more than 2 s; or what to call after
            each batch and silent section with the seconds heard so far, and those of all sounds by their headers (0
            where these do not say). What it raises ends the listening.
        raw : bool
            Leave probabilities as the networks give them, where there is a `calibration` too.

        Yields
        ------
        Heard
            Of each sound, in order.

        Raises
        ------
        FileNotFoundError
            If a sound is missing, before any is read.
        ValueError
            If a network gives what is not a number, or `batch_size` is not 1 or more.
        """
        paths = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        check_number("batch_size", batch_size, 1, whole=True)
        for path in paths:
            if not is_given(as_path(path)):
                raise FileNotFoundError(f"{path} does not exist or is neither file nor pipe; give the path of a sound")
        count = functools.cache(lambda: sum(seconds_of(path) or 0.0 for path in paths) / self.mel.hop_seconds)
        yield from as_usual(listen(paths, functools.partial(self._look_at, count), self.mel, self.vocabulary,
                                   batch_size, progress, None if raw else self.calibration))

    def tag(self, paths, progress=False, raw=False):
        """The probability of each label in each sound.

        Parameters
        ----------
        paths, progress, raw
            As for `freesound_tagging.tag`, which is the same for networks that are not in memory.

        Returns
        -------
        pandas.DataFrame, float32
            A row a sound, a column a label.
        """
        paths = sounds_of(paths)
        if not paths:
            raise ValueError("no sounds: expected at least one file that libsndfile reads")
        rows, *said = zip(*((sound.probabilities, sound.problem, sound.remark)
                            for sound in self.listen(paths, progress=progress, raw=raw)))
        problems, remarks = (list(filter(None, sentences)) for sentences in said)
        if len(problems) == len(paths):
            raise ValueError(f"none of {len(paths)} sounds can be read: {'; '.join(problems)}")
        if problems:
            warnings.warn(f"{len(problems)} of {len(paths)} sounds cannot be read: {'; '.join(problems)}", stacklevel=2)
        if remarks:
            warnings.warn("; ".join(remarks), stacklevel=2)
        return pd.DataFrame(np.stack(rows), pd.Index([str(path) for path in paths], name="path"),
                            list(self.vocabulary))

    def timeline(self, path, progress=False, raw=False):
        """The probability of each label in each window of a sound: what is heard when.

        Parameters
        ----------
        path, progress, raw
            As for `freesound_tagging.timeline`, which is the same for networks that are not in memory.

        Returns
        -------
        pandas.DataFrame, float32
            A row a window, a column a label.
        """
        sound, = self.listen([path], progress=progress, raw=raw)
        if sound.problem:
            raise ValueError(sound.problem)
        if sound.remark:
            warnings.warn(sound.remark, stacklevel=2)
        return sound.timeline

    @autocast_as_before()
    @torch.inference_mode()
    def _look_at(self, count, excerpts):
        """Probabilities of some of `count()` windows: uint8 (batch, frames, mel bands) to float32 (networks, batch,
        labels).
        """
        with as_prepared(self.device), enough_memory(len(excerpts), self.device):
            images = to_images(torch.from_numpy(excerpts).to(self.device))
            taggers = self._for(count, lambda: images[:TRIED])
            return np.stack([self._finite(taggers, number, lambda tagger: torch.sigmoid(tagger(images)).cpu().numpy())
                             for number in range(len(taggers))])

    def _for(self, count, images):
        """The networks in the precision to predict `count()` windows in, tried once on what `images()` gives."""
        if self._precision or not half_precision_pays(self.device, count):
            return self.taggers
        with CHOOSING:
            if self.quick is None:
                images, quick = images(), [copy.copy(tagger) for tagger in self.taggers]  # which share their weights
                for tagger in quick:
                    choose_precision(tagger, images)
                self.quick = quick
            return self.quick

    def _finite(self, taggers, number, work):
        """What is computed with a network: in float32, if half precision gives what is not a number."""
        result = work(taggers[number])
        if taggers is self.quick and not np.isfinite(result).all():
            taggers[number] = self.taggers[number]
            result = work(taggers[number])
        if not np.isfinite(result).all():
            instead = "train this network again, or take its file away"
            if taggers[number].precision != torch.float32:
                instead = "leave precision out, or give float32"
            raise ValueError(f"{self.paths[number]} gives probabilities that are not numbers in "
                             f"{str(taggers[number].precision).removeprefix('torch.')}; {instead}")
        return result


def _check_that_it_belongs(path, tagger, paths, others):
    """Raise a ValueError if a network is not what it is named, or does not go with those before it."""
    spec = tagger.spec
    if (named := stage_and_fold(path)) and named != (spec.stage, spec.fold):
        raise ValueError(f"{path} is named as model {named[0]} of fold {named[1]} and is model {spec.stage} of "
                         f"fold {spec.fold}; name it as what it is, or put the right file there")
    for other, theirs in zip(paths, others):
        if spec.vocabulary != theirs.spec.vocabulary:
            raise ValueError(f"{path} has another vocabulary than {other}; an ensemble needs the same in all")
        if spec.mel != theirs.spec.mel:
            raise ValueError(f"{path} was trained on images of {spec.mel}, but {other} on images of {theirs.spec.mel}; "
                             "an ensemble needs the same in all")
        which = [(own.network, own.stage, own.fold, own.seed) for own in (spec, theirs.spec)]
        if None not in which[0] and which[0] == which[1]:
            raise ValueError(f"{path} and {other} are both model {spec.stage} of fold {spec.fold} and seed {spec.seed} "
                             f"of {spec.network}; delete one, so that it does not count twice")
        if _equal(tagger, theirs):
            raise ValueError(f"{path} and {other} have the same weights; delete one, so that it does not count twice")


def _equal(tagger, other):
    own, theirs = tagger.state_dict(), other.state_dict()
    return list(own) == list(theirs) and all(torch.equal(own[name], theirs[name]) for name in reversed(own))


def _is_folder(path):
    return os.path.isdir(path) or not (os.path.isfile(path) or os.path.splitext(path)[1] in (".safetensors", ".pkl"))
