"""Where a data set keeps its tables and sounds, and which of the clips that a table lists are there."""

import os
import warnings
from pathlib import PureWindowsPath

import numpy as np

from .tables import few, same_name

# Of sounds, also of those that libsndfile does not read.
ENDINGS = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64", ".rf64", ".m4a",
           ".aac", ".mp4", ".wma", ".webm", ".amr"}
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


def layout_of(root):
    """The layout of the data set in a folder, "Kaggle" or "Zenodo"; FileNotFoundError if it has neither."""
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is not a folder; give the one that holds the data set")
    for layout in LAYOUTS:
        if any(table_of(root, layout, name) for name in ("curated", "noisy")):
            return layout
    if (root / "sample_submission.csv").exists():
        return "Kaggle"
    if (root / "FSDKaggle2019.meta").is_dir():
        return "Zenodo"
    raise FileNotFoundError(f"{root} holds neither Kaggle's train_curated.csv or sample_submission.csv nor "
                            "Zenodo's FSDKaggle2019.meta/; make prepare SOURCE=... DEST=... makes of class folders or "
                            "any table what can be trained on (docs/data.md)")


def table_of(root, layout, name):
    """The path of the table of a set, or None where there is none."""
    paths = [(_unnested(path.parent) if path.parent != root else root) / path.name
             for path in (root / table for table in LAYOUTS[layout][name][0])]
    return next((path for path in paths if path.exists()), None)


def folder_of(root, layout, name):
    """Where the audio of a set is, or would be."""
    return _unnested(root / LAYOUTS[layout][name][1])


def files_in(folder):
    """The names of what is a file in a folder, through links, and not of a link into nothing; none if it is missing."""
    if not folder.is_dir():
        return set()
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_file()}


def unlisted_files(folder, fnames):
    """Sounds, by their endings, that a table does not list, sorted."""
    return sorted({path.name for path in folder.glob("*") if path.suffix.lower() in ENDINGS} - set(fnames))


def paths_inside(folder, fnames, table):
    """The paths of listed clips; ValueError, naming the `table`, if one would not be in that folder itself."""
    for fname in fnames:
        if not fname or "/" in fname or "\\" in fname or fname in (".", "..") or PureWindowsPath(fname).drive:
            raise ValueError(f"{table}: {fname!r} is not the name of a file in {folder}; "
                             "give bare file names, without folders and drives")
    return [folder / fname for fname in fnames]


def paths_as_named(folder, fnames, name):
    """The paths of a set's listed clips by the names that their files have.

    A file that differs only in case or Unicode's form from a listed name is taken, with a warning, if it is the only
    one that does; else the path is as listed, there or not.
    """
    present = files_in(folder)
    absent, others = fnames[~fnames.isin(present)].unique(), present - set(fnames)
    alike = {}  # by what is the same for people: the names that are listed, and those of files
    for which, names in enumerate((absent, others if len(absent) else ())):
        for fname in names:
            alike.setdefault(same_name(fname), ([], []))[which].append(fname)
    found = {names[0]: files[0] for names, files in alike.values() if len(names) == len(files) == 1}
    if found:
        pairs = few([f"{file!a} for {fname!a}" for fname, file in found.items()])
        warnings.warn(f"{len(found)} {name} clips have files of nearly the listed name in {folder}, which are "
                      f"taken: {pairs}", stacklevel=3)
    return [folder / found.get(fname, fname) for fname in fnames]


def those_there(table, folder, name, listed, missing):
    """The clips whose files are there, after a word about those that are not and about files that no table lists.

    `missing` says what to do about missing clips: "error" is a FileNotFoundError, "skip" leaves them out with a
    warning, "unneeded" leaves a set out without a word that has no file at all. `listed` are the paths of all clips of
    the set's table, of which `table` may lack some.
    """
    present = files_in(folder)
    here = np.array([path.name in present for path in table["path"]], bool)
    unlisted = unlisted_files(folder, {path.name for path in listed})
    if missing == "unneeded" and not (here.any() or unlisted):
        return table[here]
    said = []
    if not here.all():
        said.append(f"{(~here).sum()} of the {len(table)} {name} clips are missing from {folder}: "
                    f"{few(table['fname'][~here])}")
    if unlisted and len(table):
        said.append(f"{len(unlisted)} files in {folder} are in no table: {few(unlisted)}")
    if missing == "error" and not here.all():
        raise FileNotFoundError(". ".join(said) + ". Complete the download, or leave them out with missing='skip'")
    if said:
        warnings.warn(". ".join(said) + ". They are left out", stacklevel=3)
    return table[here].reset_index(drop=True)


def _unnested(folder):
    """The folder itself, or the one of the same name in it that some unzip tools make."""
    return folder / folder.name if (folder / folder.name).is_dir() else folder
