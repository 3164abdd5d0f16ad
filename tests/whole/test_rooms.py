"""The order of the rooms, and which heavy libraries each may bring along."""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import script
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
rooms = script("docs/rooms.py")

HALL = {"augment", "lwlrap"}
OPTIONAL = {"google", "gradio", "mutmut", "playwright", "ray", "timm"}
MAY_IMPORT = {
    "augment": set(),
    "lwlrap": set(),
    "machine": set(),
    "annotations": {"machine"},
    "clips": {"machine", "annotations"},
    "demo": {"machine"},
    "images": {"machine", "clips"},
    "networks": {"machine", "clips", "images"},
    "prediction": {"machine", "annotations", "clips", "images", "networks"} | HALL,
    "training": {"machine", "clips", "images", "networks", "prediction"} | HALL,
    "notebook": {"machine", "annotations", "clips", "images", "networks", "prediction"} | HALL,
    "app": {"machine", "images", "prediction", "training", "notebook"},
}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_earlier_rooms_only(room):
    assert rooms.rooms_imported(room) <= MAY_IMPORT[room]


def test_every_module_is_in_a_room():
    found = {path.relative_to(rooms.PACKAGE).parts[0].removesuffix(".py") for path in rooms.PACKAGE.rglob("*.py")}
    assert found - {"__init__", "__main__"} == {*rooms.HALL, *rooms.ORDER} == set(MAY_IMPORT)


def test_the_picture_shows_the_rooms_as_they_are():
    drawn = json.loads(Image.open(ROOT / "docs/rooms.png").text["Drawn"])
    assert drawn == rooms.drawn(), "draw it again: make docs"
    assert "folds" in drawn["clips"][0] and "prediction" in drawn["training"][1]
    assert drawn["evidence"][0] == ["arms", "author", "calibrated", "comparison", "from_trained", "recordings", "study"]
    assert "training" in drawn["evidence"][1]


def test_every_benchmark_is_in_a_folder_that_the_picture_shows():
    folders = {path.parent.name for path in (ROOT / "benchmarks").rglob("*.py")} - {"benchmarks", "kit"}
    assert folders == {*rooms.BENCHMARKS}


def test_what_is_imported_anywhere_is_there():
    """Within functions too, which no test may ever call; programs beside the package see their own folder as well."""
    for folder in ("freesound_tagging", "benchmarks", "docs", "notebooks", "profiles", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                names = ([alias.name for alias in node.names] if isinstance(node, ast.Import) else
                         [node.module] if isinstance(node, ast.ImportFrom) and not node.level else [])
                for name in names:
                    top = name.split(".")[0]
                    own = folder in ("docs", "notebooks", "tests") and [*(ROOT / folder).rglob(f"{top}.py")]
                    assert own or top in OPTIONAL or importlib.util.find_spec(top), f"{path} imports {name}"


def test_an_import_upwards_would_be_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(rooms, "PACKAGE", tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/mel.py").write_text("def f():\n    from ..training.stages import StageConfig\n")
    assert rooms.rooms_imported("images") == {"training"}
    (tmp_path / "images/mel.py").write_text("from .. import lwlrap\nimport freesound_tagging.notebook\n")
    assert rooms.rooms_imported("images") == {"lwlrap", "notebook"}


@pytest.mark.parametrize(("library", "where"), [
    ("fastai", {"training"}),
    ("matplotlib", {"notebook", "app"}),
    ("gradio", {"app"}),
    ("ipywidgets", {"notebook"}),
    ("IPython", {"notebook"}),
    ("ray", {"machine"}),
    ("torch", {"augment", "machine", "images", "networks", "prediction", "training", "notebook"}),
])
def test_heavy_libraries_are_where_they_belong(library, where):
    found = {room for room in MAY_IMPORT for path in rooms.modules(room)
             if any(f"{name}.".startswith(f"{library}.") for name in rooms.imports(path))}
    assert found and found <= where


@pytest.mark.slow
@pytest.mark.parametrize(("code", "without"), [
    ("import freesound_tagging", ("torch", "pandas", "librosa")),
    ("from freesound_tagging import clips, images, networks, prediction, training, notebook", ("torch", "pandas")),
    ("from freesound_tagging.clips import FSDKaggle2019", ("torch", "fastai", "matplotlib")),
    ("from freesound_tagging.prediction import Ensemble, tag", ("fastai", "matplotlib", "IPython")),
    ("from freesound_tagging.training import WarmupPipeline", ("fastai", "matplotlib", "IPython")),
    ("from freesound_tagging.training import StageConfig, select_noisy", ("fastai", "matplotlib", "torch")),
])
def test_what_an_import_does_not_bring(code, without):
    seen = f"import sys; {code}; print([m for m in {without} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_every_name_on_a_face_is_there():
    seen = ("import importlib; names = [(room, name) for room in %r for module in "
            "[importlib.import_module(f'freesound_tagging.{room}')] for name in module.__all__ "
            "if getattr(module, name).__doc__ or name.isupper()]; print(len(names), len(set(n for _, n in names)))")
    done = subprocess.run([sys.executable, "-c", seen % (rooms.ORDER,)], capture_output=True, text=True, check=True)
    every, different = done.stdout.split()
    assert int(every) > 40
    assert every == different, "no name on two faces"
