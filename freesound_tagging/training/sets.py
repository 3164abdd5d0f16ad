"""The clips of a run: their images, their labels, and which fold holds each out."""

import copy
import functools
import hashlib
import json
import os
import warnings

import numpy as np

from ..clips.audio import digest_of
from ..clips.folds import stratified_folds
from ..clips.twins import find_twins, name_twins
from ..images.store import SpectrogramStore
from .batches import ClipPool


class TrainingSets:
    """The curated and the noisy clips of a run, dealt to folds.

    Parameters
    ----------
    sets, vocabulary, test
        As for `WarmupPipeline`.
    n_folds, seed : int

    Attributes
    ----------
    stores : dict of str to SpectrogramStore
        ``"curated"`` and ``"noisy"``, as all that follows.
    targets : dict of str to numpy.ndarray (clips, labels)
    known : dict of str to numpy.ndarray, bool (clips,)
        Which clips could be read.
    folds : dict of str to numpy.ndarray, int64 (clips,)
        The fold that holds each clip out.
    twins : int
        Groups of clips that are the same, and are held out together.
    clips : SharedClips
        All of them, the curated ones first.
    """

    def __init__(self, sets, vocabulary, n_folds, seed, test=()):
        self.stores = {name: sets[name][0] for name in ("curated", "noisy")}
        self.targets = {name: np.asarray(sets[name][1]) for name in ("curated", "noisy")}
        for name, store in self.stores.items():
            if self.targets[name].shape != (len(store), len(vocabulary)):
                raise ValueError(f"{name}: targets of shape {self.targets[name].shape} for {len(store)} clips and "
                                 f"{len(vocabulary)} labels; give the label matrix of the store's clips")
        self.known = {name: np.array([clip not in store.problems for clip in range(len(store))])
                      for name, store in self.stores.items()}
        self.folds = {name: stratified_folds(targets, n_folds, seed) for name, targets in self.targets.items()}
        self.twins = self._hold_out_together(test)
        self.clips = SharedClips(self.stores.values(), self.targets.values())

    def numbers(self, name, chosen):
        """Clips of a set by their numbers in `clips`.

        Parameters
        ----------
        name : {"curated", "noisy"}
        chosen : numpy.ndarray, bool (clips of the set,)

        Returns
        -------
        numpy.ndarray, int64
        """
        return np.flatnonzero(chosen) + (len(self.stores["curated"]) if name == "noisy" else 0)

    @functools.cached_property
    def normalization(self):
        """Mean and standard deviation of all pixels in [0, 1], each the same for the three channels."""
        counts = sum(store.histogram() for store in self.stores.values())
        values = np.arange(256) / 255
        mean = np.average(values, weights=counts)
        std = np.sqrt(np.average((values - mean) ** 2, weights=counts))
        return (float(mean),) * 3, (float(std),) * 3

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


class SharedClips:
    """The clips that all folds of a run are trained on, numbered through its stores.

    Pickled, it holds the way to the stores and no images.

    Parameters
    ----------
    stores : sequence of SpectrogramStore
    targets : sequence of array (clips, labels)
        A label matrix a store.

    Attributes
    ----------
    identity : str
        Sixteen hex digits that differ whenever a file or a label does.
    """

    def __init__(self, stores, targets):
        self.stores, self.targets = list(stores), [np.ascontiguousarray(matrix, np.float32) for matrix in targets]
        self.folders = [store.folder for store in self.stores]
        self.contents = [_contents(store) for store in self.stores]
        data = hashlib.sha256()
        for contents, matrix in zip(self.contents, self.targets):
            data.update(json.dumps(contents).encode())
            data.update(matrix.data)
        self.identity = data.hexdigest()[:16]

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name not in ("stores", "pool")}

    def is_here(self):
        """Open the stores by their folders, if this machine has them and they hold the same clips."""
        try:
            stores = [SpectrogramStore(folder) for folder in self.folders]
        except (OSError, ValueError, KeyError, TypeError):  # there are none, or what is left of them
            return False
        if [_contents(store) for store in stores] != self.contents:
            return False
        self.stores = stores
        return True

    def whole(self):
        """The same with the images in it, to be sent to where the stores are not."""
        stores = [copy.copy(store) for store in self.stores]
        for store in stores:
            store.pixels = np.asarray(store.pixels)  # unlike a memory map, pickled without a copy
        return _WholeClips(stores, self.targets)

    def on(self, device):
        """The clips on a device, put there when first asked for.

        Parameters
        ----------
        device : torch.device

        Returns
        -------
        ClipPool
        """
        if getattr(self, "pool", None) is None or self.pool[0] != device:
            self.pool = device, ClipPool.of(self.stores, self.targets, device)
        return self.pool[1]


class _WholeClips(SharedClips):
    """Clips that are pickled with their images."""

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "pool"}


def _contents(store):
    return [store.fnames, [file["digest"] for file in store.files]]
