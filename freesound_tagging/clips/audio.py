"""Audio files from strangers: the one place where a sound is read and judged, block by block."""

import contextlib
import dataclasses
import hashlib
import io
import os
import re
import shlex
import struct
from pathlib import Path

import librosa
import numpy as np
import soundfile as sf

from .streams import ENDLESS, HEAD, Forward, Stream, opened

MAX_SECONDS = 900  # of a clip, whose image is made in one piece
MAX_NUMBERS = 1 << 30  # samples of all channels of a clip: such as 900 s of 6 channels at 192 kHz
MAX_SAMPLE = 1e6  # of floating-point files; above it powers overflow
MAX_BYTES = 1 << 30  # no clip's file is that large
BLOCK = 1 << 20  # samples of all channels read at a time, as a header can promise any number of them
DECODED = 4096  # samples that a FLAC is decoded in at a time, of which the last may be broken
# How formats begin that people have and libsndfile does not read: MP4 and M4A, Matroska and WebM, WMA, AAC, AMR.
FOREIGN = re.compile(rb"....ftyp|\x1aE\xdf\xa3|0&\xb2u|\xff[\xf1\xf9]|ADIF|#!AMR", re.DOTALL)


@dataclasses.dataclass
class Audio:
    """A sound, or a block of one."""

    signal: np.ndarray  # float32 (samples,): the mean of its channels
    rate: int  # Hz
    channels: int
    promised: int  # samples by the file's header; more than there are in a truncated file


class UnusableAudio(OSError):
    """A file that cannot be used as a sound; the message names it and says why."""

    @classmethod
    def of(cls, path, wrong):
        return cls(f"{path} {wrong}; replace the file or leave it out")


def read_audio(path, content=None):
    """Read a clip that libsndfile understands, whatever its name ends in, as mono.

    Parameters
    ----------
    path : path
    content : bytes, optional
        Of the file, where another machine has read it; `MAX_BYTES` and one of a larger one.

    Returns
    -------
    Audio
        Of a truncated file, or one that cannot be decoded to its end, what comes before; of a WAV that does not say how
        long it is, as its recording was broken off, all to the end of the file.

    Raises
    ------
    OSError
        If the file is missing, is no audio, lasts more than `MAX_SECONDS`, has more than `MAX_BYTES` or `MAX_NUMBERS`,
        or holds samples that are not numbers or greater than `MAX_SAMPLE`. The message names it.
    """
    blocks = list(read_blocks(path, content))
    return dataclasses.replace(blocks[0], signal=np.concatenate([block.signal for block in blocks]))


def read_blocks(path, content=None, a_clip=True):
    """Read a sound of any length as `read_audio` does, in blocks of at most `BLOCK` samples of all channels.

    Parameters
    ----------
    path, content
        As for `read_audio`.
    a_clip : bool
        Whether the limits of a clip hold. Without, a sound may be of any length.

    Yields
    ------
    Audio
        At least one; of an empty file an empty one.

    Raises
    ------
    OSError
        As `read_audio`, when the block comes that is wrong.
    """
    if content is None and not Path(path).exists():
        raise FileNotFoundError(f"{path} does not exist")
    if a_clip and (Path(path).stat().st_size if content is None else len(content)) > MAX_BYTES:
        raise UnusableAudio.of(path, f"has more than {MAX_BYTES >> 20} MiB; cut it into clips")
    head = b""
    try:
        # By a handle of Python's, which is closed also where a Ctrl-C comes while libsndfile opens the file. Its name
        # does not count: clips read here and elsewhere are read alike.
        with opened(path) if content is None else io.BytesIO(content) as raw:
            head = raw.read(16)  # libsndfile takes a disk's error for a format that it does not know
            length = 0
            for block, rate, promised in _blocks(raw):
                length += len(block)
                if a_clip and length > MAX_SECONDS * rate:
                    raise UnusableAudio.of(path, f"lasts more than {MAX_SECONDS} s; cut it into clips")
                if a_clip and length * block.shape[1] > MAX_NUMBERS:
                    raise UnusableAudio.of(path, f"has more than {MAX_NUMBERS} samples; cut it into clips")
                if not (np.abs(block) <= MAX_SAMPLE).all():  # nor of what is not a number
                    raise UnusableAudio.of(path, f"holds samples that are not numbers or above {MAX_SAMPLE:.0e}")
                yield Audio(librosa.to_mono(block.T), rate, block.shape[1], promised)
    except UnusableAudio:
        raise
    except (sf.SoundFileError, OSError) as error:
        reason = getattr(error, "error_string", str(error)) or "it is damaged"
        wrong = f"cannot be read as audio ({reason})"
        if FOREIGN.match(head):
            converted = shlex.join([str(path), str(Path(path).with_suffix(".wav"))])
            wrong = f"is of a format that libsndfile does not read (ffmpeg -i {converted} converts it)"
        raise UnusableAudio.of(path, wrong) from error


def _blocks(raw):
    """An open file's samples (samples, channels) in blocks, at least one, each with the rate and how many there are."""
    raw.seek(0)
    streamed = isinstance(raw, Stream)
    by_number = os.name == "posix" and isinstance(raw, io.FileIO)  # which is quicker, and soundfile knows on POSIX only
    kind, settings = (Forward, raw.settings) if streamed else (sf.SoundFile, {})
    with kind(raw.fileno() if by_number else raw, closefd=False, **settings) as file:
        size = max(1, BLOCK // file.channels)
        block = _next(file, size)
        completed = None if file.frames else _Completed.of(raw)
        if file.frames > ENDLESS and not streamed:  # a FLAC of a pipe's, which does not say how long it is
            raw.seek(0)
            completed = Stream(raw.read(HEAD), raw)
        while completed is None:
            if streamed and raw.error:
                raise raw.error
            yield block, file.samplerate, file.frames
            if not len(block := _next(file, size)) and not (streamed and raw.error):
                return
    yield from _blocks(completed)


def _next(file, size):
    """The next samples. Where decoding fails, as at the end of a truncated FLAC, those before, if there are any."""
    place, few, failed = file.tell(), [np.zeros((0, file.channels), np.float32)], None
    try:
        if file.seekable():
            return file.read(size, dtype="float32", always_2d=True)
    except sf.SoundFileError as error:
        failed = error
    try:
        if failed:
            file.seek(place)
        for _ in range(0, size, DECODED):
            few.append(file.read(DECODED, dtype="float32", always_2d=True))
    except sf.SoundFileError as error:
        failed = failed or error
    if failed and not place and len(few) == 1:
        raise failed
    return np.concatenate(few)[:size]


class _Completed(io.RawIOBase):
    """A WAV whose recorder never came to write how long it is, with that filled in."""

    def __init__(self, raw, filled_in):
        self.raw, self.filled_in = raw, filled_in  # a dict of place to bytes

    @classmethod
    def of(cls, raw):
        """None if a file is nothing of the kind. An empty sound before another chunk is what it says."""
        size, place = raw.seek(0, io.SEEK_END), 12
        raw.seek(0)
        head = raw.read(12)
        while head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE" and place + 8 < size:
            raw.seek(place)
            name, length = struct.unpack("<4sI", raw.read(8))
            if name == b"data":
                rest, left = raw.read(8), size - place - 8
                chunk = rest[:4].isalnum() and len(rest) == 8 and 8 + struct.unpack_from("<I", rest, 4)[0] <= left
                if chunk or (head[:4] == b"RIFF" and length):
                    return None
                return cls(raw, {0: b"RIFF", place + 4: struct.pack("<I", min(left, 2**32 - 1))})
            place += 8 + length + length % 2
        return None

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, place, whence=io.SEEK_SET):
        return self.raw.seek(place, whence)

    def tell(self):
        return self.raw.tell()

    def readinto(self, buffer):
        begin = self.raw.tell()
        buffer = memoryview(buffer).cast("B")
        count = self.raw.readinto(buffer)
        for place, what in self.filled_in.items():
            for i, byte in enumerate(what):
                if begin <= place + i < begin + count:
                    buffer[place + i - begin] = byte
        return count


def digest_of(path, content=None):
    """What tells a file's content from all others.

    Parameters
    ----------
    path : path
    content : bytes, optional
        As for `read_audio`.

    Returns
    -------
    str
        32 hex digits of BLAKE2; ``""`` of a file that cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    try:
        with open(path, "rb") if content is None else io.BytesIO(content) as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError:
        return ""
    return digest.hexdigest()


def first_bytes(path):
    """A file's content, or of one that is too large enough to tell."""
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)
