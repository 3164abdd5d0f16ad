"""Labels with times as people have them: of Audacity, Raven, BirdNET-Analyzer, DCASE, or in a table of their own."""

import math

import pandas as pd

from ..machine.files import as_path, files_below
from ..machine.texts import ENDINGS_OF_TABLES, column_of, decoded, rows_of, text_of
from .names import names_of, stem_of

# Names of columns in small letters without spaces, dashes and underscores; the first that a table has is taken.
START_COLUMNS = ("begintime(s)", "start(s)", "starttime(s)", "onset(s)", "onset", "start", "starttime", "begin",
                 "begintime", "startseconds", "startsec", "from", "tmin")
END_COLUMNS = ("endtime(s)", "end(s)", "offset(s)", "offset", "end", "endtime", "stop", "endseconds", "endsec", "to",
               "tmax")
LENGTH_COLUMNS = ("deltatime(s)", "duration(s)", "duration", "length(s)", "length")
BEGIN_COLUMNS = ("beginpath", "beginfile")  # Raven's
FILE_COLUMNS = (*BEGIN_COLUMNS, "filename", "fname", "file", "filepath", "path", "audiofilename", "audiofile", "audio",
                "soundfile", "sound", "wav", "recording", "sourcefile", "clip", "clipname", "recordingid", "name")
LABEL_COLUMNS = ("annotation", "species", "commonname", "eventlabel", "label", "labels", "class", "category", "tag",
                 "event", "text", "scientificname", "speciescode")
PROBABILITY_COLUMNS = ("confidence", "probability", "score")
CUT_ALREADY = ("slicefilename",)  # UrbanSound8K's: the file is the stretch, and the times are those of its recording
HEAD = 1 << 16  # bytes by which it is told what a file is


def read_events(path, label_column=None):
    """Read labels with times.

    Parameters
    ----------
    path : path
        One of these, in any encoding; decimal commas are read as points:

        - what Audacity exports of a label track: start, end and label between tabs, without a header. Lines that begin
          with a backslash, which have a label's frequencies, are passed over; an empty file has no label.
        - a table of selections by Raven, in which each selection counts once, however many views it is listed for.
          With ``File Offset (s)`` and ``Begin File`` or ``Begin Path``, times are those in that file; several files
          have to have it, as Raven counts from the first one's beginning.
        - BirdNET-Analyzer's results, DCASE's TSV (filename, onset, offset, event_label), and any table with columns of
          usual names for start and for end or duration. Rows without both times, as DCASE has them of a file without
          events, are passed over.
    label_column : str, optional
        Where the labels are, if not in ``Annotation``, ``Species``, ``Common Name``, ``event_label``, ``label`` or the
        like.

    Returns
    -------
    pandas.DataFrame
        A row an event, in the table's order: `file`, str, as the table names the sound, ``""`` where it names none;
        `start` and `end`, float64, in seconds, equal for a point; `label`, str, ``""`` where there is none; and
        `probability`, float64, if the table has a column of that, or of confidence.

    Raises
    ------
    ValueError
        If it is no such table, or a time is none: no number of seconds nor hours, minutes and seconds with colons,
        below 0, or an end before its start; or it is not said in which of Raven's files a time is where. The message
        names the file and the line.

    Examples
    --------
    >>> read_events("night.txt")  # doctest: +SKIP
    """
    return events_and_rows(path, label_column)[0]


def events_and_rows(path, label_column=None):
    """As `read_events`, and for each event its row of the table with all columns that this has, text.

    Parameters
    ----------
    path, label_column
        As for `read_events`.

    Returns
    -------
    events : pandas.DataFrame
    rows : pandas.DataFrame or None
        None of a label track, which has no header.
    """
    path = as_path(path)
    text = text_of(path)
    if not text.strip():
        return _table([]), None
    if _is_track(text):
        return _table([_event(path, number, "", *cells[:2], "\t".join(cells[2:]))
                       for number, cells in _track(text)]), None
    (_, names), *rows = rows_of(text, path) or [(0, [])]
    for number, cells in rows:
        if any(cells[len(names):]):
            raise ValueError(f"{path}, line {number}: there are more cells than columns; put what has the separator in "
                             "it in quotes")
    table = pd.DataFrame([(cells + [""] * len(names))[:len(names)] for _, cells in rows], columns=names, dtype=object)
    columns = _columns(table, path, label_column)
    for column in filter(None, columns.values()):
        if names.count(column) > 1:
            raise ValueError(f"{path} has more than one column {column}; delete one or rename it")
    if columns["start"] is None or not (columns["end"] or columns["length"]):
        raise ValueError(f"{path} has the columns {', '.join(names)}; expected start and end of labels, such as "
                         "Raven's Begin Time (s) and End Time (s), or what Audacity exports of a label track")
    numbers = [number for number, _ in rows]
    _check_begins(path, numbers, table, columns)
    numbers, events = zip(*found) if (found := list(_events(path, numbers, table, columns))) else ((), ())
    return _table(events), table.iloc[list(numbers)].reset_index(drop=True)


def _columns(table, path, label_column=None):
    """What a table calls what; None where it has none."""
    label = column_of(table, LABEL_COLUMNS, label_column, f"labels of {path}")
    return {"start": column_of(table, START_COLUMNS), "end": column_of(table, END_COLUMNS), "label": label,
            "length": column_of(table, LENGTH_COLUMNS),
            "file": column_of(table.drop(columns=[label] if label else []), FILE_COLUMNS),
            "probability": column_of(table, PROBABILITY_COLUMNS), "selection": column_of(table, ("selection",)),
            "view": column_of(table, ("view",)), "place": column_of(table, ("fileoffset(s)",))}


def _check_begins(path, numbers, table, columns):
    """Raise if times are those in a sequence of Raven's files, and it is not said where in its file each of them is."""
    begin = column_of(table, BEGIN_COLUMNS)
    if begin is None or begin != columns["file"] or len({*table[begin]} - {""}) < 2:
        return
    places = table[columns["place"]] if columns["place"] else [""] * len(table)
    for number, file, place in zip(numbers, table[begin], places):
        if file and not place:
            raise ValueError(f"{path}, line {number}: Raven counts times from the first of several files on, not from "
                             f"where {file} begins; add the column File Offset (s) in Raven, or rename {begin} to file "
                             "if times are those in each file")


def _events(path, numbers, table, columns):
    """The events of a table with a header, each selection once, and before each the number of its row."""
    seen = set()
    cells = {name: list(table[column]) for name, column in columns.items() if column is not None}
    for row, number in enumerate(numbers):
        cell = {name: values[row] for name, values in cells.items()}
        last = cell.get("end", cell.get("length"))
        if not cell["start"] and not last:
            continue
        if "view" in cell and cell.get("selection"):
            what = tuple(value for name, value in cell.items() if name != "view")
            if what in seen:
                continue
            seen.add(what)
        file, label, *event = _event(path, number, cell.get("file", ""), cell["start"], last, cell.get("label", ""),
                                     cell.get("probability"), lasts="end" not in cell)
        if file and cell.get("place"):  # times are those of all files, one behind the other
            place = _seconds(path, number, cell["place"])
            event[:2] = place, place + event[1] - event[0]
        yield row, (file, label, *event)


def _event(path, number, file, start, end, label, probability=None, lasts=False):
    """A row of the table that is read: (file, label, start, end, probability), checked."""
    start, end = _seconds(path, number, start), _seconds(path, number, end)
    if lasts:
        end += start
    if end < start:
        raise ValueError(f"{path}, line {number}: ends at {end:g} s, before it starts at {start:g} s; mend the times")
    if probability is not None:
        try:
            probability = float(probability.replace(",", ".") or "nan")
        except ValueError:
            raise ValueError(f"{path}, line {number}: {probability!r} is no probability; expected a number") from None
    return file, label.strip(), start, end, probability


def _seconds(path, number, cell):
    seconds = _as_seconds(cell)
    if not 0 <= seconds < math.inf:  # nor what is no number
        raise ValueError(f"{path}, line {number}: {cell!r} is no time; expected seconds from 0 on, such as 83.5, or "
                         "0:01:23.5")
    return seconds


def _as_seconds(cell):
    """``"83.5"``, ``"83,5"``, ``"1:23.5"`` or ``"0:01:23.5"`` as a float; NaN of what is no time."""
    try:
        parts = [float(part) for part in cell.replace(",", ".").split(":")]
    except ValueError:
        return math.nan
    if len(parts) > 1 and (len(parts) > 3 or "-" in cell or parts[-1] >= 60):
        return math.nan
    return sum(part * 60 ** power for power, part in enumerate(reversed(parts)))


def _table(rows):
    table = pd.DataFrame(list(rows), columns=["file", "label", "start", "end", "probability"])
    table = table.astype({"file": str, "label": str, "start": float, "end": float})
    table = table[["file", "start", "end", "label", "probability"]]
    return table.drop(columns="probability") if table["probability"].isna().all() else table


def _track(text):
    """The lines of a label track, numbered, as cells."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.startswith("\\"):
            yield number, (line.split("\t") + ["", ""])[:max(3, line.count("\t") + 1)]


def _is_track(text):
    _, cells = next(_track(text), (0, [""] * 3))
    return len(cells) == 3 and not any(math.isnan(_as_seconds(cell)) for cell in cells[:2])


def is_events(path):
    """Whether a file looks like labels with times, by its name and its first lines.

    Parameters
    ----------
    path : path
        Of anything.

    Returns
    -------
    bool
        False also of what is missing or cannot be read; nothing is raised. An empty file is none.
    """
    path = as_path(path)
    try:
        if path.suffix.lower() not in ENDINGS_OF_TABLES or not path.is_file():
            return False
        with path.open("rb") as file:
            data = file.read(HEAD)
        text = decoded(data, whole=len(data) < HEAD)
        if "\0" in text:
            return False
        if _is_track(text):
            return True
        lines = [line for line in text.splitlines(keepends=True) if any(map(str.isalnum, line))]
        rows = rows_of("".join(lines[:2]), path)
        if not rows:
            return False
        table = pd.DataFrame([], columns=rows[0][1])
        columns = _columns(table, path)
    except (OSError, ValueError):
        return False
    return bool(columns["start"] and (columns["end"] or columns["length"]) and not column_of(table, CUT_ALREADY))


def is_empty_track(path):
    """Whether a file is what Audacity exports of a label track without a label: a text without one.

    Parameters
    ----------
    path : path
        Of anything.

    Returns
    -------
    bool
    """
    path = as_path(path)
    return path.suffix.lower() == ".txt" and path.is_file() and path.stat().st_size < 4096 and not (
        path.read_bytes().strip(b"\xef\xbb\xbf \r\n\t"))


def read_all_events(path, label_column=None):
    """The events of one table, or of all that are in a folder and below it.

    Parameters
    ----------
    path : path
        A table as `read_events` takes it, or a folder, in which what does not look like one (`is_events`) is passed
        over; empty label tracks, if there is nothing else, say that there is no event.
    label_column : str, optional

    Returns
    -------
    pandas.DataFrame
        As `read_events` gives it. `file` is never empty: what a table does not name is called as the table, by the last
        of `names_of`.

    Raises
    ------
    ValueError
        As `read_events`, or if the folder has no such table, or two with labels of one sound.
    """
    path = as_path(path)
    paths = [path]
    if path.is_dir():
        below = files_below(path)
        paths = list(filter(is_events, below)) or list(filter(is_empty_track, below))
    if not paths:
        raise ValueError(f"{path} has no labels with times; expected tables as Audacity or Raven write them")
    tables, read_from = [], {}
    for one in paths:
        table = read_events(one, label_column)
        table.loc[table["file"] == "", "file"] = names_of(one)[-1]
        for name in table["file"].map(stem_of).unique():
            if read_from.setdefault(name, one) != one:
                raise ValueError(f"{read_from[name]} and {one} both have labels of {name}; leave one of them there, or "
                                 "give one table")
        tables.append(table)
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)
