"""Excerpts of clips: which windows cover a clip, and cutting them out of stores' pixels on a device, or for it."""

import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from .mel import hop_of

AHEAD = 3  # batches that are cut and sent while one is computed with


def window_starts(n_frames, window=128, hop=None):
    """First frames of the windows over a clip: evenly spread, at most `hop` apart, from its start to its end.

    Parameters
    ----------
    n_frames : int
        Of the clip; at least `window`.
    window, hop : int
        In frames; the hop is 48 if not given, or a window's length where that is less, so that nothing is left out.

    Returns
    -------
    numpy.ndarray, int64 (windows,)
        s = ceil((n_frames - window) / hop) + 1 starts, round((n_frames - window) k / (s - 1)); 0 if s is 1.

    Raises
    ------
    ValueError
        If the clip is shorter than a window.
    """
    free, hop = n_frames - window, hop_of(window) if hop is None else hop
    if free < 0:
        raise ValueError(f"a clip of {n_frames} frames is shorter than a window of {window}; "
                         "images of this package's stores never are")
    count = -(-free // hop) + 1
    return np.round(free * np.arange(count) / max(count - 1, 1)).astype(np.int64)


def windows_of(starts, lengths, window=128, hop=None):
    """Windows over many clips of a store, `window_starts` of each.

    Parameters
    ----------
    starts, lengths : array of int (clips,)
        Of the clips, in frames of the store.
    window, hop : int
        As for `window_starts`.

    Returns
    -------
    first : numpy.ndarray, int64 (windows,)
        First frame of each window in the store.
    clip : numpy.ndarray, int64 (windows,)
        The clip that each window is of, counted from 0.
    """
    each = [window_starts(length, window, hop) for length in lengths]
    clip = np.repeat(np.arange(len(each)), np.array([len(windows) for windows in each], int))
    return np.concatenate([start + windows for start, windows in zip(starts, each)] or [clip]), clip


def count_windows(lengths, window=128):
    """How many windows clips have, `window_starts` of each.

    Parameters
    ----------
    lengths : array of int (clips,)
        In frames.
    window : int
        In frames.

    Returns
    -------
    int
    """
    return sum(len(window_starts(length, window)) for length in lengths)


class HostPixels:
    """Pixels of stores that are left in their memory maps, cut there, and sent excerpt by excerpt.

    For a GPU that has no room for them, and of several stores on a CPU, where joining them would copy them.
    """

    def __init__(self, stores, device):
        self.maps, self.device = [store.pixels for store in stores], device
        self.ends = np.cumsum([len(pixels) for pixels in self.maps])

    def cut(self, first, frames):
        """Excerpts by their first frames (numpy.ndarray), as a tensor on the host that can be sent without waiting."""
        out = torch.empty(len(first), frames, self.maps[0].shape[1], dtype=torch.uint8,
                          device="cpu", pin_memory=self.device.type == "cuda")
        which = np.searchsorted(self.ends, first, side="right")
        for i, (store, start) in enumerate(zip(which, first)):
            start -= self.ends[store] - len(self.maps[store])
            out[i] = torch.from_numpy(self.maps[store][start:start + frames])
        return out

    def ahead(self, batches, frames):
        """Excerpts of many batches of first frames, each cut and sent while the ones before are computed with."""
        if self.device.type == "cpu":  # which has nothing else to do
            yield from (self.cut(first, frames) for first in batches)
            return
        with ThreadPoolExecutor(1) as background:
            waiting = deque()
            for first in batches:
                waiting.append(background.submit(self.cut, first, frames))
                if len(waiting) == AHEAD:
                    yield waiting.popleft().result().to(self.device, non_blocking=True)
            while waiting:
                yield waiting.popleft().result().to(self.device, non_blocking=True)


def pixels_on(device, *stores, stream=None):
    """The pixels of stores, one after the other, where a device can cut excerpts out of them.

    Parameters
    ----------
    device : str or torch.device
    *stores : SpectrogramStore
    stream : bool, optional
        Leave them in their memory maps. If not given, this is done when they would take more than half of a GPU's
        free memory, and of several stores on a CPU.

    Returns
    -------
    torch.Tensor, uint8 (all frames, mel bands), or HostPixels
        On the CPU a single store's memory map itself; on a GPU one copy, made store by store.

    Raises
    ------
    ValueError
        If the stores' images were made otherwise than one another.
    """
    device = torch.device(device)
    for store in stores[1:]:
        if store.config != stores[0].config:
            raise ValueError(f"{store.folder} has images of {store.config}, and {stores[0].folder} of "
                             f"{stores[0].config}; build the stores with the same settings")
    if stream is None and device.type == "cuda":
        stream = sum(store.pixels.nbytes for store in stores) > torch.cuda.mem_get_info(device)[0] / 2
    if stream or (stream is None and device.type == "cpu" and len(stores) > 1):
        return HostPixels(stores, device)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nor is it written
        maps = [torch.from_numpy(store.pixels) for store in stores]
    if device.type == "cpu" and len(maps) == 1:
        return maps[0]
    pixels = torch.empty(sum(map(len, maps)), maps[0].shape[1], dtype=torch.uint8, device=device)
    for part, one in zip(pixels.split([len(one) for one in maps]), maps):
        part.copy_(one)
    return pixels


def gather(pixels, first, frames):
    """Cut excerpts out of stores' pixels, on the device.

    Parameters
    ----------
    pixels : torch.Tensor or HostPixels
        Of `pixels_on`.
    first : torch.Tensor, int64 (batch,)
        First frame of each excerpt.
    frames : int
        Of an excerpt.

    Returns
    -------
    torch.Tensor, uint8 (batch, frames, mel bands)
    """
    if isinstance(pixels, HostPixels):
        return pixels.cut(first.cpu().numpy(), frames).to(pixels.device)
    return pixels[first[:, None] + torch.arange(frames, device=first.device)]


def images_of(pixels, batches, frames):
    """Images of many batches of excerpts, one batch at a time, without waiting for the device between them.

    Parameters
    ----------
    pixels : torch.Tensor or HostPixels
        Of `pixels_on`.
    batches : sequence of torch.Tensor, int64 (batch,)
        First frames of the excerpts; on the device, or for `HostPixels` anywhere.
    frames : int
        Of an excerpt.

    Yields
    ------
    torch.Tensor, float32 (batch, 1, mel bands, frames)
        In [0, 1].
    """
    if isinstance(pixels, HostPixels):
        excerpts = pixels.ahead([first.numpy() for first in _to_host(batches)], frames)
    else:
        excerpts = (gather(pixels, first, frames) for first in batches)
    yield from map(to_images, excerpts)


def _to_host(batches):
    """All batches with a single wait for the device."""
    return torch.cat(list(batches)).cpu().split([len(first) for first in batches]) if len(batches) else ()


def to_images(excerpts):
    """Excerpts as a store keeps them to images as networks and augmentations take them.

    Parameters
    ----------
    excerpts : torch.Tensor, uint8 (batch, frames, mel bands)

    Returns
    -------
    torch.Tensor, float32 (batch, 1, mel bands, frames)
        In [0, 1]; band 0 is row 0.
    """
    return excerpts.transpose(1, 2)[:, None].float() / 255
