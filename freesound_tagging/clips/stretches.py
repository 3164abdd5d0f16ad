"""Recordings whose labels have times, as clips: each label a stretch of a recording, and what lies between as well."""

import itertools
import re
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from ..annotations import is_empty_track, is_events, names_of
from ..annotations.reading import events_and_rows
from ..machine.texts import column_of
from .audio import seconds_of
from .spreadsheets import split_labels
from .tables import few

TEST = {"test", "testing", "eval", "evaluation", "tst"}  # words in the names of tables, folders and parts
NOISY = {"noisy", "unverified"}

SAME = 0.02  # seconds: labels whose times differ by less are one, which two tables round in their ways
MARGIN = 0.1  # seconds of background that are left out beside a label, as these are set by hand
LEAST = 2.0  # seconds of a stretch of background, so that an excerpt of it has no label in it


def stretches(paths, sounds, options, notes, root):
    """The labels with times of recordings as rows, each a stretch of a recording.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        Files that may be tables of labels with times (`annotations.read_events`); others are passed over.
    sounds : SoundsBelow
        The recordings. A table without names of files is of the sound beside it that it is called after; one in which
        there is no text says that nothing is to be heard there.
    options : Options
    notes : list of str
        Gets sentences for who reads it.
    root : pathlib.Path
        The folder that all these tables are below.

    Returns
    -------
    pandas.DataFrame or None
        `name` (the sound's path below the sounds' folder), `labels` (tuple), `start`, `end` (seconds), `group` (the
        same as `name`, or what a column says), `set`, `fold`, and `background`, which recordings without a label are as
        a whole. None if no table has labels with times, or such as are of where clips were cut from.

    Raises
    ------
    ValueError
        If none of the tables is of these sounds, or one has no label at all.
    """
    found, unknown = [], []
    for path in paths:
        if is_empty_track(path) and len((beside := _beside(path, sounds, root))[1]) == 1:
            file, which = beside
            found.append(pd.DataFrame({"name": [which[0].as_posix()], "labels": [()], "start": 0.0, "end": np.inf,
                                       "set": "curated", "fold": "", "group": "", "background": True, "named": False,
                                       "file": file, "table": str(path)}))
        elif is_events(path):
            found += _of_table(path, sounds, options, notes, root, unknown)
    if all(own["background"].all() for own in found):  # silence alone says nothing of what is heard
        if unknown:
            raise ValueError(f"{root} has labels with times, and none of its sounds, or not one alone: {few(unknown)}; "
                             "give the recordings' folder by --sounds, the column of their names by --file-column, or "
                             "say by --class-folders or --whole that these times do not count")
        return None
    rows = pd.concat(found, ignore_index=True)
    of_others = set()
    for named, own in rows.drop_duplicates(["named", "file"]).groupby("named"):
        for file, sound, which in zip(own["file"], own["name"], sounds.find_all(own["file"], of_tables=not named)):
            if not which:
                of_others.add((named, file))
                unknown.append(file if named else f"{file} (a table nearer to {sound} is there)")
    rows = rows[[key not in of_others for key in zip(rows["named"], rows["file"])]].drop(columns="file")
    if unknown:
        notes.append(f"labels with times of {len(unknown)} sounds that are not there, or not one alone, are left out: "
                     f"{few(unknown)}")
    length = rows["name"].map({name: _length(sounds.root / name, until)
                               for name, until in rows.groupby("name")["end"].max().items()})
    late = rows["start"] > length
    one_each = not rows.drop_duplicates(["name", "start", "end"])["name"].duplicated().any()
    if (late & rows["named"]).any() and one_each:  # as of clips that were cut from elsewhere
        notes.append(f"times are not of the files that they stand beside, as {rows['name'][late].iloc[0]} has ended by "
                     f"{rows['start'][late].iloc[0]:g} s; the clips count as whole files")
        return None
    if late.any():
        where = [f"{row.name} at {row.start:g} s" for row in rows[late].itertuples(index=False)]
        notes.append(f"{late.sum()} labels after the end of their sound are left out: {few(where)}")
    beyond = ~late & ~rows["background"] & (rows["end"] > length + 0.1)
    if beyond.any():
        notes.append(f"{beyond.sum()} labels reach beyond the end of their sound: {few(rows['name'][beyond].unique())}")
    rows["end"] = np.minimum(rows["end"], length)
    rows[["start", "end"]] = rows[["start", "end"]].round(6)  # as they are written: microseconds
    endless = rows["background"] & np.isinf(rows["end"])  # a silent one of which nobody knows how long it is
    rows = _once(rows[~late & ~endless], notes)
    group = rows.groupby("name")["group"].transform("max")  # the same of all stretches of a recording
    return rows.assign(group=group.where(group != "", rows["name"]))


def _length(path, needed):
    """Seconds of a sound, and of all that was joined if labels want more than its first recording has; or infinity."""
    length = seconds_of(path) or np.inf
    return seconds_of(path, joined=True) or np.inf if length < needed < np.inf else length


def words_of(name):
    """The words of a table's or folder's name in small letters, without digits: set of str."""
    return set(re.split(r"[\W_\d]+", name.casefold()))


def set_named(name):
    """The set that a table is of by its name: "noisy", "test", or else "curated"."""
    words = words_of(name)
    return "noisy" if words & NOISY else "test" if words & TEST else "curated"


def _of_table(path, sounds, options, notes, root, unknown):
    """The rows of a table, a data frame for each sound; names of those that are not there go to `unknown`."""
    table, sheet = events_and_rows(path, options.label_columns[0] if options.label_columns else None)
    if not len(table):
        return []
    if (table["label"] == "").all():
        raise ValueError(f"{path}: no row has a label; name the column of labels by --label-column")
    if "probability" in table:
        notes.append(f"{path}: its labels have probabilities, as what a program has heard; all count as right, from "
                     f"{table['probability'].min():g} on")
    table["labels"] = split_labels(table["label"].tolist(), options.separator or "")
    table["set"] = set_named(path.stem)
    table["group"], table["fold"], table["background"] = "", "", False
    if sheet is not None:
        _add_columns(table, sheet, path, options)
    table["named"] = table["file"] != ""
    table.loc[~table["named"], "set"] = "curated"
    found = []
    for name, rows in table.groupby("file", sort=False):
        file, which = (name, sounds.find(name)) if name else _beside(path, sounds, root)
        if len(which) != 1:
            unknown.append(f"{name} of {path.name}" if name else path.name)
            continue
        found.append(rows[["labels", "start", "end", "set", "fold", "group", "background", "named"]].assign(
            name=which[0].as_posix(), file=file, table=str(path)))
    return found


def _add_columns(table, sheet, path, options):
    """What a table has beside labels and times, and options ask for or its columns' names say."""
    asked = [options.file_column, *options.label_columns, *([] if options.group == "none" else [options.group])]
    for column in filter(None, asked):
        column_of(sheet, (), column, str(path))  # raises, if it is not there
    if options.file_column:
        table["file"] = sheet[options.file_column].to_numpy()
    if len(options.label_columns) > 1:
        parts = [split_labels(sheet[name].tolist(), options.separator or "") for name in options.label_columns]
        table["labels"] = [tuple(dict.fromkeys(itertools.chain(*own))) for own in zip(*parts)]
    group = None if options.group == "none" else options.group or column_of(sheet, ("group", "session"))
    fold, part = column_of(sheet, ("fold", "folds")), column_of(sheet, ("split", "subset", "partition"))
    for name, column in (("group", group), ("fold", fold)):
        if column:
            table[name] = sheet[column].to_numpy()
    if part:
        table.loc[[word.casefold() in TEST for word in sheet[part]], "set"] = "test"


def _beside(path, sounds, root):
    """A name of sounds with the table's own folder before it, and the sounds that it may be about by that."""
    def of(folder):
        names = (str(folder / stem) for stem in names_of(path))
        return next(((name, found) for name in names if (found := sounds.find(name))), ("", []))
    inside = path.parent.relative_to(root)  # where it was found: it or its folder may be a link to elsewhere
    here = root.resolve() / inside
    if not here.is_relative_to(sounds.root):  # the sounds are elsewhere, perhaps in folders of the same names
        return of(PurePosixPath(inside.as_posix()))
    folder = here.relative_to(sounds.root)
    name, found = of(PurePosixPath(folder.as_posix()))
    if folder in sounds.folders:  # where sounds are, a table is about one of these
        found = [sound for sound in found if sound.parent == folder]
    return name, found


def _once(rows, notes):
    """Rows without those that are there twice or another table has too, and labels of the same time as one row."""
    silent = rows[rows["background"]]
    rows = rows[~rows["background"]].explode("labels")
    rows = rows.sort_values(["name", "labels", "start", "end"], kind="stable", na_position="first")
    again = np.array([known for _, own in rows.fillna({"labels": ""}).groupby(["name", "labels"], sort=False)
                      for known in _are_known(own)], bool)
    if again.any():
        notes.append(f"{again.sum()} labels are in two tables, or twice in one, and count once")
    rows = rows[~again].sort_values(["name", "start", "end"], kind="stable")
    clips = rows.groupby(["name", "start", "end"], sort=False)
    joined = clips.first().assign(labels=clips["labels"].agg(
        lambda labels: tuple(label for label in dict.fromkeys(labels) if isinstance(label, str)))).reset_index()
    return pd.concat([joined, silent[~silent["name"].isin(set(rows["name"]))]], ignore_index=True)


def _are_known(rows):
    """Of each row of one label, by their start, whether one before says the same, or another table nearly so."""
    kept = []
    for start, end, table in zip(rows["start"], rows["end"], rows["table"]):
        near = itertools.takewhile(lambda other, start=start: start - other[0] < SAME, reversed(kept))
        known = any((start, end) == other[:2] or (abs(end - other[1]) < SAME and table != other[2]) for other in near)
        if not known:
            kept.append((start, end, table))
        yield known


def background_between(rows, seed=0):
    """Stretches of recordings that have no label, in lengths like those of the labels.

    Parameters
    ----------
    rows : pandas.DataFrame
        With `source` (the sound's path), `start`, `end`, `labels` (none where somebody has marked what nobody has
        named), `background`, and `complete`: whether all that is to be heard in the sound is marked.
    seed : int

    Returns
    -------
    pandas.DataFrame
        Rows of these recordings without labels: no more than there are with labels, nor of more seconds; each as long
        as one of these or as its gap, and at least `LEAST`.
    """
    rng, marked = np.random.default_rng(seed), rows[rows["start"].notna() & ~rows["background"]]
    labelled = marked[marked["labels"].map(len) > 0]
    wanted, pieces = (labelled["end"] - labelled["start"]).to_numpy(), []
    for source, own in marked[marked["source"].isin(set(labelled["source"]))].groupby("source", sort=False):
        if not own["complete"].any():
            continue
        for begin, end in _gaps(own, seconds_of(source) or own["end"].max()):
            while end - begin >= LEAST:
                stretch = min(max(rng.choice(wanted), LEAST), end - begin)
                pieces.append((source, begin, begin + stretch))
                begin += stretch
    order = rng.permutation(len(pieces))[:len(labelled)]
    total = np.cumsum([pieces[piece][2] - pieces[piece][1] for piece in order])
    kept = [pieces[piece] for piece in sorted(order[total <= max(wanted.sum(), LEAST)])]
    made = pd.DataFrame(kept, columns=["source", "start", "end"]).round({"start": 3, "end": 3})
    of = labelled.drop_duplicates("source").set_index("source")
    others = of.loc[made["source"]].reset_index(drop=True).drop(columns=["start", "end", "labels", "background"])
    return pd.concat([made, others], axis=1).assign(labels=[()] * len(made), background=True)


def _gaps(rows, length):
    """From when to when no row of a recording is, each less `MARGIN` beside a label."""
    place = 0.0
    for start, end in sorted(zip(rows["start"], rows["end"])):
        if start - MARGIN > place:
            yield place, start - MARGIN
        place = max(place, end + MARGIN)
    if length > place:
        yield place, length
