"""What is heard in sounds, written down: a writer a format, each with `add` of a `Heard` and `close`."""

import json
import os
import sys
from collections import Counter
from pathlib import Path

import pandas as pd

from ..annotations.writing import write_dcase, write_labels, write_selections
from ..machine.commands import printable
from ..machine.files import check_writable, output_file
from .tagging import events


class Text:
    """The most probable labels of each sound, to be read."""

    def __init__(self, top=3, out=None):
        self.top, self.out = top, out or sys.stdout

    def add(self, sound):
        if not sound.problem:
            print(printable(sound.path), file=self.out)
            for label, probability in sound.best(self.top).items():
                print(f"  {probability:.3f}  {printable(label)}", file=self.out, flush=True)

    def close(self):
        """Nothing is kept back."""


class Json:
    """A line a sound, for programs: its length, its most probable labels and its events, or what is wrong with it."""

    def __init__(self, top=3, threshold=None, out=None):
        self.top, self.threshold, self.out = top, threshold, out or sys.stdout

    def add(self, sound):
        found = {"path": str(sound.path), "error": sound.problem} if sound.problem else {
            "path": str(sound.path), "seconds": sound.timeline.attrs["duration"],
            "labels": [{"label": label, "probability": float(value)} for label, value in sound.best(self.top).items()],
            "events": events(sound.timeline, self.threshold).to_dict("records"),
            **({"calibrated": True} if sound.timeline.attrs.get("calibrated") else {}),
            **({"remark": sound.remark} if sound.remark else {})}
        print(json.dumps(found), file=self.out, flush=True)

    def close(self):
        """Nothing is kept back."""


class Table:
    """A CSV file: a row a sound, a column a label; also of sounds that cannot be read, without numbers."""

    def __init__(self, path):
        self.path, self.paths, self.rows = path, [], []

    def add(self, sound):
        self.paths.append(str(sound.path))
        self.rows.append(sound.probabilities)
        self.labels = sound.timeline.columns

    def close(self):
        if self.rows:
            with output_file(self.path) as part:
                table = pd.DataFrame(self.rows, pd.Index(self.paths, name="path"), self.labels)
                table.to_csv(part, errors="backslashreplace")


class Timelines:
    """A CSV file: a row a window of a sound, with the seconds of both (`window`, `duration`), and a column a label."""

    def __init__(self, path, sounds=(), threshold=None):
        self.path, self.tables, self.written = path, [], set()

    def add(self, sound):
        if str(sound.path) in self.written:  # given twice
            return
        self.written.add(str(sound.path))
        table, attributes = sound.timeline.reset_index(allow_duplicates=True), sound.timeline.attrs
        for place, name, value in ((0, "path", str(sound.path)), (2, "window", attributes["window"]),
                                   (3, "duration", attributes["duration"])):
            table.insert(place, name, value, allow_duplicates=True)  # labels may be called so, too
        self.tables.append(table)

    def close(self):
        if self.tables:
            with output_file(self.path) as part:
                tables = [table for table in self.tables if len(table)] or self.tables[:1]
                pd.concat(tables).to_csv(part, index=False, errors="backslashreplace")


class Labels:
    """The events of one sound, or in a folder those of each, as Audacity imports labels (`write_labels`)."""

    def __init__(self, path, sounds, threshold=None):
        self.path, self.threshold, self.is_folder = Path(path), threshold, os.path.isdir(path)
        if not self.is_folder and len(sounds) > 1:
            raise ValueError(f"{path} has room for the labels of one sound, and there are {len(sounds)}; name a "
                             "folder, which gets a file for each, or one that ends in .csv, .tsv or .selections.txt")
        if self.is_folder and sounds:
            (twice, times), *_ = Counter(map(self._place, sounds)).most_common(1)
            if times > 1:
                raise ValueError(f"{path}: two of the sounds would be {twice.name} there; tag one folder at a time")
            check_writable(max(map(self._place, sounds), key=lambda place: len(os.fsencode(place.name))))

    def _place(self, sound):
        return self.path / f"{Path(sound).name}.txt" if self.is_folder else self.path

    def add(self, sound):
        if not sound.problem:
            write_labels(self._place(sound.path), events(sound.timeline, self.threshold))

    def close(self):
        """Each file is written at once."""


class Selections:
    """The events of all sounds in one table, as Raven opens it (`write_selections`)."""

    def __init__(self, path, sounds=(), threshold=None):
        self.path, self.threshold, self.tables, self.lengths = path, threshold, [], {}

    def add(self, sound):
        if not sound.problem and str(sound.path) not in self.lengths:
            self.lengths[str(sound.path)] = sound.timeline.attrs["duration"]
            self.tables.append(events(sound.timeline, self.threshold).assign(file=str(sound.path)))

    def close(self):
        if self.tables:
            write_selections(self.path, self._table(), self.lengths)

    def _table(self):
        return pd.concat([table for table in self.tables if len(table)] or self.tables[:1])


class Dcase(Selections):
    """The same as DCASE's TSV (`write_dcase`): sounds by their names, or as they were given where two have one."""

    def close(self):
        if self.tables:
            named = Counter(Path(path).name for path in self.lengths)
            write_dcase(self.path, self._table().assign(file=lambda table: [
                path if named[Path(path).name] > 1 else Path(path).name for path in table["file"]]))


# By what the name of a file of timelines ends in; the first that fits is taken.
TIMELINES = {".csv": Timelines, ".tsv": Dcase, ".selections.txt": Selections, ".txt": Labels}


def timelines_writer(path, sounds, threshold=None):
    """The writer of what is heard when, by the name of its output.

    Parameters
    ----------
    path : path
        A name that ends as one of `TIMELINES`, or a folder, for `Labels`.
    sounds : sequence of path
        What will be written.
    threshold : float, optional
        As for `events`.

    Returns
    -------
    Timelines, Dcase, Selections or Labels

    Raises
    ------
    ValueError
        If the name ends otherwise, there is no room for so many sounds, or two would be written to one file.
    """
    name = os.path.basename(path).lower()
    writer = Labels if os.path.isdir(path) else next((TIMELINES[end] for end in TIMELINES if name.endswith(end)), None)
    if writer is None:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(TIMELINES)}, or a folder that is there")
    return writer(path, sounds, threshold)
