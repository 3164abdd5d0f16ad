"""``python -m freesound_tagging FILE...``: what is to be heard in a file."""

import argparse
import os
import re
import sys
from pathlib import Path

from .machine.commands import a_count, a_path, command
from .machine.files import whole_file


@command
def main(arguments=None):
    """Print the most probable labels of each file."""
    parser = argparse.ArgumentParser(
        prog="python -m freesound_tagging",
        description="Print the most probable labels of sounds: WAV, FLAC, Ogg, MP3 or what else libsndfile reads. "
                    "Exit status 1 if a file could not be tagged.")
    parser.add_argument("file", nargs="+", type=a_path, help="a sound, or a folder of sounds")
    parser.add_argument("--weights", type=a_path, default=Path("weights"), metavar="FOLDER",
                        help="the trained networks (default: weights)")
    parser.add_argument("--top", type=a_count, default=3, metavar="N", help="labels printed of each file (default: 3)")
    parser.add_argument("--csv", type=a_path, metavar="FILE", help="write the probabilities of all labels there")
    parser.add_argument("--device", help="such as cuda or cpu (default: a CUDA GPU if there is one)")
    options = parser.parse_args(arguments)
    if options.csv and options.csv.is_dir():
        parser.error(f"--csv {options.csv} is a folder; name a file")
    if options.csv and options.csv.is_file() and options.csv.suffix.lower() not in (".csv", ".txt", ".tsv"):
        parser.error(f"--csv {options.csv} is there and no table by its name; name a file that ends in .csv")
    from .prediction.tagging import tag  # takes seconds to import; --help and a misspelt option should not

    missing = [path for path in options.file if not os.path.isfile(path)
               and not (os.path.isdir(path) and os.access(path, os.R_OK | os.X_OK))]
    for path in missing:
        print(f"{path}: no such file, or it may not be read", file=sys.stderr)
    present = [path for path in options.file if path not in missing]
    if not present:
        return 1
    table = tag(present, options.weights, options.device)
    unread = table.isna().all(axis=1)
    for path, row in table[~unread].iterrows():
        print(re.sub(r"[\x00-\x1f\x7f]", lambda control: ascii(control[0])[1:-1], path))  # a terminal would obey
        for label, probability in row.nlargest(options.top).items():
            print(f"  {probability:.3f}  {label}")
    if options.csv:
        if options.csv.exists() and not options.csv.is_file():  # such as /dev/stdout
            table.to_csv(options.csv, errors="backslashreplace")
        else:
            with whole_file(options.csv) as part:
                table.to_csv(part, errors="backslashreplace")
    return 1 if missing or unread.any() else 0


if __name__ == "__main__":
    sys.exit(main())
