"""Sections of 2 s, of sounds of 8,000 Hz: where each begins and ends, and what is in it, cut by hand."""

import os
import tracemalloc

import numpy as np
import pytest
import soundfile as sf

from freesound_tagging.clips import audio
from freesound_tagging.images.mel import MelConfig, fit_signal, log_mel, to_image
from freesound_tagging.images.sections import _if_short, sections, sections_of_all

RATE = 8000
# Excerpts of 64 frames of 100 samples: 16 frames more than windows are apart.
SMALL = MelConfig(sample_rate=RATE, f_max=4000.0, n_fft=256, hop_length=100, n_mels=16, min_seconds=0.8,
                  excerpt_frames=64)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr("freesound_tagging.images.sections.MAX_SECONDS", 3)
    monkeypatch.setattr("freesound_tagging.images.sections.SECTION_SECONDS", 2)
    monkeypatch.setattr(audio, "MAX_SECONDS", 3)


def noise(seconds):
    return np.random.default_rng(0).standard_normal(round(seconds * RATE)).astype(np.float32) / 10


def written(folder, signal, name="a.wav"):
    sf.write(folder / name, signal, RATE, subtype="FLOAT")
    return folder / name


def image_of(signal, config=SMALL):
    return to_image(log_mel(fit_signal(signal, config), config))


@pytest.mark.parametrize("block", [1000, 16_000, 1 << 20])
@pytest.mark.parametrize(("frames", "more"), [(64, 1600), (49, 100), (48, 0), (32, 0)])
def test_each_section_goes_on_into_the_next_by_an_excerpt_less_48_frames(tmp_path, monkeypatch, block, frames, more):
    monkeypatch.setattr(audio, "BLOCK", block)
    config = MelConfig(**{**vars(SMALL), "excerpt_frames": frames})
    signal = noise(7.5)
    signal[:1100] = 0
    found = list(sections(written(tmp_path, signal), config))
    pieces = [signal[:16_000 + more], signal[16_000:32_000 + more], signal[32_000:48_000 + more], signal[48_000:]]
    assert [section.end for section in found] == [2, 4, 6, 7.5]
    assert [section.begin for section in found] == [0.064, 2, 4, 6], "at 512 samples"
    for section, piece in zip(found, pieces):
        np.testing.assert_array_equal(section.image, image_of(piece, config))
        assert section.remark == ""


def test_who_looks_at_an_image_does_not_hold_the_sound_of_it(tmp_path, monkeypatch):
    """Of 3 s that have been read the last is held, 32 kB, as the next section begins with it; then of 2.5 s nothing."""
    monkeypatch.setattr(audio, "BLOCK", 1000)
    path, held = written(tmp_path, noise(4.5)), []
    list(sections(path, SMALL))  # with which the settings' filters are kept
    tracemalloc.start()
    for _ in sections(path, SMALL):
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert held[0] < 3 * 8000 * 4 and held[1] < 2.5 * 8000 * 4


def test_a_sound_of_as_long_as_a_clip_may_be_is_one_section_and_of_a_sample_more_two(tmp_path):
    section, = sections(written(tmp_path, noise(3)), SMALL)
    np.testing.assert_array_equal(section.image, image_of(noise(3)))
    assert (section.begin, section.end) == (0, 3)
    first, last = sections(written(tmp_path, np.r_[noise(3), np.float32(0.1)]), SMALL)
    assert (first.end, last.begin, last.end) == (2, 2, 3 + 1 / RATE)


def test_a_short_sound_is_in_the_middle_of_its_only_section(tmp_path):
    section, = sections(written(tmp_path, noise(0.5)), SMALL)  # padded by 0.3 s to 0.8 s
    assert (section.begin, section.end) == (-0.15, 0.5)


@pytest.mark.parametrize(("sounding", "images"), [
    ((), [False, False, False, True]), ((2.5,), [False, True, False, False]), ((4.05,), [False, False, True, False]),
    ((0.1,), [True, False, False, False]), ((6.5,), [False, False, False, True]),
    ((0.1, 7), [True, False, False, True]), ((3, 5), [False, True, True, False])])
def test_a_section_of_zeros_has_no_image_unless_all_is_silent(tmp_path, sounding, images):
    """A click just behind a border is heard in the section before, too, which does not count for that one."""
    signal = np.zeros(60_000, np.float32)
    for second in sounding:
        signal[round(second * RATE):][:100] = noise(1)[:100]
    found = list(sections(written(tmp_path, signal), SMALL))
    assert [section.image is not None for section in found] == images
    assert [section.end for section in found] == [2, 4, 6, 7.5]
    assert [section.begin for section, seen in zip(found, images) if not seen] == [
        begin for begin, seen in zip([0, 2, 4, 6], images) if not seen]


def test_what_is_to_be_known_of_a_sound_comes_with_its_last_section(tmp_path):
    path = written(tmp_path, np.stack([noise(7.5), -noise(7.5)], 1))
    found = list(sections(path, SMALL))
    assert [section.remark == "" for section in found] == [True] * 3 + [False]
    assert "channels that are opposite" in found[-1].remark
    path.write_bytes(path.read_bytes() + b"what is no sound" * 1000)
    remark = list(sections(path, SMALL))[-1].remark
    assert remark.startswith(f"{path} has 16000 bytes behind its sound") and f"; {path} has channels that" in remark


def test_what_is_not_said_is_as_published(tmp_path):
    sf.write(tmp_path / "a.wav", np.random.default_rng(0).standard_normal(44_100) / 10, 44_100)
    assert next(sections(tmp_path / "a.wav")).image.shape == (128, 128)
    (_, section), = sections_of_all([tmp_path / "a.wav"])
    assert section.image.shape == (128, 128)


def test_sections_of_many_sounds_come_in_order_and_of_a_broken_one_the_error(tmp_path):
    good, long = written(tmp_path, noise(1)), written(tmp_path, noise(4), "long.wav")
    (tmp_path / "bad.wav").write_text("no sound")
    broken = tmp_path / "broken.wav"
    content = bytearray(long.read_bytes())
    content[-4:] = np.float32(np.nan).tobytes()
    broken.write_bytes(content)
    found = list(sections_of_all([good, tmp_path / "bad.wav", long, broken, good], SMALL))
    assert [number for number, _ in found] == [0, 1, 2, 2, 3, 4]
    assert [type(section).__name__ for _, section in found] == [
        "Section", "UnusableAudio", "Section", "Section", "UnusableAudio", "Section"]
    assert "bad.wav" in str(found[1][1]) and "broken.wav" in str(found[4][1])
    for number, piece in ((0, noise(1)), (2, noise(4)[:17_600]), (3, noise(4)[16_000:]), (5, noise(1))):
        np.testing.assert_array_equal(found[number][1].image, image_of(piece))


@pytest.mark.parametrize("header", [True, False])
def test_what_is_long_or_a_pipe_is_left_to_who_asked(tmp_path, monkeypatch, header):
    """By its header without a look at the sound, or else once it is known."""
    read = []
    monkeypatch.setattr("freesound_tagging.images.sections.sections", lambda *of: read.append(of) or sections(*of))
    if not header:
        monkeypatch.setattr("freesound_tagging.images.sections.seconds_of", lambda path: None)
    one, = _if_short(written(tmp_path, noise(3)), SMALL)
    np.testing.assert_array_equal(one.image, image_of(noise(3)))
    assert len(read) == 1
    assert _if_short(written(tmp_path, noise(3.1)), SMALL) is None
    assert len(read) == 2 - header
    (tmp_path / "bad.wav").write_text("no sound")
    error, = _if_short(tmp_path / "bad.wav", SMALL)
    assert isinstance(error, OSError) and "bad.wav" in str(error)
    os.mkfifo(tmp_path / "pipe")
    assert _if_short(tmp_path / "pipe", SMALL) is None, "without reading it, which would wait"
