"""Audio files from strangers: the one place where a sound is read and judged, block by block."""

import dataclasses
import hashlib
import io
import re
import shlex

import librosa
import numpy as np
import soundfile as sf

from ..machine.commands import held_signals
from ..machine.files import as_path
from .containers import ENDLESS, contents_of
from .decoding import samples_of
from .streams import is_pipe, opened

MAX_SECONDS = 900  # of a clip, whose image is made in one piece
MAX_NUMBERS = 1 << 30  # samples of all channels of a clip: such as 900 s of 6 channels at 192 kHz
MAX_SAMPLE = 1e6  # of floating-point files; above it powers overflow
MAX_BYTES = 1 << 30  # no clip's file is that large
BLOCK = 1 << 20  # samples of all channels read at a time, as a header can promise any number of them
OPPOSITE = 0.01  # of the power that channels have in their mean if they have nothing to do with each other
# How formats begin that people have and libsndfile does not read: MP4 and M4A, Matroska and WebM, WMA, AAC, AMR.
FOREIGN = re.compile(rb"....ftyp|\x1aE\xdf\xa3|0&\xb2u|\xff[\xf1\xf9]|ADIF|#!AMR", re.DOTALL)


@dataclasses.dataclass
class Audio:
    """A sound, or a block of one."""

    signal: np.ndarray  # float32 (samples,): the mean of its channels
    rate: int  # Hz
    channels: int
    promised: int  # samples by the file's header; more than there are in a truncated file, 0 if it does not say
    remarks: dict = dataclasses.field(default_factory=dict)  # of `read_audio`: as of `read_blocks`


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
        Of a truncated file, or one that cannot be decoded to its end, what comes before; of a WAV, FLAC or MP3 that
        does not say how long it is, as its recording was broken off or came through a pipe, all to the end of the file;
        of recordings that were joined byte by byte, all.

    Raises
    ------
    OSError
        If the file is missing, is no audio, lasts more than `MAX_SECONDS`, has more than `MAX_BYTES` or `MAX_NUMBERS`,
        or holds samples that are not numbers or greater than `MAX_SAMPLE`. The message names it.
    """
    remarks = {}
    blocks = list(read_blocks(path, content, remarks=remarks))
    return dataclasses.replace(blocks[0], signal=np.concatenate([block.signal for block in blocks]),
                               promised=blocks[-1].promised, remarks=remarks)


def read_blocks(path, content=None, a_clip=True, remarks=None):
    """Read a sound of any length as `read_audio` does, in blocks of at most `BLOCK` samples of all channels.

    Parameters
    ----------
    path, content
        As for `read_audio`.
    a_clip : bool
        Whether the limits of a clip hold. Without, a sound may be of any length.
    remarks : dict of str to str, optional
        Gets what nobody would hear of otherwise, a sentence that names the file, by its kind: ``"silent"`` throughout,
        ``"opposite"`` channels, whose mean is all but silence, or ``"unread"`` bytes. Complete after the last block.

    Yields
    ------
    Audio
        At least one; of an empty file an empty one.

    Raises
    ------
    OSError
        As `read_audio`, when the block comes that is wrong.
    """
    path = as_path(path)
    if content is None and not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    if a_clip and (path.stat().st_size if content is None else len(content)) > MAX_BYTES:
        raise UnusableAudio.of(path, f"has more than {MAX_BYTES >> 20} MiB; cut it into clips")
    head, power, remarks = b"", _Power(), {} if remarks is None else remarks
    try:
        # By a handle of Python's, which is closed also where a Ctrl-C comes while libsndfile opens the file. Its name
        # does not count: clips read here and elsewhere are read alike.
        with opened(path) if content is None else io.BytesIO(content) as raw:
            head = raw.read(16)  # libsndfile takes a disk's error for a format that it does not know
            length = 0
            for block, rate, promised in samples_of(raw, path, remarks, BLOCK):
                length += len(block)
                if a_clip and length > MAX_SECONDS * rate:
                    raise UnusableAudio.of(path, f"lasts more than {MAX_SECONDS} s; cut it into clips")
                if a_clip and length * block.shape[1] > MAX_NUMBERS:
                    raise UnusableAudio.of(path, f"has more than {MAX_NUMBERS} samples; cut it into clips")
                if not (np.abs(block) <= MAX_SAMPLE).all():  # nor of what is not a number
                    raise UnusableAudio.of(path, f"holds samples that are not numbers or above {MAX_SAMPLE:.0e}")
                mixed = librosa.to_mono(block.T)
                power.add(block, mixed)
                yield Audio(mixed, rate, block.shape[1], promised)
        remarks.update(power.remarks(path))
    except UnusableAudio:
        raise
    except (sf.SoundFileError, OSError) as error:
        reason = getattr(error, "error_string", str(error)) or "it is damaged"
        wrong = f"cannot be read as audio ({reason})"
        if FOREIGN.match(head):
            converted = shlex.join([str(path), str(path.with_suffix(".wav"))])
            wrong = f"is of a format that libsndfile does not read (ffmpeg -i {converted} converts it)"
        raise UnusableAudio.of(path, wrong) from error


class _Power:
    """How loud a sound is, channel by channel and as it is mixed."""

    def __init__(self):
        self.channels, self.mixed = np.zeros(1), 0.0

    def add(self, block, mixed):
        """Samples (samples, channels), and their mean over the channels (samples,)."""
        power = np.einsum("ij,ij->j", block, block).astype(float)
        more = max(len(power), len(self.channels))
        self.channels = np.pad(self.channels, (0, more - len(self.channels))) + np.pad(power, (0, more - len(power)))
        self.mixed += float(np.dot(mixed, mixed))

    def remarks(self, path):
        """What is to be said of a sound that is over, by its kind."""
        if not self.channels.any():
            return {"silent": f"{path} is silent throughout, and its tags are those of silence"}
        if self.mixed >= OPPOSITE * self.channels.sum() / len(self.channels) ** 2:
            return {}
        loudest = int((self.channels > 0.99 * self.channels.max()).argmax())  # the first of equals
        converted = shlex.join([str(path), "-af", f"pan=mono|c0=c{loudest}", str(path.with_suffix(".mono.wav"))])
        return {"opposite": f"{path} has channels that are opposite, and what is heard, their mean, is next to "
                            f"silence: take channel {loudest + 1} alone (ffmpeg -i {converted})"}


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
    try:
        with open(as_path(path), "rb") if content is None else io.BytesIO(content) as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError:
        return ""


def seconds_of(path, joined=False):
    """How long a sound lasts by its header; None where that cannot be told, as of a pipe.

    Of recordings that were `joined` byte by byte all, for which FLAC and Ogg are read from end to end; else the first.
    """
    if is_pipe(path):
        return None
    try:
        with open(as_path(path), "rb") as file:  # by a handle, as soundfile takes no names that are not text
            quick = file.read(4) not in (b"fLaC", b"OggS")
            recordings = contents_of(file).recordings if joined or quick else [file]
            file.seek(0)
            with held_signals():
                infos = [sf.info(recording) for recording in recordings]
    except (sf.SoundFileError, OSError, ZeroDivisionError, TypeError):  # the last of headerless audio
        return None
    if len({info.samplerate for info in infos}) > 1 or not all(0 < info.frames < ENDLESS for info in infos):
        return None  # not all of it is read, or a FLAC or MP3 leaves open how many samples there are
    return sum(info.duration for info in infos)


def first_bytes(path):
    """A file's content, or of one that is too large enough to tell."""
    with open(as_path(path), "rb") as file:
        return file.read(MAX_BYTES + 1)
