"""Sounds that come through a pipe: WAV and FLAC are read as they come, others are kept in a temporary file first."""

import contextlib
import io
import os
import shutil
import stat
import struct
import tempfile

import soundfile as sf

from ..machine.files import as_path

HEAD = 1 << 16  # bytes by which it is told what comes
ENDLESS = 1 << 62  # the length that libsndfile is told
UNKNOWN = 0x7FF00000  # from this on, the length in a WAV's header is what its writer put there for want of the true one
SUBTYPES = {(1, 8): "PCM_U8", (1, 16): "PCM_16", (1, 24): "PCM_24", (1, 32): "PCM_32", (3, 32): "FLOAT",
            (3, 64): "DOUBLE", (6, 8): "ALAW", (7, 8): "ULAW"}  # by a WAV's format tag and bits a sample


def is_pipe(path):
    """Whether a path is that of a pipe, such as ``/dev/stdin`` after a ``|``."""
    try:
        return stat.S_ISFIFO(os.stat(as_path(path)).st_mode)
    except OSError:
        return False


def is_given(path):
    """Whether there is something to read at a path: a file or a pipe."""
    return os.path.isfile(as_path(path)) or is_pipe(path)


class Forward(sf.SoundFile):
    """A sound of which libsndfile is never asked to go back."""

    def seekable(self):
        return False


class Stream(io.RawIOBase):
    """What comes through a pipe, as a file without an end: only what `head` holds can be read again.

    Parameters
    ----------
    head : bytes
        What was read already.
    raw : file
    left : int
        How many bytes count, `head` among them.
    **settings
        Told to `soundfile.SoundFile`.
    """

    def __init__(self, head, raw, left=ENDLESS, **settings):
        self.head, self.raw, self.left, self.settings = head, raw, left, settings
        self.place, self.wanted, self.error = 0, 0, None

    def readable(self):
        return True

    def seekable(self):
        return True

    def seek(self, place, whence=io.SEEK_SET):
        self.wanted = place + {io.SEEK_SET: 0, io.SEEK_CUR: self.wanted, io.SEEK_END: ENDLESS}[whence]
        return self.wanted

    def tell(self):
        return self.wanted

    def readinto(self, buffer):
        buffer, count = memoryview(buffer).cast("B"), 0
        try:
            if self.wanted < self.place <= len(self.head):
                self.place = self.wanted
            if self.wanted == self.place:
                count = self._read(buffer[:max(0, self.left - self.place)])
        except BaseException as error:  # an interrupt as well: C has called this, and would lose it
            self.error = error
        self.place += count
        self.wanted += count
        return count

    def _read(self, buffer):
        count = 0
        while count < len(buffer):
            if self.place + count < len(self.head):
                some = self.head[self.place + count:][:len(buffer) - count]
                buffer[count:count + len(some)] = some
            else:
                some = range(self.raw.readinto(buffer[count:]) or 0)  # what of it came
            if not len(some):
                break
            count += len(some)
        return count


@contextlib.contextmanager
def opened(path):
    """Open a file or a pipe to read a sound from.

    Parameters
    ----------
    path : path

    Yields
    ------
    io.FileIO, io.BytesIO or Stream
        Of a pipe that is neither WAV nor FLAC a temporary file, of what libsndfile knows by its beginning.

    Raises
    ------
    OSError
        If it cannot be read, or is of no known format.
    """
    with open(path, "rb", buffering=0) as raw:
        if not is_pipe(path):
            yield raw
            return
        head = bytearray(HEAD)
        head = bytes(head[:Stream(b"", raw)._read(memoryview(head))])
        if len(head) < HEAD:
            yield io.BytesIO(head)
        elif head.startswith(b"fLaC"):
            yield Stream(head, raw)
        elif wav := _wav(head):
            begin, left, settings = wav
            yield Stream(head[begin:], raw, left, **settings)
        else:
            _known(head)  # before what is no sound fills the disk
            with tempfile.TemporaryFile(buffering=0) as file:
                file.write(head)
                shutil.copyfileobj(raw, file, 1 << 20)
                yield file


def _known(head):
    """Raise the error of a beginning that is of no format that libsndfile knows."""
    try:
        sf.SoundFile(io.BytesIO(head)).close()
    except sf.LibsndfileError as error:
        if error.code == 1:  # others say that it is not whole, which it is not
            raise


def _wav(head):
    """Where a WAV's samples begin, how many bytes they are, and what they are; None if that cannot be told."""
    place, settings, size = 12, None, 0
    while head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE" and place + 8 <= len(head):
        name, length = struct.unpack_from("<4sI", head, place)
        body = head[place + 8:place + 8 + length]
        if name == b"ds64" and len(body) >= 16:
            size, = struct.unpack_from("<Q", body, 8)
        if name == b"fmt " and len(body) >= 16:
            tag, channels, rate, _, frame, bits = struct.unpack_from("<HHIIHH", body)
            if tag == 0xFFFE and len(body) >= 26:  # the tag is the beginning of a longer name
                tag, = struct.unpack_from("<H", body, 24)
            if (subtype := SUBTYPES.get((tag, bits))) and frame == channels * bits // 8 and channels and rate:
                settings = {"samplerate": rate, "channels": channels, "format": "RAW", "subtype": subtype,
                            "endian": "LITTLE"}
        if name == b"data":
            known = size if 0 < size < 1 << 62 else length if 0 < length < UNKNOWN else ENDLESS
            return settings and (place + 8, known, settings)
        place += 8 + length + length % 2
    return None
