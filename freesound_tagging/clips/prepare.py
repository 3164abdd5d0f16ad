"""A data set of any form into a folder to train on: tables and links, made anew at each call, all else left alone."""

import contextlib
import csv
import hashlib
import io
import itertools
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from ..machine.commands import printable
from ..machine.files import as_path, only_writer, whole_file
from .dataset import FSDKaggle2019
from .folders import LAYOUTS
from .sources import Options, read_source
from .split import choose_test, find_files, group_clips, name_files, one_each, remarks_on_labels, says_something
from .stretches import background_between
from .tables import few, odd_labels

MADE = "prepared.json"  # what a call has made, so that the next one replaces that alone
EVENTS = "test_events.tsv"  # of test recordings: what is to be heard when
KAGGLE = LAYOUTS["Kaggle"]


def prepare(source, dest, options=None, test=None, test_fold=None, least=1, seed=0, copy=False, more=()):
    """Lay out any data set to be trained on, and print what was found and made.

    Parameters
    ----------
    source : path
        What `sources.READERS` read. Nothing in it is changed.
    dest : path
        Gets ``train_curated.csv``, ``train_noisy.csv`` if some labels are noisy, ``test_post_competition.csv``, and
        links to the sounds; of recordings whose labels have times ``test_events.tsv`` besides, with those of the test
        recordings. What an earlier call has made there is replaced; nothing else is touched.
    options : Options, optional
    test : float, optional
        The share of clips for testing; if not given, the set's own test clips or fold, or else 0.2.
    test_fold : str, optional
        The fold of the set's own.
    least : int
        Labels of fewer well labelled clips are left out, and clips that have no other.
    seed : int
        Of the split.
    copy : bool
        Copy the sounds. They are copied as well where links cannot be.
    more : sequence of path
        Further sources, read by the same options and put together with the first.

    Returns
    -------
    pandas.DataFrame
        A row a clip: `fname`, `labels`, `set`, `group`, `path` (of the source), `start`, `end`, `background`.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_source`; if no clip is left; if `dest` is in `source`; if a file is in the way that this has not made,
        or a table has been changed since.
    """
    dest, options = as_path(dest), options or Options()
    parts, notes = zip(*(_read(as_path(one), dest, options) for one in (source, *more)))
    rows = pd.concat([part.assign(origin=number) for number, part in enumerate(parts)], ignore_index=True)
    notes, source = list(itertools.chain(*notes)), as_path(source)
    if more:
        rows = one_each(rows.assign(path=rows["source"]), notes).assign(path=lambda own: own["relative"])
        rows["group"] = _same_recordings(rows)
    if options.background != "no" and rows["complete"].any():
        quiet = background_between(rows, seed)
        notes.append(f"{len(quiet)} stretches between labels, {(quiet['end'] - quiet['start']).sum():.0f} s, are "
                     "background: trained on with no label (--background no, where labels are not complete)")
        rows = pd.concat([rows, quiet], ignore_index=True)
    rows = rows[says_something(rows)].reset_index(drop=True)
    if least > 1:
        rows = _without_rare(rows, least, notes)
    if not len(rows):
        raise ValueError(f"no clip of {source} is left ({'; '.join(notes) or 'its tables are empty'})")
    if not set().union(*rows["labels"]):
        raise ValueError(f"no clip of {source} has a label ({'; '.join(notes)}); there is nothing to learn")
    rows["group"], note = group_clips(rows, options.group, options.recording)
    chosen, how = choose_test(rows, rows["group"].to_numpy(), test, test_fold, seed)
    rows.loc[rows["set"] == "test", "set"] = "curated"
    rows.loc[chosen, "set"] = "test"
    leaks = (rows["set"] == "noisy") & rows["group"].isin(set(rows["group"][chosen]) - {""})
    if leaks.any():
        notes.append(f"{leaks.sum()} noisy clips of recordings that are tested with are left out: "
                     f"{few(rows['name'][leaks])}")
    shared = (rows["set"] == "curated") & rows["group"].isin(set(rows["group"][chosen]) - {""})
    if shared.any():
        how += (f"; {shared.sum()} clips that are trained on are of recordings that are tested with, so that scores "
                "will be too good (--test 0.2 deals recordings)")
    unnamed = (rows["set"] == "test") & (rows["labels"].map(len).groupby(rows["source"]).transform("max") == 0)
    if unnamed.any():
        notes.append(f"{unnamed.sum()} clips that would be tested with have no label and are left out: "
                     f"{few(rows['name'][unnamed])}")
    rows = rows[~leaks & ~unnamed].reset_index(drop=True)
    if not (rows["set"] == "curated").any():
        raise ValueError(f"{source}: no clip with good labels is left to train on ({how})")
    names = rows[~rows["source"].duplicated()].set_index("source")["path"]
    names = dict(zip(names.index, name_files(names)))
    rows["fname"], rows["path"] = rows["source"].map(names), rows["source"]
    copies = _write(rows, dest, source, copy)

    odd = odd_labels(set().union(*rows["labels"]))
    for line in filter(None, [*notes, note, how, *remarks_on_labels(rows), *odd]):
        print(printable(f"  {line}"))
    sizes = ", ".join(f"{(rows['set'] == name).sum()} {name}" for name in KAGGLE if (rows["set"] == name).any())
    print(printable(f"made in {dest}: {sizes} clips, as {'copies' if copies == len(names) else 'links'}"
                    + (f" ({copies} copies where links cannot be)" if 0 < copies < len(names) else "")))
    return rows.drop(columns=["source", "relative", "known", "complete", "origin"])


def _same_recordings(rows):
    """The groups of rows of several sources: cuts are of the recordings that another source has stretches of."""
    groups, known = rows["group"].astype(str), rows["known"] & rows["start"].isna()
    here = list(dict.fromkeys(groups[rows["known"] & rows["start"].notna()]))

    def same(name):
        wanted = name.replace("+", "/")
        return next((other for other in here if f"/{other}".endswith((f"/{name}", f"/{wanted}"))), name)
    return groups.where(~known, groups.map(same))


def _read(source, dest, options):
    """The rows of a source, with `source`, the path of each sound, and sentences on them; prints what it is."""
    if source.is_dir() and dest.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"{dest} is in {source}, in which nothing is changed; give a folder elsewhere")
    if (data := _ready(source)) is not None:
        raise ValueError(f"{source} is ready as it is: {data}; go on with make check INPUT={source}")
    found = read_source(source, options, dest)
    rows, notes = find_files(found)
    notes = found.notes + notes
    listed = set(rows["path"])
    unlisted = [path for path in found.sounds.paths if path not in listed]
    if unlisted and found.layout != "class folders":
        notes.append(f"{len(unlisted)} sounds are not used: {few(unlisted)}")
    print(printable(f"{source}: {found.layout}, {says_something(rows).sum()} clips, "
                    f"{len(set().union(*rows['labels']))} labels"))
    return rows.assign(source=[found.sounds.root / path for path in rows["path"]], relative=rows["path"]), notes


def _ready(source):
    """The data set if it is one as it is."""
    import warnings

    if not source.is_dir():
        return None
    with contextlib.suppress(OSError, ValueError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = FSDKaggle2019(source)
        return data if len(data.curated) else None
    return None


def _without_rare(rows, least, notes):
    """The rows without labels of too few clips, and without clips that have no other label."""
    good = rows["labels"][rows["set"] == "curated"]
    counts = good.explode().value_counts()
    rare = {label for own in rows["labels"] for label in own if counts.get(label, 0) < least}
    if rare:
        notes.append(f"labels of fewer than {least} clips are left out: {few(sorted(rare))}")
        rows = rows.assign(labels=[tuple(label for label in own if label not in rare) for own in rows["labels"]])
        rows = rows[(rows["labels"].map(len) > 0) | rows["background"]].reset_index(drop=True)
    return rows


def _write(rows, dest, source, copy):
    """Replace what was made before by tables and links; the number of copies."""
    with only_writer(dest, "preparing a data set in it"):
        tables = {KAGGLE[name][0][0]: _table(_whole(own) if name == "test" else own, name != "test")
                  for name in KAGGLE if len(own := rows[rows["set"] == name])}
        tested = rows[(rows["set"] == "test") & rows["start"].notna() & ~rows["background"]]
        if len(tested):
            tables[EVENTS] = _events(tested)
        files = {f"{KAGGLE[name][1]}/{fname}": path.resolve()
                 for name, fname, path in zip(rows["set"], rows["fname"], rows["path"])}
        made = _made_before(dest)
        ours = {name for name, mark in made.items() if _is_as_made(dest / name, mark)}
        changed = [name for name, mark in made.items() if name not in ours and name.endswith((".csv", ".tsv"))
                   and (dest / name).exists()]
        if changed:
            raise ValueError(f"{few(dest / name for name in changed)} has been changed since it was made; move it "
                             "away, or prepare into another folder")
        others = [*KAGGLE["curated"][0], *KAGGLE["noisy"][0], *KAGGLE["test"][0], "sample_submission.csv",
                  EVENTS, *files]
        in_the_way = [dest / name for name in others if name not in ours and os.path.lexists(dest / name)]
        if in_the_way:
            raise ValueError(f"{few(in_the_way)} is there already and was not made by this command; move it away, or "
                             "prepare into another folder")
        # Said before it is made: whatever is there after an interruption is known to be ours.
        marks = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in tables.items()}
        marks |= {name: [str(path), path.stat().st_size, path.stat().st_mtime_ns] for name, path in files.items()}
        _say_made(dest, source, made | marks)
        for name in ours:
            (dest / name).unlink()
        copies = 0
        for name, path in files.items():
            (dest / name).parent.mkdir(exist_ok=True)
            copies += _link(path, dest / name, copy)
        for name, text in tables.items():
            with whole_file(dest / name) as part:
                part.write_text(text, encoding="utf-8")
        _say_made(dest, source, marks)
        for _, folder in KAGGLE.values():  # of a set that is no longer there
            with contextlib.suppress(OSError):
                (dest / folder).rmdir()
    (dest / ".lock").unlink(missing_ok=True)
    return copies


def _table(rows, trained):
    """Rows as a table of the data set: of clips to be trained on with group, times and background where there are."""
    columns = {"group": rows["group"], "start": rows["start"].map(_second), "end": rows["end"].map(_second),
               "background": rows["background"].map({True: "yes", False: ""})} if trained else {}
    columns = {name: column for name, column in columns.items() if (column != "").any()}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["fname", "labels", *columns])
    for _, row in rows.sort_values(["fname", "start", "end"]).iterrows():
        writer.writerow([row["fname"], ",".join(row["labels"]), *(column[row.name] for column in columns.values())])
    return text.getvalue()


def _second(value):
    return "" if np.isnan(value) else f"{value:.6f}".rstrip("0").rstrip(".")


def _whole(rows):
    """A row a file, with all labels of its stretches."""
    labels = rows.groupby("fname", sort=False)["labels"].agg(lambda own: tuple(dict.fromkeys(sum(own, ()))))
    files = rows[~rows["fname"].duplicated()].assign(labels=lambda own: own["fname"].map(labels))
    return files[files["labels"].map(len) > 0]


def _events(rows):
    """Labels with times as DCASE writes them."""
    each = rows.explode("labels").sort_values(["fname", "start", "end", "labels"])
    return "filename\tonset\toffset\tevent_label\n" + "".join(
        f"{row.fname}\t{_second(row.start)}\t{_second(row.end)}\t{row.labels}\n" for row in each.itertuples())


def _link(path, link, copy):
    """Link to a file, or copy it: whether it was copied."""
    if not copy:
        with contextlib.suppress(OSError, NotImplementedError):
            link.symlink_to(path)
            return False
    with whole_file(link) as part:
        shutil.copyfile(path, part)
        os.utime(part, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    return True


def _made_before(dest):
    path = dest / MADE
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["files"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}); prepare into another folder") from error


def _say_made(dest, source, files):
    with whole_file(dest / MADE) as part:
        part.write_text(json.dumps({"source": str(source.resolve()), "files": files}, indent=1), encoding="utf-8")


def _is_as_made(path, mark):
    """Whether a file or link is what an earlier call has made."""
    if isinstance(mark, list):
        target, size, time = mark
        if path.is_symlink():
            return os.readlink(path) == target
        return path.is_file() and (path.stat().st_size, path.stat().st_mtime_ns) == (size, time)
    return path.is_file() and not path.is_symlink() and hashlib.sha256(Path(path).read_bytes()).hexdigest() == mark
