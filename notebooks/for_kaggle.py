"""Make what Kaggle takes: ``python notebooks/for_kaggle.py FOLDER --weights WEIGHTS --user NAME``.

FOLDER/dataset holds the package as a wheel and the weights as safetensors, FOLDER/kernel the inference notebook; each
with the metadata that Kaggle's command-line program wants. With ``--training both``, or one network's name, there are
the training notebooks too, a folder each, the data set is the package alone, and the inference notebook takes the
networks out of their outputs. A profile of one's own goes along with its modules. `make kaggle` calls this.
"""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbconvert.preprocessors import ClearOutputPreprocessor

from freesound_tagging.machine.commands import command
from freesound_tagging.networks.weights import load_tagger, read_spec, save_tagger, weights_path, weights_to_upload
from freesound_tagging.prediction.calibration import CALIBRATION
from freesound_tagging.training.portable import copy_profile
from freesound_tagging.training.profile import NAMES, folder_of, load_profile

ROOT = Path(__file__).resolve().parents[1]
NAME = "freesound-tagging"  # of the data set, and the beginning of the kernels' names
COMPETITION = "freesound-audio-tagging-2019"
MACHINE = "NvidiaTeslaT4"  # else it may be a P100, which the torch of Kaggle's present images is not built for
TRAINING = {"cnn-model-1": "training-cnn-model1", "vgg16": "training-vgg16"}  # the networks' notebooks
ELSEWHERE = "not-on-kaggle"  # the tag of cells that a kernel has no use for: the truth, other sounds
HOURS = 11.5  # of the twelve that a session may take: the images, and the fold after which it ends, want some


@command
def main(arguments=None):
    """Build all folders anew and say how they are uploaded."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, default=ROOT / "weights", help="ours or the author's")
    parser.add_argument("--user", help="on Kaggle (default: $KAGGLE_USERNAME, or that of ~/.kaggle/kaggle.json)")
    parser.add_argument("--training", choices=["both", *TRAINING], help="make the training notebooks too, and take the "
                                                                        "networks out of their outputs")
    parser.add_argument("--profile", default="full", help="that they train, or by which networks of one's own were "
                                                          f"trained: {', '.join(NAMES)}, or a file (default: full)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hours", type=float, default=HOURS, help=f"of each session (default: {HOURS})")
    options = parser.parse_args(arguments)
    profile = load_profile(options.profile)
    trained = list(TRAINING) if options.training == "both" else [options.training] if options.training else []
    if "vgg16" in trained:
        _check_that_it_takes(profile, "vgg16")
    networks = [] if options.training else _networks(options.weights)
    user = options.user or _kaggle_user() or parser.error("who are you on Kaggle? Give --user (make kaggle USER=name)")
    dataset, kernel = options.folder / "dataset", options.folder / "kernel"
    # And nothing else of a folder that was given by mistake.
    for folder in (dataset, kernel, *(options.folder / notebook for notebook in TRAINING.values())):
        shutil.rmtree(folder, ignore_errors=True)
    own = copy_profile(options.profile, dataset / "profiles")
    shutil.rmtree(ROOT / "build/lib", ignore_errors=True)  # of an earlier wheel, whose modules would come along
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", dataset, ROOT],
                   check=True)
    for path in networks:
        tagger = load_tagger(path)
        copy = weights_path(dataset / "weights" / folder_of(tagger.spec.network), tagger.spec.stage, tagger.spec.fold)
        copy.parent.mkdir(parents=True, exist_ok=True)
        save_tagger(tagger, copy)
        if (beside := path.with_name(CALIBRATION)).is_file():  # for sounds; a submission's probabilities are raw
            shutil.copy(beside, copy.with_name(CALIBRATION))
    _write(dataset / "dataset-metadata.json", title=NAME, id=f"{user}/{NAME}", licenses=[{"name": "other"}])
    steps = [f"kaggle datasets create --dir-mode zip -p {dataset}",
             f"  # or, where it is there already: kaggle datasets version --dir-mode zip -m again -p {dataset}"]
    there = [f"profile = {options.profile!r}"] if own is None else [
        "from pathlib import Path", "", f"profile = next(Path('/kaggle/input').glob('**/profiles/{own.name}'), None)"]
    for network in trained:
        _write_kernel(options.folder / TRAINING[network], TRAINING[network], user, f"training {network}", [],
                      [*there, f"seed = {options.seed}", f"hours = {options.hours}"])
        steps.append(f"kaggle kernels push -p {options.folder / TRAINING[network]}")
    _write_kernel(kernel, "inference-kernel", user, "inference", [f"training {network}" for network in trained],
                  [] if own is None else there)
    steps.append(f"kaggle kernels push -p {kernel}" + "  # once they have finished" * bool(trained))
    what = f"{len(networks)} networks" if not trained else "The package"
    print(f"{what} in {dataset}, the notebooks beside it. To upload them:\n  " + "\n  ".join(steps))


def _networks(weights):
    """The networks in a folder, of one run of each network."""
    networks, places = weights_to_upload(weights), {}
    for path in networks:
        spec = read_spec(path)
        other = places.setdefault((spec.network, spec.stage, spec.fold), path)
        if other != path:
            raise ValueError(f"{other} and {path} are both model {spec.stage} of fold {spec.fold} of {spec.network}: "
                             "give the folder of one run by --weights (make kaggle WEIGHTS=folder)")
    return networks


def _check_that_it_takes(profile, network):
    """Raise a ValueError if the second notebook's network cannot be trained by a profile."""
    try:
        dataclasses.replace(profile, network=network)
    except ValueError as error:
        raise ValueError(f"{error}: the profile's options are of {profile.network}; give --training cnn-model-1 "
                         "(TRAINING=cnn-model-1), whose notebook trains the profile's network") from error


def _write_kernel(folder, name, user, title, outputs_of, parameters):
    """A notebook without outputs and what is for elsewhere, with parameters of its own, and what Kaggle has to know."""
    folder.mkdir(parents=True)
    notebook, _ = ClearOutputPreprocessor().preprocess(nbformat.read(ROOT / f"notebooks/{name}.ipynb", 4), {})
    notebook.cells = [cell for cell in notebook.cells if ELSEWHERE not in cell.metadata.get("tags", [])]
    if parameters:
        own = next(n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", []))
        text = "\n".join(["# On Kaggle", *parameters])
        notebook.cells.insert(own + 1, nbformat.v4.new_code_cell(text, id="on-kaggle"))
    nbformat.write(notebook, folder / f"{name}.ipynb")
    _write(folder / "kernel-metadata.json", id=_kernel_id(user, title), title=f"{NAME} {title}",
           code_file=f"{name}.ipynb", language="python", kernel_type="notebook", is_private=True, enable_gpu=True,
           machine_shape=MACHINE, enable_internet=False, dataset_sources=[f"{user}/{NAME}"],
           competition_sources=[COMPETITION], kernel_sources=[_kernel_id(user, other) for other in outputs_of])


def _kernel_id(user, title):
    return f"{user}/{NAME}-{title.replace(' ', '-')}"


def _write(path, **metadata):
    path.write_text(json.dumps(metadata, indent=1) + "\n")


def _kaggle_user():
    login = Path.home() / ".kaggle/kaggle.json"
    return os.environ.get("KAGGLE_USERNAME") or (json.loads(login.read_text())["username"] if login.exists() else None)


if __name__ == "__main__":
    sys.exit(main())
