"""The score of what was heard when, where labels with times are known."""

import csv
import warnings

import numpy as np
import pandas as pd

from ..annotations.reading import read_all_events
from ..annotations.scoring import SCENARIOS, psds, score_events
from ..machine.files import as_path

TIMELINES = ["path", "second"]  # the columns that a table of timelines begins with, as `formats.Timelines` writes them
LENGTHS = ["window", "duration"]  # those after them: seconds of the window and of the sound


def score_timed(found, truth, threshold=0.3, label_column=None):
    """Score events against labels with times (`score_events`), and timelines at all thresholds besides (`psds`).

    Parameters
    ----------
    found : path
        Timelines, as ``--timeline OUT.csv`` writes them; or events, as `read_all_events` reads them.
    truth : path
        As `read_all_events` reads it; what has no label is left out.
    threshold : float
        As for `events`, of timelines.
    label_column : str, optional
        Of the truth, as for `read_events`.

    Returns
    -------
    totals : dict of str to float
        As `score_events` gives it; of timelines with ``PSDS1`` and ``PSDS2``.
    per_label : pandas.DataFrame

    Raises
    ------
    ValueError
        As `read_events`, `score_events` and `psds`.
    """
    from .tagging import events, spoken_for  # which brings torch; scores of submissions need none

    truth = read_all_events(truth, label_column)
    truth = truth[truth["label"] != ""]
    if not is_timelines(found):
        return score_events(read_all_events(found), truth)
    tables = read_timelines(found)
    if not tables:
        raise ValueError(f"{found} has no window of a sound: expected what --timeline OUT.csv writes of sounds that "
                         "can be read")
    totals, per_label = score_events(pd.concat(
        [events(table, threshold).assign(file=file) for file, table in tables.items()], ignore_index=True), truth)
    if called := {*next(iter(tables.values())).columns} & {"file", "start", "end"}:
        raise ValueError(f"{found} has the label {min(called)!r}, which is called as a column of what PSDS is computed "
                         "of; score events (--timeline OUT.tsv)")
    windows = []
    for file, table in tables.items():
        starts, ends = (np.clip(times, 0, table.attrs.get("duration", np.inf)) for times in spoken_for(table))
        windows.append(table.assign(file=file, start=starts, end=ends).reset_index(drop=True))
    windows, lengths = pd.concat(windows, ignore_index=True), {
        file: table.attrs["duration"] for file, table in tables.items() if "duration" in table.attrs}
    return totals | {name: psds(windows, truth, **settings, lengths=lengths)
                     for name, settings in SCENARIOS.items()}, per_label


def is_timelines(path):
    """Whether a file is a table of timelines, by its first line."""
    try:
        with as_path(path).open(encoding="utf-8-sig") as file:
            return file.readline(1000).split(",")[:2] == TIMELINES
    except (OSError, UnicodeDecodeError):
        return False


def read_timelines(path):
    """The timelines of each sound, as ``--timeline OUT.csv`` writes them.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict of str to pandas.DataFrame
        By the sound's path, each as `timeline` gives it, float64, with ``"window"`` and ``"duration"`` in its
        ``attrs``, which tables of earlier versions do not have.

    Raises
    ------
    ValueError
        If a cell is no number. The message names the file.

    Warns
    -----
    UserWarning
        If the table does not say how long windows and sounds are: what is made of it takes windows as published, and
        sounds to end with their last one.
    """
    from ..images.mel import MelConfig  # which brings librosa

    with as_path(path).open(encoding="utf-8-sig", newline="") as file:
        names = next(csv.reader(file))
    table = pd.read_csv(as_path(path), dtype={"path": str}, keep_default_na=False)  # a sound may be called NA
    try:
        table = table.astype({column: float for column in table.columns[1:]})
    except ValueError as error:
        raise ValueError(f"{path} is no table of timelines ({error}); write it by --timeline OUT.csv") from None
    table.columns, known = names, names[2:4] == LENGTHS  # pandas renames a label that is called as a column before it
    if len(table) and not known:
        warnings.warn(f"{path} does not say how long its windows and sounds are: windows are taken as "
                      f"{MelConfig().excerpt_seconds:.2f} s, and sounds to end with their last one; write it again by "
                      "--timeline OUT.csv", stacklevel=2)
    tables = {}
    for file, one in table.groupby(table.iloc[:, 0], sort=False):
        tables[file] = one.iloc[:, 4 if known else 2:].set_axis(pd.Index(one.iloc[:, 1], name="second"))
        tables[file].attrs = dict(zip(LENGTHS, one.iloc[0, 2:4].tolist())) if known else {}
    return tables
