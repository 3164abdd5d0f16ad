"""What tests of several rooms use."""

import importlib.util
import json
import os
import shutil
from pathlib import Path

import lazy_loader
import numpy as np
import pandas as pd
import safetensors.numpy

# Of what they read notebooks by, a grammar is made when it is imported, which takes seconds.
nbformat, papermill = map(lazy_loader.load, ("nbformat", "papermill"))

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"


def to_zenodo(kaggle, root):
    """The same clips in Zenodo's layout, with its extra columns and without the sample submission."""
    meta = root / "FSDKaggle2019.meta"
    meta.mkdir(parents=True)
    for name, extra in (("train_curated", "freesound_id"), ("train_noisy", "flickr_video_URL")):
        shutil.copytree(kaggle / name, root / f"FSDKaggle2019.audio_{name}")
        table = pd.read_csv(kaggle / f"{name}.csv")
        table.assign(**{extra: "7", "license": "CC0"}).to_csv(meta / f"{name}_post_competition.csv", index=False)
    shutil.copytree(kaggle / "test", root / "FSDKaggle2019.audio_test")
    shutil.copy(kaggle / "FSDKaggle2019.meta/test_post_competition.csv", meta)
    return root


def execute(name, folder, parameters):
    return papermill.execute_notebook(NOTEBOOKS / f"{name}.ipynb", folder / f"{name}.ipynb", parameters, cwd=NOTEBOOKS,
                                      progress_bar=False, kernel_name="python3")


def outputs(notebook, kind):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
            if kind in output.get("data", {})]


def script(path):
    """The module of a script that belongs to no package, by its path from the root."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def weights_that_cannot_go(folder):
    """Folders of a damaged network and of one's own, each with what is said of it after its name."""
    described = {"version": "0", "network": "os:kill", "options": {}, "mel": {}}
    for name, line in (("damaged", "/stage-2_fold-0.safetensors cannot be loaded: it is not a whole safetensors"),
                       ("own", " has networks of one's own, 'os:kill', and their code has to go along: give")):
        path = folder / name / "stage-2_fold-0.safetensors"
        path.parent.mkdir()
        safetensors.numpy.save_file({"x": np.zeros(1)}, path, {"freesound-tagging-2": json.dumps(described)})
        if name == "damaged":
            os.truncate(path, 40)
        yield path.parent, line
