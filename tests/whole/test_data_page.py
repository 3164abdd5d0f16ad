"""The page on data, followed as it is written: its commands are copied from it, its recordings are of ESC-10."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers import ROOT, nbformat, outputs
from sklearn.metrics import label_ranking_average_precision_score

LABELS = ("Dog_bark", "Rain", "Rooster")


@pytest.fixture
def clone(tmp_path):
    """What a user has: this repository with its environment, which is not set up again."""
    if not (Path(sys.prefix) / "installed").exists() or not shutil.which("make"):
        pytest.skip("the environment was not made by make")
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / "notebooks").symlink_to(ROOT / "notebooks")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def environment():
    """A user's own: without what a `make test` around this test hands down, its folders and flags among it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT")
            if name in os.environ}
    return kept | {"PYTHONPATH": str(ROOT)}


def commands(section):
    text = (ROOT / "docs/data.md").read_text().split(section)[1]
    block = re.search(r"```sh\n(.*?)```", text, re.DOTALL)[1]
    return [line.split("  #")[0].strip() for line in block.splitlines()]


def test_the_pages_commands_lead_from_class_folders_to_tags_and_scores(esc10, clone):
    clips = esc10.clips("curated", "test").table
    for label in LABELS:
        (clone / "recordings" / label).mkdir(parents=True)
        for path in clips["path"][clips["labels"] == (label,)]:
            shutil.copy(path, clone / "recordings" / label)
    prepare, train, tag = commands("## Your own data set")
    check, submission, score = commands("### Check, test, score")
    assert "PROFILE=laptop" in train
    said = {}
    for command in (prepare, check, train.replace("laptop", "tiny") + " EXECUTOR=in-process", submission, score,
                    tag.replace("FILE...", "recordings/Rain")):
        done = subprocess.run(command, shell=True, cwd=clone, capture_output=True, text=True, check=False,
                              env=environment())
        assert done.returncode == 0, (command, done.stdout[-2000:], done.stderr[-2000:])
        assert "Traceback" not in done.stdout + done.stderr
        assert "eavesdropping" not in done.stdout + done.stderr
        said[command] = done.stdout + done.stderr
    prepared, checked, trained, submitted, scored, tagged = said.values()
    assert "next: make check INPUT=sounds" in prepared
    assert "nothing here would stop training" in checked and "next: make train INPUT=sounds" in checked
    assert "the profile's 4 stages become one" in trained
    assert re.search(r"about 2 steps|about \d+ steps of \d+ excerpts: about \d+ seconds on this", trained)
    closing = trained[trained.index("cross-validated"):]
    for line in ("model 1", "The networks are in my-run/weights.", "my-run/build/notebooks/training-cnn-model1.ipynb",
                 "next: make submission INPUT=sounds OUTPUT=my-run"):
        assert line in closing
    notebook = nbformat.read(clone / "my-run/build/notebooks/training-cnn-model1.ipynb", 4)
    figures = len(outputs(notebook, "image/jpeg"))
    assert figures in (12, 13), "17, less three stages' curves and two selections, and one if a calibration fits"
    table = "".join(output["data"]["text/html"] for output in outputs(notebook, "text/html"))
    assert "published curated" not in table and "lwlrap noisy" not in table
    assert "The submission is my-run/submission.csv" in submitted and "0.738" not in submitted
    probabilities = pd.read_csv(clone / "my-run/submission.csv", index_col="fname")
    truth = pd.read_csv(clone / "sounds/test_post_competition.csv", index_col="fname")["labels"].str.get_dummies(",")
    expected = label_ranking_average_precision_score(
        truth.to_numpy(), probabilities.loc[truth.index, truth.columns].to_numpy())
    assert f"lwlrap overall {expected:.5f}" in scored
    assert "published" not in scored
    assert tagged.count("recordings/Rain/") == (clips["labels"] == ("Rain",)).sum()


def test_a_mistake_is_one_line_of_a_notebook_too(clone):
    done = subprocess.run(["make", "-s", "submission", "INPUT=nowhere", "OUTPUT=out"], cwd=clone, capture_output=True,
                          text=True, check=False, env=environment())
    assert done.returncode
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1 and "nowhere is not a folder" in said[0] and ", cell " in said[0], done.stderr
