"""Labels with times, written so that other programs read them."""

import os
from pathlib import Path

from ..machine.commands import printable
from ..machine.files import output_file

BAND = 22_050  # Hz: selections reach from 0 to there, as a label says nothing of frequencies


def write_labels(path, table):
    """Write events as Audacity imports labels (File, Import, Labels): start, end and label between tabs.

    Parameters
    ----------
    path : path
        The file to make or replace.
    table : pandas.DataFrame
        Of one sound: `start` and `end` in seconds, and `label`.
    """
    _write(path, [], ((f"{row.start:.6f}", f"{row.end:.6f}", _plain(row.label)) for row in table.itertuples()))


def write_selections(path, table, lengths):
    """Write the events of one sound or of many as a table of selections that Raven opens.

    Of many, Raven has to have all of them open in one window (Open Sound Files, as one sequence), in this order: a
    selection's ``Begin Time (s)`` counts from the first one's beginning, and ``File Offset (s)`` from its own's.

    Parameters
    ----------
    path : path
        The file to make or replace. Raven expects a name that ends in ``.selections.txt``, and other readers do.
    table : pandas.DataFrame
        `file`, `start` and `end` in seconds of the file, `label`, and `probability` if there is one.
    lengths : dict of str to float
        In order, how many seconds each file lasts, also those without events.

    Raises
    ------
    KeyError
        If an event is of another file.
    """
    begins, begin = {}, 0.0
    for file, seconds in lengths.items():
        begins[file], begin = begin, begin + seconds
    columns = ["Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)",
               "Begin File", "Begin Path", "File Offset (s)", "Annotation"]
    more = ["Probability"] if "probability" in table else []
    table = table.assign(begin=table["file"].map(lambda file: begins[file])).sort_values(["begin", "start"],
                                                                                         kind="stable")
    _write(path, [*columns, *more], (
        (number, "Spectrogram 1", 1, f"{row.begin + row.start:.6f}", f"{row.begin + row.end:.6f}", 0, BAND,
         Path(row.file).name, os.path.abspath(row.file), f"{row.start:.6f}", _plain(row.label),
         *(f"{row.probability:.4f}" for _ in more))
        for number, row in enumerate(table.itertuples(), 1)))


def write_dcase(path, table):
    """Write the events of one sound or of many as DCASE's TSV: filename, onset, offset and event_label.

    Parameters
    ----------
    path : path
        The file to make or replace.
    table : pandas.DataFrame
        `file`, `start` and `end` in seconds, and `label`.
    """
    _write(path, ["filename", "onset", "offset", "event_label"],
           ((row.file, f"{row.start:.3f}", f"{row.end:.3f}", _plain(row.label)) for row in table.itertuples()))


def _plain(label):
    """A label in one line, without tabs."""
    return " ".join(str(label).split())


def _write(path, columns, rows):
    lines = [columns, *rows] if columns else rows
    with output_file(path) as part:
        part.write_text("".join("\t".join(map(printable, line)) + "\n" for line in lines), encoding="utf-8",
                        errors="backslashreplace")
