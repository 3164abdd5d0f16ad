"""The CSV files of the data set: read in one place, checked, and named in every error."""

import collections
import math
import re
import unicodedata
import warnings

import numpy as np
import pandas as pd

from ..machine.files import as_path


def read_table(path, columns):
    """Read one of the data set's CSV files as text, checked, with the labels split.

    Parameters
    ----------
    path : path
        A CSV file in UTF-8, with or without a byte order mark; quoted fields may hold commas.
    columns : list of str
        Columns that have to be there, `fname` among them; more may be.

    Returns
    -------
    pandas.DataFrame
        Of str; `labels`, if it is among `columns`, of tuples of str. Then `start` and `end`, where the table has them,
        are seconds (float64), NaN of a whole file; and `background`, where it has that, is bool: nothing of the
        vocabulary is to be heard. Rows without any text, as spreadsheets leave them, are passed over.

    Raises
    ------
    ValueError
        If the file is empty, lacks a column, has one twice, or has a row without a file name, a clip twice, one
        without a label that is no background, or one whose times are none. The message names the file.
    """
    path = as_path(path)
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError(f"{path} is no file; expected a CSV with the columns {', '.join(columns)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # fields that the header has no name for
            # Not by pandas' own parser: a Ctrl-C while it reads comes out of it as a ParserError.
            table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig", index_col=False,
                                engine="python").fillna("")
    except pd.errors.EmptyDataError:
        raise ValueError(f"{path} is empty; expected a CSV with the columns {', '.join(columns)}") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no CSV in UTF-8 ({error}); expected the columns {', '.join(columns)}, with "
                         'several labels in quotes: "Bark,Meow"') from error
    table.columns = table.columns.str.strip()
    lacking = [column for column in columns if column not in table]
    if lacking:
        raise ValueError(f"{path} has no column {', '.join(lacking)}; it has {', '.join(table.columns)}")
    twice = [*table.columns[table.columns.duplicated()], *(name for name in columns if f"{name}.1" in table)]
    if twice:  # pandas gives the second of a name that is there twice a number
        raise ValueError(f"{path} has more than one column {few(twice)}; delete one or rename it")
    table = table[(table != "").any(axis=1)].reset_index(drop=True)
    if (table["fname"] == "").any():
        row = table[table["fname"] == ""].iloc[0]
        raise ValueError(f"{path} has a row without a file name ({', '.join(filter(None, row))}); give the clip's name "
                         "or delete the row")
    if "labels" in columns:
        table["labels"] = [tuple(label.strip() for label in labels.split(",") if label.strip())
                           for labels in table["labels"]]
        _read_times(table, path)
        _check_labelled(table, path)
    twice = table.duplicated(["fname", *(name for name in ("start", "end") if name in table and "labels" in columns)])
    if twice.any():
        raise ValueError(f"{path} lists {few(table['fname'][twice])} more than once")
    return table


def _read_times(table, path):
    """Make `start` and `end` numbers, where a table has them; ValueError, naming the row, where they are none."""
    has = [name for name in ("start", "end") if name in table]
    if len(has) == 1:
        raise ValueError(f"{path} has a column {has[0]} and not both start and end: expected both, in seconds of the "
                         "file, or neither")
    for name in has:
        table[name] = [_seconds(cell, path, fname) for fname, cell in zip(table["fname"], table[name])]
    if has:
        wrong = (table["start"] > table["end"]) | (table["start"].isna() != table["end"].isna())
        if wrong.any():
            row = table[wrong].iloc[0]
            raise ValueError(f"{path}: {row['fname']} from {row['start']} to {row['end']} s: expected a start, and an "
                             "end that is not before it, or neither for the whole file")


def _seconds(cell, path, fname):
    try:
        seconds = float(cell) if cell.strip() else math.nan
    except ValueError:
        seconds = -1.0
    if seconds < 0 or math.isinf(seconds):
        raise ValueError(f"{path}: {fname} has the time {cell!r}: expected seconds from 0 on, such as 12.5")
    return seconds


def _check_labelled(table, path):
    """Every clip has a label or is background, which then becomes bool; ValueError, naming clips, if not."""
    given = table.get("background")
    background = np.zeros(len(table), bool) if given is None else given.str.strip().str.casefold().isin(
        ("yes", "1", "true")).to_numpy()
    bare = (table["labels"].map(len) == 0).to_numpy()
    if (bare & ~background).any():
        raise ValueError(f"{path}: {few(table['fname'][bare & ~background])} without a label; label them, delete their "
                         "rows, or put yes into a column background if nothing of the labels is to be heard")
    if (background & ~bare).any():
        raise ValueError(f"{path}: {few(table['fname'][background & ~bare])} are background and have labels; delete "
                         "the ones or the other")
    if given is not None:
        table["background"] = background


# What tables have beside their labels, in small letters; the first is how pandas reads a nameless column.
NO_LABELS = re.compile(r"(unnamed: \d+|index|level_\d+|id|freesound_id|fname\.\d+|path|labels?|usage|licen[cs]e|fold"
                       r"|split|manually_verified|seconds|duration|)", re.IGNORECASE)


def label_columns(table, path, vocabulary=None, carried=()):
    """The columns of a submission, or of a sample of one, that are labels: all but `fname`.

    They have to be the `vocabulary`, where it is given. Else a column is refused by its name (`NO_LABELS`, or the same
    name twice), or by its numbers: outside of 0 to 1, while those of most columns are inside; but not if clips carry it
    as a label (`carried`).
    """
    columns = [column for column in table if column != "fname"]
    if not columns:
        raise ValueError(f"{path} has no column but fname; expected one for each label")
    if vocabulary is not None:
        lacking = [label for label in vocabulary if label not in columns]
        if lacking:
            raise ValueError(f"{path} has no column of the labels {few(lacking)}")
        wrong = [column for column in columns if column not in set(vocabulary)]
    else:
        wrong = [column for column in columns if NO_LABELS.fullmatch(column)
                 or (re.sub(r"\.\d+$", "", column) in columns and re.search(r"\.\d+$", column))]
        numbers = table[columns].apply(pd.to_numeric, errors="coerce")
        outside = numbers.columns[((numbers < -1e-3) | (numbers > 1 + 1e-3)).any()]
        if len(outside) < len(columns) / 2:
            wrong += [column for column in outside if column not in wrong]
    wrong = [column for column in wrong if column not in carried]
    if wrong:
        raise ValueError(f"{path} has columns that are no labels: {few(map(repr, wrong))}; delete them "
                         "(pandas: to_csv(..., index=False)), or mend their names")
    return columns


def odd_labels(labels):
    """What makes one doubt that labels are what was meant, a sentence each kind.

    That is labels that hold brackets, quotes or separators, as of lists in another notation; and labels that differ in
    case, spaces, dashes or Unicode's form alone.
    """
    labels, same = sorted(labels), collections.defaultdict(list)
    for label in labels:
        same[re.sub(r"[\s_-]+", " ", same_name(label))].append(ascii(label))  # so that one sees how they differ
    marked = [label for label in labels if re.search(r"[\[\]{}\"|;\t\n]|^'|'$", label)]
    twins = [" and ".join(names) for names in same.values() if len(names) > 1]
    return [*([f"labels with brackets, quotes or separators: {few(map(repr, marked))}; several labels of a clip stand "
               'in quotes with commas between: "Bark,Meow"'] if marked else []),
            *([f"labels that differ in case, spaces or Unicode form alone: {few(twins)}"] if twins else [])]


def same_name(name):
    """What is equal for names that look the same or nearly: in any case and Unicode form, with spaces around."""
    name = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return "".join(letter for letter in name if unicodedata.category(letter) != "Cf").strip()  # Cf cannot be seen


def label_matrix(table, vocabulary, of="the table"):
    """Labels as a matrix.

    Parameters
    ----------
    table : pandas.DataFrame
        With columns `fname` and `labels` (tuples of str).
    vocabulary : sequence of str
        The columns of the matrix.
    of : str
        The name of the table in an error.

    Returns
    -------
    numpy.ndarray, float32 (clips, labels)
        1 where the clip carries the label.

    Raises
    ------
    ValueError
        If a label is not in the vocabulary.
    """
    column = {label: i for i, label in enumerate(vocabulary)}
    matrix = np.zeros((len(table), len(column)), np.float32)
    for row, (fname, labels) in enumerate(zip(table["fname"], table["labels"])):
        for label in labels:
            if label not in column:
                raise ValueError(f"{of}: {fname} carries the label {label!r}, which is not one of the "
                                 f"{len(column)} of the vocabulary; mend the table or the vocabulary")
            matrix[row, column[label]] = 1
    return matrix


def few(names, most=5):
    """The first names of many, for a message: ``"a, b and 3 more"``."""
    names = [str(name) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
