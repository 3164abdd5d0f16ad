"""The clips that a run works on: one table, its sets, its labels."""

import functools
from pathlib import Path

import numpy as np
import pandas as pd

from .tables import label_matrix

HEARD = 0.1  # seconds of a sound that are seen make it a label of what is seen


class Clips:
    """Clips of one or more sets in one table, with the labels that they carry.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a clip: `path`, `labels` (tuple of str), `set` (str, the set that it belongs to). Its `fname` becomes the
        path's name. `group` (str), where there is one, says which clips are of one recording. A clip may be a stretch
        of its file, from `start` to `end` (seconds; NaN: all of it); a file then has several rows.
    vocabulary : sequence of str
        The labels, in the order of every label matrix.

    Attributes
    ----------
    table : pandas.DataFrame
    vocabulary : tuple of str
    sets : list of str
        In the order in which they come in the table.

    Raises
    ------
    ValueError
        If a column is missing.
    """

    def __init__(self, table, vocabulary):
        lacking = [column for column in ("path", "labels", "set") if column not in table]
        if lacking:
            raise ValueError(f"clips without {', '.join(lacking)}: expected the columns path, labels and set")
        self.table, self.vocabulary = table.reset_index(drop=True), tuple(vocabulary)
        self.table["path"] = [Path(path) for path in self.table["path"]]
        self.table["fname"] = [path.name for path in self.table["path"]]
        self.sets = list(dict.fromkeys(self.table["set"]))

    @classmethod
    def of(cls, sets, vocabulary):
        """Sets put together, one after the other.

        Parameters
        ----------
        sets : dict of str to pandas.DataFrame
            Their tables with `path` and `labels`.
        vocabulary : sequence of str

        Returns
        -------
        Clips
        """
        return cls(pd.concat([table.assign(set=name) for name, table in sets.items()], ignore_index=True), vocabulary)

    def __len__(self):
        return len(self.table)

    def __repr__(self):
        counts = ", ".join(f"{self.is_of(name).sum()} {name}" for name in self.sets)
        return f"Clips: {counts}, {len(self.vocabulary)} labels"

    @property
    def paths(self):
        """Their files, list of pathlib.Path."""
        return self.table["path"].tolist()

    def is_of(self, name):
        """Which clips belong to a set: numpy.ndarray, bool (clips,)."""
        return (self.table["set"] == name).to_numpy(bool)

    @property
    def spans(self):
        """Each clip's begin and end in its file: numpy.ndarray, float64 (clips, 2), seconds; None if all are whole."""
        if "start" not in self.table or self.table["start"].isna().all():
            return None
        return self.table[["start", "end"]].to_numpy(float)

    @functools.cached_property
    def targets(self):
        """Label matrix, numpy.ndarray, float32 (clips, labels): 1 where the clip carries the label."""
        return label_matrix(self.table, self.vocabulary, "the clips")

    def sounding(self, seen):
        """Label matrix of what sounds while each clip is seen: its own labels, and those of stretches beside it.

        Parameters
        ----------
        seen : array (clips, 2), or None
            From when to when in its file each clip's image is, in seconds (`SpectrogramStore.spans`); NaN of a whole
            file.

        Returns
        -------
        numpy.ndarray, float32 (clips, labels)
            `targets`, and 1 besides where another stretch of the same file has the label and is seen for `HEARD`
            seconds or, if it is shorter, half of it.
        """
        targets = self.targets
        if seen is None or self.spans is None:
            return targets
        targets, own = targets.copy(), self.spans
        timed = np.flatnonzero(~np.isnan(own[:, 0]))
        for clips in self.table.iloc[timed].groupby("path").indices.values():
            clips = timed[clips]
            for clip in clips:
                overlap = np.minimum(own[clips, 1], seen[clip, 1]) - np.maximum(own[clips, 0], seen[clip, 0])
                heard = overlap >= np.minimum(HEARD, (own[clips, 1] - own[clips, 0]) / 2)
                targets[clip] = np.maximum(targets[clip], self.targets[clips[heard]].max(0, initial=0))
        return targets
