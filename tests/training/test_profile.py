"""Profiles as files: what is in one goes through; what cannot be is said by file and key, before anything is done."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from freesound_tagging import augment
from freesound_tagging.augment import mixup, specmix
from freesound_tagging.clips.clips import Clips
from freesound_tagging.training.portable import copy_profile
from freesound_tagging.training.profile import FOLDER, NAMES, Profile, load_profile, parse_profile, published_stages
from freesound_tagging.training.stages import StageConfig

TINY = (FOLDER / "tiny.toml").read_text()
STAGE = '[[stage]]\ntrains_on = ["curated"]\npasses = 3\nlr = 0.02\n'


def test_profiles_of_the_package_differ_in_their_lengths_and_sizes_alone():
    full, *others = (load_profile(name) for name in NAMES if name != "curated")
    for other in others:
        assert other.augmentation[:3] == full.augmentation[:3]
        assert other.augmentation[3].keywords == full.augmentation[3].keywords
        lengths = {"passes": 1, "least_steps": 1}
        assert [dataclasses.replace(stage, **lengths) for stage in other.stages] == [
            dataclasses.replace(stage, **lengths) for stage in full.stages]
    assert [profile.n_folds for profile in others] == [4, 2, 2]


def test_a_file_says_all_that_a_profile_has(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('network = "vgg16"\noptions = {width = 8}\nn_folds = 3\nbatch_size = 24\nweight_decay = 0.1\n'
                    'augmentation = [{name = "specmix", stripes = [1, 2]}, "mixup"]\n[mel]\nn_mels = 64\n' + STAGE)
    profile = load_profile(path)
    assert (profile.network, profile.options, profile.n_folds, profile.batch_size) == (
        "vgg16", {"width": 8, "body_pool": 7}, 3, 24)
    assert (profile.weight_decay, profile.mel.n_mels, profile.mel.hop_length) == (0.1, 64, 694)
    stripes, last = profile.augmentation
    assert (stripes.func, stripes.keywords, last) == (specmix, {"stripes": (1, 2)}, mixup)
    assert profile.stages == (StageConfig(1, ("curated",), 3, 0.02, votes=True),)
    assert profile.text == path.read_text()
    assert profile.sets == ["curated"]


def test_an_augmentation_of_ones_own_is_found_by_its_module(tmp_path, monkeypatch):
    (tmp_path / "my_augmentations.py").write_text(
        "def louder(images, targets, by=2, generator=None):\n    return (images * by).clip(0, 1), targets\n")
    monkeypatch.syspath_prepend(tmp_path)
    text = 'n_folds = 2\naugmentation = [{name = "my_augmentations:louder", by = 3}]\n' + STAGE
    own, = parse_profile(text).augmentation
    assert own.keywords == {"by": 3}
    assert own.func.__module__ == "my_augmentations"


def test_a_network_that_cannot_be_built_is_said_by_file_and_name(tmp_path):
    (tmp_path / "unbuilt.py").write_text("def network(n_classes):\n    raise RuntimeError('no checkpoint')\n")
    (tmp_path / "mine.toml").write_text('n_folds = 2\nnetwork = "unbuilt:network"\n' + STAGE)
    with pytest.raises(ValueError, match=r"mine\.toml: network 'unbuilt:network' on images of 128 x 128: no check"):
        load_profile(tmp_path / "mine.toml")


@pytest.mark.parametrize(("body", "said"), [
    ("return images * float('nan'), targets", "gave numbers that are not finite"),
    ("return images[:1], targets", r"gave images \(1, 1, 128, 128\) and targets \(2, 3\)"),
    ("return images", r"gave images \(1, 128, 128\)"),
    ("return images, targets, 1", "too many values to unpack"), ("return 1 / 0", "division by zero")])
def test_an_augmentation_is_tried_before_anything_is_computed(tmp_path, body, said):
    name = f"broken_{abs(hash(body))}"
    (tmp_path / f"{name}.py").write_text(f"def f(images, targets, generator=None):\n    {body}\n")
    (tmp_path / "mine.toml").write_text(f'n_folds = 2\naugmentation = ["{name}:f"]\n' + STAGE)
    with pytest.raises(ValueError, match=rf"mine.toml: augmentation '{name}:f': .*({said})"):
        load_profile(tmp_path / "mine.toml")


@pytest.mark.parametrize(("old", "new", "said"), [
    ("n_folds = 2", "n_fold = 2", "n_fold is not known: expected n_folds, .* perhaps n_folds is meant"),
    ("n_folds = 2", "n_folds = 1", "n_folds=1: expected a whole number, at least 2"),
    ("n_folds = 2", 'n_folds = "2"', "n_folds='2': expected a whole number"),
    ("n_folds = 2", "n_folds = true", "n_folds=True: expected a whole number"),
    ("n_folds = 2", "", "n_folds missing"),
    ("n_folds = 2", "n_folds = ", r"line \d"),
    ("n_folds = 2", "n_folds = 2\nbatch_size = 1", "batch_size=1: expected a whole number, at least 2"),
    ("n_folds = 2", "n_folds = 2\nweight_decay = -1", "weight_decay=-1: expected a number, at least 0"),
    ("mel = {n_mels", "mel = {n_mel", "mel: n_mel is not known: .* perhaps n_mels is meant"),
    ("width = 2", "width = 0", "network 'cnn-model-1': width=0: expected a whole number from 1"),
    ("mel = {n_mels = 64, hop_length = 1388, excerpt_frames = 64}", "mel = 64", "mel=64: expected a table"),
    ("mel = {n_mels = 64, hop_length = 1388, excerpt_frames = 64}", "mel = {n_mels = 8}",
     r"network 'cnn-model-1' on images of 8 x 128: .*too small"),
    ('"mixup"', '"mix_up"', "augmentation 'mix_up': expected one of .*; perhaps 'mixup' is meant"),
    ('"mixup"', '"no_such_module:f"', r"'no_such_module:f' cannot be found \(No module"),
    ('"mixup"', '{name = "mixup", alfa = 1}', r"augmentation 'mixup': .*'alfa'.* it is mixup\(images, targets, alpha"),
    ('"mixup"', "3", "augmentation=3: expected a table"),
    ("max_width = 0.25", "max_width = 2.25", "augmentation 'specmix': stripes of widths 0.0 to 2.25.*expected frac"),
    ("stripes = [1, 1]", "stripe = 1", "augmentation 'specmix': .*'stripe'"),
    ("starts_from = 2", "starts_from = 4", "stage 3: stage 3 builds on stage 4: expected an earlier one"),
    ("scored_by = [1, 2]", "scored_by = [1, 3]", "stage 3: stage 3 builds on stage 3: expected an earlier one"),
    ("scored_by = [1, 2]", "scored_by = 1", "stage 3: scored_by=1: expected a list of stages"),
    ("scored_by = [1, 2]\n", "", "stage 3: selects_from='noisy' and scored_by=.*expected both"),
    ('trains_on = ["noisy"]', "trains_on = []", "stage 1: .*expected the names of one set or more"),
    ('trains_on = ["noisy"]', 'trains_on = "noisy"', "stage 1: trains_on='noisy': expected a list of names"),
    ("cap = 5", "cap = 0", "stage 3: cap=0: expected a whole number, at least 1"),
    ("threshold = 0.5", 'threshold = "half"', "stage 3: threshold='half': expected a number"),
    ("lr = 0.01", "lr = -0.01", "stage 1: lr=-0.01: expected a number, at least 0"),
    ("lr = 0.01\n", "", "stage 1: lr missing"),
    ("votes = false", 'votes = "no"', "stage 1: votes='no': expected true or false"),
    ("[[stage]]", "[[stages]]", r"no \[\[stage\]\]|stages is not known"),
])
def test_what_cannot_be_is_said_by_file_and_key(tmp_path, old, new, said):
    path, count = tmp_path / "mine.toml", -1 if old.startswith("[[") else 1
    assert old in TINY
    path.write_text(TINY.replace(old, new, count))
    with pytest.raises(ValueError, match=said) as caught:
        load_profile(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_profile_that_there_is_not_is_said():
    said = r"profile='ful': expected full, laptop, demo, tiny, curated, or a TOML .*'full' is meant"
    with pytest.raises(ValueError, match=said):
        load_profile("ful")


def test_somebody_votes():
    stages = [dataclasses.replace(stage, votes=False) for stage in published_stages()]
    with pytest.raises(ValueError, match="no stage votes"):
        Profile(2, stages)
    with pytest.raises(ValueError, match="numbered from 1 on"):
        Profile(2, stages[1:])


@pytest.mark.parametrize(("setting", "said"), [
    ({"augmentation": ["zoom_crop"]}, "augmentation: 'zoom_crop' is none; expected functions"),
    ({"mel": {"n_mels": 64}}, "mel: {'n_mels': 64} is none; expected a MelConfig"),
    ({"stages": [{"trains_on": ["curated"]}]}, r"stages: .*trains_on.* is none; expected StageConfig\("),
])
def test_in_python_settings_are_what_names_in_a_file_mean(setting, said):
    with pytest.raises(ValueError, match=said):
        Profile(**{"n_folds": 2, "stages": published_stages()} | setting)
    if "augmentation" in setting:
        with pytest.raises(ValueError, match="'zoom_crop' is no augmentation"):
            augment.compose(setting["augmentation"])


def test_a_copy_of_a_profile_has_all_the_code_that_it_names(tmp_path):
    """A module in a package, one that it imports beside it, and one beside the file; read again in a new process."""
    there, copied = tmp_path / "there", tmp_path / "copied"
    for name, text in {
            "kept_apart/__init__.py": "", "kept_apart/numbers_of.py": "HALF = 0.5\n", "no_part_of_it.py": "",
            "kept_apart/steps.py": "from .numbers_of import HALF\n\n\ndef darker(images, targets, generator=None):\n"
                                   "    return HALF * images, targets\n",
            "one_network.py": "from torch import nn\n\n\ndef flat(n_classes):\n    return nn.Sequential("
                              "nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, n_classes))\n",
            "mine.toml": 'network = "one_network:flat"\nn_folds = 2\naugmentation = ["kept_apart.steps:darker"]\n'
                         + STAGE}.items():
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text(text)
    assert copy_profile(there / "mine.toml", copied) == copied / "mine.toml"
    described = load_profile(there / "mine.toml").described()
    shutil.rmtree(there)
    done = subprocess.run([sys.executable, "-c", f"""
import json
from freesound_tagging.training.profile import load_profile
print(json.dumps(load_profile({str(copied / "mine.toml")!r}).described()))"""], capture_output=True, text=True)
    assert json.loads(done.stdout or "{}") == json.loads(json.dumps(described)), done.stderr
    assert {path.relative_to(copied).as_posix() for path in copied.rglob("*.*") if path.suffix != ".pyc"} == {
        "mine.toml", "one_network.py", "kept_apart/__init__.py", "kept_apart/steps.py", "kept_apart/numbers_of.py"}


def test_nothing_is_copied_of_the_packages_own_and_networks_do_not_come_along(tmp_path, monkeypatch):
    assert copy_profile("tiny", tmp_path / "copied") is None and not (tmp_path / "copied").exists()
    begun = dataclasses.replace(load_profile("tiny"), start="some/weights")
    monkeypatch.setattr("freesound_tagging.training.portable.load_profile", lambda source: begun)
    with pytest.raises(ValueError, match=r"begins with trained networks, some/weights, .*leave start out"):
        copy_profile(tmp_path / "mine.toml", tmp_path / "copied")


def test_every_augmentation_has_a_name_in_a_file():
    """All public functions of `augment` that take a batch and a generator."""
    batch = re.findall(r"^def (?!apply_|draw_|_|compose)(\w+)\(images, targets, .*generator=None\):",
                       Path(augment.__file__).read_text(), re.M)
    for name in batch:
        step, = parse_profile(f'n_folds = 2\naugmentation = ["{name}"]\n' + STAGE).augmentation
        assert step is getattr(augment, name)
    assert len(batch) == 5


def test_without_noisy_clips_one_stage_takes_the_steps_of_all_and_of_full_that_is_curated(demo):
    clips = demo.clips("curated")
    full = load_profile("full")
    assert full.optional == ["noisy"]
    assert full.fitted(demo.clips()) is full
    with pytest.warns(UserWarning, match="without noisy clips the profile's 4 stages become one, on the curated ones"):
        fitted = full.fitted(clips)
    assert fitted.described() == load_profile("curated").described()
    stage, = fitted.stages
    assert (stage.passes, stage.least_steps) == (100 + 60 + 60, 4 * 500)
    assert stage.starts_from is stage.selects_from is None
    with pytest.raises(ValueError, match="no curated clips, and all of the profile's stages train on them"):
        full.fitted(demo.clips("noisy"))


def test_one_stage_trains_on_the_sets_of_all_voting_stages(demo):
    table = demo.clips("curated").table
    others = Clips(table.assign(set=np.where(np.arange(len(table)) % 2, "curated", "checked")), demo.vocabulary)
    stages = (StageConfig(1, ("noisy",), 5, 0.01, votes=False), StageConfig(2, ("curated",), 3, 0.01, starts_from=1),
              StageConfig(3, ("curated", "checked"), 2, 0.003, starts_from=2))
    with pytest.warns(UserWarning, match="stages become one, on the curated and checked ones"):
        stage, = Profile(2, stages).fitted(others).stages
    assert stage.trains_on == ("curated", "checked")
    assert stage.passes == 3 + 2
