"""The command ``freesound-tagging`` and those behind it."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from freesound_tagging.__main__ import OTHERS, main

ROOT = Path(__file__).resolve().parents[2]


def test_what_pip_installs_is_this_command():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (module, function), = [place.split(":") for place in scripts.values()]
    assert list(scripts) == ["freesound-tagging"] and getattr(import_module(module), function) is main


@pytest.mark.parametrize(("word", "takes"), [
    ("demo", "folder"), ("download", "dest"), ("prepare", "source dest"), ("check", "root"), ("train", "input"),
    ("score", "submission truth"), ("convert", "source [source ...] dest"), ("app", "[--weights FOLDER]")])
def test_a_word_is_the_command_of_a_room(word, takes, capsys):
    with pytest.raises(SystemExit) as ended:
        main([word, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0
    usage = said.split(f"freesound_tagging.{OTHERS[word]}")[1]
    assert takes in usage
    with pytest.raises(SystemExit):
        main(["--help"])
    assert word in re.findall(r"\w+", capsys.readouterr().out.split("Other commands")[1])


def test_the_rest_of_the_line_goes_to_it(tmp_path, capsys):
    assert main(["demo", str(tmp_path / "data"), "--curated", "1", "--noisy", "1", "--test", "1"]) == 0
    assert len(list((tmp_path / "data").rglob("*.wav"))) == 3 * 12, "a clip of each of 12 labels in each of 3 sets"
    assert main(["check", str(tmp_path / "data")]) == 0
    assert "next: make train" in capsys.readouterr().out
    assert main(["score", str(tmp_path / "none.csv"), str(tmp_path / "none.csv")]) == 1
    assert "none.csv" in capsys.readouterr().err


def test_a_sound_of_such_a_name_is_given_with_its_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("app").write_text("no sound")
    assert main(["./app", "--weights", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err, "networks are looked for, and no page is opened"
