"""The data set on the disk: ``python -m freesound_tagging.clips download DEST`` and ``... check ROOT``."""

import argparse
import sys

from ..machine.commands import a_path, command
from .doctor import check
from .download import ARCHIVES, RECORD, download


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
    options = parser.parse_args(arguments)
    if options.command == "check":
        return 0 if check(options.root) else 1
    print("complete:", *download(options.dest, options.only, options.record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
