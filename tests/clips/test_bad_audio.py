"""What strangers' audio files do: each is processed as documented, or reported by name with the reason."""

import json
import shutil
import struct
import warnings

import librosa
import numpy as np
import pytest
import soundfile as sf

from freesound_tagging.clips.audio import MAX_SECONDS, read_audio
from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.clips.doctor import examine
from freesound_tagging.demo.data import write_demo
from freesound_tagging.images.mel import MelConfig, fit_signal, load_clip
from freesound_tagging.images.reading import _content, _image_of
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.prediction.ensemble import Ensemble
from freesound_tagging.prediction.inference import ensemble_mean
from freesound_tagging.prediction.submission import write_submission

RATE = 44_100
TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(3 * RATE) / RATE)).astype(np.float32)


def tone_at(rate):
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate)).astype(np.float32)


@pytest.mark.parametrize(("subtype", "tolerance"), [
    ("PCM_U8", 0.01), ("PCM_16", 1e-4), ("PCM_24", 1e-6), ("PCM_32", 1e-6), ("FLOAT", 0), ("DOUBLE", 1e-7)])
def test_wav_of_any_depth_is_read_alike(tmp_path, subtype, tolerance):
    sf.write(tmp_path / "a.wav", TONE, RATE, subtype=subtype)
    np.testing.assert_allclose(load_clip(tmp_path / "a.wav"), fit_signal(TONE), atol=tolerance)


@pytest.mark.parametrize("rate", [8_000, 22_050, 48_000, 96_000])
def test_any_sample_rate_is_brought_to_44100_as_librosa_does(tmp_path, rate):
    sf.write(tmp_path / "a.wav", tone_at(rate), rate, subtype="FLOAT")
    theirs, _ = librosa.load(tmp_path / "a.wav", sr=RATE)
    np.testing.assert_array_equal(load_clip(tmp_path / "a.wav"), fit_signal(theirs))


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged_as_librosa_does(tmp_path, channels):
    sf.write(tmp_path / "a.wav", np.outer(TONE, np.arange(1, channels + 1) / channels), RATE, subtype="FLOAT")
    theirs, _ = librosa.load(tmp_path / "a.wav", sr=RATE)
    np.testing.assert_array_equal(load_clip(tmp_path / "a.wav"), fit_signal(theirs))


@pytest.mark.parametrize("kind", ["MP3", "OGG", "FLAC", "AIFF"])
def test_other_formats_are_read_whatever_the_name_ends_in(tmp_path, kind):
    sf.write(tmp_path / "a", TONE, RATE, format=kind)
    (tmp_path / "a").rename(tmp_path / "a.wav")
    signal = load_clip(tmp_path / "a.wav")
    assert abs(len(signal) - len(TONE)) < 4096  # encoders pad
    assert np.abs(signal).max() == pytest.approx(0.5, abs=0.05)


def test_of_a_truncated_file_what_is_there_is_used(tmp_path):
    sf.write(tmp_path / "a.wav", TONE, RATE)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:len(whole) * 5 // 6])
    assert abs(len(load_clip(tmp_path / "a.wav")) - len(TONE) * 5 // 6) < 1024


@pytest.mark.parametrize("kind", ["FLAC", "OGG", "MP3"])
def test_of_a_truncated_file_that_is_compressed_too(tmp_path, kind):
    signal = np.random.default_rng(0).standard_normal(10 * RATE).astype(np.float32) / 10
    sf.write(tmp_path / "a.wav", signal, RATE, format=kind)
    whole = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(whole[:len(whole) // 2])
    read = read_audio(tmp_path / "a.wav").signal
    assert abs(len(read) - len(signal) / 2) < RATE
    if kind == "FLAC":
        np.testing.assert_allclose(read, signal[:len(read)], atol=1e-4)


@pytest.mark.parametrize("rate", [RATE, 8_000, 96_000])
@pytest.mark.parametrize("length", [0, 1, 2])
def test_a_clip_of_next_to_nothing_is_padded(tmp_path, length, rate):
    sf.write(tmp_path / "a.wav", TONE[RATE // 2:RATE // 2 + length], rate)
    assert load_clip(tmp_path / "a.wav").shape == (2 * RATE,)


def test_ten_minutes_are_processed(tmp_path):
    sf.write(tmp_path / "a.wav", np.tile(TONE, 200), RATE)
    (image,) = SpectrogramStore.build([tmp_path / "a.wav"], tmp_path / "store", progress=False)
    assert image.shape == (128, 1 + 600 * RATE // 694)


def bad_files(folder):
    """Files that cannot be used, by what the message has to say."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("fname,labels\n")
    (folder / "header.wav").write_bytes(b"RIFF\xff\xff\xff\x7fWAVEfmt ")
    (folder / "raw.raw").write_bytes(bytes(1000))
    for name, value in (("nan", np.nan), ("infinite", -np.inf), ("huge", 1e30)):
        signal = TONE.copy()
        signal[RATE] = value
        sf.write(folder / f"{name}.wav", signal, RATE, subtype="FLOAT")
    with sf.SoundFile(folder / "long.flac", "w", 8000, 1) as file:
        for _ in range(MAX_SECONDS // 10 + 1):
            file.write(np.zeros(80_000))
    return {"empty.wav": "cannot be read as audio", "text.wav": "cannot be read as audio",
            "header.wav": "cannot be read as audio", "raw.raw": "cannot be read as audio",
            "nan.wav": "samples that are not numbers", "infinite.wav": "samples that are not numbers",
            "huge.wav": "above 1e+06", "long.flac": f"lasts more than {MAX_SECONDS} s"}


def test_every_unusable_file_is_named_with_the_reason(tmp_path):
    for name, reason in bad_files(tmp_path).items():
        with pytest.raises(OSError) as caught:
            load_clip(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert reason in str(caught.value), name


def test_names_with_spaces_and_other_alphabets_are_read(tmp_path):
    for name in ("a b.wav", "köter 犬.wav", "🐕.wav", "-rf.wav", "a,b.wav"):
        sf.write(tmp_path / name, TONE, RATE)
        assert len(load_clip(tmp_path / name)) >= 2 * RATE
    paths = sorted(tmp_path.glob("*.wav"))
    assert SpectrogramStore.build(paths, tmp_path / "store", progress=False).fnames == [path.name for path in paths]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_bad_files_do_not_stop_a_store_and_count_as_silence(demo, tmp_path, many_processes, n_jobs):
    bad = [tmp_path / "bad" / name for name in bad_files(tmp_path / "bad")]
    good = list(demo.noisy["path"])
    paths = [*good[:5], *bad, *good[5:]]
    with pytest.warns(UserWarning, match=rf"{len(bad)} of {len(paths)} clips cannot be read.*empty\.wav"):
        store = SpectrogramStore.build(paths, tmp_path / "store", n_jobs=n_jobs, progress=False)
    assert sorted(store.problems) == list(range(5, 5 + len(bad)))
    for clip, path in zip(store.problems, bad):
        assert path.name in store.problems[clip]
        assert not store[clip].any()
    with warnings.catch_warnings(record=True) as again:
        warnings.simplefilter("always")
        assert SpectrogramStore.build(paths, tmp_path / "store", progress=False).problems == store.problems
    assert any("cannot be read" in str(warning.message) for warning in again), "nor are they forgotten the next time"


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory):
    """A data set with bad files in every set."""
    root = write_demo(tmp_path_factory.mktemp("spoilt") / "input", curated=3, noisy=4, test=2, progress=False)
    bad = bad_files(root.parent / "bad")
    data = FSDKaggle2019(root)
    spoilt = {}
    for name in ("curated", "noisy", "test"):
        spoilt[name] = list(range(3, 3 + 2 * len(bad), 2))[:len(data.test) // 2]
        for clip, source in zip(spoilt[name], bad):
            shutil.copy(root.parent / "bad" / source, getattr(data, name)["path"][clip])
    return data, spoilt


@pytest.mark.filterwarnings("ignore:.*cannot be read and count as silence", "ignore:.*is silent throughout")
def test_training_leaves_bad_clips_out_and_the_submission_is_complete(spoilt, make_pipeline, tmp_path):
    data, bad = spoilt
    clips = data.clips()
    store, test = (SpectrogramStore.build(paths, tmp_path / name, n_jobs=1, progress=False)
                   for name, paths in (("training", clips.paths), ("test", data.test["path"])))
    unread = {*bad["curated"], *(len(data.curated) + clip for clip in bad["noisy"])}
    assert set(store.problems) == unread and sorted(test.problems) == bad["test"]
    pipeline = make_pipeline(tmp_path, clips=clips, store=store)
    pipeline.run()
    for stage in (1, 2, 3, 4):
        for fold in range(3):
            assert not unread & set(pipeline.training_clips(stage, fold))
    ensemble = Ensemble.load(pipeline.weights, "cpu")
    probabilities = ensemble_mean(ensemble.predict(test, progress=False))
    submission = write_submission(tmp_path / "submission.csv", test.fnames, data.vocabulary, probabilities)
    assert submission["fname"].tolist() == data.test["fname"].tolist()
    sf.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    silence = SpectrogramStore.build([tmp_path / "silence.wav"], tmp_path / "silence", MelConfig(), 1, False)
    of_silence = ensemble_mean(ensemble.predict(silence, progress=False))
    for clip in bad["test"]:
        np.testing.assert_allclose(probabilities[clip], of_silence[0], atol=1e-6)


def broken_off(path, riff, data, between=b""):
    """A WAV of `TONE` with other sizes in its header, as a recorder that was killed leaves it."""
    sf.write(path, TONE, RATE)
    wav = bytearray(path.read_bytes())
    struct.pack_into("<I", wav, 4, riff)
    place = wav.index(b"data")
    struct.pack_into("<I", wav, place + 4, data)
    path.write_bytes(wav[:place] + between + wav[place:])


@pytest.mark.parametrize("between", [b"", b"LIST" + struct.pack("<I", 4) + b"INFO"], ids=["", "after a list"])
@pytest.mark.parametrize(("riff", "data"), [(0, 0), (36, 0), (2**32 - 1, 0), (2**32 - 1, 2**32 - 1), (0, 2**32 - 1)])
def test_a_recording_that_was_broken_off_is_read_to_its_end(tmp_path, riff, data, between):
    broken_off(tmp_path / "a.wav", riff, data, between)
    content = (tmp_path / "a.wav").read_bytes()
    for given in (None, content):
        np.testing.assert_allclose(read_audio(tmp_path / "a.wav", given).signal, TONE, atol=1e-4)


def test_a_long_recording_that_was_broken_off_is_read_to_its_end(tmp_path):
    """RF64, which has its sizes in a chunk of their own."""
    sf.write(tmp_path / "a.wav", TONE, RATE, format="RF64", subtype="FLOAT")
    wav = bytearray((tmp_path / "a.wav").read_bytes())
    struct.pack_into("<QQQ", wav, wav.index(b"ds64") + 8, 0, 0, 0)
    (tmp_path / "a.wav").write_bytes(wav)
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav").signal, TONE)


def test_an_empty_sound_before_another_chunk_is_empty(tmp_path):
    sf.write(tmp_path / "a.wav", TONE[:0], RATE)
    with open(tmp_path / "a.wav", "ab") as file:
        file.write(b"LIST" + struct.pack("<I", 4) + b"INFO")
    assert len(read_audio(tmp_path / "a.wav").signal) == 0


@pytest.mark.parametrize("head", [b"\0\0\0\x1cftypM4A ", b"\x1aE\xdf\xa3", b"0&\xb2u\x8ef\xcf\x11", b"\xff\xf1P\x80"])
def test_a_format_that_libsndfile_does_not_read_is_called_so(tmp_path, head):
    path = tmp_path / "my song.m4a"
    path.write_bytes(head + bytes(1000))
    with pytest.raises(OSError, match=r"libsndfile does not read .ffmpeg -i '.*my song.m4a' '.*my song.wav' converts"):
        read_audio(path)


def unreadable(path):
    """A file whose content the system does not give: an I/O error, for the superuser too."""
    path.symlink_to("/proc/self/mem")
    return path


@pytest.mark.filterwarnings("ignore:.*cannot be read and count as silence")
def test_a_file_that_the_system_does_not_give_is_a_problem_by_name(tmp_path):
    good = [tmp_path / f"{name}.wav" for name in "ab"]
    for path in good:
        sf.write(path, TONE, RATE)
    paths = [good[0], unreadable(tmp_path / "bad.wav"), good[1]]
    store = SpectrogramStore.build(paths, tmp_path / "store", progress=False)
    assert list(store.problems) == [1]
    assert str(tmp_path / "bad.wav") in store.problems[1] and "Input/output error" in store.problems[1]
    assert store[0].any() and store[2].any()
    assert examine(paths, progress=False)["problem"].str.contains("bad.wav").tolist() == [False, True, False]
    before = store.folder.joinpath("index.json").stat().st_mtime_ns
    SpectrogramStore.build(paths, tmp_path / "store", progress=False)
    assert store.folder.joinpath("index.json").stat().st_mtime_ns == before, "nothing is computed again"
    (tmp_path / "bad.wav").unlink()
    sf.write(tmp_path / "bad.wav", TONE, RATE)
    assert not SpectrogramStore.build(paths, tmp_path / "store", progress=False).problems, "nor is it held against it"


def test_what_is_sent_of_an_unreadable_file_is_the_reason(tmp_path):
    path = unreadable(tmp_path / "bad.wav")
    _, known = _image_of(path, MelConfig(), False, *_content(path))
    assert known["digest"] == "" and str(path) in known["problem"] and "rror" in known["problem"]


@pytest.mark.parametrize("damage", [
    lambda pixels, index: pixels.write_bytes(pixels.read_bytes()[:1000]),
    lambda pixels, index: pixels.unlink(),
    lambda pixels, index: index.write_text(""),
    lambda pixels, index: index.write_text("[]"),
    lambda pixels, index: index.write_text('{"files": []}'),
    lambda pixels, index: index.write_bytes(b"\xff\xfe"),
], ids=["cut short", "no pixels", "empty index", "a list", "lacking", "no text"])
def test_a_store_that_is_not_whole_is_built_again(tmp_path, damage):
    sf.write(tmp_path / "a.wav", TONE, RATE)
    store = SpectrogramStore.build([tmp_path / "a.wav"], tmp_path / "store", progress=False)
    image, (pixels,) = store[0].copy(), store.folder.glob("*.u8")
    damage(pixels, store.folder / "index.json")
    again = SpectrogramStore.build([tmp_path / "a.wav"], tmp_path / "store", progress=False)
    np.testing.assert_array_equal(again[0], image)


def test_a_journal_of_more_than_there_is_counts_for_nothing(tmp_path):
    sf.write(tmp_path / "a.wav", TONE, RATE)
    store = SpectrogramStore.build([tmp_path / "a.wav"], tmp_path / "store", progress=False)
    image, (pixels,), index = store[0].copy(), store.folder.glob("*.u8"), store.folder / "index.json"
    pixels.with_suffix(".jsonl").write_text(json.dumps(json.loads(index.read_text())["files"][0]) + "\n")
    pixels.with_suffix(".u8.part").write_bytes(pixels.read_bytes()[:1000])
    pixels.unlink()
    index.unlink()
    np.testing.assert_array_equal(SpectrogramStore.build([tmp_path / "a.wav"], tmp_path / "store",
                                                         progress=False)[0], image)
