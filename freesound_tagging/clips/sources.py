"""Data sets as they come: each layout is a small function from a folder to rows, and a line of `READERS`."""

import dataclasses
import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd

from ..annotations import cut_of, is_events
from ..machine.files import as_path, files_below
from ..machine.texts import ENDINGS_OF_TABLES
from .finding import NO_CLASS, SoundsBelow
from .listed import listed_clips
from .public import esc50, fsd50k, fsdkaggle2018, fsdnoisy18k
from .spreadsheets import (
    may_be_table,
    read_spreadsheet,
    split_labels,
)
from .stretches import NOISY, TEST, set_named, stretches, words_of
from .tables import few, same_name

BACKGROUND = {"_background_noise_", "nocall", "no_call"}  # labels and folders that mean it, where it is asked for
TRAIN = {"train", "training", "dev", "val", "valid", "validation", "curated", "good"}


@dataclasses.dataclass(frozen=True)
class Options:
    """How tables are read, where that is not seen from them."""

    file_column: str | None = None
    label_columns: tuple = ()
    separator: str | None = None  # between labels; "": a cell is one label
    group: str | None = None  # a column; "none": each clip is a recording of its own
    sounds: Path | None = None  # the sounds are below this folder, and not beside the tables
    class_folders: bool = False  # the folders' names are the labels, whatever tables are beside them
    noisy_small: bool = False  # FSDnoisy18k: of the noisy clips those of the part that is as large as the good one
    # What has no label is trained on as that: "yes"; the name of a label or folder that means it; "no". If not given,
    # what recordings have between labels, and nothing else.
    background: str | None = None
    recording: str | None = None  # a pattern of names: clips for which it finds the same are of one recording
    whole: bool = False  # clips are whole files, whatever times the table has


@dataclasses.dataclass
class Source:
    """A data set as it was found."""

    layout: str  # in words
    sounds: SoundsBelow
    # A row a clip: name, labels (tuple), set ("curated", "noisy", "test"), group (its recording, or ""), fold (or ""),
    # hints (tuple of names of folders), start and end (seconds of the file; NaN: all of it), background (bool), known
    # (whether the group is sure), complete (whether all that is to be heard in the sound has a label).
    rows: pd.DataFrame
    notes: list = dataclasses.field(default_factory=list)  # sentences for who reads it


def read_source(source, options=None, without=None):
    """Find out what a folder or table is, and read it.

    Parameters
    ----------
    source : path
        A folder, or a table with its sounds below the table's folder.
    options : Options, optional
    without : path, optional
        A folder in which no sounds are looked for, as it is made of them.

    Returns
    -------
    Source

    Raises
    ------
    FileNotFoundError
        If there is neither; or no sound.
    ValueError
        If it is of no layout of `READERS`. The message says what was looked for.
    """
    source, options = as_path(source), options or Options()
    if not source.exists():
        raise FileNotFoundError(f"{source} is not there; give a folder of class folders, a table, or a folder with one")
    root = as_path(options.sounds or (source if source.is_dir() else source.parent))
    if without is not None and root.resolve().is_relative_to(as_path(without).resolve()):
        raise ValueError(f"{root} is in {without}, the folder to make; give one elsewhere")
    sounds = SoundsBelow(root, without)
    notes = []
    if sounds.lost:
        notes.append(f"{len(sounds.lost)} links to sounds lead to nothing and are left out: {few(sounds.lost)}")
    if not sounds.paths:
        raise FileNotFoundError(f"there is no sound in {sounds.root} or below; give the folder that holds them"
                                + ("" if options.sounds else ", or the sounds' own by --sounds")
                                + "".join(f" ({note})" for note in notes))
    for layout, read in READERS.items():
        if read is _folders and options.sounds is not None and source.is_dir():
            sounds = SoundsBelow(source, without)  # class folders hold their sounds themselves
        rows = read(source, sounds, options, notes)
        if rows is not None and len(rows):
            rows = _as_text(rows.reset_index(drop=True), source)
            for column, usual in (("start", np.nan), ("end", np.nan), ("fold", ""), ("background", False),
                                  ("known", False), ("complete", False)):
                if column not in rows:
                    rows[column] = usual
            return Source(layout, sounds, _with_background(rows, options, notes), notes)
    raise ValueError(f"{source} holds neither a table with a column of file names and one of labels nor folders named "
                     "by classes with sounds in them; name the table, or its columns by --file-column and "
                     "--label-column")


def _as_text(rows, source):
    """Rows whose groups can be written, whatever folders are called; ValueError if a label cannot."""
    for label in dict.fromkeys(itertools.chain.from_iterable(rows["labels"])):
        if label != _utf8(label):
            raise ValueError(f"{source}: the folder {_utf8(label)} is not named in UTF-8, as those of old archives; "
                             "rename it, as its name is a label")
    rows["group"] = rows["group"].map(_utf8)
    return rows


def _utf8(name):
    """A name with escapes in place of bytes that are no UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _with_background(rows, options, notes):
    """Rows of which those without a label, or of one that means background, are marked as that, if it is asked for."""
    words = {same_name(word) for word in (*BACKGROUND, options.background or "")}
    means = rows["labels"].map(lambda own: any(same_name(label) in words for label in own))
    if options.background in (None, "no"):
        for label in sorted({label for own in rows["labels"][means] for label in own if same_name(label) in words}):
            notes.append(f"if {label} means that nothing of the labels is to be heard, say --background")
        return rows
    if options.background != "yes" and not any(same_name(options.background) in map(same_name, own)
                                                for own in rows["labels"]):
        notes.append(f"--background {options.background}: there is no such label, and no such folder")
    rows["labels"] = [tuple(label for label in own if same_name(label) not in words) for own in rows["labels"]]
    bare = rows["labels"].map(len) == 0
    rows["background"] |= bare & (means | (options.background == "yes"))
    return rows


def _tables_in(source, endings):
    """The files that may be tables: a file itself, or those of a folder and below it."""
    return [source] if not source.is_dir() else [
        path for path in files_below(source)
        if path.suffix.lower() in endings and not path.name.startswith("sample_submission")
        and not any(part.startswith(".") or part in ("__MACOSX", "truth") for part in path.relative_to(source).parts)]


def _cuts(source, sounds, options, notes):
    """What ``--cut`` has cut out of recordings, in folders of the labels that people have sorted it into."""
    if not source.is_dir():
        return None
    here = sounds if options.sounds is None else SoundsBelow(source)
    cuts = {path: cut for path in here.paths if (cut := cut_of(here.root / path))}
    if 2 * len(cuts) <= len(here.paths):
        return None
    rows = []
    for path, cut in cuts.items():
        labels = split_labels([cut.label], "")[0]
        if options.sounds is None:
            rows.append((path.as_posix(), np.nan, np.nan, labels, cut.recording))
        else:  # a recording's name in that of a cut has its folders before it, and may have a + of its own
            names = [cut.recording.replace("+", "/", folders) for folders in range(cut.recording.count("+") + 1)]
            name = next(filter(sounds.find, names), names[-1])
            which = sounds.find(name)
            rows.append((name, cut.start, cut.end, labels, which[0].as_posix() if which else name))
    if options.sounds is None:
        notes.append("the sounds that were cut out are the clips; with the recordings that they were cut from in a "
                     "folder that --sounds names, clips are stretches of these")
    elif others := [path for path in here.paths if path not in cuts]:
        notes.append(f"{len(others)} sounds in {source} are not named as cuts and are left out: {few(others)}")
    return pd.DataFrame(rows, columns=["name", "start", "end", "labels", "group"]).assign(
        set="curated", hints=[()] * len(rows), known=True)


def _recordings(source, sounds, options, notes):
    """Labels with times: Audacity's and Raven's beside the sounds, or a table that names these."""
    if options.whole or options.class_folders:
        return None
    rows = stretches(_tables_in(source, ENDINGS_OF_TABLES), sounds, options, notes,
                     source if source.is_dir() else source.parent)
    if rows is None or rows.empty:
        return None
    notes += _passed_over(source, sounds, options, rows)
    if options.background == "no":
        rows = rows[~rows["background"]]
    bare = (rows["labels"].map(len) == 0) & ~rows["background"]
    if bare.any() and options.background != "yes":
        notes.append(f"{bare.sum()} stretches have no label and are left out (--background yes trains on them as "
                     "background)")
    notes.append(f"{len(rows)} stretches of {rows['name'].nunique()} recordings have labels, or say that there is none")
    return rows.assign(hints=[()] * len(rows), known=True, complete=True)


def _passed_over(source, sounds, options, rows):
    """Sentences on tables of whole sounds and class folders that are there beside labels with times."""
    why, notes = f"as {rows['table'].iloc[0]} has labels with times", []
    if tables := [path for path in _tables_in(source, ENDINGS_OF_TABLES) if _lists_whole(path, sounds, options)]:
        notes.append(f"{few(tables)}: what is said of whole sounds is not used, {why}; --whole takes it, and no times")
    folders = _folders(source, sounds, options, [])
    left = () if folders is None else folders["labels"][~folders["name"].isin(set(rows["name"]))]
    if len(left) and folders["labels"].nunique() > 1:
        notes.append(f"{len(left)} sounds in the folders {few(left.explode().unique())} are not used, {why}; if the "
                     "folders' names are the labels, say --class-folders")
    return notes


def _lists_whole(path, sounds, options):
    try:
        return may_be_table(path, options.file_column) and not is_events(path) and not _wrong_with(
            listed_clips(path, options, []), path, sounds)
    except ValueError:
        return False


def _tables(source, sounds, options, notes):
    """One table or several of any kind; which set one is of is seen from its name."""
    if options.class_folders and source.is_dir():
        return None
    found, strange, among = {}, [], {sounds.root / folder for folder in sounds.folders}
    for path in _tables_in(source, ENDINGS_OF_TABLES):
        if path != source and path.suffix.lower() == ".txt" and not may_be_table(path, options.file_column):
            continue
        try:
            rows = listed_clips(path, options, notes, set_named(path.stem), folder=path.stem)
        except ValueError as error:
            if path == source:
                raise
            notes.append(f"passed over: {error}")
            strange.append(error)
            continue
        wrong = _wrong_with(rows, path, sounds)
        if wrong and path == source:
            raise ValueError(wrong)
        if not wrong:
            found[path] = rows
        elif path.parent == source or source.resolve() / path.parent.relative_to(source) not in among:
            strange.append(wrong)
    plain = [path for path, rows in found.items() if (rows["set"] == "curated").all()
             and not words_of(path.stem) & TRAIN]
    if len(plain) > 1:
        raise ValueError(f"{source} has {len(plain)} tables that may be meant: {few(plain)}; give the one")
    if found:
        notes.extend(f"{path}: {len(rows)} rows, " + " and ".join(dict.fromkeys(rows["set"]))
                     for path, rows in found.items())
    elif strange:
        raise ValueError(f"no table in {source} can be used: {few(strange, 2)}; or say by --class-folders that the "
                         "folders' names are the labels")
    return pd.concat(found.values(), ignore_index=True) if found else None


def _wrong_with(rows, path, sounds):
    """Why the rows of a table are none of these sounds, and what to do; None if they are."""
    if rows is None:
        return (f"{path} has no column of file names and one of labels that are called as usual; it has "
                f"{', '.join(read_spreadsheet(path).columns)}: name them by --file-column and --label-column")
    if not any(sounds.find(name) for name in rows["name"]):
        return (f"none of the {len(rows)} sounds that {path} lists ({few(rows['name'], 3)}) is in {sounds.root} or "
                "below; give the folder that holds them by --sounds")
    return None


def _folders(source, sounds, options, notes):
    """Class folders: the first is the label, what is below it a recording; train/, test/ or fold1/ may come before."""
    if not source.is_dir():
        return None
    rows, start, left_out = [], 0, set()
    while len(tops := {path.parts[start] for path in sounds.paths if len(path.parts) > start + 1}) == 1 and all(
            len(path.parts) > start + 2 for path in sounds.paths):
        start += 1  # one folder further down than expected
    folds = {top: re.fullmatch(r"fold[ _-]?(\d+)", top.casefold()) for top in tops}
    is_set = {top: top.casefold() in TEST | NOISY | TRAIN for top in tops}
    for path in sounds.paths:
        parts, which, fold = path.parts[start:], "curated", ""
        if len(parts) > 2 and all(is_set.values()):
            which = "test" if parts[0].casefold() in TEST else "noisy" if parts[0].casefold() in NOISY else "curated"
            parts = parts[1:]
        elif len(parts) > 2 and all(folds.values()):
            fold, parts = folds[parts[0]][1], parts[1:]
        no_class = len(parts) >= 2 and NO_CLASS.fullmatch(parts[0])
        if no_class and options.background not in (None, "no") and same_name(parts[0]) in BACKGROUND:
            no_class = None
        if len(parts) < 2 or no_class:
            left_out.add(path.parts[-2] if len(path.parts) > 1 else path.name)
            continue
        rows.append((path.as_posix(), split_labels([parts[0]], "")[0], which, fold, "/".join(parts[:-1])
                     if len(parts) > 2 else "", ()))
    if left_out:
        notes.append(f"sounds that are in no class's folder are left out: {few(sorted(left_out))}" + (
            " (--background trains on them as background)" if left_out & BACKGROUND else ""))
    if any(row[4] for row in rows):
        notes.append("the first folder is the label, and folders below it count as recordings; if they are the labels, "
                     "give a folder that has them side by side")
    return pd.DataFrame(rows, columns=["name", "labels", "set", "fold", "group", "hints"])


# Each is given (source, sounds, options, notes) and answers with rows, or None where it finds no such thing. The first
# that finds something is taken.
READERS = {
    "FSD50K": fsd50k, "FSDKaggle2018": fsdkaggle2018, "FSDnoisy18k": fsdnoisy18k, "ESC-50": esc50,
    "sounds cut out and sorted": _cuts, "recordings with labels in time": _recordings, "tables": _tables,
    "class folders": _folders}
