"""Sounds of one's own: `tag`, `timeline` and the command, on real recordings and on files that are none."""

import copy
import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
from exports import as_fastai, save_like_torch_1_0

import freesound_tagging
from freesound_tagging.__main__ import main
from freesound_tagging.images.excerpts import pixels_on, window_starts, windows_of
from freesound_tagging.images.mel import MelConfig, sounding
from freesound_tagging.images.sections import sections
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.machine.device import as_prepared
from freesound_tagging.networks.models import cnn_model_1
from freesound_tagging.networks.tagger import _outline
from freesound_tagging.networks.weights import find_weights, load_tagger, save_tagger
from freesound_tagging.prediction.ensemble import Ensemble
from freesound_tagging.prediction.inference import ensemble_mean, predict
from freesound_tagging.prediction.listening import _Listening, _Window, listen
from freesound_tagging.prediction.paths import sounds_of


@pytest.fixture(scope="module")
def finished_run(finished_run, tmp_path_factory):
    """The tiny run's networks without what calibrates them, of which `test_calibration` is."""
    run = copy.copy(finished_run)
    run.weights = tmp_path_factory.mktemp("raw") / "weights"
    shutil.copytree(finished_run.weights, run.weights, ignore=shutil.ignore_patterns("calibration.json"))
    return run


def test_tag_gives_what_the_submission_has(finished_run, demo, demo_stores):
    expected = ensemble_mean(Ensemble.load(finished_run.weights).predict(demo_stores["test"], progress=False))
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
    section, = sections(tmp_path / "a.wav")
    assert section.begin == pytest.approx(-0.75, abs=0.01)


def test_a_sound_that_cannot_be_read_stops_no_other(finished_run, demo, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    good = demo.test["path"][0]
    with pytest.warns(UserWarning, match=r"1 of 2 sounds cannot be read: .*bad\.wav"):
        table = freesound_tagging.tag([bad, good], finished_run.weights)
    assert table.iloc[0].isna().all()
    np.testing.assert_allclose(table.iloc[1], freesound_tagging.tag(good, finished_run.weights).iloc[0], atol=1e-6)


def test_what_is_heard_of_silence_or_of_opposite_channels_is_said_with_it(finished_run, tmp_path, capsys):
    noise = np.random.default_rng(0).standard_normal(100_000) / 10
    sf.write(tmp_path / "opposite.wav", np.stack([noise, -noise], 1), 44_100)
    sf.write(tmp_path / "silence.wav", 0 * noise, 44_100)
    both = r"opposite\.wav has channels that are opposite.*take channel 1 alone.*; .*silence\.wav is silent throughout"
    with pytest.warns(UserWarning, match=both):
        freesound_tagging.tag(tmp_path, finished_run.weights)
    with pytest.warns(UserWarning, match=r"silence\.wav is silent throughout"):
        freesound_tagging.timeline(tmp_path / "silence.wav", finished_run.weights)
    assert main([str(tmp_path), "--weights", str(finished_run.weights), "--json"]) == 0
    printed = capsys.readouterr()
    assert "opposite.wav has channels that are opposite" in printed.err and "silence.wav is silent" in printed.err
    said = [json.loads(line)["remark"] for line in printed.out.splitlines()]
    assert said == printed.err.splitlines()


def test_labels_cannot_speak_to_the_terminal(finished_run, demo, tmp_path, capsys):
    label = "\x1b[31mBark\x9b"
    path = find_weights(finished_run.weights)[0]
    tagger = load_tagger(path)
    tagger.spec = dataclasses.replace(tagger.spec, vocabulary=(label, *tagger.spec.vocabulary[1:]))
    save_tagger(tagger, tmp_path / path.name)
    sound = str(demo.test["path"][0])
    for arguments in (["--top", "100"], ["--json", "--top", "100"], ["--timeline", str(tmp_path / "t.csv")]):
        assert main([sound, "--weights", str(tmp_path), *arguments]) == 0
        printed = capsys.readouterr().out
        assert "\x1b" not in printed and "\x9b" not in printed
        assert ("\\x1b[31mBark\\x9b" in printed) == (arguments[0] == "--top")
    assert label in pd.read_csv(tmp_path / "t.csv").columns


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
    for name in (".DS_Store", "Thumbs.db", "notes.txt", "photo.raw"):
        (folder / name).write_bytes(bytes(100))
    (folder / "c.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + bytes(100))
    assert main([str(folder), "--weights", str(finished_run.weights)]) == 1
    printed = capsys.readouterr()
    assert printed.out.splitlines()[::4] == good
    assert f"{folder}: no sounds, passed over: .DS_Store, Thumbs.db, more, notes.txt, photo.raw" in printed.err
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


def test_what_was_heard_before_an_interrupt_is_kept(finished_run, two_sounds, tmp_path, monkeypatch, capsys):
    listen = freesound_tagging.Ensemble.listen

    def interrupted(ensemble, paths, progress, raw):
        yield from listen(ensemble, paths[:1], progress=progress)
        raise KeyboardInterrupt
    monkeypatch.setattr(freesound_tagging.Ensemble, "listen", interrupted)
    out = ["--csv", str(tmp_path / "t.csv"), "--timeline", str(tmp_path / "when.csv")]
    assert main([*two_sounds, "--weights", str(finished_run.weights), *out]) == 130
    for table in (tmp_path / "t.csv", tmp_path / "when.csv"):
        assert set(pd.read_csv(table)["path"]) == {two_sounds[0]}
    assert "stopped after 1 of 2 sounds, which were written" in capsys.readouterr().err
    out[3] = str(tmp_path / "no room.csv")
    monkeypatch.setattr(pd, "concat", lambda _: exec("raise OSError(28, 'no room')"))
    (tmp_path / "t.csv").unlink()
    main([*two_sounds, "--weights", str(finished_run.weights), *out])
    assert set(pd.read_csv(tmp_path / "t.csv")["path"]) == {two_sounds[0]}, "though the other table had no room"


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGHUP])
def test_what_was_heard_before_a_signal_is_kept(finished_run, tmp_path, stop):
    """A process that has heard one sound of more than a batch of windows, and waits for a pipe that says nothing."""
    for name in ("a.wav", "b.wav"):
        sf.write(tmp_path / name, np.random.default_rng(0).standard_normal(200 * 8000) / 10, 8000)
    os.mkfifo(tmp_path / "pipe")
    command = [sys.executable, "-m", "freesound_tagging", "a.wav", "b.wav", "pipe", "--weights", finished_run.weights,
               "--csv", "t.csv", "--timeline", "when.csv"]
    # What runs the tests may ignore the signal, as nohup does, and a process inherits that.
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          preexec_fn=lambda: signal.signal(stop, signal.SIG_DFL)) as process:
        assert process.stdout.readline() == "a.wav\n"
        process.send_signal(stop)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + stop
    assert said == "stopped after 1 of 3 sounds, which were written\n"
    assert pd.read_csv(tmp_path / "t.csv")["path"].tolist() == ["a.wav"]
    assert set(pd.read_csv(tmp_path / "when.csv")["path"]) == {"a.wav"}


def test_a_pipe_is_tagged_as_the_file(finished_run, two_sounds, tmp_path):
    """As by ``cat a.wav | python -m freesound_tagging - <(cat b.wav)``."""
    command = shlex.join([sys.executable, "-m", "freesound_tagging", *two_sounds, "--weights",
                          str(finished_run.weights), "--csv", str(tmp_path / "t.csv")])
    first, second = map(shlex.quote, two_sounds)
    pipes = command.replace(f"{first} {second}", f"- <(cat {second})").replace("t.csv", "pipes.csv")
    subprocess.run(command, shell=True, check=True, capture_output=True)
    subprocess.run(["bash", "-c", f"cat {first} | {pipes}"], check=True, capture_output=True)
    expected, table = (pd.read_csv(tmp_path / name, index_col="path") for name in ("t.csv", "pipes.csv"))
    assert table.index[0] == "/dev/stdin"
    np.testing.assert_array_equal(table, expected)


def test_of_nothing_that_could_be_read_the_tables_say_so(finished_run, demo, tmp_path):
    (tmp_path / "bad.wav").write_text("no sound")
    for name in ("t.csv", "when.csv"):
        (tmp_path / name).write_text("of another run")
    assert main([str(tmp_path / "bad.wav"), "--weights", str(finished_run.weights), "--csv", str(tmp_path / "t.csv"),
                 "--timeline", str(tmp_path / "when.csv")]) == 1
    row = pd.read_csv(tmp_path / "t.csv", index_col="path")
    assert row.isna().all(axis=None) and list(row.columns) == demo.vocabulary
    table = pd.read_csv(tmp_path / "when.csv")
    assert list(table.columns) == ["path", "second", "window", "duration", *demo.vocabulary] and table.empty


def test_headerless_names_do_not_stop_a_sound_that_has_a_header(ensemble, two_sounds, tmp_path):
    sound = shutil.copy(two_sounds[0], tmp_path / "a.raw")
    np.testing.assert_array_equal(ensemble.tag(sound, progress=True), ensemble.tag(two_sounds[0]))


def test_names_as_long_as_the_system_has_them(finished_run, two_sounds, tmp_path):
    weights, labels = ["--weights", str(finished_run.weights), "--threshold", "0.01"], tmp_path / "labels"
    labels.mkdir()
    long, too_long = (shutil.copy(two_sounds[0], tmp_path / name) for name in ("犬" * 80 + "a.wav", "犬" * 83 + ".wav"))
    assert main([str(long), *weights, "--timeline", str(labels)]) == 0
    assert (labels / f"{long.name}.txt").read_text()
    assert main([str(long), str(too_long), *weights, "--timeline", str(labels)]) == 1
    assert len(list(labels.iterdir())) == 1


@pytest.mark.parametrize(("arguments", "said"), [
    (["--device", "gpu"], r"device='gpu' cannot be used \(.*\); expected one of cpu"),
    (["--device", "cuda:77"], r"device='cuda:77' cannot be used \(.*\); expected one of cpu"),
    (["--device", "meta"], "device='meta' cannot be used"),
    (["--precision", "half"], "precision='half': expected one of float32, bfloat16, float16, or none"),
    (["--weights", "/nowhere"], "in /nowhere or below"),
    (["--weights", "/nowhere", "--csv", "/dev/null"], "in /nowhere or below"),
    (["--csv", "/dev/null/t.csv"], "/dev/null/t.csv cannot be written .*; give another name"),
])
def test_an_error_is_one_line_that_names_the_value(finished_run, demo, arguments, said, capsys):
    assert main([str(demo.test["path"][0]), "--weights", str(finished_run.weights), *arguments]) == 1
    assert re.fullmatch(f".*{said}.*\n", capsys.readouterr().err)


def test_the_precision_is_one_argument_away(finished_run, demo, tmp_path, monkeypatch):
    """On a CPU that is made for bfloat16 and has many windows; in float32 what comes is what comes of few."""
    path, tables = str(demo.test["path"][0]), []
    exact = freesound_tagging.tag(path, finished_run.weights, "cpu")
    monkeypatch.setattr("freesound_tagging.prediction.inference.inference_precision", lambda device: torch.bfloat16)
    monkeypatch.setattr("freesound_tagging.prediction.inference.PAYS_FROM", 0)
    monkeypatch.setattr("freesound_tagging.prediction.inference.TOLERANCE", 1)
    for arguments in ([], ["--precision", "float32"], ["--precision", "bfloat16"]):
        command = [path, "--weights", str(finished_run.weights), "--device", "cpu", "--csv", str(tmp_path / "t.csv")]
        assert main([*command, *arguments]) == 0
        tables.append(pd.read_csv(tmp_path / "t.csv", index_col=0).to_numpy())
    quick, float32, bfloat16 = tables
    np.testing.assert_allclose(float32, exact, atol=1e-6)
    np.testing.assert_array_equal(quick, bfloat16)
    assert 1e-6 < np.abs(quick - float32).max() < 0.05


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


@pytest.mark.parametrize("name", ["plain", "t.csv.gz"])
def test_a_table_that_is_none_by_its_name_is_refused_before_it_is_there(tmp_path, name, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path / "none.wav"), "--csv", str(tmp_path / name)])
    assert f"{name} is no table by its name, and is written as plain text; name a file that" in capsys.readouterr().err
    for there in ("/dev/null", str(tmp_path / "t.tsv")):
        assert main([str(tmp_path / "none.wav"), "--csv", there]) == 1
        assert "none.wav: no such file" in capsys.readouterr().err


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


@pytest.fixture(scope="module")
def ensemble(finished_run):
    return freesound_tagging.Ensemble.load(finished_run.weights, "cpu", "float32")


@pytest.mark.parametrize("seconds", [1, 5, 60, 600])
def test_what_is_heard_is_the_published_result_to_the_bit(finished_run, esc10, tmp_path, seconds):
    """Real recordings up to 10 minutes, beside the store's images predicted window by window and as clips."""
    weights = find_weights(finished_run.weights)[:1 if seconds == 600 else 2]
    ensemble = freesound_tagging.Ensemble.load(weights, "cpu", "float32")
    signal = np.concatenate([sf.read(path, dtype="float32")[0] for path in esc10.test["path"]])
    sf.write(tmp_path / "a.wav", np.resize(signal, seconds * 44_100), 44_100)
    store = SpectrogramStore.build([tmp_path / "a.wav"], tmp_path / "store", progress=False)
    first, _ = windows_of(store.starts, store.lengths)
    each = [predict(tagger, pixels_on("cpu", store), first, np.full(len(first), 128)) for tagger in ensemble.taggers]
    of_all = ensemble.predict(store, progress=False)
    np.testing.assert_array_equal(ensemble.timeline(tmp_path / "a.wav"), ensemble_mean(each))
    np.testing.assert_array_equal(ensemble.tag(tmp_path / "a.wav"), ensemble_mean(of_all))


def test_many_sounds_are_the_published_result_to_the_bit(finished_run, esc10, tmp_path):
    ensemble = freesound_tagging.Ensemble.load(find_weights(finished_run.weights)[:2], "cpu", "float32")
    paths = esc10.test["path"][:70]
    store = SpectrogramStore.build(paths, tmp_path / "store", progress=False)
    np.testing.assert_array_equal(ensemble.tag(paths), ensemble_mean(ensemble.predict(store, progress=False)))


def test_a_long_recording_is_heard_in_sections(ensemble, esc10, tmp_path, monkeypatch):
    """With sections of 20 s: each as the same stretch and 80 frames more by themselves, at their place in the file."""
    monkeypatch.setattr("freesound_tagging.images.sections.MAX_SECONDS", 30)
    monkeypatch.setattr("freesound_tagging.images.sections.SECTION_SECONDS", 20)
    signal = np.concatenate([sf.read(path, dtype="float32")[0] for path in esc10.test["path"][:14]])
    sf.write(tmp_path / "a.wav", signal, 44_100, subtype="FLOAT")
    expected = []
    for number, end in enumerate([20 * 44_100 + 80 * 694, 40 * 44_100 + 80 * 694, None]):
        piece = signal[number * 20 * 44_100:end]
        sf.write(tmp_path / f"piece {number}.wav", piece, 44_100, subtype="FLOAT")
        table = ensemble.timeline(tmp_path / f"piece {number}.wav")
        expected.append(table.set_axis(table.index + 20 * number))
    table = ensemble.timeline(tmp_path / "a.wav")
    np.testing.assert_allclose(table.index, np.concatenate([piece.index for piece in expected]))
    np.testing.assert_allclose(table, np.concatenate(expected), atol=1e-6)
    assert table.attrs["duration"] == pytest.approx(len(signal) / 44_100) and len(expected[2]) > 35
    np.testing.assert_allclose(ensemble.tag(tmp_path / "a.wav").iloc[0], table.mean(), atol=1e-6)


def tone_in_noise(tmp_path, begins, seconds=55):
    """A sound of quiet noise with a tone of 3 kHz for a second from each of some moments on."""
    signal = np.random.default_rng(0).standard_normal(seconds * 44_100).astype(np.float32) / 1000
    tone = np.sin(2 * np.pi * 3000 * np.arange(44_100) / 44_100) / 2
    for begin in begins:
        signal[round(begin * 44_100):][:44_100] += tone
    sf.write(tmp_path / "a.wav", signal, 44_100, subtype="FLOAT")
    return tmp_path / "a.wav"


def share_of_frames_with_the_tone(excerpts):
    """What `listen` takes in place of networks: one whose probability counts the bright frames of the tone's band."""
    band = librosa.filters.mel(sr=44_100, n_fft=2560, n_mels=128, fmin=20, fmax=22_050)[:, round(3000 / 44_100 * 2560)]
    return (excerpts[:, :, band.argmax()] > 200).mean(axis=1, dtype=np.float32)[None, :, None]


@pytest.mark.parametrize("middle", [19.5, 20.0, 20.25, 20.5, 40.0])
def test_a_sound_on_a_border_of_sections_is_seen_whole_as_one_inside(tmp_path, monkeypatch, middle):
    monkeypatch.setattr("freesound_tagging.images.sections.MAX_SECONDS", 30)
    monkeypatch.setattr("freesound_tagging.images.sections.SECTION_SECONDS", 20)
    sound, = listen([tone_in_noise(tmp_path, [9.5, middle - 0.5])], share_of_frames_with_the_tone, MelConfig(),
                    ["Tone"], 32, False)
    near = abs(sound.timeline.index + 1.007 - middle) < 3
    inside = sound.timeline.loc[5:13, "Tone"].max()
    assert 0.48 < inside < 0.55, "a second of two"
    assert sound.timeline.loc[near, "Tone"].max() == pytest.approx(inside, abs=0.02)


def test_windows_are_at_most_48_frames_apart_everywhere(ensemble, tmp_path, monkeypatch):
    monkeypatch.setattr("freesound_tagging.images.sections.MAX_SECONDS", 30)
    monkeypatch.setattr("freesound_tagging.images.sections.SECTION_SECONDS", 20)
    seconds = ensemble.timeline(tone_in_noise(tmp_path, [])).index
    assert seconds[0] == 0 and seconds[-1] > 55 - 2.05
    apart = np.diff(seconds) * 44_100 / 694
    assert apart.min() > 0 and apart.max() <= 48 + 1e-6


@pytest.mark.parametrize("click", [20.0, 20.15, 20.2, 20.25, 20.3, 21.0])
def test_a_short_sound_that_two_sections_see_comes_in_order(ensemble, tmp_path, monkeypatch, click):
    """A click over noise that is silence beside it: padded on both sides in both sections."""
    monkeypatch.setattr("freesound_tagging.images.sections.MAX_SECONDS", 30)
    monkeypatch.setattr("freesound_tagging.images.sections.SECTION_SECONDS", 20)
    signal = np.random.default_rng(0).standard_normal(35 * 44_100).astype(np.float32) * 1e-6
    signal[round(click * 44_100):][:2000] = 0.5
    sf.write(tmp_path / "a.wav", signal, 44_100, subtype="FLOAT")
    table = ensemble.timeline(tmp_path / "a.wav")
    assert table.attrs["duration"] == 35 and len(table) in (1, 2)
    assert (np.diff(table.index) > 0).all() and abs(table.index + 1 - click).max() < 0.1
    freesound_tagging.events(table, 0.01)


def test_an_ensemble_may_be_of_several_seeds_and_of_files_of_any_name(make_pipeline, finished_run, demo, tmp_path):
    paths = find_weights(finished_run.weights, (2,))
    assert {load_tagger(path).spec.seed for path in paths} == {0}
    other = load_tagger(paths[0])
    other.spec = dataclasses.replace(other.spec, seed=1)
    other.network[1][-1].bias.data += 1
    save_tagger(other, tmp_path / paths[0].name)
    both = freesound_tagging.Ensemble.load([paths[0], tmp_path / paths[0].name])
    sound, expected = demo.test["path"][0], 0
    for path in (paths[0], tmp_path / paths[0].name):
        expected = expected + freesound_tagging.tag(sound, path) / 2
    np.testing.assert_allclose(freesound_tagging.tag(sound, both), expected, atol=1e-6)

    for number in range(2):
        torch.manual_seed(number)
        save_like_torch_1_0(tmp_path / f"export {number}.pkl", as_fastai(cnn_model_1(2, 2)))
    other.spec = dataclasses.replace(other.spec, seed=0)
    save_tagger(other, tmp_path / "again.safetensors")
    with pytest.raises(ValueError, match=r"are both model 2 of fold 0 and seed 0 of cnn-model-1; delete one"):
        freesound_tagging.Ensemble.load([paths[0], tmp_path / "again.safetensors"])
    exports = [tmp_path / f"export {number}.pkl" for number in range(2)]
    assert len(freesound_tagging.Ensemble.load(exports).taggers) == 2
    shutil.copy(exports[0], tmp_path / "again.pkl")
    with pytest.raises(ValueError, match=r"again\.pkl and .*export 0\.pkl have the same weights; delete"):
        freesound_tagging.Ensemble.load([*exports, tmp_path / "again.pkl"])


def test_networks_are_read_once(finished_run, demo, ensemble, monkeypatch):
    expected = freesound_tagging.tag(demo.test["path"][:2], finished_run.weights)
    monkeypatch.setattr("freesound_tagging.prediction.ensemble.load_tagger", None)
    pd.testing.assert_frame_equal(freesound_tagging.tag(demo.test["path"][:2], ensemble), expected)
    assert len(freesound_tagging.timeline(demo.test["path"][0], ensemble)) >= 1


def test_the_programs_settings_are_as_they_were(ensemble, demo, monkeypatch):
    """Switches of a GPU are set back; the CPU's memory allocator, which cannot be, is not touched."""
    def switches():
        return (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision(),
                torch.is_autocast_enabled("cpu"), torch.is_grad_enabled(), torch.get_num_threads())

    before, filters = switches(), list(warnings.filters)
    with pytest.raises(ZeroDivisionError), as_prepared(torch.device("cuda")):
        assert torch.backends.cudnn.benchmark and not before[0]
        if not hasattr(torch.backends.cudnn, "conv"):
            assert switches()[1:3] == (True, "high") != before[1:3]
        _ = 1 / 0
    assert switches() == before
    monkeypatch.setattr("ctypes.CDLL", None)
    ensemble.tag(demo.test["path"][0])
    ensemble.timeline(demo.test["path"][0])
    assert switches() == before and warnings.filters == filters


def test_a_sound_that_fades_out_is_tagged_where_numpy_raises(finished_run, tmp_path):
    """Below the least normal float32, such as at the end of what a synthesizer has made."""
    fading = np.sin(np.arange(3 * 44_100)) * 10.0 ** -np.linspace(0, 44, 3 * 44_100)
    sf.write(tmp_path / "a.wav", fading.astype(np.float32), 44_100, subtype="FLOAT")
    expected = freesound_tagging.tag(tmp_path / "a.wav", finished_run.weights)
    with np.errstate(all="raise"):
        heard = freesound_tagging.Ensemble.load(finished_run.weights, "cpu").listen(tmp_path / "a.wav")
        np.testing.assert_array_equal(next(heard).probabilities, expected.iloc[0])
        assert set(np.geterr().values()) == {"raise"}, "the program's own settings hold between the sounds"
        store = SpectrogramStore.build([tmp_path / "a.wav"], tmp_path / "store", progress=False)
        freesound_tagging.Ensemble.load(finished_run.weights, "cpu").predict(store, progress=False)
        freesound_tagging.events(freesound_tagging.timeline(tmp_path / "a.wav", finished_run.weights), 0.01)


@pytest.mark.parametrize(("switch", "setting", "usual"), [
    (torch.set_default_dtype, torch.float64, torch.float32), (torch.set_default_dtype, torch.float16, torch.float32),
    (torch.set_default_device, "meta", None)])
def test_torchs_defaults_of_a_program_change_nothing(finished_run, demo, demo_stores, switch, setting, usual):
    paths, store = demo.test["path"][:2], demo_stores["test"]
    networks = freesound_tagging.Ensemble.load(finished_run.weights, "cpu")
    expected, of_store = networks.tag(paths), networks.predict(store, progress=False)
    _outline.cache_clear()
    try:
        switch(setting)
        networks = freesound_tagging.Ensemble.load(finished_run.weights, "cpu")
        pd.testing.assert_frame_equal(networks.tag(paths), expected)
        np.testing.assert_array_equal(networks.predict(store, progress=False), of_store)
    finally:
        switch(usual)
        _outline.cache_clear()


def test_thirty_days_of_the_same_probability_are_that_probability():
    """Windows 0.75 s apart in sections of 10 minutes; 0.1 for one network and 0.3 for the other."""
    sound, probabilities = _Listening("a.wav", MelConfig(), ["Bark"]), np.array([[0.1], [0.3]], np.float32)
    for number in range(0, 30 * 24 * 4800, 40):
        sound.hear(_Window(0, None, "", number * 0.75, 600.0 * (1 + number // 800)), probabilities)
    assert sound.heard().probabilities == pytest.approx([0.2], rel=1e-6)


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch before 2.9 has none of these settings")
@pytest.mark.parametrize("setting", ["none", "matmul", "conv", "all"])
def test_a_programs_own_choice_of_precision_is_as_it_was(setting):
    """Where a program has set one of these, torch does not let the former ones be read."""
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    places = {"matmul": matmul, "conv": conv, "all": torch.backends}

    def precisions():
        return [place.fp32_precision for place in places.values()]
    untouched = precisions()
    try:
        if setting != "none":
            places[setting].fp32_precision = "ieee"
        before = precisions()
        with as_prepared(torch.device("cuda")):
            assert precisions()[:2] == ["tf32", "tf32"]
        assert precisions() == before
        if setting in ("none", "all"):  # and what is said of all is still said of products
            torch.backends.fp32_precision = "tf32" if setting == "all" else "ieee"
            assert matmul.fp32_precision == torch.backends.fp32_precision
    finally:
        for place, precision in zip(places.values(), untouched):
            place.fp32_precision = precision


def test_a_long_silence_in_a_recording_is_no_event(ensemble, tmp_path, monkeypatch):
    monkeypatch.setattr("freesound_tagging.images.sections.MAX_SECONDS", 30)
    monkeypatch.setattr("freesound_tagging.images.sections.SECTION_SECONDS", 20)
    signal = np.zeros(70 * 8000)
    signal[25 * 8000:30 * 8000] = np.random.default_rng(0).standard_normal(5 * 8000) / 10
    sf.write(tmp_path / "a.wav", signal, 8000)
    sf.write(tmp_path / "sound.wav", signal[20 * 8000:40 * 8000], 8000)
    table, alone = ensemble.timeline(tmp_path / "a.wav"), ensemble.timeline(tmp_path / "sound.wav")
    assert table.index.min() > 24.9 and table.index.max() < 30 and table.attrs["duration"] == 70
    np.testing.assert_allclose(table, alone, atol=0.02)
    np.testing.assert_allclose(ensemble.tag(tmp_path / "a.wav").iloc[0], table.mean(), atol=1e-6)
    sf.write(tmp_path / "silence.wav", np.zeros(70 * 8000), 8000)
    with pytest.warns(UserWarning, match=r"silence\.wav is silent throughout"):
        assert ensemble.tag(tmp_path / "silence.wav").notna().all(axis=None)


def test_hours_of_silence_are_told_of_section_by_section(tmp_path, monkeypatch):
    """Four silent sections of 20 s; of the last one only its end sounds, in fewer windows than a batch has."""
    monkeypatch.setattr("freesound_tagging.images.sections.MAX_SECONDS", 30)
    monkeypatch.setattr("freesound_tagging.images.sections.SECTION_SECONDS", 20)
    signal, told = np.zeros(110 * 8000), []
    signal[-5 * 8000:] = np.random.default_rng(0).standard_normal(5 * 8000) / 10
    sf.write(tmp_path / "a.wav", signal, 8000)
    sound, = listen([tmp_path / "a.wav"], share_of_frames_with_the_tone, MelConfig(), ["Tone"], 32,
                    lambda *seconds: told.append(seconds))
    assert told == [(20, 110), (40, 110), (60, 110), (80, 110), (110, 110)]
    assert sound.timeline.index[0] == pytest.approx(105, abs=0.1)
    alone, = listen([tmp_path / "a.wav"], share_of_frames_with_the_tone, MelConfig(), ["Tone"], 1, False)
    pd.testing.assert_frame_equal(sound.timeline, alone.timeline)


@pytest.mark.parametrize(("call", "said"), [
    (lambda e: next(e.listen("a.wav", batch_size=0)), "batch_size=0: expected a whole number, at least 1"),
    (lambda e: e.select([0, 2]), r"chosen=\[0, 2\]: expected True or False for each of 9 networks"),
    (lambda e: e.select([False] * 9), "and one True at least"),
    (lambda e: freesound_tagging.Ensemble.load(e.paths, "cpu", torch.float64), "precision=torch.float64: expected one"),
    (lambda e: freesound_tagging.Ensemble.load(e.paths, "cpu", "half"), "precision='half': expected one of float32,"),
])
def test_arguments_that_cannot_be_are_named(ensemble, call, said):
    with pytest.raises(ValueError, match=said):
        call(ensemble)


def test_some_of_the_networks(ensemble, demo):
    first = ensemble.select([True] + [False] * 8)
    pd.testing.assert_frame_equal(first.tag(demo.test["path"][0]),
                                  freesound_tagging.tag(demo.test["path"][0], ensemble.paths[0], "cpu"))


def test_listening_may_be_left_off(ensemble, demo):
    """Without a word of the worker processes that had more."""
    heard = ensemble.listen([*demo.noisy["path"], *demo.noisy["path"]])
    assert next(heard).path == demo.noisy["path"][0]
    heard.close()


def test_an_interrupt_ends_the_command_without_a_word(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt
    monkeypatch.setattr("freesound_tagging.machine.device.device_named", interrupt)
    assert main(["a.wav"]) in (1, 130)
    monkeypatch.setattr(os.path, "isfile", lambda path: True)
    assert main(["a.wav"]) == 130
    assert "Traceback" not in capsys.readouterr().err


@pytest.fixture(scope="module")
def two_sounds(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    return [str(shutil.copy(path, folder / f"{name}.wav")) for name, path in zip("ab", demo.test["path"])]


def test_the_command_writes_timelines_by_their_ending(finished_run, ensemble, two_sounds, tmp_path, capsys):
    weights = ["--weights", str(finished_run.weights), "--device", "cpu"]
    assert main([*two_sounds, *weights, "--timeline", str(tmp_path / "t.csv")]) == 0
    table = pd.read_csv(tmp_path / "t.csv")
    assert list(table.columns[:4]) == ["path", "second", "window", "duration"]
    for path in two_sounds:
        own, heard = table[table["path"] == path].set_index("second"), ensemble.timeline(path)
        np.testing.assert_allclose(own.iloc[:, 3:], heard, atol=1e-6)
        assert own[["window", "duration"]].drop_duplicates().to_dict("records") == [heard.attrs]

    threshold = float(ensemble.timeline(two_sounds[0]).max().nlargest(3).iloc[-1])
    assert main([two_sounds[0], *weights, "--timeline", str(tmp_path / "t.txt"), "--threshold", str(threshold)]) == 0
    rows = [line.split("\t") for line in (tmp_path / "t.txt").read_text().splitlines()]
    expected = freesound_tagging.events(ensemble.timeline(two_sounds[0]), threshold)
    assert len(rows) >= 3 and [label for *_, label in rows] == expected["label"].tolist()
    np.testing.assert_allclose([[float(start), float(end)] for start, end, _ in rows], expected[["start", "end"]],
                               atol=1e-6)
    (tmp_path / "labels").mkdir()
    assert main([*two_sounds, *weights, "--timeline", str(tmp_path / "labels"), "--threshold", str(threshold)]) == 0
    assert (tmp_path / "labels/a.wav.txt").read_text() == (tmp_path / "t.txt").read_text()
    assert (tmp_path / "labels/b.wav.txt").exists()
    capsys.readouterr()


def test_the_command_speaks_to_programs(finished_run, ensemble, two_sounds, tmp_path, capsys):
    (tmp_path / "bad.wav").write_text("no sound")
    command = [*two_sounds, str(tmp_path / "bad.wav"), "--weights", str(finished_run.weights), "--device", "cpu",
               "--json", "--top", "2", "--threshold", "0.01"]
    assert main([str(tmp_path / "none.wav"), *command]) == 1
    said = capsys.readouterr()
    none, *lines = [json.loads(line) for line in said.out.splitlines()]
    assert none == {"path": str(tmp_path / "none.wav"), "error": "no such file, or it may not be read"}
    assert [line["path"] for line in lines] == command[:3] and "bad.wav" in lines[2]["error"] and "bad.wav" in said.err
    for line in lines[:2]:
        tags, timeline = ensemble.tag(line["path"]).iloc[0], ensemble.timeline(line["path"])
        assert [entry["label"] for entry in line["labels"]] == tags.nlargest(2).index.tolist()
        assert [entry["probability"] for entry in line["labels"]] == pytest.approx(tags.nlargest(2).tolist())
        pd.testing.assert_frame_equal(pd.DataFrame(line["events"]), freesound_tagging.events(timeline, 0.01))
        assert line["seconds"] == pytest.approx(sf.info(line["path"]).duration)


def test_patterns_are_sounds_and_a_file_of_the_name_of_one_is_a_file(two_sounds, tmp_path):
    folder = os.path.dirname(two_sounds[0])
    assert [str(path) for path in sounds_of(f"{folder}/*.wav")] == two_sounds
    (tmp_path / "2026/07").mkdir(parents=True)
    below = shutil.copy(two_sounds[1], tmp_path / "2026/07/b.wav")
    assert sounds_of(f"{tmp_path}/**/b.wav") == [below]
    assert sounds_of(f"{folder}/*.mp3") == [f"{folder}/*.mp3"], "named as missing later"
    (tmp_path / "2026/07/notes.txt").write_text("no sound")
    with pytest.warns(UserWarning, match=r"/\*\*: no sounds, passed over: notes\.txt"):
        assert sounds_of(f"{tmp_path}/**") == [below]
    literal = tmp_path / "[ab].wav"
    shutil.copy(two_sounds[0], literal)
    assert sounds_of([literal]) == [literal]


@pytest.mark.parametrize(("arguments", "said"), [
    (["--timeline", "t.txt"], "has room for the labels of one sound, and there are 2"),
    (["--timeline", "t.mp3"], "expected a name that ends in .csv, .tsv, .selections.txt, .txt, or a folder"),
    (["--timeline", "nowhere/"], "expected a name that ends in .csv, .tsv, .selections.txt, .txt, or a folder"),
    (["--timeline", "t.csv", "--csv", "./t.csv"], "--csv and --timeline are both t.csv"),
    (["--threshold", "0"], "is 0; expected a probability above 0"), (["--threshold", "x"], "is x; expected"),
])
def test_options_of_timelines_that_cannot_be_are_refused(finished_run, two_sounds, arguments, said, capsys):
    with pytest.raises(SystemExit):
        main([*two_sounds, "--weights", str(finished_run.weights), *arguments])
    assert said in capsys.readouterr().err


@pytest.fixture
def readable():
    """A folder with `closed`, which may neither be read nor entered, and `listed`, read only: by who is not root."""
    with tempfile.TemporaryDirectory() as folder:
        folder, before = Path(folder), os.geteuid()
        folder.chmod(0o755)
        for name, rights in (("closed", 0), ("listed", 0o444), ("open", 0o755)):
            (folder / name).mkdir()
            sf.write(folder / name / "a.wav", np.zeros(8), 8000)
            (folder / name).chmod(rights)
        if before == 0:
            os.seteuid(65534)
        yield folder
        if before == 0:
            os.seteuid(0)
        for name in ("closed", "listed"):
            (folder / name).chmod(0o755)


def test_what_may_not_be_read_is_named_as_missing_and_the_rest_is_tagged(readable, capsys):
    given = [readable / "open", readable / "closed", readable / "listed", readable / "closed/a.wav",
             readable / ("long" * 99)]
    assert sounds_of(given) == [readable / "open/a.wav", *given[1:]]
    assert main([str(path) for path in given[1:]]) == 1
    assert capsys.readouterr().err == "".join(f"{path}: no such file, or it may not be read\n" for path in given[1:])
    for name in ("closed", "closed/below"):
        with (pytest.warns(UserWarning, match=r"closed.* cannot be read \(Permission denied\), and nothing in it is "),
              pytest.raises(FileNotFoundError)):
            find_weights(readable / name)


def test_what_is_in_a_folder_may_have_a_name_that_is_no_text(tmp_path):
    """As old archives have it, in Latin-1; what a sound is called does not matter."""
    sf.write(tmp_path / "a", np.zeros(8), 8000, format="WAV")
    os.rename(tmp_path / "a", os.fsencode(tmp_path) + b"/caf\xe9")
    with open(os.fsencode(tmp_path) + b"/caf\xe9.txt", "w") as file:
        file.write("no sound")
    with pytest.warns(UserWarning, match=r"no sounds, passed over: caf.*\.txt$"):
        assert [os.fsencode(path.name) for path in sounds_of(tmp_path)] == [b"caf\xe9"]


def test_two_sounds_of_one_name_do_not_overwrite_each_others_labels(finished_run, two_sounds, tmp_path, capsys):
    (tmp_path / "labels").mkdir()
    other = shutil.copy(two_sounds[1], tmp_path / "a.wav")
    with pytest.raises(SystemExit):
        main([two_sounds[0], str(other), "--weights", str(finished_run.weights), "--timeline", f"{tmp_path}/labels"])
    assert "two of the sounds would be a.wav.txt there" in capsys.readouterr().err


def test_a_sound_that_goes_wrong_in_its_middle_is_unreadable_as_a_whole(ensemble, tmp_path, monkeypatch):
    monkeypatch.setattr("freesound_tagging.images.sections.MAX_SECONDS", 30)
    monkeypatch.setattr("freesound_tagging.images.sections.SECTION_SECONDS", 20)
    signal = np.random.default_rng(0).standard_normal(60 * 44_100).astype(np.float32) / 10
    sf.write(tmp_path / "good.wav", signal, 44_100, subtype="FLOAT")
    signal[-1] = np.nan
    sf.write(tmp_path / "bad.wav", signal, 44_100, subtype="FLOAT")
    with pytest.warns(UserWarning, match=r"1 of 2 sounds cannot be read: .*bad\.wav holds samples that are not"):
        table = ensemble.tag([tmp_path / "bad.wav", tmp_path / "good.wav"])
    assert table.iloc[0].isna().all()
    pd.testing.assert_frame_equal(table[1:], ensemble.tag(tmp_path / "good.wav"))
    with pytest.raises(ValueError, match=r"bad\.wav holds samples"):
        ensemble.timeline(tmp_path / "bad.wav")
