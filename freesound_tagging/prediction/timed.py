"""The score of what was heard when, where labels with times are known."""

import pandas as pd

from ..annotations.reading import read_all_events
from ..annotations.scoring import SCENARIOS, psds, score_events
from ..machine.files import as_path

TIMELINES = ["path", "second"]  # the columns that a table of timelines begins with, as `formats.Timelines` writes them


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
    windows = []
    for file, table in tables.items():
        starts, ends = spoken_for(table)
        windows.append(table.assign(file=file, start=starts.clip(0), end=ends).reset_index(drop=True))
    windows = pd.concat(windows, ignore_index=True)
    return totals | {name: psds(windows, truth, **settings) for name, settings in SCENARIOS.items()}, per_label


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
        By the sound's path, each as `timeline` gives it, without its ``attrs``.

    Raises
    ------
    ValueError
        If a cell is no number. The message names the file.
    """
    table = pd.read_csv(as_path(path), dtype={"path": str})
    try:
        table = table.astype({column: float for column in table.columns[1:]})
    except ValueError as error:
        raise ValueError(f"{path} is no table of timelines ({error}); write it by --timeline OUT.csv") from None
    return {file: one.set_index("second").drop(columns="path") for file, one in table.groupby("path", sort=False)}
