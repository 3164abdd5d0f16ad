"""From trained networks and a store to probabilities."""

import dataclasses
import time

import numpy as np
import torch

from ..images.excerpts import HostPixels, count_windows, gather, images_of, to_images, windows_of
from ..machine.device import autocast_as_before, enough_memory, inference_precision
from ..networks.tagger import fold_batchnorm

TOLERANCE = 1e-3  # the most that half precision may change a probability by, in the mean
TRIED = 64  # windows on which that is tried
PAYS_FROM = 256  # windows that a CPU has to predict before it tries: the trial takes it as long as some hundred


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
def predict(tagger, pixels, starts, lengths, batch_size=256):
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

    Returns
    -------
    numpy.ndarray, float32 (clips, labels)

    Raises
    ------
    OutOfMemory
        If a batch does not fit on the GPU.
    """
    frames, device = tagger.spec.mel.excerpt_frames, pixels.device
    first, clip = windows_of(starts, lengths, frames)
    total = torch.zeros(len(starts), len(tagger.spec.vocabulary), dtype=torch.float32, device=device)
    count = torch.as_tensor(np.bincount(clip, minlength=len(starts)), device=device)
    on_host = isinstance(pixels, HostPixels)
    first, clip = torch.as_tensor(first, device="cpu" if on_host else device), torch.as_tensor(clip, device=device)
    was_training = tagger.training
    tagger.eval()
    with enough_memory(batch_size, device):
        for images, now in zip(images_of(pixels, first.split(batch_size), frames), clip.split(batch_size)):
            total.index_add_(0, now, torch.sigmoid(tagger(images)))
    tagger.train(was_training)
    return (total / count[:, None]).cpu().numpy()


def for_prediction(tagger, pixels, starts, lengths, precision=None):
    """Make a network ready to predict: batch normalization folded into convolutions, in the precision that is best.

    Parameters
    ----------
    tagger : Tagger
        On the device of `pixels`; changed in place, and cannot be trained any further.
    pixels, starts, lengths
        As for `predict`: the clips on whose first windows `choose_precision` tries the network.
    precision : torch.dtype, optional
        What to compute in; if not given, what `choose_precision` finds where `half_precision_pays`, else float32.

    Returns
    -------
    Tagger
        `tagger`, in evaluation mode.
    """
    device, frames = fold_batchnorm(tagger.eval()).mean.device, tagger.spec.mel.excerpt_frames
    tagger.precision = precision or torch.float32
    if precision is None and half_precision_pays(device, lambda: count_windows(lengths, frames)):
        choose_precision(tagger, first_images(tagger, pixels, starts, lengths))
    return tagger


def first_images(tagger, pixels, starts, lengths):
    """The first windows of clips.

    Parameters
    ----------
    tagger : Tagger
    pixels, starts, lengths
        As for `predict`.

    Returns
    -------
    torch.Tensor, float32 (at most `TRIED`, 1, mel bands, frames)
    """
    frames = tagger.spec.mel.excerpt_frames
    first, _ = windows_of(starts[:TRIED], lengths[:TRIED], frames)
    return to_images(gather(pixels, torch.as_tensor(first[:TRIED], device=pixels.device), frames))


def half_precision_pays(device, count):
    """Whether half precision is to be tried on a device.

    Parameters
    ----------
    device : torch.device
    count : callable
        Says how many windows are to be predicted, which is asked on a CPU that is made for half precision.

    Returns
    -------
    bool
        On such a CPU from `PAYS_FROM` windows on, on a GPU always.
    """
    if inference_precision(device) == torch.float32:
        return False
    return device.type != "cpu" or count() >= PAYS_FROM


@torch.inference_mode()
def choose_precision(tagger, images):
    """Have a network predict in the `inference_precision` of its device if that changes little, else in float32.

    Parameters
    ----------
    tagger : Tagger
        In evaluation mode.
    images : torch.Tensor, float32 (batch, 1, mel bands, frames)
        On its device: it is tried on these, and its probabilities may change by less than `TOLERANCE` in the mean.
    """
    tagger.precision = torch.float32
    exact = torch.sigmoid(tagger(images))
    tagger.precision = quick = inference_precision(tagger.mean.device)
    change = (torch.sigmoid(tagger(images)) - exact).abs().mean()
    tagger.precision = quick if change < TOLERANCE else torch.float32


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
