"""A table that lists clips, as rows: which file, which labels, which set, fold and recording."""

import pandas as pd

from ..machine.texts import column_of
from .recordings import make_sense
from .spreadsheets import FILE_COLUMNS, GROUP_COLUMNS, LABEL_COLUMNS, MORE_LABELS, read_spreadsheet, split_labels
from .stretches import TEST


def listed_clips(path, options, notes, role="curated", **columns):
    """The rows of a table; `columns` are those of a known layout. None if it has no such columns."""
    table, of = read_spreadsheet(path), str(path)
    file = column_of(table, FILE_COLUMNS, columns.get("file") or options.file_column, of)
    given = columns.get("labels") or options.label_columns
    labels = [column_of(table, (), name, of) for name in given] or [
        found for found in (column_of(table, LABEL_COLUMNS), column_of(table, MORE_LABELS)) if found]
    if file is None or not labels or labels == [file]:
        return None
    separator = columns.get("separator", options.separator)
    parts = [split_labels(table[name], separator) for name in labels]
    rows = pd.DataFrame({"name": table[file], "set": role,
                         "labels": [tuple(dict.fromkeys(sum(own, ()))) for own in zip(*parts)]})
    if "manually_verified" in table and role == "curated":
        rows.loc[table["manually_verified"].isin(["0", "0.0", "False", "false"]), "set"] = "noisy"
    part = column_of(table, ("split", "subset", "partition"))
    if part and role == "curated":
        rows.loc[[word.casefold() in TEST for word in table[part]], "set"] = "test"
    fold = column_of(table, ("fold", "folds"))
    rows["fold"] = table[fold] if fold else ""
    rows.loc[rows["fold"].str.casefold().isin(TEST) & (rows["set"] == "curated"), "set"] = "test"
    rows["group"] = _groups(table, options.group or columns.get("group"), (file, *labels), of, notes)
    rows["hints"] = [(*own, *([f"fold{fold}", f"fold_{fold}", f"fold {fold}", fold] if fold else []),
                      columns.get("folder", "")) for own, fold in zip(rows["labels"], rows["fold"])]
    keep = rows["name"] != ""
    if "usage" in table:
        keep &= table["usage"] != "Ignored"
    if options.noisy_small and "noisy_small" in table:
        keep &= (rows["set"] != "noisy") | table["noisy_small"].isin(["1", "1.0", "True", "true"])
    if (rows["name"] == "").any():
        notes.append(f"{path}: {(rows['name'] == '').sum()} rows without a file name are passed over")
    return rows[keep]


def _groups(table, given, others, of, notes):
    """The column of groups that was asked for, or the first usual one that makes sense; "" where there is none."""
    if given:
        return "" if given == "none" else table[column_of(table, (), given, of)]
    left = table.drop(columns=list(others))
    for column in filter(None, (column_of(left, [name]) for name in GROUP_COLUMNS)):
        if make_sense(table[column]):
            return table[column]
        most = table[column][table[column] != ""].value_counts().max()
        if 1 < most < len(table):
            notes.append(f"{of}: {column} is not taken for the recordings that clips are of, as {most} of {len(table)} "
                         f"are of one (--group {column} takes it)")
    return ""
