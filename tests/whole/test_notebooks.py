"""The three notebooks as a user runs them, on a tiny data set."""

import dataclasses
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from helpers import NOTEBOOKS, ROOT, execute, nbformat, outputs, to_zenodo
from sklearn.metrics import label_ranking_average_precision_score

from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.prediction.__main__ import main as score
from freesound_tagging.training.profile import load_profile
from freesound_tagging.training.warmup import WarmupPipeline

NAMES = ("training-cnn-model1", "training-vgg16", "inference-kernel")


@pytest.fixture(scope="module")
def executed(demo, tmp_path_factory):
    """All three, one after the other, in folders of their own; the parsed results by name."""
    folder = tmp_path_factory.mktemp("notebooks")
    folders = {"input_folder": str(demo.root), "weights_folder": str(folder / "weights"),
               "work_folder": str(folder / "work")}
    own = {"training-cnn-model1": {"profile": "tiny", "n_folds": 3, "try_ideas": True, "executor": "in-process"},
           "training-vgg16": {"profile": "tiny", "n_folds": 3, "executor": "in-process"},
           "inference-kernel": {"submission_file": str(folder / "submission.csv")}}
    return folder, {name: execute(name, folder, folders | own[name]) for name in NAMES}


def test_training_leaves_the_weights_of_every_stage_and_fold(executed):
    folder, _ = executed
    for model in ("cnn-model-1", "vgg16"):
        names = {path.name for path in (folder / "weights" / model).glob("*.*") if path.name[0] != "."}
        names -= {"calibration.json"}  # which networks that know next to nothing may have or not
        assert names == {"README.md", *(f"stage-{stage}_fold-{fold}.safetensors" for stage in (1, 2, 3, 4)
                                        for fold in range(3))}


def test_the_notebooks_show_their_figures_players_and_tables(executed):
    _, notebooks = executed
    for name, figures, shown in (("training-cnn-model1", 18, (3, 1)), ("training-vgg16", 7, (3, 2)),
                                 ("inference-kernel", 7, ())):
        images = outputs(notebooks[name], "image/jpeg")
        # One more where a calibration fits, which of networks that know little is chance.
        assert len(images) - figures in ((0,) if name == "inference-kernel" else (0, 1)), name
        assert min(len(image["data"]["image/jpeg"]) for image in images) > 10_000, "no empty figure"
        html = "".join(output["data"]["text/html"] for output in outputs(notebooks[name], "text/html"))
        printed = "".join(output.get("text", "") for cell in notebooks[name].cells
                          for output in cell.get("outputs", []))
        selections = re.findall(r"stage \d trains on (\d+) of (\d+) noisy clips", printed)
        assert len(selections) == (0 if name == "inference-kernel" else 2)
        # A table of a selection plays the best selected clips and the worst of the others, as far as there are any.
        players = {"inference-kernel": 7, "training-cnn-model1": 1}.get(name, 0) + sum(
            min(most, int(chosen)) + min(most, int(clips) - int(chosen))
            for most, (chosen, clips) in zip(shown, selections))
        assert html.count("<audio") == players
        assert html.count("<table") >= 2
    explorer, = outputs(notebooks["training-cnn-model1"], "application/vnd.jupyter.widget-view+json")
    assert len(explorer["data"]["image/png"]) > 50_000, "what is seen of it where widgets cannot run"


def test_what_is_done_by_hand_is_said_to_be_the_same(executed):
    _, notebooks = executed
    printed = "".join(output.get("text", "") for cell in notebooks["training-cnn-model1"].cells
                      for output in cell.get("outputs", []))
    assert re.findall(r"the same as ([\w.' ]+)(?:, to the bit)?: (\w+)", printed) == [
        ("augment.specmix", "True"), ("augment.mixup", "True"), ("the pipeline's", "True")]


def test_figures_and_players_come_in_the_order_of_the_text(executed):
    """A figure that a cell makes comes before what is shown after it, and not at the cell's end."""
    _, notebooks = executed
    kinds = {}
    for name in NAMES:
        for cell in notebooks[name].cells:
            kinds[cell.id] = ["figure" if "image/jpeg" in output["data"] else "html"
                              for output in cell.get("outputs", []) if "text/html" in output.get("data", {})
                              or "image/jpeg" in output.get("data", {})]
    assert kinds["9d45e294"] == ["figure", "html"], "the scatter, then the clips to listen to"
    assert kinds["761cfb2f"] == kinds["c4c115b1"] == ["figure", "html"], "of each label, then the clips"
    assert kinds["e8469fc6"] == ["figure", "html"] * 2, "each sound's strips, then its player"


def test_both_networks_together_are_the_mean_of_their_predictions_out_of_fold(executed, demo):
    """From what the runs have left, and by scikit-learn."""
    folder, notebooks = executed
    clips = demo.clips()
    tiny = load_profile("tiny")
    store = SpectrogramStore.build(clips.paths, folder / "work/spectrograms/training", tiny.mel, progress=False)
    runs = [WarmupPipeline(clips, store, dataclasses.replace(tiny, network=network, n_folds=3),
                           folder / "work" / network, folder / "weights" / network, progress=False, device="cpu",
                           executor="in-process") for network in ("cnn-model-1", "vgg16")]
    curated = clips.is_of("curated")
    mean = np.mean([run.out_of_fold(4)[curated] for run in runs], axis=0)
    truth = clips.targets[curated]
    expected = label_ranking_average_precision_score(truth, mean, sample_weight=truth.sum(1))
    html = "".join(output["data"]["text/html"] for output in outputs(notebooks["training-vgg16"], "text/html"))
    table = next(table for table in html.split("<table")[1:] if "mean of both" in table)
    assert f">{expected:.5f}<" in table


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
    limit = {"training-cnn-model1": 2_200_000, "training-vgg16": 1_300_000, "inference-kernel": 1_200_000}[name]
    assert path.stat().st_size < limit  # most of it figures and sound
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
    assert not outputs(notebook, "application/vnd.jupyter.widget-view+json"), "its picture is kept in its place"
    text = path.read_text()
    for private in (str(ROOT), "/home/", "/root/", "/tmp/"):
        assert private not in text, f"a path of a machine: {private}"


def test_zenodos_layout_of_real_recordings_is_scored_as_scikit_learn_scores_it(esc10, tmp_path, capsys):
    """ESC-10 as Zenodo would have it, our weights, the notebook, the scorer; and scikit-learn on the same two files."""
    data = FSDKaggle2019(to_zenodo(esc10.root, tmp_path / "zenodo"))
    clips = data.clips()
    tiny = load_profile("tiny")
    store = SpectrogramStore.build(clips.paths, tmp_path / "stores", tiny.mel, progress=False)
    WarmupPipeline(clips, store, tiny, tmp_path / "work", tmp_path / "weights/cnn-model-1",
                   progress=False, executor="in-process").run()
    for name in ("curated", "noisy"):  # a submission needs the test clips alone
        shutil.rmtree(data.folder(name))
    notebook = execute("inference-kernel", tmp_path, {
        "input_folder": str(data.root), "weights_folder": str(tmp_path / "weights"),
        "work_folder": str(tmp_path / "work"), "submission_file": str(tmp_path / "submission.csv")})

    assert score([str(tmp_path / "submission.csv"), str(data.truth)]) == 0
    printed = dict(re.findall(r"lwlrap (\w+) +([\d.]+)", capsys.readouterr().out))
    shown = "".join(output["data"]["text/html"] for output in outputs(notebook, "text/html"))
    submission = pd.read_csv(tmp_path / "submission.csv", index_col="fname")
    truth = pd.read_csv(data.truth, index_col="fname")
    for name, part in {"overall": truth, "public": truth[truth["usage"] == "Public"],
                       "private": truth[truth["usage"] == "Private"]}.items():
        labels = part["labels"].str.get_dummies(",").reindex(columns=submission.columns, fill_value=0).to_numpy()
        expected = label_ranking_average_precision_score(labels, submission.loc[part.index].to_numpy(),
                                                         sample_weight=labels.sum(1))
        assert printed[name] == f"{expected:.5f}"
        assert f">{printed[name]}<" in shown
    assert "0.738" not in shown, "of other data nothing was published"


def test_the_submission_is_that_of_the_authors_own_kernel(shared, tmp_path):
    """The published inference kernel ran unchanged on these clips and exports, with the libraries of its time."""
    author = shared / "author-stack"
    execute("inference-kernel", tmp_path, {
        "input_folder": str(author / "input"), "weights_folder": str(author / "weights"),
        "work_folder": str(tmp_path / "work"), "submission_file": str(tmp_path / "submission.csv"), "device": "cpu",
        "precision": "float32"})
    ours, theirs = (pd.read_csv(folder / "submission.csv", index_col="fname") for folder in (tmp_path, author))
    assert list(ours.columns) == list(theirs.columns)
    assert list(ours.index) == list(theirs.index)
    (folder,) = (tmp_path / "work/spectrograms/test").iterdir()
    store, images = SpectrogramStore(folder), np.load(author / "images.npz")
    equal = [np.array_equal(store[clip], images[fname]) for clip, fname in enumerate(store.fnames)]
    assert sum(equal) >= 16
    difference = (ours - theirs).abs().max(axis=1)
    assert difference[np.array(store.fnames)[equal]].max() <= 1e-4
    assert difference.max() <= 1e-3
