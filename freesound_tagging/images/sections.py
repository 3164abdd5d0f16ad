"""Sounds of any length as images: a short one is one, as in the published system; a long one is cut into sections."""

import dataclasses
import os
import warnings
from contextlib import closing

import joblib
import numpy as np

from ..clips.audio import MAX_SECONDS
from ..machine.workers import end_with
from .mel import MelConfig, fit_with_begin, log_mel, resampled, to_image
from .store import CLIPS_WORTH_A_WORKER

SECTION_SECONDS = 600  # of a sound that lasts more than MAX_SECONDS; its last section is longer or shorter


@dataclasses.dataclass
class Section:
    """What the networks see of a stretch of sound."""

    image: np.ndarray | None  # uint8 (n_mels, frames); None of silence in a long sound
    begin: float  # seconds of the file at the first frame; below 0 of a short sound, which is zero-padded on both sides
    end: float  # seconds of the file where the stretch ends, its silence included
    remark: str = ""  # with the last section of a sound: what nobody would hear of otherwise (`audio.read_blocks`)


def sections(path, config=MelConfig()):
    """The images of a sound of any length, in the memory that `MAX_SECONDS` of it need.

    What lasts at most `MAX_SECONDS` is one section: the image that a `SpectrogramStore` has of the clip. Of a longer
    sound each `SECTION_SECONDS` are treated as a clip of their own: trimmed of silence at both ends, measured against
    their own loudest sound, standardized and stretched to the range of a byte. One that is zero throughout has no
    image, unless all of the sound is. The last section takes what is left, half of `SECTION_SECONDS` to `MAX_SECONDS`.

    Parameters
    ----------
    path : path
        As for `mel.load_clip`.
    config : MelConfig

    Yields
    ------
    Section

    Raises
    ------
    OSError
        If the file cannot be used, when what is wrong with it comes. The message names it.
    """
    most, section = MAX_SECONDS * config.sample_rate, SECTION_SECONDS * config.sample_rate
    blocks, length, place, heard, remarks = [], 0, 0, False, {}
    for block in resampled(path, config, a_clip=False, remarks=remarks):
        blocks.append(block)
        length += len(block)
        while length > most:
            signal = _joined(blocks)
            blocks, length = [signal[section:].copy()], length - section
            silent = not signal[:section].any()
            yield _section(signal[:section], place, config, silent)
            place, signal, heard = place + section, None, heard or not silent
    signal = _joined(blocks)
    last = _section(signal, place, config, heard and not signal.any())
    yield dataclasses.replace(last, remark="; ".join(remarks.values()))


def _joined(blocks):
    """Blocks in one piece; each is let go of once it is copied."""
    blocks.reverse()
    signal, place = np.empty(sum(map(len, blocks)), np.float32), 0
    while blocks:
        block = blocks.pop()
        signal[place:place + len(block)] = block
        place += len(block)
    return signal


def _section(signal, place, config, silent):
    if silent:
        return Section(None, place / config.sample_rate, (place + len(signal)) / config.sample_rate)
    fitted, begin = fit_with_begin(signal, config)
    return Section(to_image(log_mel(fitted, config)), (place + begin) / config.sample_rate,
                   (place + len(signal)) / config.sample_rate)


def sections_of_all(paths, config=MelConfig(), n_jobs=-1):
    """The sections of many sounds, in order; over several processes if the sounds are many.

    Parameters
    ----------
    paths : sequence of path
    config : MelConfig
    n_jobs : int
        Worker processes; -1 for one a core.

    Yields
    ------
    number : int
        Of the sound, counted from 0.
    section : Section or OSError
        Of a sound that cannot be used the sections before what is wrong with it, then the error.
    """
    n_jobs = max(1, min(joblib.effective_n_jobs(n_jobs), -(-len(paths) // CLIPS_WORTH_A_WORKER)))
    if n_jobs == 1:
        for number, path in enumerate(paths):
            yield from ((number, section) for section in _or_error(path, config))
        return
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator", batch_size=4, pre_dispatch="4*n_jobs")
    found = parallel(joblib.delayed(_if_short)(path, config, os.getpid()) for path in paths)
    try:
        for number, (path, of_it) in enumerate(zip(paths, found)):
            yield from ((number, section) for section in (of_it or _or_error(path, config)))
    finally:
        with warnings.catch_warnings():  # of what was computed and is not wanted any more
            warnings.simplefilter("ignore")
            found.close()


def _or_error(path, config):
    try:
        yield from sections(path, config)
    except OSError as error:
        yield error


def _if_short(path, config, asking):
    """All sections of a sound; None of a long one, so that no worker has to keep its sections."""
    if os.getpid() != asking:
        end_with(asking)
    found = _or_error(path, config)
    with closing(found):
        first = next(found)
        second = next(found, None)
    return [first] if second is None else None
