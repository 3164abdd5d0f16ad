"""Sounds of any length: what comes block by block is what comes in one piece, and what is short is as published."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import librosa
import numpy as np
import pytest
import soundfile as sf

from freesound_tagging.clips import audio
from freesound_tagging.images import mel
from freesound_tagging.images.mel import MelConfig, load_clip, log_mel, resampled, sounding, to_image
from freesound_tagging.images.sections import sections, sections_of_all
from freesound_tagging.images.store import SpectrogramStore

RATE = 44_100


@pytest.fixture(scope="module", params=["demo", "esc10"])
def recording(request):
    """80 s of synthesized sounds, and of real ones where they are at hand, with a silent beginning and a quiet end."""
    paths = request.getfixturevalue(request.param).test["path"]
    signal = np.concatenate([sf.read(path, dtype="float32")[0] for path in paths])[:80 * RATE]
    return np.r_[np.zeros(RATE, np.float32), signal, signal[:RATE] * np.float32(1e-4)]


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 96_000, 655_350])
@pytest.mark.parametrize("block", [1000, 4801])
def test_a_sound_is_resampled_block_by_block_as_librosa_does_it_in_one_piece(tmp_path, monkeypatch, rate, block):
    signal = np.random.default_rng(0).standard_normal(rate // 3 + 7).astype(np.float32)
    sf.write(tmp_path / "a.wav", signal, rate, subtype="FLOAT")
    monkeypatch.setattr(audio, "BLOCK", block)
    blocks = list(resampled(tmp_path / "a.wav"))
    assert len(blocks) > 1 if rate == 8_000 else len(blocks) > 3
    np.testing.assert_array_equal(np.concatenate(blocks), librosa.load(tmp_path / "a.wav", sr=RATE)[0])


@pytest.mark.parametrize("padding", ["reflect", "constant"])
@pytest.mark.parametrize("at_a_time", [1, 50, 700])
def test_a_long_signals_frames_are_those_of_one_piece(recording, monkeypatch, padding, at_a_time):
    config, signal = MelConfig(padding=padding), recording[:12 * RATE + 123]
    whole = np.abs(librosa.stft(signal, n_fft=2560, hop_length=694, pad_mode=padding)) ** 2
    expected = librosa.power_to_db(librosa.filters.mel(sr=RATE, n_fft=2560, n_mels=128, fmin=20, fmax=22_050) @ whole)
    energy = librosa.feature.rms(y=signal, frame_length=2048, hop_length=512, pad_mode=padding)[0] ** 2
    loud = np.flatnonzero(librosa.power_to_db(energy, ref=np.max, top_db=None) > -60)
    in_one_piece = log_mel(signal, config)
    monkeypatch.setattr(mel, "FRAMES_AT_A_TIME", at_a_time)
    assert sounding(signal, config) == (loud[0] * 512, min(len(signal), (loud[-1] + 1) * 512))
    in_blocks = log_mel(signal, config)
    np.testing.assert_allclose(in_blocks, expected, atol=2e-4)
    if padding == "reflect":
        np.testing.assert_array_equal(in_blocks, in_one_piece)
    assert np.abs(to_image(in_blocks).astype(int) - to_image(in_one_piece)).max() <= (padding == "constant")


@pytest.mark.parametrize("seconds", [1.3, 5, 80])
def test_what_is_short_is_one_section_the_image_of_a_clip(recording, tmp_path, seconds):
    sf.write(tmp_path / "a.wav", recording[:int(seconds * RATE)], RATE)
    section, = sections(tmp_path / "a.wav")
    store = SpectrogramStore.build([tmp_path / "a.wav"], tmp_path / "store", progress=False)
    np.testing.assert_array_equal(section.image, store[0])
    assert section.end == pytest.approx(seconds, abs=1e-4)


def test_of_a_long_sound_each_section_is_as_a_clip_of_its_own(recording, tmp_path, monkeypatch):
    monkeypatch.setattr("freesound_tagging.images.sections.MAX_SECONDS", 30)
    monkeypatch.setattr("freesound_tagging.images.sections.SECTION_SECONDS", 20)
    sf.write(tmp_path / "a.wav", recording, RATE, subtype="FLOAT")
    found = list(sections(tmp_path / "a.wav"))
    seconds = len(recording) / RATE
    assert [section.end for section in found] == pytest.approx([20, 40, 60, seconds]) and seconds > 80
    for number, section in enumerate(found):
        piece = recording[number * 20 * RATE:(number + 1) * 20 * RATE + 80 * 694 if number < 3 else None]
        sf.write(tmp_path / "piece.wav", piece, RATE, subtype="FLOAT")
        np.testing.assert_array_equal(section.image, to_image(log_mel(load_clip(tmp_path / "piece.wav"))))
        assert section.begin == pytest.approx(number * 20 + sounding(piece)[0] / RATE)
    assert found[0].begin > 0.9, "the silence that the recording begins with"


def test_sounds_come_in_order_from_worker_processes_too(demo, tmp_path, many_processes):
    signal = np.tile(np.random.default_rng(0).standard_normal(RATE) / 10, 980)
    sf.write(tmp_path / "long.flac", signal, RATE)
    (tmp_path / "bad.wav").write_text("no sound")
    paths = [*demo.noisy["path"], tmp_path / "long.flac", tmp_path / "bad.wav", *demo.noisy["path"]]
    found = list(sections_of_all(paths, n_jobs=2))
    long, bad = len(demo.noisy), len(demo.noisy) + 1
    assert [number for number, _ in found] == [*range(long), long, long, *range(bad, len(paths))]
    assert isinstance(found[long + 2][1], OSError) and "bad.wav" in str(found[long + 2][1])
    for number, section in (found[0], found[-1]):
        np.testing.assert_array_equal(section.image, next(sections(paths[number])).image)
    assert found[long + 1][1].end == pytest.approx(980)


def test_whoever_stops_listening_stops_nobody_else(demo, tmp_path, capfd, many_processes):
    """Threads of a program: one lets go of its sounds while another, and a store, are in the middle of theirs."""
    paths = [*demo.noisy["path"]] * 2
    expected = [section.image for _, section in sections_of_all(paths, n_jobs=1)]
    begun, left = threading.Barrier(3), threading.Event()

    def listen():
        found = sections_of_all(paths, n_jobs=2)
        images = [next(found)[1].image]
        begun.wait()
        left.wait()
        return images + [section.image for _, section in found]

    def build():
        begun.wait()
        return SpectrogramStore.build(paths, tmp_path, n_jobs=2, progress=False)

    with ThreadPoolExecutor(2) as threads:
        listening, building = threads.submit(listen), threads.submit(build)
        short = sections_of_all(paths, n_jobs=2)
        next(short)
        begun.wait()
        short.close()
        left.set()
        images, store = listening.result(), building.result()
    for number, image in enumerate(expected):
        np.testing.assert_array_equal(images[number], image)
        np.testing.assert_array_equal(store[number], image)
    assert capfd.readouterr().err == ""


MEMORY = """
import sys
from freesound_tagging.images.sections import sections
from freesound_tagging.machine.processes import peak_memory
next(sections(sys.argv[1]))
before = peak_memory()
list(sections(sys.argv[2]))
print((peak_memory() - before) >> 20)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says how much memory a process has had")
def test_the_memory_that_a_sound_takes_does_not_grow_with_its_rate_or_length(tmp_path):
    """A small file of a minute at 655,350 Hz, and one of half an hour; beside a minute as it usually is."""
    for name, rate, seconds in (("usual", 44_100, 60), ("fast", 655_350, 60), ("long", 8_000, 1800)):
        with sf.SoundFile(tmp_path / f"{name}.flac", "w", rate, 1) as file:
            for _ in range(seconds // 10):
                file.write(np.tile(np.arange(50) / 50, rate // 5))
    for name, allowed in (("fast", 100), ("long", 400)):
        done = subprocess.run([sys.executable, "-c", MEMORY, tmp_path / "usual.flac", tmp_path / f"{name}.flac"],
                              capture_output=True, text=True, check=True)
        assert int(done.stdout) < allowed, f"{name}, MB more than the minute"


def test_each_sample_of_a_sound_of_a_few_hertz_is_not_thousands_at_once(tmp_path):
    """Such as of a seismometer: a small file that would be gigabytes at 44,100 Hz."""
    sf.write(tmp_path / "a.wav", np.random.default_rng(0).standard_normal(3 * 3600) / 10, 1)
    blocks = resampled(tmp_path / "a.wav", a_clip=False)
    assert max(len(next(blocks)) for _ in range(5)) <= 2 * audio.BLOCK
    blocks.close()
    sf.write(tmp_path / "b.wav", np.random.default_rng(0).standard_normal(900) / 10, 100, subtype="FLOAT")
    np.testing.assert_array_equal(np.concatenate(list(resampled(tmp_path / "b.wav"))),
                                  librosa.load(tmp_path / "b.wav", sr=RATE)[0])


def test_silent_sections_of_a_long_sound_have_no_image_and_of_silence_the_last_one_has(tmp_path, monkeypatch):
    monkeypatch.setattr("freesound_tagging.images.sections.MAX_SECONDS", 30)
    monkeypatch.setattr("freesound_tagging.images.sections.SECTION_SECONDS", 20)
    signal = np.zeros(70 * 8000)
    sf.write(tmp_path / "silence.wav", signal, 8000)
    assert [section.image is None for section in sections(tmp_path / "silence.wav")] == [True, True, False]
    signal[25 * 8000:26 * 8000] = np.random.default_rng(0).standard_normal(8000) / 10
    sf.write(tmp_path / "a.wav", signal, 8000)
    found = list(sections(tmp_path / "a.wav"))
    assert [section.image is None for section in found] == [True, False, True]
    assert [section.end for section in found] == [20, 40, 70]
    assert found[1].begin == pytest.approx(24.5, abs=0.1), "a second in the middle of two"


def test_a_long_recording_that_was_broken_off_is_read_without_taking_it_into_memory(recording, tmp_path, monkeypatch):
    """As a recorder leaves it whose battery is empty: no length in the header, and more than a clip may have."""
    sf.write(tmp_path / "a.wav", recording, RATE)
    wav = bytearray((tmp_path / "a.wav").read_bytes())
    place = wav.index(b"data")
    wav[4:8] = wav[place + 4:place + 8] = bytes(4)
    (tmp_path / "a.wav").write_bytes(wav)
    monkeypatch.setattr(audio, "MAX_BYTES", 1000)
    with pytest.raises(OSError, match="has more than 0 MiB"):
        load_clip(tmp_path / "a.wav")
    blocks = list(audio.read_blocks(tmp_path / "a.wav", a_clip=False))
    np.testing.assert_allclose(np.concatenate([block.signal for block in blocks]), recording, atol=1e-4)
