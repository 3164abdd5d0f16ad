"""The clips of FSDKaggle2019 as data frames: which files there are, what they are labelled, how they fold."""

import argparse
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from .tables import few, label_matrix, read_table, unlisted_files

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
        them all the same. WAV files in the folder that no table lists are named in a warning, and ignored.

    Attributes
    ----------
    layout : {"Kaggle", "Zenodo"}
    vocabulary : list of str
        The labels, in the order of every label matrix and of the submission: the columns of
        ``sample_submission.csv`` where there is one, else all labels of the tables in alphabetical order.
    curated, noisy, test : pandas.DataFrame
        A row a clip, with columns `fname` (str), `labels` (tuple of str) and `path` (pathlib.Path). `test` has
        `labels` only where the ground truth is known, and then also `usage` (``Public`` or ``Private``).
    truth : pathlib.Path or None
        The table of the test clips' labels, where there is one.

    Raises
    ------
    FileNotFoundError
        If `root` has neither layout, or lists clips that are missing and `missing` is ``"error"``.
    ValueError
        If a table lacks a column, lists a clip twice or without a label, names a file outside its folder, or uses a
        label that the sample submission does not have.
    """

    def __init__(self, root, drop_faulty=True, missing="error"):
        if missing not in ("error", "skip", "list"):
            raise ValueError(f"missing={missing!r}: expected 'error', 'skip' or 'list'")
        self.root = Path(root)
        self.layout = self._find_layout()
        self.truth = self._table("test")
        tables = {name: self._read_set(name) for name in ("curated", "noisy", "test")}
        sample = self.root / "sample_submission.csv"
        columns = read_table(sample, ["fname"]) if sample.exists() else None
        if columns is not None:
            self.vocabulary = [column for column in columns.columns if column != "fname"]
            tables["test"] = self._in_order_of(columns["fname"], tables["test"])
        else:
            self.vocabulary = sorted({label for table in tables.values() if "labels" in table
                                      for labels in table["labels"] for label in labels})
        self._listed = {name: set(table["fname"]) for name, table in tables.items()}
        for name, table in tables.items():
            if "labels" in table:
                self.targets(table, of=name)  # raises on a label outside the vocabulary
        self.curated = self._without_faulty(tables["curated"]) if drop_faulty else tables["curated"]
        self.noisy, self.test = tables["noisy"], tables["test"]
        if missing != "list":
            for name in ("curated", "noisy", "test"):
                setattr(self, name, self._existing(getattr(self, name), name, missing))

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
                                "Zenodo's FSDKaggle2019.meta/; see 'The data' in the README for both layouts")

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
        if set(fnames) <= set(test["fname"]):
            return order.merge(test, on="fname", how="left")
        order["path"] = _paths_inside(self.folder("test"), fnames, self.root / "sample_submission.csv")
        return order

    def _without_faulty(self, curated):
        faulty = curated["fname"].isin(FAULTY_CLIPS.keys())
        if faulty.any():
            names = ", ".join(f"{name} ({FAULTY_CLIPS[name]})" for name in curated["fname"][faulty])
            warnings.warn(f"left out {faulty.sum()} curated clips known to be faulty: {names}; "
                          "drop_faulty=False keeps them", stacklevel=3)
        return curated[~faulty].reset_index(drop=True)

    def _existing(self, table, name, missing):
        if not len(table):
            return table
        folder = self.folder(name)
        present = set(os.listdir(folder)) if folder.is_dir() else set()
        here = table["fname"].isin(present)
        unlisted = unlisted_files(folder, self._listed[name])
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
        if not fname or "/" in fname or "\\" in fname or fname in (".", ".."):
            raise ValueError(f"{table}: {fname!r} is not the name of a file in {folder}; "
                             "give bare file names, without folders")
    return [folder / fname for fname in fnames]


def _unnested(folder):
    """The folder itself, or the one of the same name in it that some unzip tools make."""
    return folder / folder.name if (folder / folder.name).is_dir() else folder


def _first_table(root, tables):
    paths = [_unnested((root / table).parent) / Path(table).name for table in tables]
    return next((path for path in paths if path.exists()), None)


def check(root):
    """Examine a data set and print what was found.

    Parameters
    ----------
    root : path

    Returns
    -------
    bool
        Whether training on it would work.
    """
    from .doctor import examine, report

    try:
        data = FSDKaggle2019(root, drop_faulty=False, missing="list")
    except (OSError, ValueError) as error:
        print(error)
        return False
    print(data)
    figures, every = [], {}
    for name in ("curated", "noisy", "test"):
        table = getattr(data, name)
        row, problems = report(name, table, examine(table["path"]), data.folder(name))
        figures.append(row)
        every |= {(name, kind): names for kind, names in problems.items() if names}
    print(pd.DataFrame(figures).set_index("set").T.to_string())
    for (name, kind), names in every.items():
        print(f"{name}, {kind}: {few(names)}")
    faulty = sorted(set(data.curated["fname"]) & FAULTY_CLIPS.keys())
    if faulty:
        print(f"curated, known to be faulty and left out by default: {few(faulty, 6)}")
    count = {kind: sum(len(names) for (_, which), names in every.items() if which == kind)
             for kind in ("missing", "unreadable")}
    print(f"{count['missing']} missing clips would stop training" if count["missing"] else
          "nothing here would stop training")
    if count["unreadable"]:
        print(f"{count['unreadable']} unreadable clips would be left out of training and count as silence")
    return not any(count.values())


def main(arguments=None):
    """``python -m freesound_tagging.dataset download DEST`` and ``... check ROOT``."""
    from .download import ARCHIVES, RECORD, download  # what it needs, nobody else does

    parser = argparse.ArgumentParser(prog="python -m freesound_tagging.dataset")
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("download", help="fetch FSDKaggle2019 from Zenodo, check it and unpack it")
    fetch.add_argument("dest", type=Path)
    fetch.add_argument("--only", nargs="+", choices=ARCHIVES, default=list(ARCHIVES), help="the sets to fetch")
    fetch.add_argument("--record", default=RECORD, help="address of the record (default: %(default)s)")
    doctor = commands.add_parser("check", help="examine a data set; exit status 1 if clips are missing or unreadable")
    doctor.add_argument("root", type=Path)
    options = parser.parse_args(arguments)
    if options.command == "check":
        return 0 if check(options.root) else 1
    try:
        print("complete:", *download(options.dest, options.only, options.record))
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
