"""Events cut out of recordings."""

import os
import resource
import tracemalloc

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from freesound_tagging.__main__ import main
from freesound_tagging.annotations.cuts import cut_of
from freesound_tagging.annotations.reading import read_events
from freesound_tagging.clips import audio
from freesound_tagging.prediction.cutting import Cuts, spread, write_stretches
from freesound_tagging.prediction.listening import Heard


def heard(path, times):
    """What was heard in a sound of 60 s: `times` are of Bark, each a window of a second with its probability."""
    table = pd.DataFrame({"Bark": np.zeros(60, np.float32), "A/B": np.zeros(60, np.float32)},
                         pd.Index(np.arange(60.0), name="second"))
    for second, probability in times.items():
        table.loc[second, "Bark"] = probability
    table.attrs = {"window": 1.0, "duration": 60.0}
    return Heard(path, table, table.mean().to_numpy())


@pytest.fixture(scope="module")
def ramp(tmp_path_factory):
    """A minute at 8 kHz, in which each of two channels says where one is: sample n is n / 480,000."""
    path = tmp_path_factory.mktemp("ramp") / "night 1.wav"
    samples = np.arange(480_000) / 480_000
    sf.write(path, np.stack([samples, samples], 1), 8000)
    return path


@pytest.mark.parametrize("block", [1 << 20, 1000])
def test_stretches_are_the_samples_of_their_seconds(ramp, tmp_path, monkeypatch, block):
    monkeypatch.setattr(audio, "BLOCK", block)
    stretches = [(0.5, 1.25), (10.0, 20.0), (0.0, 0.1), (10.05, 10.06), (59.0, 60.5)]
    write_stretches(ramp, [(*stretch, tmp_path / f"{number}.flac") for number, stretch in enumerate(stretches)])
    for number, (start, end) in enumerate(stretches):
        samples, rate = sf.read(tmp_path / f"{number}.flac")
        first, last = round(start * 8000), min(480_000, round(end * 8000))
        assert rate == 8000 and samples.ndim == 1 and len(samples) == last - first
        np.testing.assert_allclose(samples, np.arange(first, last) / 480_000, atol=1e-4)
    assert len(list(tmp_path.iterdir())) == 5


def test_a_stretch_of_twenty_minutes_takes_the_memory_of_a_block(tmp_path):
    sf.write(tmp_path / "long.wav", np.zeros(9_600_000, np.int16), 8000)
    tracemalloc.start()
    write_stretches(tmp_path / "long.wav", [(1.0, 1199.0, tmp_path / "cut.flac")])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 20e6 and sf.info(tmp_path / "cut.flac").frames == 1198 * 8000  # float32: 38 MB


def test_more_stretches_than_a_process_may_have_files_open(ramp, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/dev/fd")) + 20, before[1]))
    try:
        write_stretches(ramp, [(second / 4, second / 4 + 0.5, tmp_path / f"{second}.flac") for second in range(40)])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert {sf.info(path).frames for path in tmp_path.glob("*.flac")} == {4000} and len(list(tmp_path.iterdir())) == 40


def test_a_cut_that_does_not_fit_is_not_there_and_named(tmp_path):
    """As on a full disk: a file may have 5,000 bytes, and a second of noise has 16,000, a hundredth 160."""
    sf.write(tmp_path / "noise.wav", np.random.default_rng(0).uniform(-1, 1, 16_000), 8000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))
    try:
        with pytest.raises(OSError, match=r"no room to write .*long\.flac \(.*\); free some"):
            write_stretches(tmp_path / "noise.wav", [(0.0, 0.01, tmp_path / "cut/short.flac"),
                                                     (0.5, 1.5, tmp_path / "cut/long.flac")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["short.flac"]
    assert len(sf.read(tmp_path / "cut/short.flac")[0]) == 80


def test_probabilities_that_are_taken_are_spread_evenly():
    assert spread([0.3, 0.31, 0.32, 0.33, 0.6, 0.9], 3) == [5, 4, 0]
    assert spread([0.5] * 4, 2) == [0, 1]
    assert spread([0.5, 0.4], 2) == [0, 1] and spread([], 2) == []


def test_events_are_cut_into_their_labels_folder_and_not_twice(ramp, tmp_path):
    found, folder = heard(ramp, {3: 0.9, 10: 0.5, 20: 0.7, 21: 0.8, 40: 0.31}), ramp.parent.name
    for time in range(2):
        cuts = Cuts(tmp_path / "cut", [ramp], threshold=0.3, most=3)
        cuts.add(found)
        cuts.close()
        names = sorted(path.relative_to(tmp_path / "cut").as_posix() for path in (tmp_path / "cut").rglob("*.flac"))
        if time == 0:
            assert names == [f"Bark/0.{rest}.flac" for rest in (
                f"310_{folder}+night 1.wav_40.000-41.000", f"500_{folder}+night 1.wav_10.000-11.000",
                f"900_{folder}+night 1.wav_3.000-4.000")]
            (tmp_path / "cut/Meow").mkdir()
            (tmp_path / "cut" / names[0]).rename(tmp_path / "cut/Meow" / names[0].removeprefix("Bark/"))
    assert names == [f"Bark/0.500_{folder}+night 1.wav_10.000-11.000.flac",
                     f"Bark/0.900_{folder}+night 1.wav_3.000-4.000.flac",
                     f"Meow/0.310_{folder}+night 1.wav_40.000-41.000.flac"], "what somebody has sorted stays"


def cut_from(sounds, folder):
    """The names of recordings in those of the cuts in a folder, once something is cut of each sound."""
    cuts = Cuts(folder, sounds)
    for sound in sounds:
        cuts.add(heard(sound, {3: 0.9}))
    cuts.close()
    return sorted(cut_of(path).recording for path in folder.rglob("*.flac"))


def test_recordings_of_one_name_are_told_apart_by_their_folders_whatever_else_is_heard(ramp, tmp_path, monkeypatch):
    for site in ("site a", "site b", "c/site a"):
        (tmp_path / site).mkdir(parents=True)
        (tmp_path / site / "0300.wav").write_bytes(ramp.read_bytes())
    a, b, c = (tmp_path / site / "0300.wav" for site in ("site a", "site b", "c/site a"))
    assert cut_from([a], tmp_path / "cut") == ["site a+0300.wav"]
    assert cut_from([a, b], tmp_path / "cut") == ["site a+0300.wav", "site b+0300.wav"]
    monkeypatch.chdir(tmp_path / "site a")
    assert cut_from(["0300.wav", a], tmp_path / "once") == ["site a+0300.wav"]
    assert [name.endswith(end) for name, end in zip(cut_from([a, c], tmp_path / "alike"), (
        "+c+site a+0300.wav", f"+{tmp_path.name}+site a+0300.wav"), strict=True)] == [True, True]


def test_recordings_that_cannot_be_cut_are_named_once_the_others_are(ramp, tmp_path):
    for rate in (65_537, 192_001, 768_000, 655_350):
        sf.write(tmp_path / f"{rate}.wav", np.zeros(4 * rate, np.int16), rate)
    sounds = [tmp_path / "gone.wav", *tmp_path.glob("*.wav"), ramp]
    cuts = Cuts(tmp_path / "cut", sounds)
    for sound in sounds:
        cuts.add(heard(sound, {3: 0.9}))
    with pytest.raises(OSError, match="4 of 6 recordings could not be cut") as error:
        cuts.close()
    for said in ("gone.wav does not exist", "65537.wav is of 65537 Hz", "192001.wav is of 192001 Hz", "768000.wav is"):
        assert said in str(error.value)
    assert sorted(sf.info(path).samplerate for path in (tmp_path / "cut").rglob("*.flac")) == [8000, 655_350]


@pytest.mark.slow
def test_the_command_cuts_what_its_timeline_says(finished_run, demo, tmp_path, capsys):
    sounds = [str(path) for path in demo.test["path"][:3]]
    command = [*sounds, "--weights", str(finished_run.weights), "--threshold", "0.05", "--cut", str(tmp_path / "cut")]
    assert main([*command, "--cut-most", "1000", "--timeline", str(tmp_path / "t.selections.txt")]) == 0
    events = read_events(tmp_path / "t.selections.txt")
    assert len(events) > 3 and set(events["file"]) <= set(sounds)
    cuts = {cut_of(path): path for path in (tmp_path / "cut").rglob("*.flac")}
    assert sorted((cut.label, round(cut.start, 2), round(cut.end, 2)) for cut in cuts) == sorted(
        (row.label, round(row.start, 2), round(row.end, 2)) for row in events.itertuples())
    for cut, path in cuts.items():
        assert sf.info(path).duration == pytest.approx(cut.end - cut.start, abs=0.002)
    assert main([*sounds, "--weights", str(finished_run.weights), "--threshold", "0.05", "--timeline",
                 str(tmp_path / "t.tsv")]) == 0
    dcase = read_events(tmp_path / "t.tsv")
    np.testing.assert_allclose(dcase[["start", "end"]], events[["start", "end"]], atol=6e-4)
    assert list(dcase["label"]) == list(events["label"])
    assert set(dcase["file"]) == {path.rsplit("/", 1)[1] for path in events["file"]}
    capsys.readouterr()
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        main([*sounds, "--weights", str(finished_run.weights), "--cut", str(tmp_path / "file")])
    assert "is a file; name a folder" in capsys.readouterr().err


def test_of_a_pipe_nothing_can_be_cut(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe is a pipe, of which nothing can be cut once it was heard; give a file"):
        Cuts(tmp_path / "cut", [tmp_path / "pipe"])
