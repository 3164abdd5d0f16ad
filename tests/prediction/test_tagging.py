"""Sounds of one's own: `tag`, `timeline` and the command, on real recordings and on files that are none."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

import freesound_tagging
from freesound_tagging.__main__ import main
from freesound_tagging.images.excerpts import window_starts
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
    np.testing.assert_allclose(table.index, starts * 694 / 44100)
    np.testing.assert_allclose(table.mean(), freesound_tagging.tag(path, finished_run.weights).iloc[0], atol=1e-6)


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


def test_the_package_is_imported_without_torch():
    code = "import sys, freesound_tagging as f; assert 'torch' not in sys.modules; assert f.tag; assert 'torch' in " \
           "sys.modules; assert 'fastai' not in sys.modules and 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'tga'"):
        _ = freesound_tagging.tga


def test_the_budget_counts_what_is_over_and_what_is_left():
    budget = Budget(60)
    budget.started -= 20 * 60
    assert budget.estimate(left=15 * 60) == "35.0 of 60 min"
    assert budget.estimate(left=45 * 60) == "65.0 of 60 min: too long"
