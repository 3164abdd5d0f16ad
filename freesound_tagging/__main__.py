"""``python -m freesound_tagging FILE...``: what is to be heard in a file."""

import argparse
import sys
import warnings
from pathlib import Path

from .machine.files import whole_file


def main(arguments=None):
    """Print the most probable labels of each file."""
    parser = argparse.ArgumentParser(
        prog="python -m freesound_tagging",
        description="Print the most probable labels of sounds: WAV, FLAC, Ogg, MP3 or what else libsndfile reads. "
                    "Exit status 1 if a file could not be tagged.")
    parser.add_argument("file", nargs="+", type=Path)
    parser.add_argument("--weights", type=Path, default=Path("weights"), metavar="FOLDER",
                        help="the trained networks (default: weights)")
    parser.add_argument("--top", type=int, default=3, metavar="N", help="labels printed of each file (default: 3)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the probabilities of all labels there")
    parser.add_argument("--device", help="such as cuda or cpu (default: a CUDA GPU if there is one)")
    options = parser.parse_args(arguments)
    from .prediction.tagging import tag  # takes seconds to import; --help and a misspelt option should not

    missing = [path for path in options.file if not path.is_file()]
    present = [path for path in options.file if path.is_file()]
    for path in missing:
        print(f"{path}: no such file", file=sys.stderr)
    if not present:
        return 1
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            table = tag(present, options.weights, options.device)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    for warning in caught:
        print(warning.message, file=sys.stderr)
    unread = table.isna().all(axis=1)
    for path, row in table[~unread].iterrows():
        print(path)
        for label, probability in row.nlargest(options.top).items():
            print(f"  {probability:.3f}  {label}")
    if options.csv:
        with whole_file(options.csv) as part:
            table.to_csv(part)
    return 1 if missing or unread.any() else 0


if __name__ == "__main__":
    sys.exit(main())
