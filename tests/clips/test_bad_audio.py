"""What strangers' audio files do: each is processed as documented, or reported by name with the reason."""

import shutil
import warnings

import librosa
import numpy as np
import pytest
import soundfile as sf

from freesound_tagging.clips.audio import MAX_SECONDS
from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.demo.data import write_demo
from freesound_tagging.images.mel import MelConfig, fit_signal, load_clip
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.networks.weights import find_weights
from freesound_tagging.prediction.inference import ensemble_mean, predict_ensemble
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


@pytest.mark.parametrize("length", [0, 1, 2])
def test_a_clip_of_next_to_nothing_is_padded(tmp_path, length):
    sf.write(tmp_path / "a.wav", TONE[RATE // 2:RATE // 2 + length], RATE)
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
def test_bad_files_do_not_stop_a_store_and_count_as_silence(demo, tmp_path, n_jobs):
    bad = [tmp_path / "bad" / name for name in bad_files(tmp_path / "bad")]
    good = list(demo.noisy["path"]) * (1 if n_jobs == 1 else 2)
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
    root = write_demo(tmp_path_factory.mktemp("spoilt") / "input", curated=2, noisy=3, test=1, progress=False)
    bad = bad_files(root.parent / "bad")
    data = FSDKaggle2019(root)
    spoilt = {}
    for name in ("curated", "noisy", "test"):
        spoilt[name] = list(range(3, 3 + 2 * len(bad), 2))[:len(data.test) // 2]
        for clip, source in zip(spoilt[name], bad):
            shutil.copy(root.parent / "bad" / source, getattr(data, name)["path"][clip])
    return data, spoilt


@pytest.mark.filterwarnings("ignore:.*cannot be read and count as silence")
def test_training_leaves_bad_clips_out_and_the_submission_is_complete(spoilt, make_pipeline, tmp_path):
    data, bad = spoilt
    stores = {name: SpectrogramStore.build(getattr(data, name)["path"], tmp_path / name, n_jobs=1, progress=False)
              for name in ("curated", "noisy", "test")}
    assert {name: sorted(store.problems) for name, store in stores.items()} == bad
    sets = {name: (stores[name], data.targets(getattr(data, name))) for name in ("curated", "noisy")}
    pipeline = make_pipeline(tmp_path, sets=sets, vocabulary=data.vocabulary)
    pipeline.run()
    for stage in (1, 2, 3, 4):
        for fold in range(3):
            for name, clips in pipeline.training_clips(stage, fold).items():
                assert not set(clips) & set(bad[name])
    probabilities = ensemble_mean(predict_ensemble(find_weights(pipeline.weights), stores["test"], progress=False))
    submission = write_submission(tmp_path / "submission.csv", stores["test"].fnames, data.vocabulary, probabilities)
    assert submission["fname"].tolist() == data.test["fname"].tolist()
    sf.write(tmp_path / "silence.wav", np.zeros(RATE), RATE)
    silence = SpectrogramStore.build([tmp_path / "silence.wav"], tmp_path / "silence", MelConfig(), 1, False)
    of_silence = ensemble_mean(predict_ensemble(find_weights(pipeline.weights), silence, progress=False))
    for clip in bad["test"]:
        np.testing.assert_allclose(probabilities[clip], of_silence[0], atol=1e-6)
