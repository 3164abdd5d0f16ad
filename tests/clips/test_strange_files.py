"""Files that libsndfile reads and are not what they seem: all of their sound is read, or it is said what is not."""

import io
import os
import signal
import struct

import numpy as np
import pytest
import soundfile as sf

from freesound_tagging.clips import containers
from freesound_tagging.clips.audio import read_audio, read_blocks, seconds_of
from freesound_tagging.clips.doctor import check, examine
from freesound_tagging.demo.data import write_demo
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.machine.commands import Stopped, stoppable

RATE = 44_100
TONE = np.sin(2 * np.pi * 440 * np.arange(4 * RATE) / RATE)
NOISE = (np.random.default_rng(0).standard_normal(4 * RATE) / 10).astype(np.float32)


def encoded(signal, kind, subtype=None, rate=RATE):
    file = io.BytesIO()
    sf.write(file, signal, rate, format=kind, subtype=subtype)
    return bytearray(file.getvalue())


def as_from_a_pipe(seconds):
    """A FLAC without a count of samples: the last 36 of the 64 bits that begin 10 bytes into its first block."""
    flac = encoded(NOISE[:int(seconds * RATE)], "FLAC")
    assert struct.unpack_from(">Q", flac, 18)[0] & (2**36 - 1) == seconds * RATE
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    return flac


@pytest.mark.parametrize("as_content", [False, True])
@pytest.mark.parametrize("seconds", [0.5, 4])
def test_a_flac_that_does_not_say_how_long_it_is_is_read_to_its_end(tmp_path, seconds, as_content):
    (tmp_path / "a.flac").write_bytes(content := as_from_a_pipe(seconds))
    audio = read_audio(tmp_path / "a.flac", bytes(content) if as_content else None)
    np.testing.assert_allclose(audio.signal, NOISE[:int(seconds * RATE)], atol=2**-15)
    assert examine([tmp_path / "a.flac"], progress=False)["problem"].tolist() == [""]


def test_one_that_is_broken_off_too_is_read_as_far_as_it_goes(tmp_path):
    content = as_from_a_pipe(4)
    (tmp_path / "a.flac").write_bytes(content[:len(content) // 2])
    signal = read_audio(tmp_path / "a.flac").signal
    assert RATE < len(signal) < 2.1 * RATE
    np.testing.assert_allclose(signal, NOISE[:len(signal)], atol=2**-15)
    (tmp_path / "a.flac").write_bytes(content[:100])
    with pytest.raises(OSError, match=r"a\.flac cannot be read as audio"):
        read_audio(tmp_path / "a.flac")


@pytest.mark.parametrize("kind", [("FLAC",), ("OGG", "VORBIS"), ("OGG", "OPUS", 48_000), ("MP3",), ("WAV",)],
                         ids=lambda kind: kind[min(1, len(kind) - 1)])
def test_recordings_that_were_joined_byte_by_byte_are_read_all(tmp_path, kind):
    pieces = [encoded(NOISE[:int(seconds * RATE)], *kind) for seconds in (2, 1.5, 1)]
    tag = b"ID3\x03\0\0\0\0\0\x0a" + bytes(10)
    if kind == ("MP3",):
        pieces[1] = pieces[1] + b"TAG" + bytes(125)
        pieces[2] = tag + pieces[2]
    apart = [sf.read(io.BytesIO(piece), dtype="float32")[0] for piece in pieces]
    (tmp_path / "a").write_bytes(b"".join(pieces))
    audio = read_audio(tmp_path / "a")
    np.testing.assert_array_equal(audio.signal, np.concatenate(apart))
    assert (audio.promised, audio.remarks) == (sum(map(len, apart)), {})
    np.testing.assert_array_equal(read_audio(tmp_path / "a", b"".join(pieces)).signal, audio.signal)
    assert seconds_of(tmp_path / "a", joined=True) == pytest.approx(sum(map(len, apart)) / audio.rate)


def without_its_length(mp3):
    """An MP3 without its first frame, in which the encoder says how long it is: the next begins with the same bytes."""
    return mp3[mp3.index(mp3[:2], max(mp3.find(b"Xing"), mp3.find(b"Info"))):]


@pytest.mark.parametrize("mode", ["VARIABLE", "AVERAGE", "CONSTANT"])
@pytest.mark.parametrize(("rate", "channels"), [(44_100, 1), (48_000, 2), (22_050, 1), (16_000, 2), (8_000, 1)])
def test_an_mp3_that_does_not_say_how_long_it_is_is_read_to_its_end(tmp_path, mode, rate, channels):
    """Noise comes first, in longer frames than the tone's; what LAME has before a sound are 576 samples."""
    file = io.BytesIO()
    signal = np.concatenate([NOISE[:2 * rate] * 3, TONE[:3 * rate] / 3])
    sf.write(file, np.stack([signal] * channels, 1), rate, format="MP3", bitrate_mode=mode, compression_level=0.5)
    whole = sf.read(io.BytesIO(file.getvalue()), dtype="float32", always_2d=True)[0].mean(1)
    (tmp_path / "a.mp3").write_bytes(content := without_its_length(file.getvalue()))
    audio = read_audio(tmp_path / "a.mp3")
    np.testing.assert_allclose(audio.signal[576:576 + 5 * rate], whole, atol=1e-3)
    assert examine([tmp_path / "a.mp3"], progress=False)["problem"].tolist() == [""]
    assert seconds_of(tmp_path / "a.mp3") is None
    (tmp_path / "b.mp3").write_bytes(file.getvalue() + content)  # behind another that says it
    np.testing.assert_allclose(read_audio(tmp_path / "b.mp3").signal, np.concatenate([whole, audio.signal]), atol=1e-6)


def test_of_a_recording_that_cannot_follow_another_it_is_said(tmp_path):
    first = encoded(NOISE, "FLAC")
    for second, said in ((encoded(NOISE, "FLAC", None, 8000), "which is of 8000 Hz and not of 44100"),
                         (encoded(NOISE, "FLAC")[:60] + bytes(5000), "which cannot be decoded")):
        (tmp_path / "a.flac").write_bytes(first + second)
        audio = read_audio(tmp_path / "a.flac")
        np.testing.assert_allclose(audio.signal, NOISE, atol=2**-15)
        assert audio.remarks == {"unread": f"{tmp_path}/a.flac is 2 recordings joined byte by byte, and from number 2 "
                                           f"on, {said}, nothing is read; cut it there"}
        assert seconds_of(tmp_path / "a.flac", joined=True) in (None, 8), "by the headers"


def interrupted_at(read, monkeypatch, number):
    """Have a signal come while libsndfile reads a file by way of Python for the n-th time: how often it has read."""
    readinto, reads = containers.View.readinto, []

    def interrupted(view, buffer):
        reads.append(len(buffer))
        if len(reads) == read:
            os.kill(os.getpid(), number)
        return readinto(view, buffer)
    monkeypatch.setattr(containers.View, "readinto", interrupted)
    return reads


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
def test_an_interrupt_while_joined_recordings_are_read_is_not_lost_and_leaves_no_wrong_image(tmp_path, monkeypatch,
                                                                                           share):
    flac = encoded(NOISE, "FLAC")
    (tmp_path / "a.flac").write_bytes(flac + flac)
    (tmp_path / "b.flac").write_bytes(as_from_a_pipe(4) + flac)
    paths = [tmp_path / "a.flac", tmp_path / "b.flac"]
    with monkeypatch.context() as patched:
        reads = interrupted_at(0, patched, signal.SIGINT)
        alone = SpectrogramStore.build(paths, tmp_path / "alone", progress=False)
    with monkeypatch.context() as patched:
        interrupted_at(1 + round(share * (len(reads) - 1)), patched, signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            SpectrogramStore.build(paths, tmp_path / "store", progress=False)
    store = SpectrogramStore.build(paths, tmp_path / "store", progress=False)
    np.testing.assert_array_equal(store.pixels, alone.pixels)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_so_is_a_signal_that_ends_a_command(tmp_path, monkeypatch):
    flac = encoded(NOISE, "FLAC")
    (tmp_path / "a.flac").write_bytes(flac + flac)
    interrupted_at(5, monkeypatch, signal.SIGTERM)
    with pytest.raises(Stopped), stoppable():
        read_audio(tmp_path / "a.flac")
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def wav_that_says(length, path, subtype="PCM_16", size=0, behind=b""):
    """A WAV of `NOISE` with another number of bytes in its header than there are."""
    wav = encoded(NOISE, "WAV", subtype)
    place = wav.index(b"data") + 4
    struct.pack_into("<I", wav, place, length % 2**32)
    with open(path, "wb") as file:
        file.write(wav)
        if size:  # of the samples: what comes later is a hole in the file
            file.truncate(place + 4 + size)
            file.seek(0, io.SEEK_END)
        file.write(behind)


@pytest.mark.parametrize(("subtype", "bytes_each"), [("PCM_16", 2), ("PCM_24", 3), ("FLOAT", 4)])
@pytest.mark.parametrize("behind", [b"", b"LIST" + struct.pack("<I", 4) + b"INFO"], ids=["", "before a list"])
def test_a_wav_beyond_4_gib_is_as_long_as_its_file(tmp_path, subtype, bytes_each, behind):
    """Its length has 32 bits: of the true one the lower half is left, or all bits are set, or none."""
    size = 2**32 + 12 * 50_000
    wraps = 12 * 50_000
    for length in (wraps, 0, 2**32 - 1):
        wav_that_says(length, tmp_path / "a.wav", subtype, size, behind)
        blocks = read_blocks(tmp_path / "a.wav", a_clip=False)
        block = next(blocks)
        blocks.close()
        unknown = len(behind) if length != wraps else 0  # its end is the file's
        assert block.promised == (size + unknown) // bytes_each
        np.testing.assert_allclose(block.signal[:len(NOISE)], NOISE, atol=2**-15)


def test_bytes_behind_a_sound_are_said_and_tags_are_not(tmp_path):
    for length, behind, said in ((2 * len(NOISE), b"TAG" + bytes(125), False),
                                 (2 * len(NOISE), b"id3 " + struct.pack("<I", 9000) + bytes(9000), False),
                                 (2 * len(NOISE), bytes(9000), True), (2 * RATE, b"", True)):
        wav_that_says(length, tmp_path / "a.wav", behind=behind)
        audio = read_audio(tmp_path / "a.wav")
        assert len(audio.signal) == length // 2
        left = 2 * len(NOISE) - length + len(behind)
        assert audio.remarks == ({"unread": f"{tmp_path}/a.wav has {left} bytes behind its sound that are of no known "
                                            "kind and not read"} if said else {})


@pytest.mark.parametrize(("kind", "channels", "said"), [
    ("WAV", (1, -1), "take channel 1 alone"), ("FLAC", (-1, 1), "take channel 1 alone"),
    ("MP3", (1, -1), "take channel 1 alone"), ("OGG", (1, -1), "take channel 1 alone"),
    ("WAV", (0.5, 1, -1.5), "take channel 3 alone"),  # which is the loudest
    ("WAV", (1, -0.5), ""), ("WAV", (1, 0), ""), ("WAV", (1,), ""), ("WAV", (0, 0, 0, 0, 0, 1), "")])
def test_channels_that_are_opposite_are_said(tmp_path, kind, channels, said):
    signal = TONE if kind == "OGG" else NOISE  # of noise Vorbis does not keep the phase
    sf.write(tmp_path / "a b.wav", np.outer(signal / 2, channels), RATE, format=kind)
    remarks = read_audio(tmp_path / "a b.wav").remarks
    assert list(remarks) == (["opposite"] if said else [])
    if said:
        assert f"{tmp_path}/a b.wav has channels that are opposite" in remarks["opposite"]
        assert said in remarks["opposite"]
        assert f"ffmpeg -i '{tmp_path}/a b.wav' -af 'pan=mono|c0=c{int(said[13]) - 1}'" in remarks["opposite"]


def test_channels_of_two_sounds_are_not_opposite(tmp_path):
    sf.write(tmp_path / "a.wav", np.stack([NOISE, NOISE[::-1]], 1), RATE)
    assert read_audio(tmp_path / "a.wav").remarks == {}


@pytest.mark.parametrize("samples", [0, 100, 3 * RATE])
def test_silence_is_said(tmp_path, samples):
    sf.write(tmp_path / "a.wav", np.zeros((samples, 2)), RATE)
    assert read_audio(tmp_path / "a.wav").remarks == {
        "silent": f"{tmp_path}/a.wav is silent throughout, and its tags are those of silence"}


def test_a_store_and_the_check_say_it(tmp_path, capsys):
    root = write_demo(tmp_path / "input", curated=1, noisy=1, test=1, progress=False)
    paths = sorted((root / "train_curated").iterdir())
    sf.write(paths[0], np.stack([NOISE, -NOISE], 1), RATE)
    sf.write(paths[1], 0 * NOISE, RATE)
    wav_that_says(2 * RATE, paths[2])
    for _ in range(2):  # when it is built and when it is opened again
        with pytest.warns(UserWarning, match=rf"3 of 12 clips may not be what .*{paths[0].name}.*take channel 1 .*"
                                             rf"{paths[1].name} is silent.*{paths[2].name} has \d+ bytes"):
            store = SpectrogramStore.build(paths, tmp_path / "store", n_jobs=1, progress=False)
        assert sorted(store.remarks) == [0, 1, 2] and not store.problems
    assert check(root)
    printed = capsys.readouterr().out
    assert f"curated, silent: {paths[1].name}\n" in printed
    assert f"curated, opposite: {paths[0]} has channels" in printed and "take channel 1" in printed
    assert f"curated, unread: {paths[2]} has " in printed
