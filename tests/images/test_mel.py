"""The way from audio to image on signals made by hand: in pieces as in one, at every edge of the settings."""

import dataclasses

import librosa
import numpy as np
import pytest
import soundfile as sf

from freesound_tagging.clips import audio
from freesound_tagging.images import mel
from freesound_tagging.images.mel import (
    MelConfig,
    fingerprint,
    fit_signal,
    fit_with_begin,
    is_finite,
    load_clip,
    log_mel,
    resampled,
    sounding,
    to_image,
)

SMALL = MelConfig(sample_rate=8000, f_max=4000.0, n_fft=256, hop_length=100, n_mels=16, min_seconds=0.5,
                  excerpt_frames=32)


def signal_between_silences(seconds=2.0):
    """Noise that grows and fades, with a silent beginning and a silent end."""
    noise = np.random.default_rng(0).standard_normal(int(seconds * 8000)) * np.hanning(int(seconds * 8000))
    return np.concatenate([np.zeros(3000), noise, np.zeros(4321)]).astype(np.float32)


def librosas(signal, config):
    """The spectrogram in dB and where the signal sounds, by librosa in one piece."""
    spectrum = librosa.stft(signal, n_fft=config.n_fft, hop_length=config.hop_length, pad_mode=config.padding)
    filters = librosa.filters.mel(sr=config.sample_rate, n_fft=config.n_fft, n_mels=config.n_mels, fmin=config.f_min,
                                  fmax=config.f_max, dtype=np.float64)
    energy = librosa.feature.rms(y=signal, frame_length=2048, hop_length=512, pad_mode=config.padding)[0] ** 2
    loud = np.flatnonzero(librosa.power_to_db(energy, ref=np.max, top_db=None) > -config.trim_db)
    return (librosa.power_to_db(filters @ np.abs(spectrum).astype(np.float64) ** 2),
            (loud[0] * 512, min(len(signal), (loud[-1] + 1) * 512)))


@pytest.mark.parametrize("padding", ["reflect", "constant"])
@pytest.mark.parametrize("at_a_time", [1, 2, 7, 40, 4096])
def test_a_signal_cut_in_pieces_is_seen_as_librosa_sees_it_whole(monkeypatch, padding, at_a_time):
    config = dataclasses.replace(SMALL, padding=padding)
    monkeypatch.setattr(mel, "FRAMES_AT_A_TIME", at_a_time)
    for samples in (None, 20_000, 20_057, 20_100):  # ends within a hop and on one, before the silence is over
        signal = signal_between_silences()[:samples]
        expected, heard = librosas(signal, config)
        found = log_mel(signal, config)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=2e-4)
        assert sounding(signal, config) == heard
    early = signal_between_silences()[10_000:]  # that sounds from its first sample on, and to its last
    for signal in (early, early[:9_000], early[:300]):
        expected, heard = librosas(signal, config)
        np.testing.assert_allclose(log_mel(signal, config), expected, atol=2e-4)
        assert sounding(signal, config) == heard


@pytest.mark.parametrize("at_a_time", [1, 7, 4096])
def test_an_odd_window_has_as_many_frames_as_librosas(monkeypatch, at_a_time):
    """Of 40 hops, half a window put before and behind them: 40 frames, and not the 41 of an even window."""
    config = dataclasses.replace(SMALL, n_fft=257, excerpt_frames=40)
    monkeypatch.setattr(mel, "FRAMES_AT_A_TIME", at_a_time)
    signal = signal_between_silences()[4000:4000 + config.min_samples]
    expected, _ = librosas(signal, config)
    np.testing.assert_allclose(log_mel(signal, config), expected, atol=2e-4)
    assert config.min_frames == expected.shape[1] == 40
    with pytest.raises(ValueError, match="gives 40 frames, fewer than an excerpt's 41"):
        dataclasses.replace(config, excerpt_frames=41)


@pytest.mark.parametrize("samples", [np.ones((2, 20_000)), np.ones((20_000, 2))], ids=["channels first", "last"])
def test_several_channels_are_refused_in_place_of_taking_all_memory(samples):
    for work in (fit_signal, log_mel):
        with pytest.raises(ValueError, match=r"a signal of shape \(2.*\): expected mono, \(samples,\)"):
            work(samples.astype(np.float32))


def test_what_is_no_signal_is_refused():
    with pytest.raises(ValueError, match=r"a signal of shape \(0,\): expected mono, \(samples,\), and one sample at"):
        log_mel(np.zeros(0, np.float32))
    signal = np.ones(9000, np.float32)
    signal[4500] = np.nan
    with pytest.raises(ValueError, match="samples that are not finite numbers"):
        fit_signal(signal)


def test_the_numbers_are_those_of_the_librosa_that_the_padding_stands_for():
    """To the bit of today's; of 0.6.3 with filters in float64, but for what rounds otherwise."""
    config, signal = dataclasses.replace(SMALL, f_min=100.0, f_max=3000.0), signal_between_silences()
    mel = librosa.feature.melspectrogram(y=signal, sr=8000, n_fft=256, hop_length=100, n_mels=16, fmin=100, fmax=3000,
                                         pad_mode="constant")
    np.testing.assert_array_equal(log_mel(signal, dataclasses.replace(config, padding="constant")),
                                  librosa.power_to_db(mel))
    power = np.abs(librosa.stft(signal, n_fft=256, hop_length=100, pad_mode="reflect")) ** 2  # float32
    filters = librosa.filters.mel(sr=8000, n_fft=256, n_mels=16, fmin=100, fmax=3000, dtype=np.float64)
    expected = librosa.power_to_db(filters @ power.astype(np.float64)).astype(np.float32)
    assert (log_mel(signal, config) == expected).mean() > 0.999


@pytest.mark.parametrize("at_a_time", [1, 4096])
def test_a_click_sounds_in_the_frames_that_hold_it(monkeypatch, at_a_time):
    """Of 2,048 samples, the k-th about sample 512 k: it sounds from the first frame that holds it to the last."""
    monkeypatch.setattr(mel, "FRAMES_AT_A_TIME", at_a_time)
    for place in (60_000, 60_100, 60_200, 60_300, 60_415, 60_416, 60_417, 60_500):
        signal = np.zeros(70_000, np.float32)
        signal[place] = 1
        held = [k for k in range(137) if 512 * k - 1024 <= place < 512 * k + 1024]
        assert sounding(signal, SMALL) == (512 * held[0], 512 * (held[-1] + 1))
    assert sounding(np.zeros(0, np.float32), SMALL) == (0, 0)


def test_no_more_than_a_few_frames_of_a_long_signal_are_computed_at_a_time(monkeypatch):
    monkeypatch.setattr(mel, "FRAMES_AT_A_TIME", 7)
    lengths, stft = [], librosa.stft
    monkeypatch.setattr(librosa, "stft", lambda y, **settings: lengths.append(len(y)) or stft(y, **settings))
    log_mel(np.zeros(100 * 19, np.float32), SMALL)  # 20 frames
    assert lengths == [6 * 100 + 256, 6 * 100 + 256, 5 * 100 + 256]
    del lengths[:]
    log_mel(np.zeros(9_000, np.float32), dataclasses.replace(SMALL, n_fft=4608))  # 7 * 2,560 // 4,608 is 3
    assert lengths == [2 * 100 + 4608] * 30 + [4608]
    monkeypatch.setattr(mel, "FRAMES_AT_A_TIME", 2)
    del lengths[:]
    log_mel(np.zeros(9_000, np.float32), dataclasses.replace(SMALL, n_fft=8192))
    assert lengths == [8192] * 91, "one, where the window is that of several"


def test_the_padding_that_is_not_given_is_reflection_of_the_44100_hertz_settings():
    signal = np.random.default_rng(1).standard_normal(90_000).astype(np.float32)
    np.testing.assert_allclose(log_mel(signal), librosas(signal, MelConfig())[0], atol=2e-4)
    assert sounding(signal) == (0, 90_000)
    assert len(fit_signal(signal[:5])) == len(fit_with_begin(signal[:5])[0]) == 88_200


def test_a_sound_of_another_rate_in_one_block_and_in_many_has_librosas_samples_and_length(tmp_path):
    for rate, samples in ((11_025, 5_001), (16_000, 8_001), (8_000, 1), (4_000, 2_999)):
        sf.write(tmp_path / "a.wav", np.random.default_rng(2).standard_normal(samples) / 10, rate, subtype="FLOAT")
        expected = librosa.load(tmp_path / "a.wav", sr=8_000)[0]
        np.testing.assert_array_equal(np.concatenate(list(resampled(tmp_path / "a.wav", SMALL))), expected)


@pytest.mark.parametrize("block", [500, 1 << 20])
def test_however_many_blocks_a_sound_comes_in_they_are_librosas_samples(tmp_path, monkeypatch, block):
    monkeypatch.setattr(audio, "BLOCK", block)
    for rate in (8_000, 11_025, 4_000):
        sf.write(tmp_path / "a.wav", np.random.default_rng(2).standard_normal(5_001) / 10, rate, subtype="FLOAT")
        blocks = list(resampled(tmp_path / "a.wav", SMALL))
        assert {part.dtype for part in blocks} == {np.dtype(np.float32)}
        np.testing.assert_array_equal(np.concatenate(blocks), librosa.load(tmp_path / "a.wav", sr=8_000)[0])


@pytest.mark.parametrize(("block", "samples"), [(80, 1), (1000, 12)])
def test_no_more_is_resampled_at_a_time_than_what_becomes_a_block(tmp_path, monkeypatch, block, samples):
    """Of 900 samples of 100 Hz each becomes 80; and what the resampler still has comes last."""
    monkeypatch.setattr(mel, "BLOCK", block)
    sf.write(tmp_path / "a.wav", np.random.default_rng(0).standard_normal(900) / 10, 100, subtype="FLOAT")
    assert len(list(resampled(tmp_path / "a.wav", SMALL))) == 900 / samples + 1


def test_a_clip_is_as_its_settings_say_and_no_longer_than_a_clip_may_be(tmp_path, monkeypatch):
    sf.write(tmp_path / "a.wav", np.ones(1000) / 2, 8_000, subtype="FLOAT")
    clip = load_clip(tmp_path / "a.wav", SMALL)
    assert len(clip) == 4000 and np.flatnonzero(clip).tolist() == list(range(1500, 2500))
    sf.write(tmp_path / "a.wav", np.ones(8001) / 2, 8_000, subtype="FLOAT")
    monkeypatch.setattr(audio, "MAX_SECONDS", 1)
    for read in (load_clip, lambda path, config: list(resampled(path, config))):
        with pytest.raises(OSError, match=r"a\.wav lasts"):
            read(tmp_path / "a.wav", SMALL)
    assert len(np.concatenate(list(resampled(tmp_path / "a.wav", SMALL, a_clip=False)))) == 8001


@pytest.mark.parametrize("block", [1000, 1 << 20])
def test_a_stretch_of_a_recording_of_any_length_is_read_alone(tmp_path, monkeypatch, block):
    """SMALL is of 8,000 Hz, and a clip of it has 4,000 samples at least."""
    steps = np.arange(1, 32_001, dtype=np.float32) / 40_000
    sf.write(tmp_path / "a.wav", steps, 8_000, subtype="FLOAT")
    monkeypatch.setattr(audio, "MAX_SECONDS", 1)
    monkeypatch.setattr(audio, "BLOCK", block)
    np.testing.assert_array_equal(load_clip(tmp_path / "a.wav", SMALL, span=(1.5, 2.25)), steps[12_000:18_000])
    short = load_clip(tmp_path / "a.wav", SMALL, span=(3.9, 9.0))  # as far as there is one
    np.testing.assert_array_equal(short, np.pad(steps[31_200:], 1600))
    assert not load_clip(tmp_path / "a.wav", SMALL, span=(5.0, 6.0)).any()


def test_what_is_to_be_known_of_a_clip_is_told(tmp_path):
    noise, remarks = np.random.default_rng(0).standard_normal(8000) / 10, {}
    sf.write(tmp_path / "a.wav", np.stack([noise, -noise], 1), 8_000)
    load_clip(tmp_path / "a.wav", SMALL, remarks=remarks)
    assert ["channels that are opposite" in remark for remark in remarks.values()] == [True]


def test_of_a_file_that_has_been_read_its_content_is_taken(tmp_path):
    sf.write(tmp_path / "a.wav", signal_between_silences() / 9, 8_000, subtype="FLOAT")
    content = (tmp_path / "a.wav").read_bytes()
    clip = load_clip(tmp_path / "a.wav", SMALL)
    sf.write(tmp_path / "a.wav", np.zeros(100), 8_000, subtype="FLOAT")
    np.testing.assert_array_equal(load_clip(tmp_path / "a.wav", SMALL, content), clip)


def test_what_is_cut_off_and_put_in_front_is_counted():
    loud = np.ones(1000, np.float32)
    fitted, begin = fit_with_begin(loud, SMALL)  # to half a second, 4,000 samples: 1,500 zeros on both sides
    assert begin == -1500 and len(fitted) == 4000
    np.testing.assert_array_equal(np.flatnonzero(fitted), np.arange(1500, 2500))
    fitted, begin = fit_with_begin(np.ones(999, np.float32), SMALL)
    assert begin == -1500 and len(fitted) == 4000 and np.flatnonzero(fitted)[[0, -1]].tolist() == [1500, 2498]
    exact, begin = fit_with_begin(np.ones(4000), SMALL)
    assert begin == 0 and exact.dtype == np.float32 and len(exact) == 4000
    signal = signal_between_silences()
    fitted, begin = fit_with_begin(signal, SMALL)
    assert begin == librosas(signal, SMALL)[1][0] > 1000
    np.testing.assert_array_equal(fitted, signal[begin:begin + len(fitted)])
    np.testing.assert_array_equal(fit_signal(signal, SMALL), fitted)
    late = np.concatenate([np.zeros(10_000), np.hanning(900), np.zeros(10_000)]).astype(np.float32)
    (start, end), (fitted, begin) = librosas(late, SMALL)[1], fit_with_begin(late, SMALL)
    assert 4000 - (end - start) > 0 < start and len(fitted) == 4000
    assert begin == start - (4000 - (end - start)) // 2
    quiet = np.concatenate([np.ones(10_240), np.full(10_240, 0.01)]).astype(np.float32)  # 40 dB below
    half = np.where(quiet == 1, 1, 0.5).astype(np.float32)
    six = -float(librosa.power_to_db(np.float32([0.25]))[0])  # dB, of a quarter of the power
    for signal, trim_db, length in (
            (quiet, 60, 20_480), (quiet, 30, 11_264), (quiet * 100, 30, 11_264), (quiet * (quiet == 1), 90, 11_264),
            (half, six, 11_264), (half, six + 1e-5, 20_480)):
        assert len(fit_signal(signal, dataclasses.replace(SMALL, trim_db=trim_db))) == length


def test_an_image_is_worked_out_by_hand():
    decibels = np.array([[-80.0, -60.0], [-30.0, 0.0]], np.float32)  # of 255 there are 0, a quarter, 5/8 and all
    assert to_image(decibels).ravel().tolist() in ([0, 63, 159, 255], [0, 63, 159, 254]), "what is below 255 is cut"
    assert to_image(decibels).dtype == np.uint8
    assert decibels[0, 0] == -80, "is left as it was"
    flat = to_image(np.full((2, 3), -80, np.float32))
    assert flat.shape == (2, 3) and flat.dtype == np.uint8 and not flat.any()
    # By a deviation of 2e-12, to which 1e-6 is added, a range of 4e-12 becomes 4e-6; one of 4e-13 less than 1e-6.
    assert to_image(np.array([0.0, 4e-12]))[1] >= 254
    assert to_image(np.array([0.0, 4e-13])).tolist() == [0, 0]


def test_an_image_is_that_of_the_published_steps_to_the_byte():
    """In float32: less the mean, by the deviation and 1e-6; then from the minimum, by the range."""
    decibels = (np.random.default_rng(0).standard_normal((128, 4000)) * 15 - 40).astype(np.float32)
    standard = (decibels - decibels.mean()) / (decibels.std() + 1e-6)
    low, high = standard.min(), standard.max()
    np.testing.assert_array_equal(to_image(decibels), ((standard - low) * 255 / (high - low)).astype(np.uint8))


@pytest.mark.parametrize(("settings", "said"), [
    ({"padding": "zeros"}, "padding='zeros': expected 'reflect' or 'constant'"),
    ({"n_mels": 0}, "n_mels=0: expected a positive number"), ({"n_mels": True}, "n_mels=True: expected a positive"),
    ({"n_fft": 2560.0}, "n_fft=2560.0: expected a whole number"), ({"trim_db": "60"}, "trim_db='60': expected a pos"),
    ({"trim_db": float("inf")}, "trim_db=inf"), ({"min_seconds": float("nan")}, "min_seconds=nan"),
    ({"f_min": 22_050.0}, "f_min=22050.0: expected less than f_max=22050.0"),
    ({"f_max": 22_050.5}, "f_max=22050.5: at most half the sample rate, 22050.0 Hz"),
    ({"n_mels": 1024, "excerpt_frames": 257, "min_seconds": 5.0}, "expected at most 262144 pixels"),
    ({"n_mels": 1024, "hop_length": 172, "excerpt_frames": 8}, "a second of 256, by 1024 mel bands: expected at most"),
    ({"sample_rate": 384_001}, "sample_rate=384001: expected at most 384000"), ({"n_mels": 1025}, "at most 1024"),
    ({"excerpt_frames": 129}, "gives 128 frames, fewer than an excerpt's 129"),
])
def test_a_setting_just_beyond_what_works_is_refused_by_name(settings, said):
    with pytest.raises(ValueError) as caught:
        MelConfig(**settings)
    assert said in str(caught.value)


def test_settings_just_within_what_works_are_taken():
    assert MelConfig(f_max=22_050, trim_db=1, n_mels=1, f_min=22_049.9).excerpt_frames == 128
    assert MelConfig(n_mels=1024, excerpt_frames=256, min_seconds=60, n_fft=1 << 15).n_mels == 1024
    assert MelConfig(sample_rate=384_000, hop_length=6000).min_frames == 129
    assert SMALL.min_samples == 4000 and SMALL.min_frames == 41 and SMALL.excerpt_seconds == 0.4


def test_numbers_are_told_from_what_is_none():
    assert [is_finite(value) for value in (0, -1.5, 1e299, -1e299)] == [True] * 4
    assert [is_finite(value) for value in (True, "1", None, float("nan"), float("inf"), -1e300, 1e300)] == [False] * 7


def test_a_fingerprint_is_of_what_is_said_in_whatever_order():
    """The first digits of `printf '{"a": 1, "b": [2]}' | sha256sum`."""
    assert fingerprint({"b": [2], "a": 1}) == fingerprint({"a": 1, "b": [2]}) == "ae8a9a505246"
    assert MelConfig().key != MelConfig(padding="constant").key
    assert MelConfig(min_seconds=2, f_max=22_050) == MelConfig() and MelConfig(min_seconds=2).key == MelConfig().key
