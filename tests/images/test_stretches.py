"""Stretches of recordings as clips: where in a recording's image each is seen, by arithmetic and by what sounds."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from freesound_tagging.clips.clips import Clips
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.images.sections import sections
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.training.pool import SharedClips

RATE = 44_100
NAN = (np.nan, np.nan)
# 62.5 frames a second, so that long sounds cost little
SLOW = MelConfig(sample_rate=2000, f_max=1000, n_fft=256, hop_length=32, n_mels=16, min_seconds=2.1)


def noise(seconds, rate=RATE, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))).astype(np.float32)


def write(path, signal, rate=RATE):
    sf.write(path, signal, rate, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def test_a_stretch_is_a_view_of_the_recordings_image(tmp_path):
    path, other = write(tmp_path / "a.wav", noise(20)), write(tmp_path / "b.wav", noise(3, seed=1))
    spans = np.array([(5, 9), (10.2, 10.4), (0, 0.1), (19.9, 20), NAN, (7, 7)])
    store = SpectrogramStore.build([path, path, path, path, other, path], tmp_path / "cut", progress=False, spans=spans)
    whole = SpectrogramStore.build([path, other], tmp_path / "whole", progress=False)
    # By hand: 44100 / 694 = 63.5447 frames a second, 1 + 882000 // 694 = 1271 frames in all. 4 s are 254.2 of them,
    # about 7 s, 444.8; 10.3 s is frame 654.5, 64 frames before which an excerpt of 128 begins.
    places = [(318, 254), (591, 128), (0, 128), (1271 - 128, 128), None, (445 - 64, 128)]
    for clip, place in enumerate(places):
        expected = whole[1] if place is None else whole[0][:, place[0]:place[0] + place[1]]
        np.testing.assert_array_equal(store[clip], expected)
    assert store.fnames == ["a.wav"] * 4 + ["b.wav", "a.wav"]
    assert store.lengths.tolist() == [254, 128, 128, 128, 191, 128]
    frames = np.array([(318, 572), (591, 719), (1143, 1271)])
    np.testing.assert_allclose(store.spans[[0, 1, 3]], frames / 63.54467, atol=1e-4)
    assert not store.problems
    assert store.pixels.nbytes == whole.pixels.nbytes, "nothing is kept twice"


def test_a_sound_is_seen_where_it_sounds_though_silence_was_cut_off_before_it(tmp_path):
    signal = np.zeros(12 * RATE, np.float32)
    signal[3 * RATE:] = noise(9) * 0.01
    second = np.arange(RATE) / RATE
    signal[5 * RATE:6 * RATE] += (0.5 * np.sin(2 * np.pi * 1000 * second)).astype(np.float32)
    path = write(tmp_path / "a.wav", signal)
    with pytest.warns(UserWarning, match="nothing is to be heard from 0.5 to 1.5 s"):
        store = SpectrogramStore.build([path] * 2, tmp_path / "store", progress=False, spans=[(4, 8), (0.5, 1.5)])
    loud = np.flatnonzero(store[0].max(0) > 200)
    assert abs(loud[0] / 63.54467 - 1) < 0.05 and abs(loud[-1] / 63.54467 - 2) < 0.05, "from 5 to 6 s, seen from 4 s on"
    assert list(store.problems) == [1] and "a.wav" in store.problems[1]


def test_stretches_of_a_long_recording_lie_in_its_ten_minute_sections(tmp_path):
    path = write(tmp_path / "long.flac", noise(1500, 2000), 2000)
    spans = [(100, 110), (595, 612), (1490, 1500), (1600, 1601)]
    with pytest.warns(UserWarning, match="from 1600 to 1601 s"):
        store = SpectrogramStore.build([path] * 4, tmp_path / "store", SLOW, progress=False, spans=spans)
    first, second = (section.image for section in sections(path, SLOW))
    # 600 s and the rest; in the second, which has 12 of the 17 s across the border, they are the first 750 frames.
    np.testing.assert_array_equal(store[0], first[:, 6250:6250 + 625])
    np.testing.assert_array_equal(store[1], second[:, :750])
    assert store.lengths[2] == 625 and abs(store.spans[2, 1] - 1500) < 0.02
    assert list(store.problems) == [3], "which begins after the end"
    silent = np.concatenate([noise(700, 2000), np.zeros(1300 * 2000, np.float32), noise(700, 2000)])
    path = write(tmp_path / "gap.flac", silent, 2000)
    with pytest.warns(UserWarning, match="2 of 3 clips"):
        store = SpectrogramStore.build([path] * 3, tmp_path / "gap", SLOW, progress=False,
                                       spans=[(720, 730), (1300, 1310), (2100, 2110)])
    assert list(store.problems) == [0, 1], "in the silent end of a section, and in one that is silent throughout"
    last = list(sections(path, SLOW))[-1]
    assert 1999 < last.begin < 2001, "what is silent before it is cut off"
    first = round((2100 - last.begin) * 62.5)
    np.testing.assert_array_equal(store[2], last.image[:, first:first + 625])


def test_images_are_made_once_whatever_the_times_and_anew_for_whole_files(tmp_path):
    path = write(tmp_path / "a.wav", noise(8))

    def build(spans):
        store = SpectrogramStore.build([path] * (len(spans) if spans else 1), tmp_path / "store", progress=False,
                                       spans=spans)
        index = store.folder / "index.json"
        return store, (store.folder / json.loads(index.read_text())["pixels"]).stat().st_mtime_ns
    _, made = build([(1, 3)])
    two, still = build([(2, 5), (6, 7)])
    assert still == made and len(two) == 2
    whole, again = build(None)
    assert again != made and whole.spans is None and len(whole) == 1
    with pytest.raises(ValueError, match=r"a\.wav: a clip as a whole, and stretches"):
        build([(1, 3), NAN])
    for spans in ([(1, 3)], [(1, 3)] * 3):
        with pytest.raises(ValueError, match=f"{len(spans)} spans for 2 clips: expected one of each"):
            SpectrogramStore.build([path] * 2, tmp_path / "store", progress=False, spans=spans)


def test_a_recording_that_cannot_be_read_is_a_problem_of_all_its_clips(tmp_path):
    good, bad = write(tmp_path / "a.wav", noise(8)), tmp_path / "b.wav"
    bad.write_bytes(b"no sound")
    with pytest.warns(UserWarning, match="2 of 3 clips cannot be read"):
        store = SpectrogramStore.build([good, bad, bad], tmp_path / "store", progress=False,
                                       spans=[(1, 2), (3, 4), (5, 6)])
    assert set(store.problems) == {1, 2} and not store[1].any() and store[0].any()


def test_what_is_to_be_known_of_a_recording_is_said_of_all_its_clips_and_once(tmp_path):
    good, path = write(tmp_path / "a.wav", noise(9)), write(tmp_path / "b.wav", noise(9, seed=1))
    path.write_bytes(path.read_bytes() + b"\1" * 5000)
    clips, spans = [good, good, path, path, good], [(0, 3), (3, 6), (0, 3), (5, 8), (6, 9)]
    with pytest.warns(UserWarning, match="2 of 5 clips may not be what they should be: [^,]*5000 bytes[^,]*$"):
        store = SpectrogramStore.build(clips, tmp_path / "store", progress=False, spans=spans)
    assert list(store.remarks) == [2, 3]
    assert store.take([4, 3]).remarks == {1: store.remarks[3]}
    assert not store.take([0, 1, 4]).remarks


def test_what_else_sounds_in_an_excerpt_is_among_its_targets(tmp_path):
    path = write(tmp_path / "a.wav", noise(30))
    rows = [(10, 10.5, "dog"), (11, 14, "rain"), (11.45, 11.5, "cat"), (20, 26, "rain"), (23, 24, "dog"),
            (29.9, 30, "cat"), (28.1, 28.3, "dog")]
    table = pd.DataFrame([{"path": path, "set": "curated", "start": start, "end": end, "labels": (label,)}
                          for start, end, label in rows])
    clips = Clips(table, ("cat", "dog", "rain"))
    store = SpectrogramStore.build(clips.paths, tmp_path / "store", progress=False, spans=clips.spans)
    # Seen are: 9.24 to 11.26, so rain for a quarter of a second and no cat; the whole rain with the short cat in it;
    # 10.47 to 12.48, with the last 0.03 s of the dog, which is too little; a dog in the rain, rain about the dog;
    # the last 2.01 s of the file, from 27.99 on, with a dog, whose own excerpt ends before the cat.
    assert clips.sounding(store.spans).tolist() == [[0, 1, 1], [1, 0, 1], [1, 0, 1], [0, 1, 1], [0, 1, 1], [1, 1, 0],
                                                    [0, 1, 0]]
    assert clips.targets.sum() == len(rows), "and its own labels are as they were"


def test_clips_that_are_stretches_are_found_again_where_the_store_is(tmp_path):
    path, whole = write(tmp_path / "a.wav", noise(20)), write(tmp_path / "b.wav", noise(3))
    store = SpectrogramStore.build([path, whole, path], tmp_path / "store", progress=False,
                                   spans=[(5, 9), NAN, (10.2, 10.4)])
    other = SpectrogramStore.build([path, whole, path], tmp_path / "store", progress=False,
                                   spans=[(5, 9), NAN, (11.2, 11.4)])
    shared, moved = (SharedClips(one, np.eye(3)) for one in (store, other))
    assert shared.identity != moved.identity
    there = pickle.loads(pickle.dumps(shared))
    assert there.is_here()
    pool = there.on("cpu")
    assert pool.starts.tolist() == [318, 1271, 591] and pool.lengths.tolist() == [254, 191, 128]


def test_images_that_another_machine_makes_are_the_same(tmp_path):
    """Ray's executor is sent the files' contents; a sound that is too long for one image is read here."""
    class Sent:
        @staticmethod
        def map(function, items):
            for path, config, timed, content, *others in items:
                hidden = path.with_name("not there")
                yield function(hidden if len(content) < 1 << 20 else path, config, timed, content, *others)
    paths = [write(tmp_path / "a.flac", noise(8, 2000), 2000), write(tmp_path / "b.flac", noise(1000, 2000), 2000)]
    given = {"config": SLOW, "progress": False, "spans": [(1, 4), (700, 710)]}
    here = SpectrogramStore.build(paths, tmp_path / "here", **given)
    there = SpectrogramStore.build(paths, tmp_path / "there", executor=Sent(), **given)
    for clip in range(2):
        np.testing.assert_array_equal(here[clip], there[clip])
    assert here.files[1]["sections"] == there.files[1]["sections"] and len(here.files[1]["sections"]) == 2
