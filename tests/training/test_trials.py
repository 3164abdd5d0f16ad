"""Beside a run: a fold trained otherwise, and the run of another network."""

import dataclasses
import shutil

import numpy as np
import pytest

from freesound_tagging.augment import PUBLISHED, mixup
from freesound_tagging.networks.weights import find_weights
from freesound_tagging.training.profile import load_profile
from freesound_tagging.training.trials import run_beside, trial
from freesound_tagging.training.warmup import WarmupPipeline


@pytest.fixture
def run(make_pipeline, finished_run, tmp_path):
    """The finished run in folders of its own."""
    shutil.copytree(finished_run.work, tmp_path / "work")
    shutil.copytree(finished_run.weights, tmp_path / "weights")
    return make_pipeline(tmp_path)


def test_a_trial_with_nothing_changed_is_the_stage_itself_and_one_with_another_chain_is_not(run):
    same = trial(run, 2, fold=1, progress=False, augmentation=PUBLISHED)
    assert np.array_equal(same["loss"], run.history(2)[1]["loss"])
    assert np.array_equal(same["held_out"], run.folder.record(2, 1)["held_out"])
    other = trial(run, 2, fold=1, progress=False, augmentation=[mixup])
    assert not np.array_equal(other["loss"], same["loss"])
    assert np.array_equal(trial(run, 2, fold=1, progress=False, augmentation=mixup)["loss"], other["loss"])
    slow = trial(run, 2, fold=1, progress=False, lr=1e-5)
    assert not np.array_equal(slow["loss"], same["loss"])
    assert np.array_equal(trial(run, 2, fold=1, progress=False, lr=np.float64(1e-5))["loss"], slow["loss"])


def test_a_trial_is_computed_once_and_leaves_the_run_as_it_is(run, capsys):
    before = {path: path.read_bytes() for path in find_weights(run.weights, "all")}
    first = trial(run, 2, augmentation=[mixup])
    assert "trial, stage 2, fold 0: 100%" in capsys.readouterr().out
    again = trial(run, 2, augmentation=[mixup])
    assert not capsys.readouterr().out, "nothing is trained"
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert {path: path.read_bytes() for path in find_weights(run.weights, "all")} == before
    assert not run.unfinished()


def test_a_trial_needs_what_it_builds_on_and_functions_that_are_known_again(make_pipeline, run, tmp_path):
    with pytest.raises(RuntimeError, match="fold 0 of stage 1 is not finished"):
        trial(make_pipeline(tmp_path / "new"), 2, augmentation=[mixup])
    with pytest.raises(ValueError, match="has no name by which a run would know it"):
        trial(run, 2, augmentation=[lambda images, targets, generator=None: (images, targets)])
    with pytest.raises(TypeError, match="augmentaton"):
        trial(run, 2, augmentaton=[mixup])


def test_the_run_of_another_network_is_found_beside_this_one(demo, training_store, tmp_path):
    def begun(network, seed=0):
        profile = dataclasses.replace(load_profile("tiny"), network=network, mel=training_store.config)
        return WarmupPipeline(demo.clips(), training_store, profile, tmp_path / "work" / network,
                              tmp_path / "weights" / network, seed, progress=False, executor="in-process",
                              device="cpu")

    vgg16 = begun("vgg16")
    with pytest.raises(FileNotFoundError, match=r"no run of cnn-model-1 in .*/work/cnn-model-1: train it there first"):
        run_beside(vgg16, "cnn-model-1")
    assert not (tmp_path / "work/cnn-model-1").exists()
    cnn = begun("cnn-model-1")
    found = run_beside(vgg16, "cnn-model-1")
    assert found.work == cnn.work and found.profile.network == "cnn-model-1"
    assert np.array_equal(found.folds, vgg16.folds), "so that both hold out the same clips"
    shutil.rmtree(tmp_path / "work/cnn-model-1")
    begun("cnn-model-1", seed=1)
    with pytest.raises(ValueError, match="seed"):
        run_beside(vgg16, "cnn-model-1")
