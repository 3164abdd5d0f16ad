"""Train networks by a command, without a notebook: ``python -m freesound_tagging.training INPUT``."""

import argparse
import dataclasses
import sys
from pathlib import Path

from ..clips.dataset import FSDKaggle2019
from ..images.store import SpectrogramStore
from ..machine.commands import a_path, command
from ..machine.device import default_device
from ..machine.executors import EXECUTORS, executor_of
from ..networks.models import PUBLISHED_NETWORKS
from .profile import NAMES, load_profile
from .warmup import WarmupPipeline, run_together


@command
def main(arguments=None):
    """The profile's networks through all stages, side by side on a Ray cluster; running again goes on.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line's if not given.

    Returns
    -------
    int
        Exit status: 0, or 1 after an error, which is printed.
    """
    parser = argparse.ArgumentParser(prog="python -m freesound_tagging.training",
                                     description="Train networks through all stages. Running again goes on.")
    parser.add_argument("input", type=a_path, help="the data set, in Kaggle's or Zenodo's layout")
    parser.add_argument("--output", type=a_path, default=Path(), help="gets the folder work/ (default: this folder)")
    parser.add_argument("--weights", type=a_path, help="the trained networks go here (default: OUTPUT/weights)")
    parser.add_argument("--profile", default="full", help=f"{', '.join(NAMES)}, or a TOML file (default: full)")
    parser.add_argument("--networks", nargs="+",
                        help="in place of the profile's (default: of a profile that comes with the package "
                             f"{' and '.join(PUBLISHED_NETWORKS)})")
    parser.add_argument("--folds", type=int, help="(default: the profile's)")
    parser.add_argument("--hours", type=float, help="begin no fold that, by those before, would not be finished then: "
                                                    "running again goes on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--executor", choices=EXECUTORS, default="auto",
                        help='"ray": on the cluster that RAY_ADDRESS names, else the one that this machine is in, '
                             "else all GPUs of this machine")
    options = parser.parse_args(arguments)
    if not 0 <= options.seed < 2**32:
        parser.error(f"--seed {options.seed}: expected 0 to {2**32 - 1}")
    profile = load_profile(options.profile)
    if options.folds is not None:
        profile = dataclasses.replace(profile, n_folds=options.folds)
    networks = options.networks or (PUBLISHED_NETWORKS if options.profile in NAMES else [profile.network])
    profiles = [dataclasses.replace(profile, network=network) for network in dict.fromkeys(networks)]
    data = FSDKaggle2019(options.input, needed=profile.sets)
    clips = data.clips()
    most = min(int(clips.is_of(name).sum()) for name in profile.sets)
    if profile.n_folds > most:
        raise ValueError(f"n_folds={profile.n_folds}: expected 2 to {most}, the clips of the smaller set")
    executor = executor_of(options.executor, profile.n_folds, default_device())
    store = SpectrogramStore.build(clips.paths, options.output / "work/spectrograms/training", profile.mel,
                                   executor=executor)
    weights = options.weights or options.output / "weights"
    pipelines = [WarmupPipeline(clips, store, profile, options.output / "work" / profile.name, weights / profile.name,
                                options.seed, executor=executor, test=data.test["path"]) for profile in profiles]
    tables = run_together(*pipelines, hours=options.hours)
    for pipeline, table in zip(pipelines, tables):
        (pipeline.work / "table.txt").write_text(table.round(5).to_string() + "\n")
        print(f"\n{pipeline.profile.network}, cross-validated:\n{table.round(5).to_string()}")
    left = sum(len(pipeline.unfinished()) for pipeline in pipelines)
    print(f"\nThe networks are in {weights}." if not left else
          f"\nThe time is up: {left} folds are left. Run the same again, and it goes on.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
