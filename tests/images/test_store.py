import dataclasses
import json
import os
import shutil
import tempfile
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from freesound_tagging.images.mel import MelConfig, fit_signal, load_clip, log_mel, sounding, to_image
from freesound_tagging.images.store import SpectrogramStore

RATE = 44_100
HOP_347 = MelConfig(hop_length=347)
ZEROS = MelConfig(padding="constant")


def published_image(path, hop=694, padding="reflect"):
    """Audio to image by librosa, step by step as the specification says; zero padding and float32 as it is today."""
    signal, _ = librosa.load(path, sr=RATE)
    if len(signal):
        energy = librosa.feature.rms(y=signal, pad_mode=padding) ** 2
        loud = np.flatnonzero(librosa.power_to_db(energy[0], ref=np.max, top_db=None) > -60)
        signal = signal[512 * loud[0]:512 * (loud[-1] + 1)]
    if len(signal) < 2 * RATE:
        padded = 2 * RATE - len(signal)
        offset = padded // 2
        signal = np.pad(signal, (offset, padded - offset), "constant")
    mel = librosa.feature.melspectrogram(
        y=signal, sr=RATE, n_mels=128, hop_length=hop, n_fft=2560, fmin=20, fmax=22_050, pad_mode=padding,
        dtype=np.float64 if padding == "reflect" else np.float32)
    x = librosa.power_to_db(mel).astype(np.float32)
    x = x - x.mean()
    x = x / (x.std() + 1e-6)
    if x.max() - x.min() <= 1e-6:
        return np.zeros(x.shape, np.uint8)
    return (255 * (x - x.min()) / (x.max() - x.min())).astype(np.uint8)


def our_image(path, config=MelConfig()):
    return to_image(log_mel(load_clip(path, config), config))


def test_images_are_those_of_the_authors_own_software(shared):
    """librosa 0.6.3 made `images.npz`: most are equal to the byte, in the others hardly a pixel is a grey level off."""
    folder = shared / "author-stack"
    authors = np.load(folder / "images.npz")
    equal = []
    for name in authors.files:
        ours, theirs = our_image(folder / "input/test" / name), authors[name]
        assert ours.shape == theirs.shape, name
        difference = np.abs(ours.astype(int) - theirs)
        assert difference.max() <= 1, name
        assert (difference > 0).mean() <= 1e-4, name
        equal.append((ours == theirs).all())
    assert len(equal) == 19
    assert np.mean(equal) >= 0.8


def test_zero_padding_gives_other_images_than_the_authors(shared):
    folder = shared / "author-stack"
    authors = np.load(folder / "images.npz")
    ours = {name: our_image(folder / "input/test" / name, ZEROS) for name in authors.files}
    differ = [name for name in authors.files
              if ours[name].shape != authors[name].shape or (ours[name] != authors[name]).any()]
    assert len(differ) >= 10


def assert_alike(ours, theirs, name=""):
    """Equal, but for the last bit of a sum in float64, which can move a pixel by a grey level."""
    assert ours.shape == theirs.shape, name
    difference = np.abs(ours.astype(int) - theirs)
    assert difference.max() <= 1, name
    assert (difference > 0).sum() <= 2, name


def test_images_of_clips_are_librosas_told_to_reflect(recordings):
    for path in [*recordings.curated["path"][:20], *recordings.noisy["path"][:20]]:
        assert_alike(our_image(path), published_image(path), path.name)


def test_images_of_clips_with_zero_padding_are_todays_librosas_to_the_byte(recordings):
    for path in [*recordings.curated["path"][:20], *recordings.noisy["path"][:20]]:
        np.testing.assert_array_equal(our_image(path, ZEROS), published_image(path, padding="constant"),
                                      err_msg=path.name)


def test_silence_is_trimmed_by_todays_librosa_where_padding_is_zeros(recordings):
    for path in recordings.curated["path"][:20]:
        signal, _ = librosa.load(path, sr=RATE)
        assert sounding(signal, ZEROS) == tuple(librosa.effects.trim(signal, top_db=60)[1])


def test_images_at_hop_347_are_librosas(recordings):
    for path in recordings.curated["path"][:5]:
        image = our_image(path, HOP_347)
        assert_alike(image, published_image(path, 347), path.name)
        assert image.shape[1] == 1 + len(load_clip(path)) // 347


def test_a_store_of_clips_holds_these_images(recordings, tmp_path, many_processes):
    paths = [*recordings.noisy["path"], *recordings.curated["path"]][:130]
    store = SpectrogramStore.build(paths, tmp_path, n_jobs=2, progress=False)
    for clip in range(0, len(paths), 5):
        assert_alike(store[clip], published_image(paths[clip]), store.fnames[clip])


@pytest.mark.parametrize("config", [MelConfig(), ZEROS, HOP_347])
@pytest.mark.parametrize(("name", "samples"), [
    ("empty", 0), ("one sample", 1), ("two samples", 2), ("0.01 s", 441), ("0.3 s", 13_230), ("just below 2 s", 88_199),
    ("2 s", 88_200), ("30 s", 1_323_000),
])
def test_images_of_any_length_are_librosas(tmp_path, name, samples, config):
    rng = np.random.default_rng(0)
    signal = 0.1 * rng.standard_normal(samples) * np.linspace(0, 1, samples)
    sf.write(tmp_path / "a.wav", signal, RATE, subtype="PCM_16")
    image = our_image(tmp_path / "a.wav", config)
    assert_alike(image, published_image(tmp_path / "a.wav", config.hop_length, config.padding))
    assert image.shape[0] == 128
    assert image.shape[1] >= 128


def test_silence_gives_zeros(tmp_path):
    sf.write(tmp_path / "a.wav", np.zeros(3 * RATE), RATE, subtype="PCM_16")
    image = our_image(tmp_path / "a.wav")
    np.testing.assert_array_equal(image, published_image(tmp_path / "a.wav"))
    assert not image.any()


def test_two_seconds_are_128_frames_at_hop_694():
    assert MelConfig().min_frames == 128
    assert MelConfig().excerpt_seconds == pytest.approx(2.0, abs=0.02)
    assert HOP_347.min_frames == 255


def test_short_signals_are_padded_with_the_odd_sample_behind():
    padded = fit_signal(np.ones(13_231, np.float32))
    offset = (88_200 - 13_231) // 2
    assert len(padded) == 88_200
    assert padded[offset - 1] == 0
    assert padded[offset] == 1
    assert padded[offset + 13_230] == 1
    assert padded[offset + 13_231] == 0
    assert fit_signal(np.zeros(0, np.float32)).shape == (88_200,)


def test_stereo_and_other_sample_rates_are_brought_to_mono_at_44100(tmp_path):
    tone = np.sin(2 * np.pi * 440 * np.arange(3 * 22_050) / 22_050)
    sf.write(tmp_path / "a.flac", np.stack([tone, np.zeros_like(tone)], 1), 22_050)
    signal = load_clip(tmp_path / "a.flac")
    assert abs(len(signal) - 3 * RATE) < 1024  # trim works in hops of 512
    assert np.abs(signal).max() == pytest.approx(0.5, abs=0.02)
    theirs, _ = librosa.load(tmp_path / "a.flac", sr=RATE)
    np.testing.assert_array_equal(signal, fit_signal(theirs))


def test_a_click_early_in_a_sound_is_reflected_into_the_energy_of_its_beginning():
    """By hand: the first frame's energy is of samples 1024..1 and 0..1023, so that a click at 700 is in it twice, and
    with zeros before the signal once; a frame that begins 512 later has it once."""
    signal = np.zeros(60_000, np.float32)
    signal[700] = 1.0
    assert sounding(signal) == sounding(signal, ZEROS) == (0, 512 * 4)  # frames 0 to 3 reach sample 700
    signal[700] = 1e-3 * 1.2  # -58.4 dB beside a loud click; twice its power is -55.4 dB
    signal[50_000] = 1.0
    assert sounding(signal)[0] == 0
    quiet = MelConfig(trim_db=57.0)
    assert sounding(signal, quiet)[0] == 0
    assert sounding(signal, dataclasses.replace(quiet, padding="constant"))[0] > 40_000

@pytest.mark.parametrize("content", [b"not a sound", b"", b"RIFF\x00\x00"])
def test_a_file_that_is_no_audio_is_named(tmp_path, content):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(OSError, match=r"a\.wav cannot be read as audio"):
        load_clip(tmp_path / "a.wav")
    with pytest.raises(FileNotFoundError, match=r"b\.wav does not exist"):
        load_clip(tmp_path / "b.wav")


@pytest.mark.parametrize(("setting", "message"), [
    ({"hop_length": 0}, "hop_length=0: expected a positive"),
    ({"n_fft": 1 << 16}, "n_fft=65536: expected at most 32768"),
    ({"hop_length": 20}, "a second of 2205, by 128 mel bands: expected at most 262144 pixels"),
    ({"f_max": 30_000.0}, "at most half the sample rate"),
    ({"f_min": 30_000.0}, "f_min=30000.0: expected less than f_max"),
    ({"padding": "wrap"}, "padding='wrap': expected 'reflect' or 'constant'"),
    ({"hop_length": 1000}, "fewer than an excerpt's 128"),
])
def test_settings_that_cannot_work_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        MelConfig(**setting)


@pytest.fixture
def clips(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.wav" for i in range(4)]
    for i, path in enumerate(paths):
        sf.write(path, 0.1 * rng.standard_normal(60_000 + 40_000 * i), RATE)
    return paths


def test_a_store_keeps_one_byte_a_pixel_frame_by_frame(clips, tmp_path):
    store = SpectrogramStore.build(clips, tmp_path / "store", progress=False)
    images = [our_image(path) for path in clips]
    assert store.fnames == [path.name for path in clips]
    assert store.pixels.dtype == np.uint8
    np.testing.assert_array_equal(store.pixels, np.concatenate([image.T for image in images]))
    np.testing.assert_array_equal(store.lengths, [image.shape[1] for image in images])
    for clip, image in enumerate(images):
        np.testing.assert_array_equal(store[clip], image)
    np.testing.assert_array_equal(store.histogram(), np.bincount(store.pixels.ravel(), minlength=256))


def test_a_store_is_computed_once(clips, tmp_path, monkeypatch):
    SpectrogramStore.build(clips, tmp_path / "store", progress=False)
    monkeypatch.setattr("freesound_tagging.images.reading._image_of", None)  # computing anything would fail
    assert len(SpectrogramStore.build(clips, tmp_path / "store", progress=False)) == 4
    os.utime(clips[0])  # touched, but of the same content
    assert len(SpectrogramStore.build(clips, tmp_path / "store", progress=False)) == 4


def test_an_unchanged_set_is_not_read_again(clips, tmp_path, monkeypatch):
    SpectrogramStore.build(clips, tmp_path / "store", progress=False)
    monkeypatch.setattr("freesound_tagging.images.store.digest_of", None)  # reading anything would fail
    assert len(SpectrogramStore.build(clips, tmp_path / "store", progress=False)) == 4


def test_another_file_of_the_same_name_size_and_time_never_gets_old_pixels(clips, tmp_path):
    """As where one constant time is given to all files: in another folder, and put in a file's place."""
    others = tmp_path / "others"
    others.mkdir()
    for path in clips:
        signal, _ = sf.read(path)
        sf.write(others / path.name, signal[::-1], RATE)
        for each in (path, others / path.name):
            os.utime(each, ns=(10**18, 10**18))
    first = SpectrogramStore.build(clips, tmp_path / "store", progress=False)
    second = SpectrogramStore.build([others / path.name for path in clips], tmp_path / "store", progress=False)
    for clip, path in enumerate(clips):
        np.testing.assert_array_equal(second[clip], our_image(others / path.name))
    assert [file["path"] for file in second.files] == [str(others / path.name) for path in clips]
    SpectrogramStore.build(clips, tmp_path / "store", progress=False)
    shutil.copy2(others / clips[0].name, clips[0])
    assert clips[0].stat().st_mtime_ns == 10**18 and clips[0].stat().st_size == (others / clips[0].name).stat().st_size
    third = SpectrogramStore.build(clips, tmp_path / "store", progress=False)
    np.testing.assert_array_equal(third[0], second[0])
    assert (third[0] != first[0]).any()


@pytest.mark.parametrize("times", [1, 100])
def test_a_file_that_is_replaced_while_its_image_is_made_is_not_taken_for_the_one_that_was_read(
        clips, tmp_path, monkeypatch, times):
    """Once it is read again; one that never rests is said, and built again the next time."""
    left = [times]
    read = load_clip

    def replacing(path, *rest):
        signal = read(path, *rest)
        if path == clips[1] and left[0]:
            left[0] -= 1
            sf.write(path, 0.1 * np.random.default_rng(left[0]).standard_normal(50_000), RATE)
        return signal
    monkeypatch.setattr("freesound_tagging.images.reading.load_clip", replacing)
    if times > 1:
        with pytest.warns(UserWarning, match=r"1\.wav was written to while it was read; build the store again"):
            SpectrogramStore.build(clips, tmp_path / "store", n_jobs=1, progress=False)
        left[0] = 0
    store = SpectrogramStore.build(clips, tmp_path / "store", n_jobs=1, progress=False)
    np.testing.assert_array_equal(store[1], our_image(clips[1]))
    assert not store.remarks


def test_a_changed_setting_or_file_never_gets_old_pixels(clips, tmp_path):
    def build(paths=clips, config=MelConfig()):
        return SpectrogramStore.build(paths, tmp_path / "store", config, progress=False)

    first = build()
    assert build(config=HOP_347).lengths[3] > first.lengths[3]
    assert (build(config=ZEROS).pixels != first.pixels).any()
    np.testing.assert_array_equal(build().pixels, first.pixels)
    np.testing.assert_array_equal(build(clips[::-1])[0], first[3])
    signal, _ = sf.read(clips[0])
    sf.write(clips[0], signal[::-1], RATE)  # the same name and size
    np.testing.assert_array_equal(build()[0], our_image(clips[0]))
    assert (build()[0] != first[0]).any()
    pixels = list((tmp_path / "store" / MelConfig().key).glob("*.u8"))
    assert len(pixels) == 1, "pixels that no index names are removed"


def test_a_store_of_nothing_is_refused_before_anything_is_computed(clips, tmp_path):
    with pytest.raises(ValueError, match="no clips"):
        SpectrogramStore.build([], tmp_path / "store")
    with pytest.raises(FileNotFoundError, match=r"no such file: .*9\.wav"):
        SpectrogramStore.build([*clips, tmp_path / "9.wav"], tmp_path / "store")
    clips[0].write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of 1 clips can be read: .*0\.wav"):
        SpectrogramStore.build(clips[:1], tmp_path / "store")


def test_a_torn_journal_and_torn_pixels_are_cut_to_what_is_whole(clips, tmp_path):
    whole = SpectrogramStore.build(clips, tmp_path / "whole", progress=False)
    folder = tmp_path / "torn" / MelConfig().key
    folder.mkdir(parents=True)
    name = Path(whole.pixels.filename).stem
    lines = [json.dumps(file) + "\n" for file in whole.files]
    (folder / f"{name}.jsonl").write_text("".join(lines[:2]) + lines[2][:20])
    (folder / f"{name}.u8.part").write_bytes(whole.pixels[:whole.starts[3] - 5].tobytes() + b"torn")
    again = SpectrogramStore.build(clips, tmp_path / "torn", progress=False)
    np.testing.assert_array_equal(again.pixels, whole.pixels)
    assert again.files == whole.files
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == [f"{name}.u8", "index.json"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=6), st.data())
def test_the_index_finds_each_clip_whatever_their_lengths_and_order(seconds, data):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        rng = np.random.default_rng(len(seconds))
        paths = [folder / f"{i}.wav" for i in range(len(seconds))]
        for path, length in zip(paths, seconds):
            sf.write(path, 0.1 * rng.standard_normal(length * 8000), 8000)
        order = data.draw(st.permutations(paths))
        config = MelConfig(sample_rate=8000, f_max=4000.0, min_seconds=0.5, hop_length=31)
        store = SpectrogramStore.build(order, folder / "store", config, 1, False)
        for clip, path in enumerate(order):
            np.testing.assert_array_equal(store[clip], to_image(log_mel(load_clip(path, config), config)))
        assert store.starts[0] == 0
        assert (np.diff(store.starts) == store.lengths[:-1]).all()
        assert store.starts[-1] + store.lengths[-1] == len(store.pixels)


def test_a_store_in_a_folder_that_cannot_be_written_to_is_current_all_the_same(clips, tmp_path, monkeypatch):
    store = SpectrogramStore.build(clips, tmp_path / "store", n_jobs=1, progress=False)
    for path in clips:
        os.utime(path, ns=(1, 1))  # as where they are mounted anew

    def refused(*_, **settings):
        raise PermissionError("read-only")
    monkeypatch.setattr(SpectrogramStore, "_write_index", refused)
    monkeypatch.setattr(SpectrogramStore, "_build", refused)
    again = SpectrogramStore.build(clips, tmp_path / "store", n_jobs=1, progress=False)
    np.testing.assert_array_equal(again.pixels, store.pixels)
    (store.folder / "left.jsonl").write_text("")  # by a build of other files that was killed
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: access(path, mode) and mode != os.W_OK)
    monkeypatch.setattr("freesound_tagging.images.store.only_writer", refused)
    again = SpectrogramStore.build(clips, tmp_path / "store", n_jobs=1, progress=False)
    np.testing.assert_array_equal(again.pixels, store.pixels)


def test_the_index_is_readable_text(clips, tmp_path):
    SpectrogramStore.build(clips, tmp_path / "store", progress=False)
    index = json.loads((tmp_path / "store" / MelConfig().key / "index.json").read_text())
    assert index["config"]["hop_length"] == 694
    assert [file["fname"] for file in index["files"]] == [path.name for path in clips]
