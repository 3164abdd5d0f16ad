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
        As for `choose_precision`.

    Returns
    -------
    Tagger
        `tagger`, in evaluation mode.
    """
    choose_precision(fold_batchnorm(tagger.eval()), lambda: first_images(tagger, pixels, starts, lengths),
                     count_windows(lengths, tagger.spec.mel.excerpt_frames), precision)
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


@torch.inference_mode()
def choose_precision(tagger, images, windows, precision=None):
    """Set a network's precision to predict in.

    Parameters
    ----------
    tagger : Tagger
        In evaluation mode.
    images : callable
        Gives images to try it on, torch.Tensor, float32 (batch, 1, mel bands, frames) on its device; asked for if need
        be.
    windows : int
        How many are to be predicted.
    precision : torch.dtype, optional
        What to compute in. If not given, `inference_precision` of the device where it changes the probabilities by
        less than `TOLERANCE` in the mean, else float32.

    Returns
    -------
    bool
        Whether it is chosen for good: on a CPU what has less than `PAYS_FROM` windows is left in float32, untried.
    """
    device = tagger.mean.device
    quick = inference_precision(device)
    tagger.precision = precision or torch.float32
    if precision or quick == torch.float32:
        return True
    if device.type == "cpu" and windows < PAYS_FROM:
        return False
    images = images()
    exact = torch.sigmoid(tagger(images))
    tagger.precision = quick
    change = (torch.sigmoid(tagger(images)) - exact).abs().mean()
    tagger.precision = quick if change < TOLERANCE else torch.float32
    return True


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
