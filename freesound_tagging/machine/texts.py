"""Tables as people have them: any encoding and separator, columns of any usual name."""

import codecs
import csv
import io
import re

from .files import as_path

ENDINGS_OF_TABLES = (".txt", ".csv", ".tsv", ".tab")
# A whole cell in quotation marks between tabs. It has no tab and line break at once, and does not begin with either, as
# what is between a mark that stands for itself, such as a ditto, and the next one.
QUOTED = re.compile(r'(?<![^\t\r\n])"(?![\t\r\n])(?:(?:[^"\t]|"")*+|(?:[^"\r\n]|"")*+)"(?![^\t\r\n])')


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


def decoded(data, whole=True):
    """Bytes as text, as `text_of` reads them; what fits no encoding comes out as letters that were not meant.

    Of a text that is not whole, a letter that is cut at its end does not count.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    if data[1:2] == b"\0" or data[:1] == b"\0":  # UTF-16 without its mark
        return data.decode("utf-16-le" if data[1:2] == b"\0" else "utf-16-be", errors="replace")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return codecs.getincrementaldecoder(encoding)().decode(data, final=whole)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")


def rows_of(text, path):
    """The rows of a table.

    Parameters
    ----------
    text : str
        Comma, semicolon, tab or bar between the cells: what gives the first row most of them, or what ``sep=;`` in
        front says, as Excel writes it. With tabs, quotation marks are letters unless all are about whole cells.
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
        If it is no table, or a quotation mark makes one cell of rows. The message names the file.
    """
    head = re.match(r"sep=(.)(\r\n?|\n)", text)
    if head:
        text = text[head.end():]
    mark, columns = _separator(text, [head[1]] if head else (",", ";", "\t", "|"))
    if not columns:
        return []
    bare = mark == "\t" and '"' in QUOTED.sub("", text)
    rows = []
    try:
        for begin, end, row in _rows(text, mark, csv.QUOTE_NONE if bare else csv.QUOTE_MINIMAL):
            if mark != "\t" and _are_rows(row, mark, columns):
                raise ValueError(f"{path}, line {begin + bool(head)}: a quotation mark makes one cell of this line and "
                                 "those below it; delete it, or put another one at its cell's end")
            rows.append((end + bool(head), [cell.strip() for cell in row]))
    except csv.Error as error:
        raise ValueError(f"{path} is no table ({error}); save it as CSV in UTF-8") from error
    return rows


def _separator(text, marks):
    """Which of the marks gives the first row most cells, and how many."""
    best, most = "", 0
    for mark in marks:
        try:
            *_, row = next(_rows(text, mark), [[]])
        except csv.Error:
            continue
        if len(row) > most:
            best, most = mark, len(row)
    return best, most


def _rows(text, mark, quoting=csv.QUOTE_MINIMAL):
    """The rows that have any text, each with the lines where it begins and ends."""
    reader, begin = csv.reader(io.StringIO(text, newline=""), delimiter=mark, quoting=quoting), 1
    for row in reader:
        if any(cell.strip() for cell in row):
            yield begin, reader.line_num, row
        begin = reader.line_num + 1


def _are_rows(row, mark, columns):
    """Whether a row is several, of as many cells each as the table has columns, without the quotes about its cells."""
    lines = [line for line in mark.join(row).splitlines() if line.strip()]
    return columns > 1 and len(lines) > 1 and all(line.count(mark) == columns - 1 for line in lines)


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
