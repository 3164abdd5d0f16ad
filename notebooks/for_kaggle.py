"""Make what Kaggle takes: ``python notebooks/for_kaggle.py FOLDER --weights WEIGHTS --user NAME``.

FOLDER/dataset holds the package as a wheel and the weights as safetensors, FOLDER/kernel the inference notebook; each
with the metadata that Kaggle's command-line program wants. `make kaggle` calls this.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbconvert.preprocessors import ClearOutputPreprocessor

from freesound_tagging.networks.weights import find_weights, load_tagger, read_spec, save_tagger, weights_path

ROOT = Path(__file__).resolve().parents[1]
NAME = "freesound-tagging"
COMPETITION = "freesound-audio-tagging-2019"
MACHINE = "NvidiaTeslaT4"  # else it may be a P100, which the torch of Kaggle's present images is not built for


def main(arguments=None):
    """Build both folders anew and say how they are uploaded."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", type=Path, default=ROOT / "weights", help="ours or the author's, of models 2 to 4")
    parser.add_argument("--user", help="on Kaggle (default: $KAGGLE_USERNAME, or that of ~/.kaggle/kaggle.json)")
    options = parser.parse_args(arguments)
    try:
        networks = find_weights(options.weights)
    except FileNotFoundError as error:
        parser.error(str(error))
    places = {}
    for path in networks:
        spec = read_spec(path)
        other = places.setdefault((spec.network, spec.stage, spec.fold), path)
        if other != path:
            parser.error(f"{other} and {path} are both model {spec.stage} of fold {spec.fold} of {spec.network}: "
                         "give the folder of one run by --weights (make kaggle WEIGHTS=folder)")
    user = options.user or _kaggle_user() or parser.error("who are you on Kaggle? Give --user (make kaggle USER=name)")
    dataset, kernel = options.folder / "dataset", options.folder / "kernel"
    for folder in (dataset, kernel):  # and nothing else of a folder that was given by mistake
        shutil.rmtree(folder, ignore_errors=True)
    kernel.mkdir(parents=True)
    shutil.rmtree(ROOT / "build/lib", ignore_errors=True)  # of an earlier wheel, whose modules would come along
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", dataset, ROOT],
                   check=True)
    for path in networks:
        tagger = load_tagger(path)
        copy = weights_path(dataset / "weights" / tagger.spec.network, tagger.spec.stage, tagger.spec.fold)
        copy.parent.mkdir(parents=True, exist_ok=True)
        save_tagger(tagger, copy)
    _write(dataset / "dataset-metadata.json", title=NAME, id=f"{user}/{NAME}", licenses=[{"name": "other"}])
    notebook, _ = ClearOutputPreprocessor().preprocess(nbformat.read(ROOT / "notebooks/inference-kernel.ipynb", 4), {})
    nbformat.write(notebook, kernel / "inference-kernel.ipynb")
    _write(kernel / "kernel-metadata.json", id=f"{user}/{NAME}-inference", title=f"{NAME} inference",
           code_file="inference-kernel.ipynb", language="python", kernel_type="notebook", is_private=True,
           enable_gpu=True, machine_shape=MACHINE, enable_internet=False, dataset_sources=[f"{user}/{NAME}"],
           competition_sources=[COMPETITION], kernel_sources=[])
    print(f"{len(networks)} networks in {dataset}, the notebook in {kernel}. To upload them:\n"
          f"  kaggle datasets create --dir-mode zip -p {dataset}\n"
          f"  kaggle kernels push -p {kernel}")


def _write(path, **metadata):
    path.write_text(json.dumps(metadata, indent=1) + "\n")


def _kaggle_user():
    login = Path.home() / ".kaggle/kaggle.json"
    return os.environ.get("KAGGLE_USERNAME") or (json.loads(login.read_text())["username"] if login.exists() else None)


if __name__ == "__main__":
    main()
