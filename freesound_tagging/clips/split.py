"""From a data set as it was found to the sets of ours: files, names, groups, a test set, and what is to be said."""

import collections
import re

import numpy as np

from .folds import stratified_folds
from .recordings import by_names, by_pattern, make_sense
from .tables import few, label_matrix, same_name

SHARE = 0.2  # of the clips, for a test set
FEW_CLIPS = 10  # of a label: below it is named


def find_files(source):
    """The rows whose sound is there, with its path, one row a clip.

    Parameters
    ----------
    source : Source

    Returns
    -------
    pandas.DataFrame
        As `Source.rows`, with `path`, relative to the sounds' folder. Without rows that have no label and are no
        background, but for stretches: these are to be left out once it is known what lies between them.
    notes : list of str
    """
    rows, notes = source.rows.copy(), []
    found = source.sounds.find_all(rows["name"], rows["hints"])
    rows["path"] = [paths[0] if len(paths) == 1 else None for paths in found]
    for number, what in ((0, "rows have no sound"), (2, "rows may mean several sounds")):
        names = [name for name, paths in zip(rows["name"], found) if min(len(paths), 2) == number]
        if names:
            spoilt = [name for name in names if re.fullmatch(r"#\w+\??!?|[\d.,]+E[+-]?\d+|\d+[./-]\d+[./-]\d+", name)]
            notes.append(f"{len(names)} {what} and are left out: {few(names)}" + (
                f"; a spreadsheet seems to have changed {few(spoilt)}" if spoilt else ""))
    rows = rows[rows["path"].notna()]
    bare = ~says_something(rows)
    if bare.any():
        notes.append(f"{bare.sum()} clips have no label and are left out: {few(rows['name'][bare])}")
    return one_each(rows[~bare | rows["start"].notna()], notes), notes  # what is marked is no background


def says_something(rows):
    """Which rows have a label, or are background: of others nothing can be learned."""
    return (rows["labels"].map(len) > 0) | rows["background"]


def one_each(rows, notes):
    """Rows of one clip as one: of the test set if one is, labels of one set together, stretches before a whole."""
    timed = set(rows["path"][rows["start"].notna()])
    whole = rows["start"].isna() & rows["path"].isin(timed)
    if whole.any():
        notes.append(f"{whole.sum()} rows of whole sounds are left out, as other rows say what is to be heard in them "
                     f"when: {few(rows['name'][whole])}")
        rows = rows[~whole]
    order = rows["set"].map({"test": 0, "curated": 1, "noisy": 2})
    clips = [(str(path), *(() if np.isnan(start) else (start, end)))
             for path, start, end in zip(rows["path"], rows["start"], rows["end"])]
    rows = rows.assign(order=order, clip=clips).sort_values("order", kind="stable")
    several = rows.groupby("path", sort=False)["set"].nunique() > 1
    if several.any():
        notes.append(f"{several.sum()} clips are in two sets and stay in the first of test, curated and noisy: "
                     f"{few(several.index[several])}")
    first = rows.groupby("path", sort=False)["order"].transform("min")
    rows = rows[rows["order"] == first]
    if rows["clip"].duplicated().any():
        joined = rows.groupby("clip", sort=False)["labels"].agg(lambda own: tuple(dict.fromkeys(sum(own, ()))))
        twice = rows["clip"].duplicated()
        differ = rows.groupby("clip", sort=False)["labels"].nunique() > 1
        rows = rows[~twice].copy()
        rows["labels"] = joined.reindex(rows["clip"]).tolist()
        rows["background"] &= rows["labels"].map(len) == 0
        notes.append(f"{twice.sum()} rows are of a clip that another row is of" + (
            f"; of {differ.sum()} clips they have other labels, which were joined" if differ.any() else ""))
    return rows.drop(columns=["order", "clip"]).sort_index().reset_index(drop=True)


def group_clips(rows, asked=None, pattern=None):
    """The recording of each clip.

    Parameters
    ----------
    rows : pandas.DataFrame
        With `path`, `group`, `known` and `origin`, which source they are of; numbered from 0 on.
    asked : str, optional
        The column that was asked for, which is believed; "none": no groups but those that are known.
    pattern : str, optional
        As for `recordings.by_pattern`, in place of columns and folders.

    Returns
    -------
    numpy.ndarray, str (clips,)
        ``""`` of clips that are alone.
    note : str
    """
    known, groups, how = rows["known"].to_numpy(bool), rows["group"].astype(str).to_numpy(), []
    if pattern:
        files = list(dict.fromkeys(rows["path"]))
        named = rows["path"].map(dict(zip(files, by_pattern(files, pattern)))).to_numpy(str)
        groups = np.where(known & (named == ""), groups, named)
        how.append(f"by the pattern, such as {next(filter(None, named))}")
    elif not known.all():
        for _, own in rows[~known].groupby("origin", sort=False):
            groups[own.index], note = _usual_groups(own, asked)
            how += [note] * bool(note)
        if asked not in (None, "none") and not (groups[~known] != "").any():
            raise ValueError(f"--group {asked}: no table with such a column says anything of these clips; leave it "
                             "out, or give --recording PATTERN, by which their names say it")
    if known.any() and not pattern:
        how.append("each a file, or by the names of what was cut out")
    number, how = len(set(groups) - {""}), list(dict.fromkeys(how))
    return groups, f"clips of one recording stay together: {number} recordings, {' and '.join(how)}" * bool(number)


def _usual_groups(rows, asked):
    """Of clips that are files: what columns, folders or names say, and how."""
    given = rows["group"].astype(str).to_numpy()
    if asked == "none":
        return np.full(len(rows), ""), ""
    if asked or make_sense(given):
        return given, "by the table or folder"
    names = by_names([path.stem for path in rows["path"]])
    if names is not None:
        return np.array(names), f"by their names, such as {next(filter(None, names))}"
    return np.full(len(rows), ""), ""


def choose_test(rows, groups, share=None, fold=None, seed=0):
    """Which clips are for testing.

    Parameters
    ----------
    rows : pandas.DataFrame
        With `labels`, `set`, `fold`, `start` and `background`. Whole clips of background are not dealt.
    groups : array of str (clips,)
    share : float, optional
        Of the clips whose labels are good, 0 for none; the set's own if not given, or else `SHARE`.
    fold : str, optional
        Of the set's own folds.
    seed : int

    Returns
    -------
    numpy.ndarray, bool (clips,)
    note : str

    Raises
    ------
    ValueError
        If there is no such fold, or too few clips for a share.
    """
    own, folds = (rows["set"] == "test").to_numpy(), rows["fold"].to_numpy()
    good = (rows["set"] != "noisy").to_numpy()
    numbered = sorted({name for name in folds[good] if re.search(r"\d", name)}, key=lambda name: (len(name), name))
    if fold is not None:
        if not (folds == fold).any():
            there = ", ".join(sorted(set(folds) - {""})) or "none"
            raise ValueError(f"--test-fold {fold}: there are the folds {there}")
        return good & (folds == fold), f"test: fold {fold} of the set's own"
    if share == 0:
        trained_on = ", the set's own is trained on" if own.any() else ""
        return np.full(len(rows), False), f"test: none, as asked{trained_on}"
    if share is None and own.any():
        return own, "test: the set's own"
    if share is None and len(numbered) > 1:
        return good & (folds == numbered[-1]), (f"test: fold {numbered[-1]}, the last of the set's own (--test-fold "
                                                "takes another)")
    share, number = share or SHARE, np.flatnonzero(good & ~(rows["background"] & rows["start"].isna()))
    labels = rows["labels"].iloc[number]
    vocabulary = sorted(set().union(*labels))
    targets = label_matrix(rows.iloc[number].rename(columns={"name": "fname"}), vocabulary)
    keys = [group or f"\0{clip}" for clip, group in zip(number, groups[number])]  # a group each of those that have none
    numbers = np.unique(keys, return_inverse=True)[1]
    if len(set(numbers)) < 2:
        raise ValueError(f"{len(number)} clips of {len(set(numbers))} recordings: a test set needs two or more; --test "
                         "0 leaves it out")
    test = np.full(len(rows), False)
    test[number] = stratified_folds(targets, 2, seed, groups=numbers, shares=(1 - share, share)) == 1
    test |= good & np.isin(groups, list(set(groups[test]) - {""}))  # with the background between
    by = "by labels and recordings" if len(set(numbers)) < len(number) else "by labels"
    return test, (f"test: {test.sum()} of {good.sum()} clips, {test.sum() / good.sum():.0%}, dealt {by} "
                  "(--test takes another share, 0 none)")


def name_files(paths):
    """A name for each file that no other has, however people read it: its own, with folders before it if need be.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        Relative.

    Returns
    -------
    list of str
    """
    names = [_bare(path.name) for path in paths]
    shared = collections.Counter(map(same_name, names))
    names = [name if shared[same_name(name)] == 1 else _bare("_".join(path.parts)) for name, path in zip(names, paths)]
    taken, unique = set(), []
    for name in names:
        stem, dot, ending = name.rpartition(".")
        number, chosen = 2, name
        while same_name(chosen) in taken:
            chosen, number = f"{stem}-{number}{dot}{ending}", number + 1
        taken.add(same_name(chosen))
        unique.append(chosen)
    return unique


def _bare(name):
    """A name without what tables, other systems or terminals take for something else."""
    name = name.encode("utf-8", "backslashreplace").decode("utf-8")
    name = re.sub(r'[\\/:*?"<>|\x00-\x1f\x7f-\x9f]', "_", name).strip()
    stem, dot, ending = name.rpartition(".")
    return stem.encode()[:200 - len(ending.encode())].decode("utf-8", "ignore") + dot + ending


def remarks_on_labels(rows):
    """What is to be said of labels with few clips to train on, or only some sets' clips.

    Parameters
    ----------
    rows : pandas.DataFrame
        With `labels` and `set`.

    Returns
    -------
    list of str
    """
    counts = {name: collections.Counter(label for own in rows["labels"][rows["set"] == name] for label in own)
              for name in ("curated", "noisy", "test")}
    every = sorted(set().union(*counts.values()))
    rare = sorted((counts["curated"][label], label) for label in every if 0 < counts["curated"][label] < FEW_CLIPS)
    said = [f"labels of fewer than {FEW_CLIPS} clips to train on: " + few(f"{label} ({count})" for count, label in rare)
            ] if rare else []
    for name in ("test", "noisy"):
        if only := [label for label in every if counts[name][label] and not counts["curated"][label]]:
            said.append(f"labels of {name} clips without a clip that is well labelled to train on: {few(only)}")
    if counts["test"] and (untested := [label for label in every if counts["curated"][label]
                                        and not counts["test"][label]]):
        said.append(f"labels without a test clip: {few(untested)}")
    return said
