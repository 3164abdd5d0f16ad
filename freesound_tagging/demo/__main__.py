"""The demo data: ``python -m freesound_tagging.demo FOLDER``."""

import argparse
import sys

from ..machine.commands import a_path, command
from .data import write_demo


@command
def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m freesound_tagging.demo", description="Write the demo data set.")
    parser.add_argument("folder", type=a_path)
    for name, default in (("curated", 5), ("noisy", 14), ("test", 5)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{name} clips a label (default {default})")
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args(arguments))
    print(f"demo data in {write_demo(options.pop('folder'), **options)}")


if __name__ == "__main__":
    sys.exit(main())
