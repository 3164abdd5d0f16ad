"""Train networks by a command, without a notebook: ``python -m freesound_tagging.training INPUT``."""

import argparse
import dataclasses
import json
import shlex
import subprocess
import sys
from pathlib import Path

from ..clips.dataset import FSDKaggle2019
from ..clips.prepare import EVENTS
from ..images.store import SpectrogramStore
from ..machine.commands import a_path, command, printable
from ..machine.device import default_device
from ..machine.executors import EXECUTORS, executor_of
from ..networks.models import PUBLISHED_NETWORKS
from ..prediction.calibration import CALIBRATION
from .estimate import estimate
from .held_out import check_folds
from .profile import NAMES, load_profile
from .queue import SessionBudget
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
    parser.add_argument("--compiled", action="store_true",
                        help="train through torch.compile, which takes a C++ compiler; on a CPU that trains in float32 "
                             "some small networks gain by it (docs/speed.md)")
    parser.add_argument("--notebooks", type=a_path, metavar="FOLDER",
                        help="execute the training notebooks of this folder over the finished run, for its figures")
    options = parser.parse_args(arguments)
    budget = SessionBudget(options.hours)  # of all that comes
    if not 0 <= options.seed < 2**32:
        parser.error(f"--seed {options.seed}: expected 0 to {2**32 - 1}")
    profile = load_profile(options.profile)
    if options.folds is not None:
        profile = dataclasses.replace(profile, n_folds=options.folds)
    networks = options.networks or (PUBLISHED_NETWORKS if options.profile in NAMES else [profile.network])
    data = FSDKaggle2019(options.input, needed=profile.sets, may_lack=profile.optional)
    clips = data.clips()
    profile = profile.fitted(clips)
    profiles = [dataclasses.replace(profile, network=network) for network in dict.fromkeys(networks)]
    check_folds(clips, profile.n_folds)  # before their images are made
    executor = executor_of(options.executor, profile.n_folds, default_device())
    store = SpectrogramStore.build(clips.paths, options.output / "work/spectrograms/training", profile.mel,
                                   executor=executor, spans=clips.spans)
    weights = options.weights or options.output / "weights"
    pipelines = [WarmupPipeline(clips, store, profile, options.output / "work" / profile.name, weights / profile.name,
                                options.seed, compiled=options.compiled, executor=executor, test=data.test["path"])
                 for profile in profiles]
    for line in estimate(pipelines):
        print(line, flush=True)
    run_together(*pipelines, budget=budget)
    left = sum(len(pipeline.unfinished()) for pipeline in pipelines)
    drawn = [] if left or not options.notebooks else [_draw(pipeline, options, weights) for pipeline in pipelines]
    for pipeline in pipelines:
        report = pipeline.report()
        (pipeline.work / "table.txt").write_text(report + "\n")
        print(f"\n{pipeline.profile.network}, cross-validated:\n{report}")
    if left:
        print(f"\nThe time is up: {left} folds are left. Run the same again, and it goes on.")
        return 0
    print()
    for pipeline in pipelines:
        if not (pipeline.weights / CALIBRATION).exists():
            print(f"The probabilities of {pipeline.profile.network} are raw: no calibration fits what it knows of the "
                  "clips held out.")
    print(printable(f"The networks are in {weights}."))
    for notebook in filter(None, drawn):
        print(printable(f"The notebook with the run's figures is {notebook}."))
    folder = shlex.quote(printable(weights))
    # Who reads a network of somebody's own has to name it.
    is_own = any(network not in PUBLISHED_NETWORKS and not network.startswith("timm:") for network in networks)
    own = shlex.quote(printable(options.profile)) if is_own else ""
    if len(data.test):
        print(f"next: make submission INPUT={shlex.quote(printable(options.input))} "
              f"OUTPUT={shlex.quote(printable(options.output))}" + (
                  f" WEIGHTS={folder}" if weights != options.output / "weights" else "")
              + (f" PROFILE={own}" if own else ""))
    tagging = f".venv/bin/python -m freesound_tagging --weights {folder}{f' --profile {own}' if own else ''}"
    if (options.input / EVENTS).exists():
        truth, tests = (shlex.quote(printable(options.input / name)) for name in (EVENTS, "test"))
        print(f"next: {tagging} --timeline found.tsv {tests}, then make score SUBMISSION=found.tsv TRUTH={truth}")
    print(f"next: {tagging} FILE...")
    return 0 if all(drawn) else 1


def _draw(pipeline, options, weights):
    """Have a network's notebook executed over its finished run: where it is; None after a mistake, which is said."""
    name = "training-vgg16" if pipeline.profile.network == "vgg16" else "training-cnn-model1"
    folder = options.output / "build/notebooks"
    profile = options.profile if options.profile in NAMES else str(Path(options.profile).expanduser().resolve())
    texts = {"input_folder": options.input, "weights_folder": weights, "work_folder": options.output / "work"}
    others = {"seed": options.seed, "n_folds": options.folds}
    sys.stdout.flush()
    done = subprocess.run([
        sys.executable, "-W", "ignore", options.notebooks / "run.py", name, folder, f"profile={profile}",
        f"network={pipeline.profile.network}", "executor=in-process",
        *(f"{key}={path.resolve()}" for key, path in texts.items()),
        *(f"{key}:={json.dumps(value)}" for key, value in others.items())], check=False)
    return None if done.returncode else folder / f"{name}.ipynb"


if __name__ == "__main__":
    sys.exit(main())
