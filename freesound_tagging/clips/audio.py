"""Audio files from strangers: the one place where a clip is read and judged."""

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

MAX_SECONDS = 900  # a longer clip would take gigabytes for its spectrogram
MAX_SAMPLE = 1e6  # of floating-point files; above it powers overflow
MAX_BYTES = 1 << 30  # no clip's file is that large
BLOCK = 1 << 20  # samples read at a time, as a header can promise any number of them
# How formats begin that people have and libsndfile does not read: MP4 and M4A, Matroska and WebM, WMA, AAC, AMR.
FOREIGN = re.compile(rb"....ftyp|\x1aE\xdf\xa3|0&\xb2u|\xff[\xf1\xf9]|ADIF|#!AMR", re.DOTALL)


@dataclasses.dataclass
class Audio:
    """What a file holds."""

    signal: np.ndarray  # float32 (samples,): the mean of its channels
    rate: int  # Hz
    channels: int
    promised: int  # samples by its header; more than there are in a truncated file


def read_audio(path, content=None):
    """Read an audio file that libsndfile understands, whatever its name ends in, as mono.

    Parameters
    ----------
    path : path
    content : bytes, optional
        Of the file, where another machine has read it; `MAX_BYTES` and one of a larger one.

    Returns
    -------
    Audio
        Of a truncated file, what is there; of a WAV that does not say how long it is, as its recording was broken off,
        all to the end of the file.

    Raises
    ------
    OSError
        If the file is missing, is no audio, lasts more than `MAX_SECONDS`, has more than `MAX_BYTES`, or holds samples
        that are not numbers or greater than `MAX_SAMPLE`. The message names it. No more memory is taken than
        `MAX_SECONDS` need.
    """
    if content is None and not Path(path).exists():
        raise FileNotFoundError(f"{path} does not exist")
    size = Path(path).stat().st_size if content is None else len(content)
    wrong = f"has more than {MAX_BYTES >> 20} MiB; cut it into clips" if size > MAX_BYTES else ""
    if content is None and os.name != "posix":  # where soundfile takes no file handles
        content = first_bytes(path)
    head = b""
    try:
        head = first_bytes(path, content, 16)  # libsndfile takes a disk's error for a format that it does not know
        audio, wrong = (None, wrong) if wrong else _read(path, content)
        if audio is not None and not audio.promised and (whole := _closed(first_bytes(path, content))):
            audio, wrong = _read(path, whole)
    except (sf.SoundFileError, OSError) as error:
        reason = getattr(error, "error_string", str(error)) or "it is damaged"
        wrong = f"cannot be read as audio ({reason})"
        if FOREIGN.match(head):
            converted = shlex.join([str(path), str(Path(path).with_suffix(".wav"))])
            wrong = f"is of a format that libsndfile does not read (ffmpeg -i {converted} converts it)"
    if wrong:
        raise OSError(f"{path} {wrong}; replace the file or leave it out")
    return audio


def _read(path, content):
    """A file's `Audio`, and what is wrong with it if anything is."""
    blocks, length = [np.zeros(0, np.float32)], 0
    # By a handle of Python's, which is closed also where a Ctrl-C comes while libsndfile opens the file. Its name
    # does not count: clips read here and elsewhere are read alike.
    with (open(path, "rb") if content is None else io.BytesIO(content) as raw,
          sf.SoundFile(raw.fileno() if content is None else raw, closefd=False) as file):
        while len(block := file.read(max(1, BLOCK // file.channels), dtype="float32", always_2d=True)):
            length += len(block)
            if length > MAX_SECONDS * file.samplerate:
                return None, f"lasts more than {MAX_SECONDS} s; cut it into clips"
            if not (np.abs(block) <= MAX_SAMPLE).all():  # nor of what is not a number
                return None, f"holds samples that are not numbers or above {MAX_SAMPLE:.0e}"
            blocks.append(librosa.to_mono(block.T))
        return Audio(np.concatenate(blocks), file.samplerate, file.channels, file.frames), ""


def _closed(wav):
    """A WAV whose recorder never came to write how long it is, with that filled in; None if it is nothing of the kind.

    An empty sound before another chunk is what it says.
    """
    place = 12
    while wav[:4] in (b"RIFF", b"RF64") and wav[8:12] == b"WAVE" and place + 8 < len(wav):
        name, size = struct.unpack_from("<4sI", wav, place)
        if name == b"data":
            rest = wav[place + 8:]
            chunk = rest[:4].isalnum() and len(rest) >= 8 and 8 + struct.unpack_from("<I", rest, 4)[0] <= len(rest)
            if chunk or (wav[:4] == b"RIFF" and size):
                return None
            return b"RIFF" + wav[4:place + 4] + struct.pack("<I", len(rest)) + rest
        place += 8 + size + size % 2
    return None


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


def first_bytes(path, content=None, most=MAX_BYTES + 1):
    """A file's content, or of one that is too large enough to tell."""
    if content is not None:
        return content[:most]
    with open(path, "rb") as file:
        return file.read(most)
