"""Recordings whose labels have times, as clips: each label a stretch of a recording, and what lies between as well."""

from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import soundfile as sf

from ..annotations import is_events, names_of, read_events
from .spreadsheets import split_labels
from .tables import few

SAME = 0.02  # seconds: labels whose times differ by less are one, which two tables round in their ways
MARGIN = 0.1  # seconds of background that are left out beside a label, as these are set by hand
LEAST = 2.0  # seconds of a stretch of background, so that an excerpt of it has no label in it


def stretches(paths, sounds, options, notes):
    """The labels with times of recordings as rows, each a stretch of a recording.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        Files that may be tables of labels with times (`annotations.read_events`); others are passed over.
    sounds : SoundsBelow
        The recordings. A table without names of files is of the sound beside it that it is called after.
    options : Options
    notes : list of str
        Gets sentences for who reads it.

    Returns
    -------
    pandas.DataFrame or None
        `name` (the sound's path below the sounds' folder), `labels` (tuple), `start`, `end` (seconds), `group` (the
        sound's name). None if no table has times of these sounds.
    """
    found, unknown = [], []
    for path in paths:
        if not is_events(path):
            continue
        table = read_events(path, options.label_columns[0] if options.label_columns else None)
        if not len(table):
            continue
        for name, rows in table.groupby("file", sort=False):
            which = sounds.find(name) if name else _beside(path, sounds)
            if len(which) != 1:
                unknown.append(f"{name or path.name} of {path.name}")
                continue
            found.append(pd.DataFrame({"name": which[0].as_posix(), "start": rows["start"].to_numpy(float),
                                       "end": rows["end"].to_numpy(float),
                                       "labels": split_labels(rows["label"].tolist(), options.separator),
                                       "table": str(path)}))
    if not found:
        return None
    if unknown:
        notes.append(f"labels with times of {len(unknown)} sounds that are not there, or not one alone, are left out: "
                     f"{few(unknown)}")
    rows = pd.concat(found, ignore_index=True)
    lengths = {name: seconds_of(sounds.root / name) for name in rows["name"].unique()}
    late = rows["start"] > rows["name"].map(lengths)
    if late.any() and not rows["name"].duplicated().any():  # as of clips that were cut from elsewhere
        notes.append(f"{rows['table'][late].iloc[0]}: its times are not of its files, as {rows['name'][late].iloc[0]} "
                     "has ended by then; the clips count as whole files")
        return None
    if late.any():
        where = [f"{row.name} at {row.start:g} s" for row in rows[late].itertuples(index=False)]
        notes.append(f"{late.sum()} labels after the end of their sound are left out: {few(where)}")
    rows = _once(rows[~late], notes)
    return rows.assign(group=[PurePosixPath(name).name for name in rows["name"]])


def _beside(path, sounds):
    """The sounds that a table beside them may be about, by its name."""
    try:
        folder = PurePosixPath(path.resolve().parent.relative_to(sounds.root).as_posix())
    except ValueError:  # the sounds are elsewhere
        folder = PurePosixPath()
    found = (sounds.find(str(folder / stem)) for stem in names_of(path))
    return next(filter(None, found), [])


def _once(rows, notes):
    """Rows without those that another table has too, and labels of the same time as one row."""
    rows = rows.explode("labels").sort_values(["name", "labels", "start", "end"], kind="stable", na_position="first")
    before = rows.shift()
    again = (rows["name"] == before["name"]) & (rows["labels"].fillna("") == before["labels"].fillna("")) & (
        (rows["start"] - before["start"]).abs() < SAME) & ((rows["end"] - before["end"]).abs() < SAME)
    if again.any():
        notes.append(f"{again.sum()} labels are in two tables, or twice in one, and count once")
    rows = rows[~again].sort_values(["name", "start", "end"], kind="stable")
    own = rows.groupby(["name", "start", "end"], sort=False)["labels"]
    return own.agg(lambda labels: tuple(label for label in dict.fromkeys(labels) if isinstance(label, str))
                   ).reset_index()


def background_between(rows, sounds, seed=0):
    """Stretches of recordings that have no label, in lengths like those of the labels.

    Parameters
    ----------
    rows : pandas.DataFrame
        Of `stretches`.
    sounds : SoundsBelow
    seed : int

    Returns
    -------
    pandas.DataFrame
        As `rows`, without labels: no more of them than there are of `rows`, nor of more seconds; each as long as one of
        these or as its gap, and at least `LEAST`.
    """
    rng, wanted = np.random.default_rng(seed), (rows["end"] - rows["start"]).to_numpy()
    pieces = []
    for name, own in rows.groupby("name", sort=False):
        for begin, end in _gaps(own, seconds_of(sounds.root / name)):
            while end - begin >= LEAST:
                length = min(max(rng.choice(wanted), LEAST), end - begin)
                pieces.append((name, begin, begin + length))
                begin += length
    order = rng.permutation(len(pieces))[:len(rows)]
    total = np.cumsum([pieces[piece][2] - pieces[piece][1] for piece in order])
    kept = [pieces[piece] for piece in sorted(order[total <= max(wanted.sum(), LEAST)])]
    made = pd.DataFrame(kept, columns=["name", "start", "end"]).round({"start": 3, "end": 3})
    return made.assign(labels=[()] * len(made), group=[PurePosixPath(name).name for name in made["name"]])


def _gaps(rows, length):
    """From when to when no row of a recording is, each less `MARGIN` beside a label."""
    place = 0.0
    for start, end in sorted(zip(rows["start"], rows["end"])):
        if start - MARGIN > place:
            yield place, start - MARGIN
        place = max(place, end + MARGIN)
    if length > place:
        yield place, length


def seconds_of(path):
    """How long a sound lasts by its header; infinite where that cannot be told."""
    try:
        info = sf.info(path)
        return info.duration if 0 < info.frames < 1 << 60 else np.inf
    except (sf.SoundFileError, OSError, ZeroDivisionError, TypeError):
        return np.inf
