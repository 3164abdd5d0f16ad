"""``freesound-tagging FILE...``: what is to be heard in a file; behind it the rooms' commands: ``... train INPUT``.

``python -m freesound_tagging`` is the same.
"""

import argparse
import contextlib
import json
import os
import sys
from importlib import import_module
from pathlib import Path

from .machine.commands import a_count, a_path, a_probability, add_device, command, printable, stoppable
from .machine.files import check_writable

TABLES = (".csv", ".txt", ".tsv")
OTHERS = {"demo": "demo", "download": "clips", "prepare": "clips", "check": "clips", "train": "training",
          "score": "prediction", "convert": "networks", "app": "app"}  # the room of each other command
STDIN, MISSING = Path("/dev/stdin"), "no such file, or it may not be read"


@command
def main(arguments=None):
    """Print the most probable labels of each file, or hand on to the command that is named first."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments and (room := OTHERS.get(arguments[0])):
        rest = arguments if room == "clips" else arguments[1:]  # that one has several
        return import_module(f".{room}.__main__", __package__).main(rest)
    parser = argparse.ArgumentParser(
        prog="freesound-tagging", epilog=f"Other commands, each with its own --help: {', '.join(OTHERS)}. A file of "
                                         "such a name is ./app.",
        description="Print the most probable labels of sounds of any length: WAV, FLAC, Ogg, MP3 or what else "
                    "libsndfile reads. Exit status 1 if a file could not be tagged.")
    parser.add_argument("file", nargs="+", type=a_path,
                        help="a sound, a folder of sounds, a pattern in quotes such as '2026/**/*.flac', or - for what "
                             "comes through a pipe: WAV and FLAC are read as they come, other formats are first kept "
                             "in a temporary file")
    parser.add_argument("--weights", type=a_path, default=Path("weights"), metavar="FOLDER",
                        help="the trained networks (default: weights)")
    parser.add_argument("--profile", metavar="FILE",
                        help="the profile by which networks of one's own were trained: what it names is imported")
    parser.add_argument("--top", type=a_count, default=3, metavar="N", help="labels printed of each file (default: 3)")
    parser.add_argument("--csv", type=a_path, metavar="FILE",
                        help="write the probabilities of all labels there; if stopped, of the sounds until then")
    parser.add_argument("--timeline", type=a_path, metavar="OUT",
                        help="write what is heard when: OUT.csv, the probabilities of all labels in each window of 2 "
                             "s; OUT.selections.txt, the events as Raven opens them; OUT.tsv, as DCASE has them; "
                             "OUT.txt, those of one sound as Audacity imports labels; a folder, such a file for each "
                             "sound")
    parser.add_argument("--cut", type=a_path, metavar="FOLDER",
                        help="cut events out, each into its label's folder there, named by its probability, the sound "
                             "and the seconds")
    parser.add_argument("--cut-most", type=a_count, default=20, metavar="N",
                        help="events of a label that are cut, spread over their probabilities (default: 20)")
    parser.add_argument("--threshold", type=a_probability, metavar="P",
                        help="from which probability on a label is an event (default: 0.5 of calibrated ones, 0.3 of "
                             "raw ones)")
    parser.add_argument("--raw", action="store_true",
                        help="probabilities as the networks give them; else calibrated ones, of networks with a "
                             "calibration.json beside them, such as a finished training leaves")
    parser.add_argument("--json", action="store_true",
                        help="print for programs: a line of JSON for each file, with its top labels and its events")
    add_device(parser)
    options = parser.parse_args(arguments)
    for name in ("csv", "timeline"):
        _check_output(parser, name, getattr(options, name))
    if options.csv and options.timeline and os.path.realpath(options.csv) == os.path.realpath(options.timeline):
        parser.error(f"--csv and --timeline are both {options.csv}; name two files")
    if options.cut and options.cut.is_file():
        parser.error(f"--cut {options.cut} is a file; name a folder")
    for path in filter(None, (options.csv, options.timeline)):
        check_writable(path)
    from .clips.streams import is_given  # what follows takes seconds to import; --help should not
    from .machine.device import device_named, prepare_device
    from .prediction import Cuts, Ensemble, sounds_of
    from .prediction.formats import Json, Table, Text, timelines_writer

    paths = sounds_of([STDIN if path == Path("-") else path for path in options.file])
    present = [path for path in paths if is_given(path)]
    missing = [path for path in paths if not is_given(path)]
    for path in missing:
        print(f"{printable(path)}: {MISSING}", file=sys.stderr)
        if options.json:
            print(json.dumps({"path": str(path), "error": MISSING}))
    if not paths:
        raise ValueError("no sounds: expected at least one file that libsndfile reads")
    if not present:
        return 1
    writers = [Json(options.top, options.threshold) if options.json else Text(options.top)]
    if options.csv:
        writers.insert(0, Table(options.csv))
    if options.timeline:
        try:
            writers.insert(0, timelines_writer(options.timeline, present, options.threshold))
        except ValueError as error:
            parser.error(f"--timeline {error}")
    if options.cut:
        try:
            writers.insert(0, Cuts(options.cut, present, options.threshold, options.cut_most))
        except ValueError as error:
            parser.error(f"--cut: {error}")
    if options.profile:
        from .training.profile import load_profile

        load_profile(options.profile)
    device = device_named(options.device)
    prepare_device(device)
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    networks, heard, unread = Ensemble.load(options.weights, device, options.precision), 0, 0
    with stoppable():
        try:
            for sound in networks.listen(present, progress=on_terminal, raw=options.raw):
                unread += bool(sound.problem)
                for said in filter(None, (sound.problem, sound.remark)):
                    print(printable(said), file=sys.stderr)
                heard += 1
                for writer in writers:  # the one that prints is the last
                    writer.add(sound)
        finally:  # what was heard before an interrupt, a signal or an error is kept
            with contextlib.ExitStack() as each:
                for writer in writers:
                    each.callback(writer.close)
            if 0 < heard < len(present) and len(writers) > 1:
                print(f"stopped after {heard} of {len(present)} sounds, which were written", file=sys.stderr)
    return 1 if missing or unread else 0


def _check_output(parser, name, path):
    if path is None:
        return
    if name == "csv" and path.is_dir():
        parser.error(f"--csv {path} is a folder; name a file")
    is_table = path.suffix.lower() in TABLES
    if path.is_file() and not is_table:
        parser.error(f"--{name} {path} is there and no table by its name; name a file that ends in .csv")
    if name == "csv" and not path.exists() and not is_table:  # nor a device or a pipe
        parser.error(f"--csv {path} is no table by its name, and is written as plain text; name a file that ends in "
                     ".csv")


if __name__ == "__main__":
    sys.exit(main())
