"""Tables as people have them: any encoding and separator, columns of any usual name, lists in any notation."""

import ast
import csv
import io
import re

import pandas as pd

from ..machine.files import as_path
from .tables import few

ENDINGS_OF_TABLES = (".csv", ".tsv", ".tab", ".txt")
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
    text = _text_of(path)
    if "\0" in text:
        raise ValueError(f"{path} is no text; save it as CSV and give that")
    head = re.match(r"sep=(.)\r?\n", text)  # as Excel writes it
    if head:
        text = text[head.end():]
    rows = _rows_of(text, head[1] if head else None, path)
    if not rows:
        raise ValueError(f"{path} is empty; expected a table with a column of file names and one of labels")
    names, rows = rows[0], rows[1:]
    if any(_is_sound(cell) for cell in names):  # no header
        names, rows = ["fname" if _is_sound(cell) else str(number) for number, cell in enumerate(names, 1)], [
            names, *rows]
        if len(names) > 1:
            names[0 if names[0] != "fname" else 1] = "labels"
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


def column_of(table, names, given=None, of=""):
    """The column of a table that one of some names calls.

    Parameters
    ----------
    table : pandas.DataFrame
    names : sequence of str
        Such as `FILE_COLUMNS`.
    given : str, optional
        The name that a person has given: it has to be there.
    of : str
        What the column is of, and of which table, for the error.

    Returns
    -------
    str or None
        As the table calls it; None if it has none of these.

    Raises
    ------
    ValueError
        If the given one is not there.
    """
    if given is not None:
        if given not in table:
            raise ValueError(f"{of}: there is no column {given!r}; there are {', '.join(table.columns)}")
        return given
    called = {re.sub(r"[\s_-]+", "", str(column)).casefold(): column for column in reversed(table.columns)}
    return next((called[name] for name in names if name in called), None)


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
        clean = (re.sub(r"\s*,\s*(and\s+)?", " and ", re.sub(r"\s+", " ", label)).strip(" \"'") for label in own)
        labels.append(tuple(dict.fromkeys(filter(None, clean))))
    return labels


def _as_list(cell):
    """The labels of a cell in Python's or JSON's brackets; None if it is none."""
    if not re.fullmatch(r"\s*[\[({].*[\])}]\s*", cell, re.DOTALL):
        return None
    try:
        values = ast.literal_eval(cell.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        # [Bark, Meow], as without quotes
        return [part.strip(" '\"") for part in cell.strip()[1:-1].split(",")] if cell.strip()[0] == "[" else None
    return [str(value) for value in ([values] if isinstance(values, str) else values)]


def _is_sound(cell):
    from .folders import ENDINGS

    return any(cell.lower().endswith(ending) for ending in ENDINGS)


def _text_of(path):
    if not path.is_file():
        raise ValueError(f"{path} is no file; expected a table")
    data = path.read_bytes()
    if data[:4] == b"PK\x03\x04" or data[:4] == b"\xd0\xcf\x11\xe0":
        raise ValueError(f"{path} is a spreadsheet program's own format; save it as CSV and give that")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    if data[1:2] == b"\0" or data[:1] == b"\0":  # UTF-16 without its mark
        return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be", errors="replace")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def _rows_of(text, separator, path):
    """The rows with text in them, cut where the header has most columns."""
    best = []
    for mark in [separator] if separator else (",", ";", "\t", "|"):
        try:
            first = next(csv.reader(io.StringIO(text), delimiter=mark), [])
        except csv.Error:
            continue
        if len(first) > len(best[0] if best else []):
            best = [first, mark]
    if not best:
        return []
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=best[1])
        return [row for row in ([cell.strip() for cell in row] for row in rows) if any(row)]
    except csv.Error as error:
        raise ValueError(f"{path} is no table ({error}); save it as CSV in UTF-8") from error
