"""Tables of sounds and their labels as people have them: with a header or not, lists of labels in any notation."""

import ast
import itertools
import re

import pandas as pd

from ..machine.files import as_path
from ..machine.texts import column_of, rows_of, text_of
from .tables import few

# Names of columns in small letters without spaces, dashes and underscores; the first that a table has is taken.
FILE_COLUMNS = ("fname", "filename", "file", "filepath", "path", "audiofilename", "audiofile", "audio", "slicefilename",
                "soundfile", "sound", "wav", "clip", "clipname", "recording", "name", "id")
LABEL_COLUMNS = ("labels", "label", "category", "categories", "class", "classes", "classname", "tags", "tag",
                 "primarylabel", "species", "event", "events", "eventlabel", "target", "classid")
MORE_LABELS = ("secondarylabels", "secondarylabel", "otherlabels", "morelabels", "furtherlabels", "label2")
GROUP_COLUMNS = ("group", "recordingid", "recording", "session", "srcfile", "source", "fsid", "freesoundid", "speaker",
                 "trackid")
SEPARATORS = ("|", ";", ",")  # of labels in one cell


def read_spreadsheet(path):
    """Read a table as it is.

    Parameters
    ----------
    path : path
        Comma, semicolon, tab or bar between the columns; UTF-8 with or without byte order mark, UTF-16, or else cp1252.
        Where the first row has a sound's name in place of columns' names, they are called fname, labels and 3, 4, ...

    Returns
    -------
    pandas.DataFrame
        Of str, spaces around them taken off, columns as they are called; rows without any text are passed over.

    Raises
    ------
    ValueError
        If it is no table, or a column is there twice. The message names the file.
    """
    path = as_path(path)
    rows = [cells for _, cells in rows_of(text_of(path), path)]
    if not rows:
        raise ValueError(f"{path} is empty; expected a table with a column of file names and one of labels")
    names, rows = rows[0], rows[1:]
    if any(_is_sound(cell) for cell in names):  # no header
        rows = [names, *rows]
        names = _names_of(rows)
    names = [name or f"column {number}" for number, name in enumerate(names, 1)]
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise ValueError(f"{path} has more than one column {few(twice)}; delete one or rename it")
    wide = [row for row in rows if any(row[len(names):])]
    if wide:
        raise ValueError(f"{path} has rows of more cells than columns, such as {few(wide[0])}; put labels with the "
                         "separator in them in quotes")
    rows = [(row + [""] * len(names))[:len(names)] for row in rows]
    return pd.DataFrame(rows, columns=names, dtype=object).astype(str)


def _names_of(rows):
    """What the columns of a table without a header are called: no numbers of its rows are labels, if others may be."""
    names = [str(number) for number in range(1, len(rows[0]) + 1)]
    file, *sounds = (place for place, cell in enumerate(rows[0]) if _is_sound(cell))
    counts = [[str(start + row) for row in range(len(rows))] for start in (0, 1)]
    others = sorted((place for place in range(len(names)) if place != file), key=lambda place: (
        place in sounds or ["".join(row[place:place + 1]) for row in rows] in counts))
    names[file] = "fname"
    if others:
        names[others[0]] = "labels"
    return names


def may_be_table(path, file_column=None):
    """Whether a text is a table of sounds and labels, and no prose, list of files or track of labels.

    Parameters
    ----------
    path : path
    file_column : str, optional
        The name that a person has given.

    Returns
    -------
    bool
        It has two columns or more, which are called so; or half of the cells in one of them are names of sounds.
    """
    try:
        rows = [cells for _, cells in rows_of(text_of(path), path)]
    except ValueError:
        return False
    if not rows or len(rows[0]) < 2:
        return False
    called = pd.DataFrame(columns=rows[0])
    return file_column in rows[0] or bool(column_of(called, FILE_COLUMNS) and column_of(called, LABEL_COLUMNS)) or any(
        2 * sum(map(_is_sound, column)) >= len(rows) for column in itertools.zip_longest(*rows, fillvalue=""))


def split_labels(cells, separator=None):
    """Cells of labels as labels.

    Parameters
    ----------
    cells : sequence of str
        ``Bark``; ``Bark,Meow``, with semicolons or bars as well; ``['Bark', 'Meow']``.
    separator : str, optional
        What is between labels; ``""``: a cell is one label. If not given, the first of `SEPARATORS` that occurs
        in any cell; where that is none of the cell's, the others belong to the labels.

    Returns
    -------
    list of tuple of str
        Without repetitions, commas in a label become " and ", as they stand between labels in the data set's tables.
    """
    lists = [_as_list(cell) for cell in cells]
    if separator is None:
        separator = next((mark for mark in SEPARATORS if any(own is None and mark in cell
                                                             for own, cell in zip(lists, cells))), "")
    labels = []
    for own, cell in zip(lists, cells):
        if own is None:
            own = cell.split(separator) if separator else [cell]
        own = [_unquoted(label) for label in own]
        if len(own) > 1 and own[0][:1] in ("'", '"') and own[-1].endswith(own[0][0]):  # about all of them
            own = [_unquoted(label) for label in (own[0][1:], *own[1:-1], own[-1][:-1])]
        clean = (re.sub(r"\s*,\s*(and\s+)?", " and ", re.sub(r"\s+", " ", label)).strip() for label in own)
        labels.append(tuple(dict.fromkeys(filter(None, clean))))
    return labels


def _unquoted(label):
    """A label without quotes about it; others are of the label."""
    return re.sub(r"^(['\"])(.*)\1$", r"\2", label.strip(), flags=re.DOTALL)


def _as_list(cell):
    """The labels of a cell in Python's or JSON's brackets; None if it is none."""
    if not re.fullmatch(r"\s*[\[({].*[\])}]\s*", cell, re.DOTALL):
        return None
    try:
        values = ast.literal_eval(cell.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        # [Bark, Meow], as without quotes
        return [part.strip(" '\"") for part in cell.strip()[1:-1].split(",")] if cell.strip()[0] == "[" else None
    if isinstance(values, str):
        return [values]
    return [str(value) for value in values] if isinstance(values, (list, tuple, set)) else None


def _is_sound(cell):
    from .folders import ENDINGS

    return any(cell.lower().endswith(ending) for ending in ENDINGS)
