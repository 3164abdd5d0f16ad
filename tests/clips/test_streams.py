"""Sounds through pipes: the samples of the file, block by block, in memory that does not grow."""

import contextlib
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from freesound_tagging.clips.audio import read_blocks, seconds_of
from freesound_tagging.clips.streams import is_given, is_pipe


@pytest.fixture(scope="module")
def signal():
    return (np.random.default_rng(0).standard_normal((250_000, 2)) / 10).astype(np.float32)


def through_a_pipe(content):
    """What is read of a pipe into which a content is written."""
    read, write = os.pipe()

    def feed():
        with contextlib.suppress(BrokenPipeError), open(write, "wb") as pipe:
            pipe.write(content)
    thread = threading.Thread(target=feed)
    thread.start()
    try:
        return np.concatenate([block.signal for block in read_blocks(f"/dev/fd/{read}", a_clip=False)])
    finally:
        os.close(read)
        thread.join()


def of_unknown_length(content, length):
    """A WAV as ffmpeg (2^32 - 1), sox and arecord (about 2^31) or a recorder that breaks off (0) write it to a pipe."""
    place = content.index(b"data")
    length = struct.pack("<I", length)
    return content[:4] + length + content[8:place + 4] + length + content[place + 8:]


def without_total(flac):
    """A FLAC as encoders write it to a pipe: its 36 bits for the number of samples are 0."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


@pytest.mark.parametrize(("kind", "subtype"), [
    ("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAV", "FLOAT"), ("WAV", "DOUBLE"),
    ("WAV", "ULAW"), ("WAV", "MS_ADPCM"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16"),
    ("AIFF", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("CAF", "PCM_16")])
def test_a_pipe_gives_what_the_file_gives_to_the_bit(signal, tmp_path, kind, subtype):
    sf.write(tmp_path / "a", signal, 44_100, subtype, format=kind)
    content = (tmp_path / "a").read_bytes()
    expected, _ = sf.read(tmp_path / "a", dtype="float32")
    assert len(content) > 1 << 16
    np.testing.assert_array_equal(through_a_pipe(content), expected.mean(axis=1))


@pytest.mark.parametrize("length", [0, 0x7FFFF000, 2**32 - 1])
def test_a_wav_that_does_not_say_how_long_it_is_is_read_to_its_end(signal, tmp_path, length):
    sf.write(tmp_path / "a.wav", signal, 44_100)
    content = (tmp_path / "a.wav").read_bytes()
    expected, _ = sf.read(tmp_path / "a.wav", dtype="float32")
    np.testing.assert_array_equal(through_a_pipe(of_unknown_length(content, length)), expected.mean(axis=1))


def test_what_follows_a_wavs_samples_is_no_sound(signal, tmp_path):
    sf.write(tmp_path / "a.wav", signal, 44_100)
    content = (tmp_path / "a.wav").read_bytes() + b"LIST" + struct.pack("<I", 1000) + bytes(range(250)) * 4
    assert len(through_a_pipe(content)) == len(signal)


def test_a_flac_that_does_not_say_how_long_it_is_is_read_to_its_end_from_a_pipe_and_a_file(tmp_path):
    long = (np.random.default_rng(0).standard_normal(1_300_000) / 10).astype(np.float32)
    sf.write(tmp_path / "a.flac", long, 44_100)
    content = without_total((tmp_path / "a.flac").read_bytes())
    expected, _ = sf.read(tmp_path / "a.flac", dtype="float32")
    (tmp_path / "b.flac").write_bytes(content)
    np.testing.assert_array_equal(through_a_pipe(content), expected)
    np.testing.assert_array_equal(np.concatenate([b.signal for b in read_blocks(tmp_path / "b.flac")]), expected)
    broken_off = through_a_pipe(content[:len(content) // 2])
    assert len(broken_off) > 600_000
    np.testing.assert_array_equal(broken_off, expected[:len(broken_off)])


@pytest.mark.parametrize("content", [b"", b"no sound" * 20_000, bytes(200_000), b"\0\0\0\x1cftypM4A " + bytes(200_000)])
def test_what_is_no_sound_is_said_of_a_pipe(content):
    with pytest.raises(OSError, match=r"/dev/fd/.* (cannot be read as audio|is of a format that libsndfile)"):
        through_a_pipe(content)


HOURS = """
import resource, sys
from freesound_tagging.clips.audio import read_blocks
samples = 0
for number, block in enumerate(read_blocks("/dev/stdin", a_clip=False)):
    samples += len(block.signal)
    if number == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(samples, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_two_hours_through_a_pipe_take_the_memory_of_a_minute(tmp_path):
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 2**32 - 1, b"WAVE", b"fmt ", 16, 1, 1, 44_100, 88_200, 2, 16,
                         b"data", 2**32 - 1)
    with subprocess.Popen([sys.executable, "-c", HOURS], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(header)
        for _ in range(120):
            process.stdin.write(b"\1\0" * (60 * 44_100))
        process.stdin.close()
        samples, grown = map(int, process.stdout.read().split())
    assert samples == 7200 * 44_100
    assert grown < 50, "MB more than its first minute"


def test_how_long_a_sound_lasts_is_told_where_its_header_tells(signal, tmp_path):
    sf.write(tmp_path / "a.flac", signal, 44_100)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "open.flac").write_bytes(without_total(content))
    (tmp_path / "none.flac").write_bytes(b"no sound")
    os.mkfifo(tmp_path / "pipe.flac")
    assert seconds_of(tmp_path / "a.flac") == pytest.approx(250_000 / 44_100)
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.flac"))
    odd.write_bytes((tmp_path / "a.flac").read_bytes())
    assert seconds_of(odd) == seconds_of(str(tmp_path / "a.flac")) == seconds_of(tmp_path / "a.flac")
    assert [seconds_of(tmp_path / f"{name}.flac") for name in ("open", "none", "pipe", "not there")] == [None] * 4


def test_a_pipe_in_the_home_folder_is_one(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    assert is_pipe("~/pipe") and is_given("~/pipe") and not is_given("~/none")
