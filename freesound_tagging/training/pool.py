"""The clips of a run where they are trained on: opened on any machine, their pixels and targets on a device."""

import copy
import dataclasses
import hashlib
import json
from functools import partial

import numpy as np
import torch

from ..images.excerpts import HostPixels, pixels_on
from ..images.store import SpectrogramStore


@dataclasses.dataclass
class ClipPool:
    """Clips of a store with their targets, all on the training device if it has room for them."""

    pixels: torch.Tensor | HostPixels  # uint8 (frames of all clips, mel bands)
    starts: torch.Tensor  # int64 (clips,): first frame of each clip
    lengths: torch.Tensor  # int64 (clips,): frames of each clip
    targets: torch.Tensor  # float32 (clips, labels): what is trained on
    frames: int  # of an excerpt
    fnames: list  # of str (clips,)
    truth: torch.Tensor | None = None  # float32 (clips, labels): what is validated on; None: `targets`

    def __post_init__(self):
        self.truth = self.targets if self.truth is None else self.truth

    @classmethod
    def of(cls, store, targets, device, stream=None, truth=None):
        """The clips of a store on a device.

        Parameters
        ----------
        store : SpectrogramStore
        targets : array (clips, labels)
        device : str or torch.device
        stream : bool, optional
            Leave the pixels in their memory map; if not given, where a GPU has too little room (`pixels_on`).
        truth : array (clips, labels), optional
            What is validated on; `targets` if not given.

        Returns
        -------
        ClipPool
        """
        on = partial(torch.as_tensor, device=device)
        return cls(pixels_on(device, store, stream=stream), on(store.starts), on(store.lengths),
                   on(np.asarray(targets, np.float32)), store.config.excerpt_frames, store.fnames,
                   truth if truth is None else on(np.asarray(truth, np.float32)))


class SharedClips:
    """The clips that all folds of a run are trained on, by the numbers of their store.

    Pickled, it holds the way to the store and no images.

    Parameters
    ----------
    store : SpectrogramStore
    targets : array (clips, labels)
        What is trained on.
    truth : array (clips, labels), optional
        What is validated on; `targets` if not given.

    Attributes
    ----------
    identity : str
        Sixteen hex digits that differ whenever a file or a label does.
    """

    def __init__(self, store, targets, truth=None):
        self.store, self.targets = store, np.ascontiguousarray(targets, np.float32)
        self.truth = truth if truth is None else np.ascontiguousarray(truth, np.float32)
        self.folder, self.contents, self.cut_by = store.folder, _contents(store), store.cut_by
        data = hashlib.sha256(json.dumps(self.contents).encode())
        for labels in (self.targets, self.truth):
            data.update(b"" if labels is None else labels.data)
        self.identity = data.hexdigest()[:16]

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name not in ("store", "pool")}

    def is_here(self):
        """Open the store by its folder, if this machine has it and it holds the same clips."""
        try:
            store = SpectrogramStore(self.folder)
        except (OSError, ValueError, KeyError, TypeError):  # there is none, or what is left of it
            return False
        if self.cut_by is not None:
            if len(store) <= self.cut_by[0].max():
                return False
            store = store.cut(*self.cut_by)
        if _contents(store) != self.contents:
            return False
        self.store = store
        return True

    def whole(self):
        """The same with the images in it, to be sent to where the store is not."""
        store = copy.copy(self.store)
        store.pixels = np.asarray(store.pixels)  # unlike a memory map, pickled without a copy
        return _WholeClips(store, self.targets, self.truth)

    def on(self, device):
        """The clips on a device, a `ClipPool`, put there when first asked for."""
        if getattr(self, "pool", None) is None or self.pool[0] != device:
            self.pool = device, ClipPool.of(self.store, self.targets, device, truth=self.truth)
        return self.pool[1]


def share(runs):
    """Have runs of the same clips share them, which then lie on a device once."""
    clips = {}
    for run in runs:
        run.shared = clips.setdefault(run.shared.identity, run.shared)


class _WholeClips(SharedClips):
    """Clips that are pickled with their images."""

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "pool"}


def _contents(store):
    cut = [] if store.spans is None else [store.starts.tolist(), store.lengths.tolist()]
    return [store.fnames, [file["digest"] for file in store.files], *cut]
