"""What `make kaggle` builds, executed as Kaggle does: its folders, read-only inputs, no network, nothing installed.

With another interpreter in KERNEL_PYTHON (`make test-kaggle`) the kernel runs with that one's libraries.
"""

import contextlib
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import nbformat, script, weights_that_cannot_go

from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.demo.data import write_demo
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.machine.processes import Processes, cores
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.networks.weights import find_weights, save_tagger
from freesound_tagging.prediction.ensemble import Ensemble
from freesound_tagging.prediction.inference import ensemble_mean
from freesound_tagging.training.profile import load_profile
from freesound_tagging.training.warmup import WarmupPipeline

ROOT = Path(__file__).resolve().parents[2]
KERNEL_PYTHON = os.environ.get("KERNEL_PYTHON", sys.executable)
TRAINED = "training-vgg16"  # the shorter notebook
AS_KAGGLE = """
set -e
mount --bind "$1" /kaggle
mount --bind "$1/input" /kaggle/input
mount -o remount,bind,ro /kaggle/input
cd /kaggle/working
# Loopback, which Jupyter uses, and no other network.
"$2" -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 0x41))'
exec "$2" "${@:3}"
"""


@pytest.fixture(scope="module")
def for_kaggle():
    return script("notebooks/for_kaggle.py").main


@pytest.fixture(scope="module")
def built(for_kaggle, finished_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("build") / "kaggle"
    (folder / "dataset").mkdir(parents=True)
    for file in (folder / "mine.txt", folder / "dataset/old.whl"):
        file.touch()
    for_kaggle([str(folder), "--weights", str(finished_run.weights), "--user", "somebody"])
    return folder


def test_the_folders_are_what_kaggles_program_takes(built, finished_run):
    assert (built / "mine.txt").exists() and not (built / "dataset/old.whl").exists()
    kernel = json.loads((built / "kernel/kernel-metadata.json").read_text())
    assert (built / "kernel" / kernel["code_file"]).exists()
    assert kernel["enable_gpu"] and not kernel["enable_internet"]
    assert kernel["machine_shape"] == "NvidiaTeslaT4", "a GPU that today's torch is built for"
    assert kernel["competition_sources"] == ["freesound-audio-tagging-2019"]
    assert kernel["title"].lower().replace(" ", "-") == kernel["id"].split("/")[1], "or Kaggle takes another name"
    dataset = json.loads((built / "dataset/dataset-metadata.json").read_text())
    assert kernel["dataset_sources"] == [dataset["id"]] == ["somebody/freesound-tagging"]
    assert len(list((built / "dataset").glob("*.whl"))) == 1
    assert len(find_weights(built / "dataset/weights")) == 9, "models 2, 3 and 4 of three folds"
    beside, ours = built / "dataset/weights/cnn-model-1", finished_run.weights
    assert (beside / "calibration.json").read_bytes() == (ours / "calibration.json").read_bytes()


def test_what_a_kernel_has_no_use_for_is_left_out(built):
    kept = nbformat.read(ROOT / "notebooks/inference-kernel.ipynb", 4).cells
    sources = [cell.source for cell in nbformat.read(built / "kernel/inference-kernel.ipynb", 4).cells]
    assert len(sources) == sum("not-on-kaggle" not in cell.metadata.get("tags", []) for cell in kept) < len(kept)
    text = "\n".join(sources)
    assert "write_submission" in text and "windows_figure" in text
    assert "timeline" not in text and "score_members" not in text


def test_without_weights_or_a_name_nothing_is_built(for_kaggle, tmp_path, finished_run, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KAGGLE_USERNAME", raising=False)
    (tmp_path / "nothing").mkdir()
    for seed in ("seed 0", "seed 1"):
        shutil.copytree(finished_run.weights, tmp_path / "seeds" / seed)
    for arguments, message in (["--weights", str(tmp_path / "nothing")], "train first"), ([
            "--weights", str(finished_run.weights)], "--user"), ([
            "--weights", str(tmp_path / "seeds"), "--user", "somebody"], "are both model 2 of fold 0 of cnn-model-1"):
        with pytest.raises(SystemExit):
            sys.exit(for_kaggle([str(tmp_path / "kaggle"), *arguments]))
        assert message in capsys.readouterr().err
    assert not (tmp_path / "kaggle").exists()


def test_weights_that_cannot_go_there_are_named_in_a_line(for_kaggle, tmp_path, capsys):
    for folder, line in weights_that_cannot_go(tmp_path):
        assert for_kaggle([str(tmp_path / "kaggle"), "--weights", str(folder), "--user", "somebody"]) == 1
        *_, said = capsys.readouterr().err.splitlines()
        assert said.startswith(f"{folder}{line}")
    assert not (tmp_path / "kaggle").exists()


@contextlib.contextmanager
def begun(kaggle, *arguments, absent=()):
    """A process of the kernel's Python as Kaggle has it, with a folder as its /kaggle. What it starts ends with it."""
    if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to make namespaces (root)")
    if Path("/kaggle").exists():
        pytest.skip("/kaggle is there: this would cover it")
    (kaggle / "working").mkdir(exist_ok=True)
    modules = kaggle.parent / "absent"  # what the kernel has to do without
    modules.mkdir(exist_ok=True)
    for name in absent:
        (modules / f"{name}.py").write_text(f"raise ImportError('{name} is not there')\n")
    os.mkdir("/kaggle")
    try:
        with subprocess.Popen(
                ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "-c",
                 AS_KAGGLE, "bash", kaggle, KERNEL_PYTHON, *arguments],
                env={"HOME": str(kaggle.parent), "PYTHONPATH": str(modules)} | {
                    name: os.environ[name] for name in ("PATH", "LOKY_MAX_CPU_COUNT") if name in os.environ},
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            yield process
    finally:
        os.rmdir("/kaggle")


def executing(notebook):
    """What is run to have a notebook executed."""
    return "-m", "nbconvert", "--to", "notebook", "--execute", notebook, "--output-dir", "/kaggle/working"


def run_kernel(built, kaggle):
    """The inference notebook as Kaggle runs it: exit status and errors."""
    with begun(kaggle, *executing(built / "kernel/inference-kernel.ipynb"), absent=["fastai"]) as process:
        _, errors = process.communicate()
    return process.returncode, errors


def printed_by(notebook):
    return "".join(output.get("text", "") for cell in nbformat.read(notebook, 4).cells
                   for output in cell.get("outputs", []))


def test_an_input_that_was_not_added_is_named(built, demo, tmp_path):
    kaggle = tmp_path / "kaggle"
    competition = kaggle / "input/freesound-audio-tagging-2019"
    competition.mkdir(parents=True)
    shutil.copy(demo.root / "sample_submission.csv", competition)
    status, errors = run_kernel(built, kaggle)
    assert status
    assert re.search(r"this notebook needs two inputs, .*`make kaggle` made \(missing\) and the competition "
                     r"\(/kaggle/input/freesound-audio-tagging-2019/sample_submission\.csv\)", errors)


def test_the_kernel_runs_from_what_was_built_alone(built, demo, demo_stores, tmp_path):
    kaggle = tmp_path / "kaggle"
    shutil.copytree(demo.root, kaggle / "input/freesound-audio-tagging-2019",
                    ignore=shutil.ignore_patterns("FSDKaggle2019.meta", "truth"))
    shutil.copytree(built / "dataset", kaggle / "input/freesound-tagging")
    status, errors = run_kernel(built, kaggle)
    assert status == 0, errors[-3000:]
    submission = pd.read_csv(kaggle / "working/submission.csv", index_col="fname")
    assert list(submission.index) == list(demo.test["fname"])
    expected = ensemble_mean(Ensemble.load(built / "dataset/weights", "cpu").predict(demo_stores["test"],
                                                                                     progress=False))
    np.testing.assert_allclose(submission[demo.vocabulary], expected, atol=1e-5, rtol=0)
    printed = printed_by(kaggle / "working/inference-kernel.ipynb")
    assert "of 60 min" in printed
    assert "clips, 12 labels, after 0." in printed


@pytest.fixture(scope="module")
def built_training(for_kaggle, tmp_path_factory):
    """Of a profile of one's own, with an augmentation of one's own."""
    folder = tmp_path_factory.mktemp("build") / "kaggle"
    tiny = (ROOT / "freesound_tagging/training/profiles/tiny.toml").read_text()
    assert tiny.count('"mixup", ') == 1
    (folder / "mine").mkdir(parents=True)
    (folder / "mine/quiet.toml").write_text(tiny.replace('"mixup", ', '"mixup", "own_module:quieter", '))
    shutil.copy(ROOT / "profiles/own_module.py", folder / "mine")
    for_kaggle([str(folder), "--training", "both", "--profile", str(folder / "mine/quiet.toml"), "--user", "somebody"])
    return folder


def test_training_kernels_know_where_they_are_and_the_inference_kernel_takes_what_they_leave(built_training):
    ids = []
    for name in ("training-cnn-model1", "training-vgg16"):
        kernel = json.loads((built_training / name / "kernel-metadata.json").read_text())
        assert kernel["enable_gpu"] and not kernel["enable_internet"] and not kernel["kernel_sources"]
        assert kernel["title"].lower().replace(" ", "-") == kernel["id"].split("/")[1]
        assert kernel["competition_sources"] == ["freesound-audio-tagging-2019"]
        ids.append(kernel["id"])
        cells = [cell for cell in nbformat.read(built_training / name / kernel["code_file"], 4).cells
                 if cell.cell_type == "code"]
        assert cells[1].source.splitlines() == [  # after the cell of parameters
            "# On Kaggle", "from pathlib import Path", "",
            "profile = next(Path('/kaggle/input').glob('**/profiles/quiet.toml'), None)", "seed = 0", "hours = 11.5"]
        assert not any(cell.outputs for cell in cells)
    assert ids == ["somebody/freesound-tagging-training-cnn-model-1", "somebody/freesound-tagging-training-vgg16"]
    inference = json.loads((built_training / "kernel/kernel-metadata.json").read_text())
    assert inference["kernel_sources"] == ids
    dataset = built_training / "dataset"
    assert sorted(path.suffix for path in dataset.iterdir()) == ["", ".json", ".whl"]
    assert {path.name for path in (dataset / "profiles").iterdir()} == {"quiet.toml", "own_module.py"}


def test_a_profile_of_the_package_is_given_by_its_name(for_kaggle, tmp_path):
    for_kaggle([str(tmp_path), "--training", "vgg16", "--profile", "tiny", "--seed", "3", "--hours", "2", "--user",
                "somebody"])
    cells = [cell for cell in nbformat.read(tmp_path / "training-vgg16/training-vgg16.ipynb", 4).cells
             if cell.cell_type == "code"]
    given = {}
    for cell in cells[:2]:
        exec(cell.source, given)
    assert (given["profile"], given["hours"], given["seed"]) == ("tiny", 2, 3)
    assert not (tmp_path / "dataset/profiles").exists() and not (tmp_path / "training-cnn-model1").exists()


@pytest.mark.parametrize(("profile", "message"), [
    ("own.toml", "has no option 'channels': expected one of width, body_pool: the profile's options are of "
                 "own_module:small_network; give --training cnn-model-1"),
    ("nothing.toml", "there is none of this name"),
])
def test_a_profile_that_cannot_be_trained_there_is_refused(for_kaggle, tmp_path, capsys, profile, message):
    assert for_kaggle([str(tmp_path / "kaggle"), "--training", "both", "--profile", str(ROOT / "profiles" / profile),
                       "--user", "somebody"]) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "kaggle").exists()


def test_networks_of_ones_own_are_read_there_by_their_profile(for_kaggle, demo, tmp_path):
    profile = ROOT / "profiles/own.toml"
    spec = NetworkSpec("own_module:small_network", load_profile(profile).options, tuple(demo.vocabulary), MelConfig(),
                       (0.5,) * 3, (0.2,) * 3, stage=2, fold=0, voting=(2,))
    save_tagger(Tagger(spec).eval(), tmp_path / "weights/stage-2_fold-0.safetensors")
    for_kaggle([str(tmp_path / "built"), "--weights", str(tmp_path / "weights"), "--profile", str(profile), "--user",
                "somebody"])
    kaggle = inputs(tmp_path / "kaggle", demo, tmp_path / "built")
    cells = nbformat.read(tmp_path / "built/kernel/inference-kernel.ipynb", 4).cells
    given, where = (next(cell.source for cell in cells if mark in cell.source) for mark in (
        "# On Kaggle", "on_kaggle = "))
    code = f"""
{given}
{where}
from freesound_tagging.prediction import Ensemble
from freesound_tagging.training import load_profile
load_profile(profile)
print(Ensemble.load(weights_folder, "cpu"))
"""
    with begun(kaggle, "-c", code) as process:
        said, errors = process.communicate()
    assert said == "Ensemble: networks 1 of own_module:small_network for 12 labels, on cpu\n", errors[-3000:]


def inputs(kaggle, demo, built, outputs=()):
    """Kaggle's folder with competition and data set where it mounts them since 2026, and outputs of notebooks."""
    shutil.copytree(demo.root, kaggle / "input/competitions/freesound-audio-tagging-2019",
                    ignore=shutil.ignore_patterns("FSDKaggle2019.meta", "truth"))
    shutil.copytree(built / "dataset", kaggle / "input/datasets/somebody/freesound-tagging")
    for name, output in outputs:
        shutil.copytree(output, kaggle / f"input/notebooks/somebody/{name}")
    return kaggle


def test_three_sessions_of_which_one_is_killed_end_as_one_run(built_training, tmp_path):
    """Of the first the time is up at once, the second is killed in a fold; each has the last one's output as input."""
    demo = FSDKaggle2019(write_demo(tmp_path / "demo", curated=1, noisy=2, test=1, progress=False))
    notebook = nbformat.read(built_training / TRAINED / f"{TRAINED}.ipynb", 4)
    hours = next(cell for cell in notebook.cells if "hours = 11.5" in cell.source)
    hours.source = hours.source.replace("11.5", "0")
    nbformat.write(notebook, tmp_path / "first.ipynb")
    hours.source = hours.source.replace("hours = 0", "hours = 11.5")
    notebook.cells = [cell for cell in notebook.cells  # what others than the first leave out is in test_notebooks
                      if "notebook." not in cell.source or "train_stage" in cell.source or "config = " in cell.source]
    nbformat.write(notebook, tmp_path / "others.ipynb")

    kaggle = inputs(tmp_path / "1/kaggle", demo, built_training)
    with begun(kaggle, *executing(tmp_path / "first.ipynb")) as session:
        _, errors = session.communicate()
    assert session.returncode == 0, errors[-3000:]
    printed = printed_by(kaggle / "working/first.ipynb")
    for said in ("The time is up: of stage 1 0 of 2 folds are finished.", "No stage is finished yet.",
                 "8 are left, from fold 0 of stage 1 on."):
        assert said in printed

    output = kaggle / "working"
    kaggle = inputs(tmp_path / "2/kaggle", demo, built_training, [("session-1", output)])
    finished = kaggle / "working/work/vgg16"
    with begun(kaggle, *executing(tmp_path / "others.ipynb")) as session:
        while session.poll() is None and not list(finished.glob("stage-*.npz")):
            time.sleep(0.02)
        session.kill()
        _, errors = session.communicate()
    killed_after = len(list(finished.glob("stage-*.npz")))
    assert 0 < killed_after < 8, errors[-3000:]

    output = kaggle / "working"
    kaggle = inputs(tmp_path / "3/kaggle", demo, built_training, [("session-2", output)])
    with begun(kaggle, *executing(tmp_path / "others.ipynb")) as session:
        _, errors = session.communicate()
    assert session.returncode == 0, errors[-3000:]
    printed = printed_by(kaggle / "working/others.ipynb")
    assert f"vgg16: {killed_after} of 8 folds are finished" in printed
    assert "vgg16: all 8 folds are finished, nothing is left to train." in printed
    assert not list((kaggle / "working").rglob("*.u8")), "images are no part of the output"

    # The inference kernel takes the networks out of that output.
    kaggle = inputs(tmp_path / "4/kaggle", demo, built_training, [("session-3", kaggle / "working")])
    where = next(cell.source for cell in nbformat.read(built_training / "kernel/inference-kernel.ipynb", 4).cells
                 if "on_kaggle = " in cell.source)
    with begun(kaggle, "-c", f"work_folder = None\n{where}\nprint(input_folder, weights_folder)") as process:
        assert process.communicate()[0].split() == [
            "/kaggle/input/competitions/freesound-audio-tagging-2019", "/kaggle/input"]
    assert len(find_weights(kaggle / "input")) == 6, "models 2, 3 and 4 of two folds"

    if "KERNEL_PYTHON" not in os.environ:  # with other versions of torch the last bits are others
        profile = dataclasses.replace(load_profile(built_training / "mine/quiet.toml"), network="vgg16")
        store = SpectrogramStore.build(demo.clips().paths, tmp_path / "store", profile.mel, n_jobs=1,
                                       progress=False)
        alone = WarmupPipeline(demo.clips(), store, profile, tmp_path / "work", tmp_path / "weights", progress=False,
                               executor="in-process", test=demo.test["path"])
        before = torch.get_num_threads()
        torch.set_num_threads(Processes(min(profile.n_folds, cores())).threads)
        try:
            alone.run()
        finally:
            torch.set_num_threads(before)
        for ours, theirs in (("work", alone.work), ("weights", alone.weights)):
            expected = {path.name: path.read_bytes() for path in theirs.glob("stage-*")}
            assert len(expected) == 8
            there = tmp_path / "3/kaggle/working" / ours / "vgg16"
            assert {path.name: path.read_bytes() for path in there.glob("stage-*")} == expected
