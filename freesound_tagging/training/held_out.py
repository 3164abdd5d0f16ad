"""Which fold holds each clip out: each set spread evenly by its labels, clips that are the same together."""

import os
import warnings

import numpy as np
import pandas as pd
import scipy.sparse.csgraph

from ..clips.audio import digest_of
from ..clips.folds import stratified_folds
from ..clips.twins import find_twins, name_twins


def check_folds(clips, n_folds):
    """Raise a ValueError if a set has not a recording for each fold to hold out.

    Parameters
    ----------
    clips : Clips
    n_folds : int
    """
    recordings = _recordings(clips)
    for name in clips.sets:
        mine = clips.is_of(name)
        count = int(mine.sum())
        most = count if recordings is None else len(np.unique(recordings[mine]))
        if n_folds > most:
            these = f"{name} clips" if most == count else (
                f"recordings that the {count} {name} clips are of, each of which is held out whole")
            raise ValueError(f"n_folds={n_folds}: expected at most {most}, the number of {these}"
                             + ("; there have to be two or more" if most < 2 else ""))


def deal_folds(clips, store, n_folds, seed, test=()):
    """Deal clips to folds; those of one recording (the table's `group`, else the file) to one.

    Parameters
    ----------
    clips : Clips
    store : SpectrogramStore
        Of their images.
    n_folds, seed : int
    test : sequence of path
        Test clips: those that are trained on too are named in a warning.

    Returns
    -------
    folds : numpy.ndarray, int64 (clips,)
        The fold that holds each clip out.
    twins : int
        Groups of clips that are the same, and are held out together.

    Raises
    ------
    ValueError
        As `check_folds`.
    """
    check_folds(clips, n_folds)
    folds, recordings = np.empty(len(clips), np.int64), _recordings(clips)
    for name in clips.sets:
        mine = clips.is_of(name)
        folds[mine] = stratified_folds(clips.targets[mine], n_folds, seed,
                                       None if recordings is None else recordings[mine])
    whole = ~clips.table["path"].duplicated().to_numpy()  # of the stretches of a file the first stands for it
    numbers = {name: np.flatnonzero(clips.is_of(name) & whole) for name in clips.sets}
    groups = [[numbers[name][clip] for name, clip in group if name != "test"]
              for group in _twins(store, numbers, test)]
    for leader, *others in filter(None, groups if recordings is None else _together(groups, recordings)):
        folds[others] = folds[leader]
    return folds, sum(len(group) > 1 for group in groups)


def _recordings(clips):
    """Of each clip the number of its recording: int64 (clips,); None if each is of its own.

    A recording is what the table calls a `group`; without one, clips of one file are of one recording.
    """
    groups = clips.table.get("group", pd.Series("", clips.table.index))
    groups = groups.map(lambda group: "" if pd.isna(group) else str(group))  # 0 is a recording too
    files = clips.table["path"].astype(str)
    groups = groups.where((groups != "") | ~files.duplicated(keep=False), "\1" + files)
    if not groups.any():
        return None
    names = [group or f"\0{clip}" for clip, group in enumerate(groups)]
    return np.unique(names, return_inverse=True)[1]


def _together(groups, recordings):
    """Clips that are the same or of one recording, of whatever sets: lists of two or more of their numbers."""
    links = [(group[0], other) for group in filter(None, groups) for other in group[1:]]
    first = {}
    links += [(first.setdefault(recording, clip), clip) for clip, recording in enumerate(recordings)]
    one, other = np.transpose(links)
    graph = scipy.sparse.coo_matrix((np.ones(len(links)), (one, other)), (len(recordings),) * 2)
    _, of = scipy.sparse.csgraph.connected_components(graph, directed=False)
    return [clips.tolist() for part in np.unique(of) if len(clips := np.flatnonzero(of == part)) > 1]


def _twins(store, numbers, test):
    """The clips that are the same, after a warning that names them."""
    sets = {name: [(store.fnames[clip], "" if clip in store.problems else store.files[clip]["digest"])
                   for clip in mine] for name, mine in numbers.items()}
    sizes = {file["stat"][0] for file in store.files}
    # Of test clips only those that can be the same are read.
    sets["test"] = [(os.path.basename(path), digest_of(path) if os.path.getsize(path) in sizes else "")
                    for path in test if os.path.isfile(path)]
    groups = find_twins(sets)
    if groups:
        kinds = [{name for name, _ in group} for group in groups]
        tested = any("test" in kind and len(kind) > 1 for kind in kinds)
        warnings.warn(name_twins(groups, sets) + ". Those to train on are held out by the same fold" + (
            "; a score on test clips that are trained on says nothing: delete them from one of the tables"
            if tested else ""), stacklevel=4)
    return groups
