"""``python -m freesound_tagging FILE...``: what is to be heard in a file."""

import argparse
import json
import os
import sys
from collections import Counter
from pathlib import Path

from .machine.commands import a_count, a_path, a_probability, command, printable
from .machine.files import check_writable, output_file

TABLES = (".csv", ".txt", ".tsv")


@command
def main(arguments=None):
    """Print the most probable labels of each file."""
    parser = argparse.ArgumentParser(
        prog="python -m freesound_tagging",
        description="Print the most probable labels of sounds of any length: WAV, FLAC, Ogg, MP3 or what else "
                    "libsndfile reads. Exit status 1 if a file could not be tagged.")
    parser.add_argument("file", nargs="+", type=a_path,
                        help="a sound, a folder of sounds, or a pattern in quotes such as '2026/**/*.flac'")
    parser.add_argument("--weights", type=a_path, default=Path("weights"), metavar="FOLDER",
                        help="the trained networks (default: weights)")
    parser.add_argument("--profile", metavar="FILE",
                        help="the profile by which networks of one's own were trained: what it names is imported")
    parser.add_argument("--top", type=a_count, default=3, metavar="N", help="labels printed of each file (default: 3)")
    parser.add_argument("--csv", type=a_path, metavar="FILE",
                        help="write the probabilities of all labels there; if stopped, of the sounds until then")
    parser.add_argument("--timeline", type=a_path, metavar="OUT",
                        help="write what is heard when: OUT.csv, the probabilities of all labels in each window of 2 "
                             "s; OUT.txt, events of one sound as Audacity imports labels; a folder, such a file for "
                             "each sound")
    parser.add_argument("--threshold", type=a_probability, default=0.3, metavar="P",
                        help="from which probability on a label is an event (default: 0.3)")
    parser.add_argument("--json", action="store_true",
                        help="print for programs: a line of JSON for each file, with its top labels and its events")
    parser.add_argument("--device", help="such as cuda or cpu (default: a CUDA GPU if there is one)")
    options = parser.parse_args(arguments)
    for name in ("csv", "timeline"):
        _check_output(parser, name, getattr(options, name))
    if options.csv and options.timeline and os.path.realpath(options.csv) == os.path.realpath(options.timeline):
        parser.error(f"--csv and --timeline are both {options.csv}; name two files")
    for path in filter(None, (options.csv, options.timeline)):
        check_writable(path)
    from .machine.device import device_named, prepare_device  # takes seconds to import; --help should not
    from .prediction import Ensemble, sounds_of

    paths = sounds_of(options.file)
    present = [path for path in paths if os.path.isfile(path)]
    missing = [path for path in paths if not os.path.isfile(path)]
    for path in missing:
        print(f"{printable(path)}: no such file, or it may not be read", file=sys.stderr)
        if options.json:
            print(json.dumps({"path": str(path), "error": "no such file, or it may not be read"}))
    if not paths:
        raise ValueError("no sounds: expected at least one file that libsndfile reads")
    if not present:
        return 1
    timelines, table = _TimelineOut(parser, options.timeline, options.threshold, present), _TableOut(options.csv)
    if options.profile:
        from .training.profile import load_profile

        load_profile(options.profile)
    device = device_named(options.device)
    prepare_device(device)
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    networks, unread = Ensemble.load(options.weights, device), 0
    try:
        for sound in networks.listen(present, progress=on_terminal):
            unread += bool(sound.problem)
            timelines.add(sound)
            table.add(sound)
            _report(sound, options)
    finally:  # what was heard before an interrupt or an error is kept
        try:
            table.close()
        finally:
            timelines.close()
        if 0 < len(table.paths) < len(present) and (options.csv or options.timeline):
            print(f"stopped after {len(table.paths)} of {len(present)} sounds, which were written", file=sys.stderr)
    return 1 if missing or unread else 0


def _check_output(parser, name, path):
    if path is None:
        return
    if name == "csv" and path.is_dir():
        parser.error(f"--csv {path} is a folder; name a file")
    if path.is_file() and path.suffix.lower() not in TABLES:
        parser.error(f"--{name} {path} is there and no table by its name; name a file that ends in .csv")
    if name == "timeline" and not path.is_dir() and path.suffix.lower() not in (".csv", ".txt"):
        parser.error(f"--timeline {path}: expected a name that ends in .csv or .txt, or a folder that is there")


def _report(sound, options):
    """Print what is heard in a sound, or why it cannot be read."""
    import pandas as pd

    from .prediction import events

    path, best = str(sound.path), pd.Series(sound.probabilities, sound.timeline.columns).nlargest(options.top)
    if sound.problem:
        print(printable(sound.problem), file=sys.stderr)
    if sound.remark:
        print(printable(sound.remark), file=sys.stderr)
    if options.json:
        found = {"path": path, "error": sound.problem} if sound.problem else {
            "path": path, "seconds": sound.timeline.attrs["duration"],
            "labels": [{"label": label, "probability": float(value)} for label, value in best.items()],
            "events": events(sound.timeline, options.threshold).to_dict("records"),
            **({"remark": sound.remark} if sound.remark else {})}
        print(json.dumps(found), flush=True)
    elif not sound.problem:
        print(printable(path))
        for label, probability in best.items():
            print(f"  {probability:.3f}  {printable(label)}", flush=True)


class _TableOut:
    """Where ``--csv`` writes: a row a sound."""

    def __init__(self, path):
        self.path, self.paths, self.rows = path, [], []

    def add(self, sound):
        self.paths.append(str(sound.path))
        self.rows.append(sound.probabilities)
        self.labels = sound.timeline.columns

    def close(self):
        import pandas as pd

        if self.path and self.rows:
            with output_file(self.path) as part:
                table = pd.DataFrame(self.rows, pd.Index(self.paths, name="path"), self.labels)
                table.to_csv(part, errors="backslashreplace")


class _TimelineOut:
    """Where ``--timeline`` writes: a table of all sounds, the labels of one, or of each in a folder."""

    def __init__(self, parser, path, threshold, sounds):
        self.path, self.threshold, self.tables = path, threshold, []
        self.is_folder, self.is_labels = path is not None and path.is_dir(), False
        if path is None:
            return
        if self.is_folder:
            (twice, times), *_ = Counter(map(_labels_of, sounds)).most_common(1)
            check_writable(path / _labels_of(max(sounds, key=lambda sound: len(os.fsencode(sound.name)))))
            if times > 1:
                parser.error(f"--timeline {path}: two of the sounds would be {twice} there; tag one folder at a time")
        else:
            self.is_labels = path.suffix.lower() == ".txt"
            if self.is_labels and len(sounds) > 1:
                parser.error(f"--timeline {path} has room for the labels of one sound, and there are {len(sounds)}; "
                             "name a folder, which gets a file for each, or a .csv")

    def add(self, sound):
        from .prediction import events, write_labels

        if self.path is None or (sound.problem and (self.is_folder or self.is_labels)):
            return
        if self.is_folder:
            write_labels(self.path / _labels_of(sound.path), events(sound.timeline, self.threshold))
        elif self.is_labels:
            write_labels(self.path, events(sound.timeline, self.threshold))
        else:
            table = sound.timeline.reset_index()
            table.insert(0, "path", str(sound.path))
            self.tables.append(table)

    def close(self):
        import pandas as pd

        if self.tables:
            with output_file(self.path) as part:
                tables = [table for table in self.tables if len(table)] or self.tables[:1]
                pd.concat(tables).to_csv(part, index=False, errors="backslashreplace")


def _labels_of(sound):
    return f"{Path(sound).name}.txt"


if __name__ == "__main__":
    sys.exit(main())
