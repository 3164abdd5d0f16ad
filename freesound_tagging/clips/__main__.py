"""The data set on the disk: ``python -m freesound_tagging.clips download DEST``, ``... prepare`` and ``... check``."""

import argparse
import shlex
import sys

from ..machine.commands import a_count, a_path, command, printable
from .dataset import FSDKaggle2019
from .doctor import check
from .download import ARCHIVES, RECORD, download
from .prepare import prepare
from .sources import READERS, Options

DEMO_CLIPS = 500  # up to so many, the demo's profile is enough to see what comes of them


@command
def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m freesound_tagging.clips")
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("download", help="fetch FSDKaggle2019 from Zenodo, check it and unpack it")
    fetch.add_argument("dest", type=a_path)
    fetch.add_argument("--only", nargs="+", choices=ARCHIVES, default=list(ARCHIVES), help="the sets to fetch")
    fetch.add_argument("--record", default=RECORD, help="address of the record (default: %(default)s)")
    doctor = commands.add_parser("check", help="examine a data set; exit status 1 if clips are missing or unreadable")
    doctor.add_argument("root", type=a_path)
    _add_prepare(commands)
    options = parser.parse_args(arguments)
    if options.command == "prepare":
        if options.test is not None and options.test_fold is not None:
            parser.error("--test and --test-fold both say which clips are for testing; give one")
        prepare(options.source, options.dest,
                Options(options.file_column, tuple(options.label_column or ()), options.separator, options.group,
                        options.sounds, options.class_folders, options.noisy_small, options.background,
                        options.recording, options.whole),
                options.test, options.test_fold, options.least, options.seed, options.copy, options.more)
        print(f"next: make check INPUT={shlex.quote(printable(options.dest))}")
        return 0
    if options.command == "check":
        if not check(options.root):
            return 1
        data = FSDKaggle2019(options.root, missing="list")
        profile = "laptop" if len(data.curated) + len(data.noisy) > DEMO_CLIPS else "demo"
        print(f"next: make train INPUT={shlex.quote(printable(options.root))} OUTPUT=my-run PROFILE={profile}")
        return 0
    print("complete:", *download(options.dest, options.only, options.record))
    return 0


def _add_prepare(commands):
    lay_out = commands.add_parser(
        "prepare", help="lay out a data set of your own, or a public one, to be trained on",
        description=f"Make of {', '.join(READERS)} a folder to train on: tables and links. Nothing in SOURCE is "
                    "changed; a second call replaces what the first one made.")
    lay_out.add_argument("source", type=a_path, help="a folder, or a table with its sounds beside or below it")
    lay_out.add_argument("dest", type=a_path, help="the folder to make")
    lay_out.add_argument("--with", dest="more", type=a_path, nargs="+", default=[], metavar="SOURCE",
                         help="further sources, put together with the first")
    lay_out.add_argument("--background", nargs="?", const="yes", metavar="WORD",
                         help='clips without a label, those labelled "nocall" and sounds in _background_noise_ are '
                              'trained on as background; WORD: those with this label too; "no": nor is what recordings '
                              "have between their labels")
    lay_out.add_argument("--recording", metavar="PATTERN", help="a regular expression: clips in whose names it finds "
                         "the same, in its brackets if it has any, are of one recording")
    lay_out.add_argument("--whole", action="store_true", help="clips are whole files, whatever times a table has")
    lay_out.add_argument("--test", type=_a_share, metavar="SHARE", help="of the clips, for testing; 0: none (default: "
                         "the set's own test clips or last fold, else 0.2)")
    lay_out.add_argument("--test-fold", metavar="FOLD", help="of the set's own folds the one for testing")
    lay_out.add_argument("--group", metavar="COLUMN", help="which says what clips are of one recording, which stay "
                         'together; "none": each clip is one (default: seen from columns, folders or names)')
    lay_out.add_argument("--file-column", metavar="COLUMN", help="of file names (default: seen from its name)")
    lay_out.add_argument("--label-column", metavar="COLUMN", nargs="+", help="of labels, one or several")
    lay_out.add_argument("--separator", metavar="TEXT", help='between labels of a cell; "": a cell is one label '
                         "(default: the first of | ; , that occurs)")
    lay_out.add_argument("--sounds", type=a_path, metavar="FOLDER", help="the sounds are there or below")
    lay_out.add_argument("--class-folders", action="store_true",
                         help="the folders' names are the labels, whatever tables are beside them")
    lay_out.add_argument("--least", type=a_count, default=1, metavar="N", help="leave out labels of fewer clips")
    lay_out.add_argument("--noisy-small", action="store_true", help="FSDnoisy18k: the small part of the noisy clips")
    lay_out.add_argument("--copy", action="store_true", help="copy the sounds in place of linking to them")
    lay_out.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")


def _a_share(text):
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"is {text}; expected a share from 0 on, below 1")
    return share


if __name__ == "__main__":
    sys.exit(main())
