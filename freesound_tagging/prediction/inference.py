"""From trained networks and a store to probabilities."""

import dataclasses
import sys
import time

import numpy as np
import torch
from tqdm import tqdm

from ..images.excerpts import HOP, gather, pixels_on, to_images, windows_of
from ..machine.device import autocast_as_before, device_named, enough_memory, inference_precision, prepare_device
from ..networks.tagger import fold_batchnorm
from ..networks.weights import load_tagger, read_spec, stage_and_fold

TOLERANCE = 1e-3  # the most that half precision may change a probability by, in the mean


@dataclasses.dataclass
class Budget:
    """The time that a run may take as a whole, counted from where this is made: Kaggle's hour.

    Parameters
    ----------
    minutes : float
    """

    minutes: float = 60
    started: float = dataclasses.field(default_factory=time.monotonic)

    def estimate(self, left=0.0):
        """How the whole run stands.

        Parameters
        ----------
        left : float
            Seconds that the rest will take.

        Returns
        -------
        str
            ``"41.3 of 60 min"``, ending in ``": too long"`` where it is.
        """
        minutes = (time.monotonic() - self.started + left) / 60
        return f"{minutes:.1f} of {self.minutes:.0f} min" + (": too long" if minutes > self.minutes else "")


@autocast_as_before()
@torch.inference_mode()
def predict(tagger, pixels, starts, lengths, batch_size=256, hop=HOP):
    """Probability of each label in each clip: the mean of the sigmoid outputs over the clip's windows.

    Parameters
    ----------
    tagger : Tagger
        On the device of `pixels`; used in evaluation mode and left as it was.
    pixels : torch.Tensor, uint8 (all frames, mel bands), or HostPixels
        See `pixels_on`.
    starts, lengths : array of int (clips,)
        The clips to predict, in frames of `pixels`.
    batch_size : int
        Windows at a time; a batch takes windows of as many clips as fill it.
    hop : int
        Frames from window to window.

    Returns
    -------
    numpy.ndarray, float32 (clips, labels)

    Raises
    ------
    OutOfMemory
        If a batch does not fit on the GPU.
    """
    frames, device = tagger.spec.mel.excerpt_frames, pixels.device
    first, clip = windows_of(starts, lengths, frames, hop)
    total = torch.zeros(len(starts), len(tagger.spec.vocabulary), device=device)
    first, clip = torch.as_tensor(first, device=device), torch.as_tensor(clip, device=device)
    was_training = tagger.training
    tagger.eval()
    with enough_memory(batch_size):
        for batch in range(0, len(first), batch_size):
            now = slice(batch, batch + batch_size)
            images = to_images(gather(pixels, first[now], frames))
            total.index_add_(0, clip[now], torch.sigmoid(tagger(images)))
    tagger.train(was_training)
    return (total / torch.bincount(clip, minlength=len(starts))[:, None]).cpu().numpy()


@torch.inference_mode()
def for_prediction(tagger, pixels, starts, lengths, precision=None):
    """Make a network ready to predict: batch normalization folded into convolutions, in the precision that is best.

    Parameters
    ----------
    tagger : Tagger
        On the device of `pixels`; changed in place, and cannot be trained any further.
    pixels, starts, lengths
        As for `predict`: the clips on whose first windows the device's `inference_precision` is tried.
    precision : torch.dtype, optional
        What to compute in. If not given, `inference_precision` of the device where it changes the probabilities by
        less than `TOLERANCE` in the mean, else float32.

    Returns
    -------
    Tagger
        `tagger`, in evaluation mode.
    """
    tagger, quick, n_windows = fold_batchnorm(tagger.eval()), inference_precision(pixels.device), 64
    tagger.precision = torch.float32
    if precision is None and quick != torch.float32:
        frames = tagger.spec.mel.excerpt_frames
        first, _ = windows_of(starts[:n_windows], lengths[:n_windows], frames)
        images = to_images(gather(pixels, torch.as_tensor(first[:n_windows], device=pixels.device), frames))
        exact = torch.sigmoid(tagger(images))
        tagger.precision = quick
        change = (torch.sigmoid(tagger(images)) - exact).abs().mean()
        precision = quick if change < TOLERANCE else torch.float32
    tagger.precision = precision or torch.float32
    return tagger


def predict_ensemble(weights, store, device="cpu", batch_size=256, precision=None, progress=True, each_window=False,
                     budget=None):
    """Probabilities of each network over all clips of a store, one network after the other.

    The store is put on the device once. Each network's batch normalization is folded into its convolutions.

    Parameters
    ----------
    weights : sequence of path
        Files for `load_tagger`; at least one.
    store : SpectrogramStore
    device : str or torch.device
    batch_size : int
    precision : torch.dtype, optional
        As for `for_prediction`.
    progress : bool
        Show a progress bar.
    each_window : bool
        Give the probabilities of each window (`windows_of`) in place of their means over the clips.
    budget : Budget, optional
        The progress bar shows its estimate.

    Returns
    -------
    numpy.ndarray, float32 (networks, clips or windows, labels)
        The ensemble is its mean over the first axis, `ensemble_mean`.

    Raises
    ------
    ValueError
        If there are no networks or they differ in vocabulary, were trained on images made otherwise than the store's,
        two are the same model of the same fold, or one gives what is not a number.
    """
    if not len(weights):
        raise ValueError("no networks: expected at least one file of weights")
    specs, seen = [read_spec(path) for path in weights], {}
    for path, spec in zip(weights, specs):
        if (named := stage_and_fold(path)) and named != (spec.stage, spec.fold):
            raise ValueError(f"{path} is named as model {named[0]} of fold {named[1]} and is model {spec.stage} of "
                             f"fold {spec.fold}; name it as what it is, or put the right file there")
        if spec.vocabulary != specs[0].vocabulary:
            raise ValueError(f"{path} has another vocabulary than {weights[0]}; an ensemble needs the same in all")
        which = f"model {spec.stage} of fold {spec.fold} of {spec.architecture}"
        if which in seen:
            raise ValueError(f"{path} and {seen[which]} are both {which}; delete one, so that it does not count twice")
        seen[which] = path
        if spec.mel != store.config:
            raise ValueError(f"{path} was trained on images of {spec.mel}, but the store's are of {store.config}; "
                             "build the store with the network's settings")
    device = device_named(device)
    prepare_device(device)
    pixels, probabilities = pixels_on(device, store), []
    starts, lengths, frames = store.starts, store.lengths, store.config.excerpt_frames
    if each_window:  # each is a clip of its own
        starts, _ = windows_of(starts, lengths, frames)
        lengths = np.full(len(starts), frames)
    before = time.monotonic()
    with tqdm(weights, "networks", file=sys.stdout, disable=not progress) as bar:
        for path in bar:
            tagger = for_prediction(load_tagger(path, device), pixels, store.starts, store.lengths, precision)
            probabilities.append(predict(tagger, pixels, starts, lengths, batch_size))
            if not np.isfinite(probabilities[-1]).all() and tagger.precision != torch.float32 and not precision:
                tagger.precision = torch.float32
                probabilities[-1] = predict(tagger, pixels, starts, lengths, batch_size)
            if not np.isfinite(probabilities[-1]).all():
                raise ValueError(f"{path} gives probabilities that are not numbers; train this network again, or take "
                                 "its file away")
            if budget:
                left = (time.monotonic() - before) * (len(weights) / len(probabilities) - 1)
                bar.set_postfix_str(budget.estimate(left))
    return np.stack(probabilities)


def ensemble_mean(probabilities):
    """Mean over networks.

    Parameters
    ----------
    probabilities : array (networks, clips, labels)

    Returns
    -------
    numpy.ndarray, float32 (clips, labels)
    """
    return np.mean(probabilities, axis=0, dtype=np.float64).astype(np.float32)
