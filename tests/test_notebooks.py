"""The three notebooks as a user runs them, on a tiny data set."""

import os
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
NAMES = ("training-cnn-model1", "training-vgg16", "inference-kernel")


@pytest.fixture(scope="module")
def executed(demo, tmp_path_factory):
    """All three, one after the other, in folders of their own; the parsed results by name."""
    folder = tmp_path_factory.mktemp("notebooks")
    folders = {"input_folder": str(demo.root), "weights_folder": str(folder / "weights"),
               "work_folder": str(folder / "work")}
    own = {"training-cnn-model1": {"profile": "tiny"}, "training-vgg16": {"profile": "tiny", "n_folds": 3},
           "inference-kernel": {"submission_file": str(folder / "submission.csv")}}
    os.environ.pop("MPLBACKEND", None)  # the kernel draws inline
    return folder, {name: papermill.execute_notebook(
        NOTEBOOKS / f"{name}.ipynb", folder / f"{name}.ipynb", folders | own[name], cwd=NOTEBOOKS, progress_bar=False,
        kernel_name="python3") for name in NAMES}


def outputs(notebook, kind):
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
            if kind in output.get("data", {})]


def test_training_leaves_the_weights_of_every_stage_and_fold(executed):
    folder, _ = executed
    for model, n_folds in (("cnn-model-1", 2), ("vgg16", 3)):
        names = {path.name for path in (folder / "weights" / model).iterdir()}
        assert names == {f"stage-{stage}_fold-{fold}.safetensors" for stage in (1, 2, 3, 4) for fold in range(n_folds)}


def test_the_notebooks_show_their_figures_players_and_tables(executed):
    _, notebooks = executed
    for name, figures, players in (("training-cnn-model1", 9, 7), ("training-vgg16", 9, 7), ("inference-kernel", 2, 5)):
        images = outputs(notebooks[name], "image/jpeg")
        assert len(images) == figures, name
        assert min(len(image["data"]["image/jpeg"]) for image in images) > 10_000, "no empty figure"
        html = "".join(output["data"]["text/html"] for output in outputs(notebooks[name], "text/html"))
        assert html.count("<audio") == players
        assert html.count("<table") >= 2


def test_no_cell_warns_or_writes_errors(executed):
    _, notebooks = executed
    for name, notebook in notebooks.items():
        for cell in notebook.cells:
            streams = [output.text for output in cell.get("outputs", []) if output.get("name") == "stderr"]
            assert not streams, (name, streams)


def test_the_submission_is_complete_and_in_order(executed, demo):
    folder, _ = executed
    submission = pd.read_csv(folder / "submission.csv")
    assert list(submission.columns) == ["fname", *demo.vocabulary]
    assert list(submission["fname"]) == list(demo.test["fname"])
    assert submission[demo.vocabulary].to_numpy().min() >= 0
    assert submission[demo.vocabulary].to_numpy().max() <= 1
    assert np.ptp(submission[demo.vocabulary].to_numpy()) > 0
    assert "ensemble of all" in (folder / "submission.scores.txt").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_notebooks_are_kept_executed_small_and_without_functions(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    assert path.stat().st_size < 1_500_000
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "executed from top to bottom"
    assert all(output.output_type != "error" for cell in code for output in cell.outputs)
    assert outputs(notebook, "image/jpeg")
    source = "\n".join(cell.source for cell in code)
    assert "def " not in source
    assert "lambda" not in source
    text = path.read_text()
    for private in (str(ROOT), "/home/", "/root/", "/tmp/"):
        assert private not in text, f"a path of a machine: {private}"
