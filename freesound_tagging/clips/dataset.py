"""The clips of FSDKaggle2019 as data frames: which files there are, what they are labelled, how they fold."""

import os
import warnings
from pathlib import Path, PureWindowsPath

import numpy as np
import pandas as pd

from .tables import few, label_columns, label_matrix, odd_labels, read_table, same_name, unlisted_files

# The data set's known faults (Freesound Audio Tagging 2019, discussion of the curated set).
FAULTY_CLIPS = {
    "f76181c4.wav": "wrong label",
    "77b925c2.wav": "wrong label",
    "6a1f682a.wav": "wrong label",
    "c7db12aa.wav": "wrong label",
    "7752cc8a.wav": "wrong label",
    "1d44b0bd.wav": "no signal",
}

# Where each layout keeps things, relative to the root. A table's first existing path is taken.
LAYOUTS = {
    "Kaggle": {
        "curated": (["train_curated.csv"], "train_curated"),
        "noisy": (["train_noisy.csv"], "train_noisy"),
        "test": (["test_post_competition.csv", "FSDKaggle2019.meta/test_post_competition.csv"], "test"),
    },
    "Zenodo": {
        "curated": (["FSDKaggle2019.meta/train_curated_post_competition.csv"], "FSDKaggle2019.audio_train_curated"),
        "noisy": (["FSDKaggle2019.meta/train_noisy_post_competition.csv"], "FSDKaggle2019.audio_train_noisy"),
        "test": (["FSDKaggle2019.meta/test_post_competition.csv"], "FSDKaggle2019.audio_test"),
    },
}


class FSDKaggle2019:
    """The data set in one folder, in Kaggle's layout or in Zenodo's.

    Any data set arranged like either of them works, with any vocabulary. A set whose table is not there
    (Kaggle mounts no training audio beside a kernel, for example) is an empty frame.

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
        ``a.wav``, is taken if it is the only one. Sounds in the folder that no table lists are named in a warning, and
        ignored.
    needed : sequence of {"curated", "noisy", "test"}
        The sets that have to have clips. The others may then lack files, as where a part of the data set was
        downloaded: what is missing of them is left out, with a warning if only some of a set's clips are.

    Attributes
    ----------
    layout : {"Kaggle", "Zenodo"}
    vocabulary : list of str
        The labels, in the order of every label matrix and of the submission: the columns of
        ``sample_submission.csv`` where there is one, else all labels of the tables in alphabetical order.
    curated, noisy, test : pandas.DataFrame
        A row a clip, with columns `fname` (str), `labels` (tuple of str) and `path` (pathlib.Path). `test` has
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
        label that the sample submission does not have; if that has columns that are no labels
        (`tables.label_columns`); or if a needed set has no clips.
    """

    def __init__(self, root, drop_faulty=True, missing="error", needed=()):
        if missing not in ("error", "skip", "list"):
            raise ValueError(f"missing={missing!r}: expected 'error', 'skip' or 'list'")
        self.root = Path(root)
        self.layout = self._find_layout()
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
            self._find_files(table, name)
        for name, table in tables.items():
            if "labels" in table:
                self.targets(table, of=name)  # raises on a label outside the vocabulary
        self.curated = self._without_faulty(tables["curated"]) if drop_faulty else tables["curated"]
        self.noisy, self.test = tables["noisy"], tables["test"]
        lacking = [lack for name in needed if (lack := self.lack(name))]
        if lacking:
            raise ValueError("; ".join(lacking))
        for odd in odd_labels(self.vocabulary):
            warnings.warn(f"{self.root}: {odd}", stacklevel=2)
        if missing != "list":
            for name in ("curated", "noisy", "test"):
                wanted = name in needed or not needed
                setattr(self, name, self._existing(getattr(self, name), name, missing if wanted else "skip", wanted))

    def __repr__(self):
        return (f"FSDKaggle2019({str(self.root)!r}): {self.layout}'s layout, {len(self.curated)} curated, "
                f"{len(self.noisy)} noisy and {len(self.test)} test clips, {len(self.vocabulary)} labels")

    def targets(self, table, of="the table"):
        """Label matrix of a data frame.

        Parameters
        ----------
        table : pandas.DataFrame
            With a column `labels` of tuples of labels.
        of : str
            The name of the table in an error.

        Returns
        -------
        numpy.ndarray, float32 (clips, labels)
            1 where the clip carries the label.

        Raises
        ------
        ValueError
            If a label is not in the vocabulary, or the table has no labels.
        """
        if "labels" not in table:
            raise ValueError(f"the labels of {of} are not known: {self.root} has no ground truth for it")
        return label_matrix(table, self.vocabulary, of)

    def lack(self, name):
        """Why a set has no clips.

        Parameters
        ----------
        name : {"curated", "noisy", "test"}

        Returns
        -------
        str
            Names the table that is missing or empty; ``""`` where there are clips.
        """
        if len(getattr(self, name, self._tables[name])):
            return ""
        table, folder = (self.sample if name == "test" else None) or self._table(name), self.folder(name)
        expected = "sample_submission.csv" if name == "test" and self.layout == "Kaggle" else (
            LAYOUTS[self.layout][name][0][0])
        files = f", though {folder} has files" if _files(folder) else ""
        return f"no {name} clips: {f'{table} lists none' if table else f'{self.root / expected} is missing'}{files}"

    def rightly_labelled(self):
        """Which noisy clips carry exactly their right labels, where these are known: for measurement only.

        Returns
        -------
        numpy.ndarray, bool (noisy clips,), or None
            None where there is no ``truth/train_noisy.csv`` with the right labels; the demo data has one.

        Raises
        ------
        ValueError
            If that table lacks a noisy clip.
        """
        path = self.root / "truth/train_noisy.csv"
        if not path.exists():
            return None
        table = read_table(path, ["fname", "labels"])
        truth = dict(zip(table["fname"], table["labels"]))
        lacking = [fname for fname in self.noisy["fname"] if fname not in truth]
        if lacking:
            raise ValueError(f"{path} lacks the noisy clips {few(lacking)}; expected the right labels of all")
        return np.array([set(labels) == set(truth[fname])
                         for fname, labels in zip(self.noisy["fname"], self.noisy["labels"])], bool)

    def _find_layout(self):
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self.root} is not a folder; give the one that holds the data set")
        for layout, sets in LAYOUTS.items():
            if any(_first_table(self.root, sets[name][0]) for name in ("curated", "noisy")):
                return layout
        if (self.root / "sample_submission.csv").exists():
            return "Kaggle"
        if (self.root / "FSDKaggle2019.meta").is_dir():
            return "Zenodo"
        raise FileNotFoundError(f"{self.root} holds neither Kaggle's train_curated.csv or sample_submission.csv nor "
                                "Zenodo's FSDKaggle2019.meta/; see docs/data.md for both layouts")

    def folder(self, name):
        """Where the audio of a set is.

        Parameters
        ----------
        name : {"curated", "noisy", "test"}

        Returns
        -------
        pathlib.Path
        """
        return _unnested(self.root / LAYOUTS[self.layout][name][1])

    def _table(self, name):
        return _first_table(self.root, LAYOUTS[self.layout][name][0])

    def _read_set(self, name):
        path = self._table(name)
        if path is None:
            return pd.DataFrame({"fname": [], "labels": [], "path": []}, dtype=object)
        table = read_table(path, ["fname", "labels"])
        table["path"] = _paths_inside(self.folder(name), table["fname"], path)
        return table[[column for column in ("fname", "labels", "path", "usage") if column in table]]

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
        order["path"] = _paths_inside(self.folder("test"), fnames, self.root / "sample_submission.csv")
        return order

    def _without_faulty(self, curated):
        faulty = curated["fname"].isin(FAULTY_CLIPS.keys())
        if faulty.any():
            names = ", ".join(f"{name} ({FAULTY_CLIPS[name]})" for name in curated["fname"][faulty])
            warnings.warn(f"left out {faulty.sum()} curated clips known to be faulty: {names}; "
                          "drop_faulty=False keeps them", stacklevel=3)
        return curated[~faulty].reset_index(drop=True)

    def _find_files(self, table, name):
        """Put in the paths the names that files have, where they are not quite those of the table."""
        folder, listed = self.folder(name), set(table["fname"])
        present = _files(folder)
        absent = ~table["fname"].isin(present)
        if not absent.any():
            return
        alike = {}  # by what is the same for people: the names that are listed, and those of files
        for which, names in enumerate((table["fname"][absent], present - listed)):
            for fname in names:
                alike.setdefault(same_name(fname), ([], []))[which].append(fname)
        found = {names[0]: files[0] for names, files in alike.values() if len(names) == len(files) == 1}
        table["path"] = [folder / found.get(fname, fname) for fname in table["fname"]]
        if found:
            pairs = few([f"{fname!a} for {listed!a}" for listed, fname in found.items()])
            warnings.warn(f"{len(found)} {name} clips have files of nearly the listed name in {folder}, which are "
                          f"taken: {pairs}", stacklevel=3)

    def _existing(self, table, name, missing, wanted):
        if not len(table):
            return table
        folder = self.folder(name)
        present = _files(folder)
        here = np.array([path.name in present for path in table["path"]])
        unlisted = unlisted_files(folder, {path.name for path in self._tables[name]["path"]})
        if not (wanted or here.any() or unlisted):
            return table[here]  # a set that was not downloaded
        message = "" if here.all() else (f"{(~here).sum()} of the {len(table)} {name} clips are missing from "
                                         f"{folder}: {few(table['fname'][~here])}")
        ignored = f"{len(unlisted)} files in {folder} are in no table: {few(unlisted)}" if unlisted else ""
        if message and missing == "error":
            raise FileNotFoundError(". ".join(filter(None, [message, ignored])) +
                                    ". Complete the download, or leave them out with missing='skip'")
        if message or ignored:
            warnings.warn(". ".join(filter(None, [message, ignored])) + ". They are left out", stacklevel=3)
        return table[here].reset_index(drop=True)


def stratified_folds(targets, n_folds, seed=0):
    """Deal clips to folds so that each label is spread evenly (Sechidis et al. 2011, iterative stratification).

    Parameters
    ----------
    targets : array (clips, labels)
        Label matrix of 0 and 1.
    n_folds : int
        From 2 to the number of clips.
    seed : int

    Returns
    -------
    numpy.ndarray, int64 (clips,)
        The fold, 0 to n_folds - 1, that holds each clip out.
    """
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    targets = np.asarray(targets)
    if not 2 <= n_folds <= len(targets):
        raise ValueError(f"n_folds={n_folds}: expected 2 to {len(targets)}, the number of clips")
    folds = np.empty(len(targets), np.int64)
    splitter = MultilabelStratifiedKFold(n_splits=n_folds, shuffle=True, random_state=seed)
    # The stratifier wants at least two columns; an empty one changes nothing.
    columns = np.column_stack([targets, np.zeros(len(targets))]).astype(int)
    for fold, (_, held_out) in enumerate(splitter.split(columns, columns)):
        folds[held_out] = fold
    return folds


def _paths_inside(folder, fnames, table):
    for fname in fnames:
        if not fname or "/" in fname or "\\" in fname or fname in (".", "..") or PureWindowsPath(fname).drive:
            raise ValueError(f"{table}: {fname!r} is not the name of a file in {folder}; "
                             "give bare file names, without folders and drives")
    return [folder / fname for fname in fnames]


def _files(folder):
    """The names of what is a file in a folder, through links: not of a link into nothing."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_file()}


def _unnested(folder):
    """The folder itself, or the one of the same name in it that some unzip tools make."""
    return folder / folder.name if (folder / folder.name).is_dir() else folder


def _first_table(root, tables):
    paths = [(_unnested(path.parent) if path.parent != root else root) / path.name
             for path in (root / table for table in tables)]
    return next((path for path in paths if path.exists()), None)
