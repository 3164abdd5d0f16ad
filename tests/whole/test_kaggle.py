"""What `make kaggle` builds, executed as Kaggle does: its folders, read-only inputs, no network, nothing installed.

With another interpreter in KERNEL_PYTHON (`make test-kaggle`) the kernel runs with that one's libraries.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from freesound_tagging.networks.weights import find_weights
from freesound_tagging.prediction.ensemble import Ensemble
from freesound_tagging.prediction.inference import ensemble_mean

ROOT = Path(__file__).resolve().parents[2]
AS_KAGGLE = """
set -e
mount --bind "$1" /kaggle
mount --bind "$1/input" /kaggle/input
mount -o remount,bind,ro /kaggle/input
cd /kaggle/working
# Loopback, which Jupyter uses, and no other network.
"$2" -c 'import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 0x41))'
exec "$2" -m nbconvert --to notebook --execute "$3" --output-dir /kaggle/working
"""


@pytest.fixture(scope="module")
def for_kaggle():
    spec = importlib.util.spec_from_file_location("for_kaggle", ROOT / "notebooks/for_kaggle.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture(scope="module")
def built(for_kaggle, finished_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("build") / "kaggle"
    (folder / "dataset").mkdir(parents=True)
    for file in (folder / "mine.txt", folder / "dataset/old.whl"):
        file.touch()
    for_kaggle([str(folder), "--weights", str(finished_run.weights), "--user", "somebody"])
    return folder


def test_the_folders_are_what_kaggles_program_takes(built):
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
            for_kaggle([str(tmp_path / "kaggle"), *arguments])
        assert message in capsys.readouterr().err
    assert not (tmp_path / "kaggle").exists()


def run_kernel(built, kaggle):
    """The notebook as Kaggle runs it, with a folder as its /kaggle."""
    if subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("needs the right to make namespaces (root)")
    if Path("/kaggle").exists():
        pytest.skip("/kaggle is there: this would cover it")
    (kaggle / "working").mkdir()
    absent = kaggle.parent / "absent"  # what the kernel has to do without
    absent.mkdir()
    (absent / "fastai.py").write_text("raise ImportError('fastai is not there')\n")
    os.mkdir("/kaggle")
    try:
        return subprocess.run(
            ["unshare", "--net", "--mount", "bash", "-c", AS_KAGGLE, "bash", kaggle,
             os.environ.get("KERNEL_PYTHON", sys.executable), built / "kernel/inference-kernel.ipynb"],
            env={"PATH": os.environ["PATH"], "HOME": str(kaggle.parent), "PYTHONPATH": str(absent)},
            capture_output=True, text=True)
    finally:
        os.rmdir("/kaggle")


def test_an_input_that_was_not_added_is_named(built, demo, tmp_path):
    kaggle = tmp_path / "kaggle"
    competition = kaggle / "input/freesound-audio-tagging-2019"
    competition.mkdir(parents=True)
    shutil.copy(demo.root / "sample_submission.csv", competition)
    done = run_kernel(built, kaggle)
    assert done.returncode
    assert re.search(r"this notebook needs two inputs, .*`make kaggle` made \(missing\) and the competition "
                     r"\(/kaggle/input/freesound-audio-tagging-2019/sample_submission\.csv\)", done.stderr)


def test_the_kernel_runs_from_what_was_built_alone(built, demo, demo_stores, tmp_path):
    kaggle = tmp_path / "kaggle"
    shutil.copytree(demo.root, kaggle / "input/freesound-audio-tagging-2019",
                    ignore=shutil.ignore_patterns("FSDKaggle2019.meta", "truth"))
    shutil.copytree(built / "dataset", kaggle / "input/freesound-tagging")
    done = run_kernel(built, kaggle)
    assert done.returncode == 0, done.stderr[-3000:]
    submission = pd.read_csv(kaggle / "working/submission.csv", index_col="fname")
    assert list(submission.index) == list(demo.test["fname"])
    expected = ensemble_mean(Ensemble.load(built / "dataset/weights", "cpu").predict(demo_stores["test"],
                                                                                     progress=False))
    np.testing.assert_allclose(submission[demo.vocabulary], expected, atol=1e-5, rtol=0)
    notebook = nbformat.read(kaggle / "working/inference-kernel.ipynb", 4)
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "of 60 min" in printed
    assert "clips, 12 labels, after 0." in printed
