"""The clips of FSDKaggle2019 as data frames: which files there are, and what they are labelled."""

import hashlib
import warnings

import numpy as np
import pandas as pd

from ..machine.files import as_path
from .clips import Clips
from .folders import LAYOUTS, files_in, folder_of, layout_of, paths_as_named, paths_inside, table_of, those_there
from .tables import few, label_columns, label_matrix, odd_labels, read_table

# The data set's known faults (Freesound Audio Tagging 2019, discussion of the curated set).
FAULTY_CLIPS = {
    "f76181c4.wav": "wrong label",
    "77b925c2.wav": "wrong label",
    "6a1f682a.wav": "wrong label",
    "c7db12aa.wav": "wrong label",
    "7752cc8a.wav": "wrong label",
    "1d44b0bd.wav": "no signal",
}

VOCABULARY = "15715fa55257b74f"  # of the 80 labels' names, a line each in alphabetical order: how their SHA-256 begins


def is_competitions(vocabulary):
    """Whether labels are those of FSDKaggle2019, so that published figures can be compared with.

    Parameters
    ----------
    vocabulary : iterable of str

    Returns
    -------
    bool
    """
    return hashlib.sha256("\n".join(sorted(vocabulary)).encode("utf-8", "replace")).hexdigest().startswith(VOCABULARY)


SETS = ("curated", "noisy", "test")


class FSDKaggle2019:
    """The data set in one folder, in Kaggle's layout or in Zenodo's.

    Any data set arranged like either of them works, with any vocabulary. A set whose table is not there (Kaggle mounts
    no training audio beside a kernel, for example) is an empty frame. Sounds that no table lists are named in a
    warning, and ignored.

    Parameters
    ----------
    root : path
        The folder that holds ``train_curated.csv`` (Kaggle) or ``FSDKaggle2019.meta/`` (Zenodo).
    drop_faulty : bool
        Leave out the six curated clips known to carry wrong labels or no signal (`FAULTY_CLIPS`), with a warning
        that names them.
    missing : {"error", "skip", "list"}
        What to do about clips that a table lists but the folder lacks: raise, leave them out with a warning, or list
        them all the same. A file that differs from the listed name only in case or Unicode's form, as ``a.WAV`` and
        ``a.wav``, is taken if it is the only one.
    needed : sequence of {"curated", "noisy", "test"}
        The sets that have to have clips. Of the others, what is missing is left out, as where a part of the data set
        was downloaded, with a warning if only some of a set's clips are.
    may_lack : sequence of {"curated", "noisy", "test"}
        Those of the needed sets whose table may be missing or empty, which a warning then says.

    Attributes
    ----------
    layout : {"Kaggle", "Zenodo"}
    vocabulary : list of str
        The labels, in the order of every label matrix and of the submission: the columns of
        ``sample_submission.csv`` where there is one, else all labels of the tables in alphabetical order.
    curated, noisy, test : pandas.DataFrame
        A row a clip, with columns `fname` (str), `labels` (tuple of str), `path` (pathlib.Path) and, where the table
        has it, `group` (str, the recording that the clip is of, or ``""``), `start` and `end` (seconds, of a clip that
        is a stretch of its file) and `background` (bool, of a clip without labels). `test` has
        `labels` only where the ground truth is known, and then also `usage` (``Public`` or ``Private``).
    sample : pathlib.Path or None
        ``sample_submission.csv``, where there is one.
    truth : pathlib.Path or None
        The table of the test clips' labels, where there is one that has all of them.

    Raises
    ------
    FileNotFoundError
        If `root` has neither layout; or if clips are missing of a needed set, or of any where none is named, and
        `missing` is ``"error"``.
    ValueError
        If a table lacks a column, lists a clip twice or without a label, names a file outside its folder, or uses a
        label that the sample submission does not have; if that has columns that are no labels; or if a needed set has
        no clips.
    """

    def __init__(self, root, drop_faulty=True, missing="error", needed=(), may_lack=()):
        if unknown := [name for name in needed if name not in SETS]:
            raise ValueError(f"no set is called {' or '.join(map(repr, unknown))}: expected {', '.join(SETS)}, of "
                             "which a profile's stages train on the first two")
        if missing not in ("error", "skip", "list"):
            raise ValueError(f"missing={missing!r}: expected 'error', 'skip' or 'list'")
        self.root = as_path(root)
        self.layout = layout_of(self.root)
        self.truth = self._table("test")
        tables = {name: self._read_set(name) for name in ("curated", "noisy", "test")}
        sample = self.root / "sample_submission.csv"
        self.sample = sample if sample.exists() else None
        carried = {label for table in tables.values() if "labels" in table for labels in table["labels"]
                   for label in labels}
        if self.sample is not None:
            columns = read_table(sample, ["fname"])
            self.vocabulary = label_columns(columns, sample, carried=carried)
            tables["test"] = self._in_order_of(columns["fname"], tables["test"])
        else:
            self.vocabulary = sorted(carried)
        self._tables = tables
        for name, table in tables.items():
            table["path"] = paths_as_named(self.folder(name), table["fname"], name)
        for name, table in tables.items():
            if "labels" in table:
                self.targets(table, of=name)  # raises on a label outside the vocabulary
        self.curated = self._without_faulty(tables["curated"]) if drop_faulty else tables["curated"]
        self.noisy, self.test = tables["noisy"], tables["test"]
        lacking = {name: lack for name in needed if (lack := self.lack(name))}
        if set(lacking) - set(may_lack):
            raise ValueError("; ".join(lacking.values()))
        for lack in lacking.values():
            warnings.warn(lack, stacklevel=2)
        for odd in odd_labels(self.vocabulary):
            warnings.warn(f"{self.root}: {odd}", stacklevel=2)
        if missing != "list":
            for name in ("curated", "noisy", "test"):
                setattr(self, name, those_there(getattr(self, name), self.folder(name), name, tables[name]["path"],
                                                missing if name in needed or not needed else "unneeded"))

    def __repr__(self):
        return (f"FSDKaggle2019({str(self.root)!r}): {self.layout}'s layout, {len(self.curated)} curated, "
                f"{len(self.noisy)} noisy and {len(self.test)} test clips, {len(self.vocabulary)} labels")

    def targets(self, table, of="the table"):
        """The label matrix of a data frame, as `label_matrix` makes it.

        Parameters
        ----------
        table : pandas.DataFrame
            With columns `fname` and `labels`.
        of : str
            The name of the table in an error.

        Returns
        -------
        numpy.ndarray, float32 (clips, labels)

        Raises
        ------
        ValueError
            If a label is not in the vocabulary, or the table has no labels.
        """
        if "labels" not in table:
            raise ValueError(f"the labels of {of} are not known: {self.root} has no ground truth for it")
        return label_matrix(table, self.vocabulary, of)

    def clips(self, *names):
        """Sets in one table.

        Parameters
        ----------
        *names : {"curated", "noisy", "test"}
            In order; the two that are trained on if not given.

        Returns
        -------
        Clips
        """
        return Clips.of({name: getattr(self, name) for name in names or ("curated", "noisy")}, self.vocabulary)

    def lack(self, name):
        """Why a set has no clips: names the table that is missing or empty; ``""`` where there are clips."""
        if len(getattr(self, name, self._tables[name])):
            return ""
        table, folder = (self.sample if name == "test" else None) or self._table(name), self.folder(name)
        expected = "sample_submission.csv" if name == "test" and self.layout == "Kaggle" else (
            LAYOUTS[self.layout][name][0][0])
        files = f", though {folder} has files" if files_in(folder) else ""
        return f"no {name} clips: {f'{table} lists none' if table else f'{self.root / expected} is missing'}{files}"

    def rightly_labelled(self):
        """Which noisy clips carry exactly their right labels, where these are known: for measurement only.

        Returns
        -------
        numpy.ndarray, bool (noisy clips,), or None
            None where there is no ``truth/train_noisy.csv`` with the right labels, which the demo data has, or no
            noisy clip.

        Raises
        ------
        ValueError
            If that table lacks a noisy clip.
        """
        path = self.root / "truth/train_noisy.csv"
        if not path.exists() or not len(self.noisy):
            return None
        table = read_table(path, ["fname", "labels"])
        truth = dict(zip(table["fname"], table["labels"]))
        lacking = [fname for fname in self.noisy["fname"] if fname not in truth]
        if lacking:
            raise ValueError(f"{path} lacks the noisy clips {few(lacking)}; expected the right labels of all")
        return np.array([set(labels) == set(truth[fname])
                         for fname, labels in zip(self.noisy["fname"], self.noisy["labels"])], bool)

    def folder(self, name):
        """The folder of a set's audio, by the set's name."""
        return folder_of(self.root, self.layout, name)

    def _table(self, name):
        return table_of(self.root, self.layout, name)

    def _read_set(self, name):
        path = self._table(name)
        if path is None:
            return pd.DataFrame({"fname": [], "labels": [], "path": []}, dtype=object)
        table = read_table(path, ["fname", "labels"])
        table["path"] = paths_inside(self.folder(name), table["fname"], path)
        if "start" in table:
            if name == "test":
                raise ValueError(f"{path} has the columns start and end: test clips are whole files, and labels with "
                                 "times are compared with a timeline's events")
            # Stretches of a file are held out together.
            table["group"] = table.get("group", pd.Series("", table.index)).where(lambda own: own != "", table["fname"])
        return table[[column for column in ("fname", "labels", "path", "usage", "group", "start", "end", "background")
                      if column in table]]

    def _in_order_of(self, fnames, test):
        """The test clips in sample_submission.csv's order; with their labels only if all are known."""
        order = pd.DataFrame({"fname": fnames})
        unknown = set(fnames) - set(test["fname"])
        if not unknown:
            return order.merge(test, on="fname", how="left")
        if self.truth is not None:
            warnings.warn(f"{self.truth} lacks {len(unknown)} of the {len(fnames)} clips of sample_submission.csv: "
                          f"{few(sorted(unknown))}; the test clips count as clips without known labels", stacklevel=3)
            self.truth = None
        order["path"] = paths_inside(self.folder("test"), fnames, self.root / "sample_submission.csv")
        return order

    def _without_faulty(self, curated):
        faulty = curated["fname"].isin(FAULTY_CLIPS.keys())
        if faulty.any():
            names = ", ".join(f"{name} ({FAULTY_CLIPS[name]})" for name in curated["fname"][faulty])
            warnings.warn(f"left out {faulty.sum()} curated clips known to be faulty: {names}; "
                          "drop_faulty=False keeps them", stacklevel=3)
        return curated[~faulty].reset_index(drop=True)
