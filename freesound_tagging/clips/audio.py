"""Audio files from strangers: the one place where a clip is read and judged."""

import dataclasses
import io
import os
from pathlib import Path

import librosa
import numpy as np
import soundfile as sf

MAX_SECONDS = 900  # a longer clip would take gigabytes for its spectrogram
MAX_SAMPLE = 1e6  # of floating-point files; above it powers overflow
MAX_BYTES = 1 << 30  # no clip's file is that large
BLOCK = 1 << 20  # samples read at a time, as a header can promise any number of them


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
        Of a truncated file, what is there.

    Raises
    ------
    OSError
        If the file is missing, is no audio, lasts more than `MAX_SECONDS`, has more than `MAX_BYTES`, or holds samples
        that are not numbers or greater than `MAX_SAMPLE`. The message names it. No more memory is taken than
        `MAX_SECONDS` need.
    """
    if content is None and not Path(path).exists():
        raise FileNotFoundError(f"{path} does not exist; complete the data set or delete its row from the table")
    size = Path(path).stat().st_size if content is None else len(content)
    wrong = f"has more than {MAX_BYTES >> 20} MiB; cut it into clips" if size > MAX_BYTES else ""
    blocks, length = [np.zeros(0, np.float32)], 0
    if content is None and os.name != "posix":  # where soundfile takes no file handles
        content = first_bytes(path)
    try:
        # By a handle of Python's, which is closed also where a Ctrl-C comes while libsndfile opens the file. Its name
        # does not count: clips read here and elsewhere are read alike.
        with (open(path, "rb") if content is None else io.BytesIO(content) as raw,
              sf.SoundFile(raw.fileno() if content is None else raw, closefd=False) as file):
            rate, channels, promised = file.samplerate, file.channels, file.frames
            while not wrong and len(block := file.read(max(1, BLOCK // channels), dtype="float32", always_2d=True)):
                length += len(block)
                if length > MAX_SECONDS * rate:
                    wrong = f"lasts more than {MAX_SECONDS} s; cut it into clips"
                elif not (np.abs(block) <= MAX_SAMPLE).all():  # nor of what is not a number
                    wrong = f"holds samples that are not numbers or above {MAX_SAMPLE:.0e}"
                else:
                    blocks.append(librosa.to_mono(block.T))
    except (sf.SoundFileError, OSError) as error:
        wrong = f"cannot be read as audio ({getattr(error, 'error_string', error)})"
    if wrong:
        raise OSError(f"{path} {wrong}; replace the file or delete its row from the table")
    return Audio(np.concatenate(blocks), rate, channels, promised)


def first_bytes(path):
    """A file's content, or of one that is too large enough to tell."""
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)
