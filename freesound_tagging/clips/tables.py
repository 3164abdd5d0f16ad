"""The CSV files of the data set: read in one place, checked, and named in every error."""

import warnings

import numpy as np
import pandas as pd


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
        Of str; `labels`, if it is among `columns`, of tuples of str.

    Raises
    ------
    ValueError
        If the file is empty, lacks a column, or lists a clip twice or without a label. The message names the file.
    """
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
    lacking = [column for column in columns if column not in table]
    if lacking:
        raise ValueError(f"{path} has no column {', '.join(lacking)}; it has {', '.join(table.columns)}")
    if table["fname"].duplicated().any():
        raise ValueError(f"{path} lists {few(table['fname'][table['fname'].duplicated()])} more than once")
    if "labels" in columns:
        table["labels"] = [tuple(label.strip() for label in labels.split(",") if label.strip())
                           for labels in table["labels"]]
        unlabelled = table["fname"][table["labels"].map(len) == 0]
        if len(unlabelled):
            raise ValueError(f"{path}: {few(unlabelled)} without a label; label them or delete their rows")
    return table


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


def unlisted_files(folder, fnames):
    """WAV files that a table does not list.

    Parameters
    ----------
    folder : pathlib.Path
        May be missing.
    fnames : iterable of str
        What the table lists.

    Returns
    -------
    list of str
        Sorted.
    """
    return sorted({path.name for path in folder.glob("*.wav")} - set(fnames))


def few(names, most=5):
    """The first names of many, for a message: ``"a, b and 3 more"``."""
    names = [str(name) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
