"""What `make space` builds is what a Hugging Face Space takes, and has all that the page needs."""

import ast
import re
import shutil
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from helpers import script, weights_that_cannot_go

from freesound_tagging.images.mel import MelConfig
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.networks.weights import find_weights, load_tagger, save_tagger
from freesound_tagging.prediction import Calibration, Ensemble
from freesound_tagging.training.profile import load_profile

ROOT = Path(__file__).resolve().parents[2]
LINE = Calibration(1.5, 1.0, {"labels": 6, "stages": [2]})


@pytest.fixture(scope="module")
def for_space():
    return script("notebooks/for_space.py").main


@pytest.fixture(scope="module")
def built(for_space, weights, tmp_path_factory):
    pytest.importorskip("gradio")
    folder = tmp_path_factory.mktemp("build") / "space"
    (folder / "weights").mkdir(parents=True)
    for file in (folder / "mine.txt", folder / "weights/old.safetensors"):
        file.touch()
    ours = shutil.copytree(weights, tmp_path_factory.mktemp("calibrated") / "weights")
    LINE.write(ours)
    for_space([str(folder), "--weights", str(ours)])
    return folder


def test_the_front_matter_says_how_the_page_is_started(built):
    front = dict(re.findall(r"^(\w+): (.+)$", (built / "README.md").read_text().split("---")[1], re.M))
    assert front["sdk"] == "gradio" and front["sdk_version"] == version("gradio")
    assert (built / front["app_file"]).exists()
    assert len(front["short_description"]) <= 60, "or the Space is refused"
    assert "FSDKaggle2019" not in front["short_description"], "whose labels these networks do not have"


def test_the_package_and_the_weights_are_there_and_nothing_of_before(built, weights):
    def sources(folder):
        return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*")
                if path.suffix in (".py", ".toml")}

    assert sources(built / "freesound_tagging") == sources(ROOT / "freesound_tagging")
    network, = find_weights(built / "weights")
    ours, theirs = (load_tagger(path).state_dict() for path in (network, weights / "stage-2_fold-0.safetensors"))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert Ensemble.load(built / "weights", "cpu").calibration == LINE
    assert (built / "mine.txt").exists() and not (built / "weights/old.safetensors").exists()


def test_the_requirements_have_what_the_rooms_of_the_page_import(built):
    """All rooms but those that train and download, whose libraries are left out."""
    named = set(re.findall(r"^[\w-]+", (built / "requirements.txt").read_text().replace("-", "_"), re.M))
    imported = {name for room in ("app", "images", "machine", "networks", "prediction")
                for path in (built / "freesound_tagging" / room).glob("*.py")
                for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, (ast.Import, ast.ImportFrom))
                for name in ([node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else
                             [alias.name for alias in node.names] if isinstance(node, ast.Import) else [])}
    others = {name.split(".")[0].lower() for name in imported} - {name.lower() for name in sys.stdlib_module_names}
    assert {"gradio", "torch", "soundfile"} <= others
    assert others - named <= {"ray", "timm", "starlette"}, "a cluster's, another network's, and what Gradio brings"
    assert not {"fastai", "requests"} & named


def test_a_space_of_timms_networks_asks_for_timm(built, for_space, tmp_path):
    pytest.importorskip("timm")
    spec = NetworkSpec("timm:mobilenetv3_small_050", {}, ("Bark", "Meow"), MelConfig(), (0.5,) * 3, (0.2,) * 3,
                       stage=2, fold=0, voting=(2,))
    save_tagger(Tagger(spec).eval(), tmp_path / "stage-2_fold-0.safetensors")
    for_space([str(tmp_path / "space"), "--weights", str(tmp_path)])
    without, needed = (set((folder / "requirements.txt").read_text().split()) for folder in (built, tmp_path / "space"))
    assert needed - without == {"timm>=1.0"} and without < needed


def test_a_space_of_ones_own_networks_has_their_code(for_space, tmp_path):
    pytest.importorskip("gradio")
    load_profile(ROOT / "profiles/own.toml")
    spec = NetworkSpec("own_module:small_network", {"channels": 2}, ("Bark", "Meow"), MelConfig(), (0.5,) * 3,
                       (0.2,) * 3, stage=2, fold=0, voting=(2,))
    save_tagger(Tagger(spec).eval(), tmp_path / "weights/stage-2_fold-0.safetensors")
    for _ in range(2):
        for_space([str(tmp_path / "space"), "--weights", str(tmp_path / "weights"), "--profile",
                   str(ROOT / "profiles/own.toml")])
    assert {path.name for path in (tmp_path / "space/profiles").iterdir()} == {"own.toml", "own_module.py"}
    given = ast.literal_eval(re.search(r"main\((\[.*\])\)", (tmp_path / "space/app.py").read_text())[1])
    assert given[-2:] == ["--profile", "profiles/own.toml"] and given[:2] == ["--weights", "weights"]


def test_without_weights_nothing_is_built(for_space, tmp_path, capsys):
    (tmp_path / "nothing").mkdir()
    assert for_space([str(tmp_path / "space"), "--weights", str(tmp_path / "nothing")]) == 1
    assert "train first" in capsys.readouterr().err and not (tmp_path / "space").exists()


def test_weights_that_cannot_go_there_are_named_in_a_line(for_space, tmp_path, capsys):
    for folder, line in weights_that_cannot_go(tmp_path):
        assert for_space([str(tmp_path / "space"), "--weights", str(folder)]) == 1
        *_, said = capsys.readouterr().err.splitlines()
        assert said.startswith(f"{folder}{line}")
    assert not (tmp_path / "space").exists()
