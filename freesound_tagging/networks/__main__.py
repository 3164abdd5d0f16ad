"""The author's networks as safetensors: ``python -m freesound_tagging.networks SRC... DEST``."""

import argparse
import sys

from ..machine.commands import a_path, command, printable
from ..machine.files import files_below
from .weights import import_fastai_v1, save_tagger, stage_and_fold, weights_path


@command
def main(arguments=None):
    """``python -m freesound_tagging.networks SRC... DEST``: convert what fastai 1 exported to safetensors."""
    parser = argparse.ArgumentParser(
        prog="python -m freesound_tagging.networks",
        description="Convert learners that fastai 1 exported to DEST/<network>/stage-<n>_fold-<k>.safetensors. "
                    "Nothing in the files is run. Exit status 1 if a file could not be converted.")
    parser.add_argument("source", nargs="+", type=a_path, help="a stage-{2,10,11}_fold-<k>.pkl, or a folder of them")
    parser.add_argument("dest", type=a_path)
    options = parser.parse_args(arguments)
    failed = 0
    for source in options.source:
        paths = [path for path in files_below(source) if path.suffix == ".pkl"] if source.is_dir() else [source]
        if not paths:
            failed += 1
            print(f"{printable(source)}: no .pkl in it or below; give the folder of the exported learners",
                  file=sys.stderr)
        for path in paths:
            try:
                if not path.exists():
                    raise FileNotFoundError(f"{path}: no such file")
                if stage_and_fold(path) is None:
                    raise ValueError(f"{path} does not say which model it is; name it stage-{{2,10,11}}_fold-<k>.pkl")
                tagger = import_fastai_v1(path)
                dest = weights_path(options.dest / tagger.spec.network, tagger.spec.stage, tagger.spec.fold)
                if dest.exists():
                    raise FileExistsError(f"{path} was not converted: {dest} exists; delete it or give another folder")
                save_tagger(tagger, dest)
                print(f"{printable(path)} -> {printable(dest)} ({tagger.spec.network}, "
                      f"width {dict(tagger.spec.options)['width']}, "
                      f"{len(tagger.spec.vocabulary)} labels)")
            except (OSError, ValueError) as error:
                failed += 1
                print(printable(error), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
