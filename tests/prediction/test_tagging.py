"""Sounds of one's own: `tag`, `timeline` and the command, on real recordings and on files that are none."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

import freesound_tagging
from freesound_tagging.__main__ import main
from freesound_tagging.images.excerpts import window_starts
from freesound_tagging.images.mel import begins_at, sounding
from freesound_tagging.networks.weights import find_weights
from freesound_tagging.prediction.inference import Budget, ensemble_mean, predict_ensemble


def test_tag_gives_what_the_submission_has(finished_run, demo, demo_stores):
    expected = ensemble_mean(predict_ensemble(find_weights(finished_run.weights), demo_stores["test"], progress=False))
    table = freesound_tagging.tag(demo.test["path"], finished_run.weights)
    assert list(table.columns) == demo.vocabulary
    assert list(table.index) == [str(path) for path in demo.test["path"]]
    np.testing.assert_allclose(table, expected, atol=1e-6)


def test_tag_takes_one_sound_and_one_network(finished_run, demo):
    network = find_weights(finished_run.weights)[0]
    path = str(demo.test["path"][0])
    table = freesound_tagging.tag(path, network)
    assert table.shape == (1, len(demo.vocabulary))
    pd.testing.assert_frame_equal(table, freesound_tagging.tag([path], [network]))


def test_two_sounds_of_one_name_are_told_apart(finished_run, demo, tmp_path):
    first, second = demo.test["path"][:2]
    twin = tmp_path / first.name
    twin.write_bytes(second.read_bytes())
    table = freesound_tagging.tag([first, twin], finished_run.weights)
    np.testing.assert_allclose(table.iloc[1], freesound_tagging.tag(second, finished_run.weights).iloc[0], atol=1e-6)


def test_a_timeline_has_a_row_a_window_and_the_clips_mean(finished_run, demo, demo_stores):
    clip = int(demo_stores["test"].lengths.argmax())
    path, store = demo.test["path"][clip], demo_stores["test"]
    table = freesound_tagging.timeline(path, finished_run.weights)
    starts = window_starts(store.lengths[clip])
    assert len(table) == len(starts) > 1
    signal, rate = sf.read(path, dtype="float32")
    assert rate == 44_100
    np.testing.assert_allclose(table.index, (sounding(signal)[0] + starts * 694) / 44_100)
    np.testing.assert_allclose(table.mean(), freesound_tagging.tag(path, finished_run.weights).iloc[0], atol=1e-6)


@pytest.mark.parametrize(("seconds", "rate", "begins"), [(3.0, 44_100, 3.0), (3.0, 22_050, 3.0), (0.5, 44_100, 2.25)])
def test_the_seconds_of_a_timeline_are_those_of_the_file(finished_run, tmp_path, seconds, rate, begins):
    """Three seconds of silence, then a tone; a short one is in the middle of its window."""
    tone = np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)
    sf.write(tmp_path / "a.wav", np.r_[np.zeros(3 * rate), tone, np.zeros(rate)], rate)
    table = freesound_tagging.timeline(tmp_path / "a.wav", finished_run.weights)
    assert table.index[0] == pytest.approx(begins, abs=0.05)


def test_a_short_sound_at_the_files_beginning_begins_before_it(tmp_path):
    sf.write(tmp_path / "a.wav", np.sin(2 * np.pi * 440 * np.arange(22_050) / 44_100), 44_100)
    assert begins_at(tmp_path / "a.wav") == pytest.approx(-0.75, abs=0.01)


def test_a_sound_that_cannot_be_read_stops_no_other(finished_run, demo, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    good = demo.test["path"][0]
    with pytest.warns(UserWarning, match=r"1 of 2 sounds cannot be read: .*bad\.wav"):
        table = freesound_tagging.tag([bad, good], finished_run.weights)
    assert table.iloc[0].isna().all()
    np.testing.assert_allclose(table.iloc[1], freesound_tagging.tag(good, finished_run.weights).iloc[0], atol=1e-6)


def test_the_command_prints_the_top_labels_of_real_recordings_in_any_format(esc10, finished_run, tmp_path, capsys):
    signal, rate = sf.read(esc10.test["path"][0])
    paths = []
    for name in ("dog.flac", "dog.ogg", "dog.mp3", "dog.aiff"):
        paths.append(str(tmp_path / name))
        sf.write(paths[-1], np.column_stack([signal, signal]), rate)
    assert main([*paths, "--weights", str(finished_run.weights), "--top", "2", "--csv", str(tmp_path / "t.csv")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[::3] == paths
    table = pd.read_csv(tmp_path / "t.csv", index_col="path")
    best = table.loc[paths[0]].nlargest(2)
    assert printed[1:3] == [f"  {probability:.3f}  {label}" for label, probability in best.items()]
    assert np.abs(table - table.iloc[0]).to_numpy().max() < 0.2, "the same sound in each format"


def test_the_command_names_what_it_could_not_tag(finished_run, demo, tmp_path, capsys):
    good, bad, none = str(demo.test["path"][0]), tmp_path / "bad.wav", tmp_path / "none.wav"
    bad.write_text("no sound")
    assert main([good, str(bad), str(none), "--weights", str(finished_run.weights)]) == 1
    printed = capsys.readouterr()
    assert printed.out.startswith(good)
    assert str(bad) in printed.err
    assert f"{none}: no such file" in printed.err
    assert main([good, "--weights", str(tmp_path)]) == 1
    assert "train first" in capsys.readouterr().err


def test_a_folder_is_tagged_sound_by_sound_and_the_rest_is_passed_over(finished_run, demo, tmp_path, capsys):
    folder = tmp_path / "own sounds"
    (folder / "more").mkdir(parents=True)
    good = [str(shutil.copy(demo.test["path"][0], folder / name)) for name in ("a.wav", "b.sound")]
    for name in (".DS_Store", "Thumbs.db", "notes.txt"):
        (folder / name).write_bytes(bytes(100))
    (folder / "c.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + bytes(100))
    assert main([str(folder), "--weights", str(finished_run.weights)]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[::4] == good
    assert f"{folder}: no sounds, passed over: .DS_Store, Thumbs.db, more, notes.txt" in printed.err
    assert "c.m4a is of a format that libsndfile does not read (ffmpeg -i" in printed.err
    assert "table" not in printed.err
    (folder / "c.m4a").unlink()
    assert main([str(folder), "--weights", str(finished_run.weights)]) == 0
    assert main([str(folder / "more"), "--weights", str(finished_run.weights)]) == 1
    assert "no sounds: expected at least one file" in capsys.readouterr().err


def test_names_that_are_no_utf8_are_printed_and_written_with_escapes(finished_run, demo, tmp_path):
    names = [b"a\xff.wav", "köter 犬.wav".encode()]
    for name in names:
        shutil.copy(demo.test["path"][0], os.fsencode(tmp_path) + b"/" + name)
    command = [sys.executable, "-m", "freesound_tagging", *names, "--weights", finished_run.weights, "--csv", "t.csv"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode().splitlines()[::4] == [r"a\udcff.wav", r"k\xf6ter \u72ac.wav"]
    assert pd.read_csv(tmp_path / "t.csv")["path"].tolist() == [r"a\udcff.wav", "köter 犬.wav"]


def test_a_reader_that_has_had_enough_ends_the_command_without_a_word(finished_run, demo):
    command = [sys.executable, "-m", "freesound_tagging", demo.test["path"][0], "--weights", finished_run.weights]
    done = subprocess.run(f"{shlex.join(map(str, command))} | true", shell=True, capture_output=True, text=True)
    assert done.stderr == ""


@pytest.mark.parametrize(("arguments", "said"), [
    (["--device", "gpu"], r"device='gpu' cannot be used \(.*\); expected one of cpu"),
    (["--device", "cuda:77"], r"device='cuda:77' cannot be used \(.*\); expected one of cpu"),
    (["--device", "meta"], "device='meta' cannot be used"),
    (["--weights", "/nowhere"], "in /nowhere or below"),
    (["--csv", "/dev/null/t.csv"], "/dev/null/t.csv cannot be written, as /dev/null is no folder"),
])
def test_an_error_is_one_line_that_names_the_value(finished_run, demo, arguments, said, capsys):
    assert main([str(demo.test["path"][0]), "--weights", str(finished_run.weights), *arguments]) == 1
    assert re.fullmatch(f".*{said}.*\n", capsys.readouterr().err)


def test_the_csv_is_no_folder(demo, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(demo.test["path"][0]), "--csv", str(tmp_path)])
    assert f"--csv {tmp_path} is a folder" in capsys.readouterr().err


def test_no_networks_and_no_sounds_are_said(finished_run, demo):
    with pytest.raises(ValueError, match=r"weights=\[\]: expected at least one network"):
        freesound_tagging.tag(demo.test["path"][0], [])
    with pytest.raises(ValueError, match="no sounds: expected at least one file"):
        freesound_tagging.tag([], finished_run.weights)


def test_the_package_is_imported_without_torch():
    code = "import sys, freesound_tagging as f; assert 'torch' not in sys.modules; assert f.tag; assert 'torch' in " \
           "sys.modules; assert 'fastai' not in sys.modules and 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="attribute tga"):
        _ = freesound_tagging.tga


def test_the_budget_counts_what_is_over_and_what_is_left():
    budget = Budget(60)
    budget.started -= 20 * 60
    assert budget.estimate(left=15 * 60) == "35.0 of 60 min"
    assert budget.estimate(left=45 * 60) == "65.0 of 60 min: too long"


def test_the_table_takes_the_place_of_no_sound_and_of_no_link(demo, finished_run, tmp_path, capsys):
    sound, other = tmp_path / "a.wav", tmp_path / "b.wav"
    sound.write_bytes(demo.test["path"][0].read_bytes())
    other.write_bytes(sound.read_bytes())
    weights = ["--weights", str(finished_run.weights)]
    with pytest.raises(SystemExit):
        main([*weights, "--csv", str(sound), str(other)])
    assert "is there and no table by its name" in capsys.readouterr().err
    assert sound.read_bytes() == other.read_bytes()
    (tmp_path / "link.csv").symlink_to(tmp_path / "table.csv")
    assert main([*weights, "--csv", str(tmp_path / "link.csv"), str(sound)]) == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert len(pd.read_csv(tmp_path / "table.csv")) == 1


@pytest.mark.parametrize("wrong", [["--weights", ""], [""], ["--top", "0", "a.wav"], ["--top", "-2", "a.wav"]])
def test_options_that_say_nothing_are_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        main(["a.wav", *wrong])
    assert "expected a" in capsys.readouterr().err


def test_a_name_cannot_speak_to_the_terminal_or_look_like_two(demo, finished_run, tmp_path, capsys):
    sound = tmp_path / "a\x1b[31m\nb.wav"
    sound.write_bytes(demo.test["path"][0].read_bytes())
    assert main(["--weights", str(finished_run.weights), str(sound)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{tmp_path}/a\\x1b[31m\\nb.wav"
