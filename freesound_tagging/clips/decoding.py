"""What libsndfile makes of an open file: its samples block by block, also where the file is broken or has no end."""

import contextlib
import io
import os

import numpy as np
import soundfile as sf

from ..machine.commands import held_signals
from .containers import ENDLESS, Contents, contents_of
from .streams import Forward, Stream

UNKNOWN = 2**63 - 1  # how many samples libsndfile says there are where it cannot tell
DECODED = 4096  # samples that a FLAC is decoded in at a time, of which the last may be broken


class _OtherRate(sf.SoundFileError):
    """A recording cannot follow another one."""


def samples_of(raw, path, remarks, size):
    """An open file's samples, of all recordings that were joined in it.

    Parameters
    ----------
    raw : io.FileIO, io.BytesIO or Stream
        As `streams.opened` gives it.
    path : path
        For what is said of it.
    remarks : dict of str to str
        Gets a sentence as ``"unread"`` of bytes that are not read.
    size : int
        Samples of all channels of a block, at most.

    Yields
    ------
    block : ndarray of float32
        (samples, channels); at least one block, which is empty where there are no samples.
    rate : int
        Hz.
    promised : int
        Samples by the headers so far; 0 of a recording that does not say.

    Raises
    ------
    soundfile.SoundFileError
        If the beginning is nothing that libsndfile can decode.
    OSError
        If reading fails.
    """
    contents, rate, promised = Contents([raw]) if isinstance(raw, Stream) else contents_of(raw), 0, 0
    if contents.left:
        remarks["unread"] = f"{path} has {contents.left} bytes behind its sound that are of no known kind and not read"
    for number, recording in enumerate(contents.recordings):
        try:
            for block, its_rate, frames in _blocks_of(recording, size):
                if number and its_rate != rate:
                    raise _OtherRate(f"is of {its_rate} Hz and not of {rate}")
                rate = its_rate
                yield block, rate, promised + frames
            promised += frames
        except sf.SoundFileError as error:
            if not number:
                raise
            reason = error if isinstance(error, _OtherRate) else "cannot be decoded"
            remarks["unread"] = (f"{path} is {len(contents.recordings)} recordings joined byte by byte, and from "
                                 f"number {number + 1} on, which {reason}, nothing is read; cut it there")
            return


def _blocks_of(raw, size):
    """As `samples_of`, of one recording."""
    streamed = isinstance(raw, Stream)
    by_number = os.name == "posix" and isinstance(raw, io.FileIO)  # which is quicker, and soundfile knows on POSIX only
    source = raw.fileno() if by_number else raw
    settings, begun = raw.settings if streamed else {}, False
    # libsndfile asks what is no file of the system by way of Python, where soundfile would lose an interrupt, and what
    # was to be read. A pipe keeps it, as it may have to be waited for.
    whole = contextlib.nullcontext if streamed or by_number else held_signals
    for kind in (Forward,) if streamed else (sf.SoundFile, Forward):
        raw.seek(0)
        with whole():
            file = kind(source, closefd=False, **settings)
        with file:
            if kind is sf.SoundFile and file.format == "FLAC" and file.frames == UNKNOWN:
                continue  # without a length, as pipes leave it: libsndfile finds no place in it again
            while True:
                with whole():
                    block = _next(file, max(1, size // file.channels))
                if streamed and raw.error:
                    raise raw.error
                if begun and not len(block):
                    return
                begun = True
                yield block, file.samplerate, file.frames if file.frames < ENDLESS else 0


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
