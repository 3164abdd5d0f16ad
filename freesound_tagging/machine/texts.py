"""Tables as people have them: any encoding and separator, columns of any usual name."""

import csv
import io
import re

from .files import as_path


def text_of(path):
    """The text of a table.

    Parameters
    ----------
    path : path
        UTF-8 with or without byte order mark, UTF-16, or else cp1252.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If it is no text. The message names the file.
    """
    path = as_path(path)
    if not path.is_file():
        raise ValueError(f"{path} is no file; expected a table")
    data = path.read_bytes()
    if data[:4] == b"PK\x03\x04" or data[:4] == b"\xd0\xcf\x11\xe0":
        raise ValueError(f"{path} is a spreadsheet program's own format; save it as CSV and give that")
    text = decoded(data)
    if "\0" in text:
        raise ValueError(f"{path} is no text; save it as CSV and give that")
    return text


def decoded(data):
    """Bytes as text, as `text_of` reads them; what fits no encoding comes out as letters that were not meant."""
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


def rows_of(text, path):
    """The rows of a table.

    Parameters
    ----------
    text : str
        Comma, semicolon, tab or bar between the cells: what gives the first row most of them, or what ``sep=;`` in
        front says, as Excel writes it.
    path : path
        For the error.

    Returns
    -------
    list of (int, list of str)
        The line in the file where a row ends, counted from 1, and its cells, spaces around them taken off. Rows without
        any text are passed over.

    Raises
    ------
    ValueError
        If it is no table. The message names the file.
    """
    head = re.match(r"sep=(.)\r?\n", text)
    if head:
        text = text[head.end():]
    best = []
    for mark in [head[1]] if head else (",", ";", "\t", "|"):
        try:
            first = next(csv.reader(io.StringIO(text), delimiter=mark), [])
        except csv.Error:
            continue
        if len(first) > len(best[0] if best else []):
            best = [first, mark]
    if not best:
        return []
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=best[1])
        rows = [(reader.line_num + bool(head), [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise ValueError(f"{path} is no table ({error}); save it as CSV in UTF-8") from error
    return [(line, row) for line, row in rows if any(row)]


def column_of(table, names, given=None, of=""):
    """The column of a table that one of some names calls.

    Parameters
    ----------
    table : pandas.DataFrame
    names : sequence of str
        In small letters without spaces, dashes and underscores; the first that the table has is taken.
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
