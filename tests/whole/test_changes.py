"""What a user changes goes through to the submission: the files of profiles/, which docs/profiles.md has, in small."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from exports import as_fastai, save_like_torch_1_0
from helpers import ROOT, execute, outputs

from freesound_tagging.lwlrap import clip_lwlrap
from freesound_tagging.networks.models import NETWORKS, cnn_model_1
from freesound_tagging.networks.weights import find_weights, read_spec, stage_and_fold
from freesound_tagging.prediction import Ensemble, ensemble_mean
from freesound_tagging.training.__main__ import main
from freesound_tagging.training.profile import load_profile


def in_small(name, folder, image=None):
    """A profile of profiles/, with the module beside it, for seconds of training; of as many mel bands and frames."""
    text = (ROOT / "profiles" / f"{name}.toml").read_text()
    text = text.replace("timm:resnet18", "timm:regnetx_002")  # a quarter of its weights
    for key, value in (("passes", "1"), ("least_steps", "2"), ("width", "2")):
        text = re.sub(rf"\b{key} = \d+", f"{key} = {value}", text)
    text += f"\n[mel]\nn_mels = {image}\nexcerpt_frames = {image}\n" if image else ""
    (folder / "own_module.py").write_text((ROOT / "profiles/own_module.py").read_text())
    (folder / f"{name}.toml").write_text(text)
    return folder / f"{name}.toml"


@pytest.mark.parametrize("path", sorted((ROOT / "profiles").glob("*.toml")), ids=lambda path: path.stem)
def test_every_profile_that_is_kept_can_be_read(path, tmp_path):
    if path.stem in ("resnet18", "one-network"):
        pytest.importorskip("timm")
    if path.stem == "from-trained":  # which needs networks where it says
        for folder in ("profiles", "weights"):
            (tmp_path / folder).mkdir()
        path = shutil.copy(path, tmp_path / "profiles")
        save_like_torch_1_0(tmp_path / "weights/stage-11_fold-0.pkl", as_fastai(cnn_model_1(2, 2)))
    assert load_profile(path).stages


@pytest.mark.parametrize(("name", "network", "voting"), [
    ("five-stages", "cnn-model-1", (4, 5)), ("specmix-twice", "cnn-model-1", (2, 3, 4)),
    ("resnet18", "timm:regnetx_002", (2, 3, 4)), ("own", "own_module:small_network", (2, 3, 4))])
def test_a_changed_profile_is_trained_and_its_voting_models_are_the_ensemble(demo, tmp_path, capsys, name, network,
                                                                             voting):
    if network.startswith("timm"):
        pytest.importorskip("timm")
    profile = in_small(name, tmp_path, 32)
    assert main([str(demo.root), "--output", str(tmp_path / "run"), "--profile", str(profile),
                 "--executor", "in-process"]) == 0
    stages = 5 if name == "five-stages" else 4
    shown = capsys.readouterr().out
    assert f"{network}, cross-validated:" in shown
    assert re.findall(r"^model (\d)", shown, re.M) == [str(stage) for stage in range(1, stages + 1)]
    weights = tmp_path / "run/weights"
    assert len(find_weights(weights, "all")) == 2 * stages
    members = find_weights(weights)
    assert [stage_and_fold(path) for path in members] == [(stage, fold) for stage in voting for fold in (0, 1)]
    assert {read_spec(path).network for path in members} == {network}
    ensemble = Ensemble.load(weights, "cpu")
    assert [tagger.spec.stage for tagger in ensemble.taggers] == [stage for stage in voting for _ in (0, 1)]
    assert (tmp_path / "run/work" / network.replace(":", "-") / "profile.toml").read_text() == profile.read_text()


def test_a_fifth_stage_trains_on_what_the_fourth_selects(demo, training_store, tmp_path):
    """By hand: the noisy clips of which model 4 gives a lwlrap of 0.75 or more, held out by the fold that has them."""
    from freesound_tagging.training.warmup import WarmupPipeline

    run = WarmupPipeline(demo.clips(), training_store, load_profile(in_small("five-stages", tmp_path)),
                         tmp_path / "work", tmp_path / "weights", progress=False, executor="in-process", device="cpu")
    run.run()
    noisy = run.clips.is_of("noisy")
    scores = clip_lwlrap(run.targets, run.out_of_fold(4))
    np.testing.assert_array_equal(run.selected(5), noisy & (scores >= 0.75))
    for fold in (0, 1):
        expected = np.flatnonzero((~noisy | run.selected(5)) & (run.folds != fold))
        np.testing.assert_array_equal(run.training_clips(5, fold), expected)


def test_five_stages_go_through_both_notebooks(demo, tmp_path):
    profile = in_small("five-stages", tmp_path, 32)
    folders = {"input_folder": str(demo.root), "weights_folder": str(tmp_path / "weights"),
               "work_folder": str(tmp_path / "work")}
    training = execute("training-cnn-model1", tmp_path, folders | {"profile": str(profile), "executor": "in-process"})
    shown = "".join(output["data"]["text/html"] for output in outputs(training, "text/html"))
    assert shown.count("model 5</th>") >= 1 and "selected for stage 5</th>" in shown
    said = "".join(output.get("text", "") for cell in training.cells for output in cell.get("outputs", []))
    assert re.search(r"stage 5 trains on \d+ of \d+ noisy clips beside the curated ones", said)
    inference = execute("inference-kernel", tmp_path, folders | {"submission_file": str(tmp_path / "s.csv")})
    submission = pd.read_csv(tmp_path / "s.csv").set_index("fname")
    store_names = list(demo.test["fname"])
    ensemble = Ensemble.load(tmp_path / "weights", "cpu")
    assert {tagger.spec.stage for tagger in ensemble.taggers} == {4, 5}
    from freesound_tagging.images.store import SpectrogramStore

    store = SpectrogramStore.build(demo.test["path"], tmp_path / "test", ensemble.mel, progress=False)
    mean = ensemble_mean(ensemble.predict(store, progress=False))
    np.testing.assert_allclose(submission.loc[store_names].to_numpy(), mean, atol=1e-5)
    shown = "".join(output["data"]["text/html"] for output in outputs(inference, "text/html"))
    assert all(f"cnn-model-1, model {stage}</th>" in shown for stage in (1, 2, 3, 4, 5)), "scored beside it"


def test_a_set_that_there_is_not_is_said(demo, tmp_path, capsys):
    profile = in_small("five-stages", tmp_path)
    profile.write_text(profile.read_text().replace('trains_on = ["noisy"]', 'trains_on = ["nosy"]'))
    assert main([str(demo.root), "--output", str(tmp_path / "run"), "--profile", str(profile)]) == 1
    said = capsys.readouterr().err
    assert "no set is called 'nosy': expected curated, noisy, test" in said and said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_network_of_ones_own_is_read_only_by_who_has_named_it(demo, tmp_path, capsys):
    """Another program that meets the file imports nothing; one that gives the profile tags with it."""
    profile = in_small("own", tmp_path, 32)
    assert main([str(demo.root), "--output", str(tmp_path), "--profile", str(profile),
                 "--executor", "in-process"]) == 0
    assert "own_module:small_network" in NETWORKS
    shown = capsys.readouterr().out
    command = [sys.executable, "-m", "freesound_tagging", "--weights", str(tmp_path / "weights"),
               str(demo.test["path"][0])]
    stranger = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert stranger.returncode == 1
    assert f"PROFILE={profile}" in shown and f"--profile {profile} FILE" in shown, "what comes next names it"
    assert "no code is imported because a file names it" in stranger.stderr and stranger.stderr.count("\n") == 1
    owner = subprocess.run([*command, "--profile", str(profile)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert owner.returncode == 0, owner.stderr
    assert demo.test["fname"][0] in owner.stdout
