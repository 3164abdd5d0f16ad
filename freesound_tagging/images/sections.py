"""Sounds of any length as images: a short one is one, as in the published system; a long one is cut into sections."""

import dataclasses
from contextlib import closing

import numpy as np

from ..clips.audio import MAX_SECONDS, seconds_of
from ..clips.streams import is_pipe
from ..machine.processes import in_order
from .mel import MelConfig, fit_with_begin, hop_of, log_mel, resampled, to_image

SECTION_SECONDS = 600  # from section to section of a sound that lasts more than MAX_SECONDS; the last takes the rest


@dataclasses.dataclass
class Section:
    """What the networks see of a stretch of sound."""

    image: np.ndarray | None  # uint8 (n_mels, frames); None of silence in a long sound
    begin: float  # seconds of the file at the first frame; below 0 of a short sound, which is zero-padded on both sides
    end: float  # seconds of the file where the next section begins, or the file ends
    remark: str = ""  # with the last section of a sound: what nobody would hear of otherwise (`audio.read_blocks`)


def sections(path, config=MelConfig(), content=None):
    """The images of a sound of any length, in the memory that `MAX_SECONDS` of it need.

    What lasts at most `MAX_SECONDS` is one section: the image that a `SpectrogramStore` has of the clip. Of a longer
    sound each `SECTION_SECONDS` are treated as a clip of their own: trimmed of silence at both ends, measured against
    their own loudest sound, standardized and stretched to the range of a byte. Each goes on into the next one by an
    excerpt less a hop, so that windows are no further apart where two meet. One that is zero throughout has no image,
    unless all of the sound is. The last section takes what is left, half of `SECTION_SECONDS` to `MAX_SECONDS`.

    Parameters
    ----------
    path : path
        As for `mel.load_clip`.
    config : MelConfig
    content : bytes, optional
        What is in the file, if it has been read already.

    Yields
    ------
    Section

    Raises
    ------
    OSError
        If the file cannot be used, when what is wrong with it comes. The message names it.
    """
    most, section = MAX_SECONDS * config.sample_rate, SECTION_SECONDS * config.sample_rate
    beyond = section + (config.excerpt_frames - hop_of(config.excerpt_frames)) * config.hop_length
    blocks, length, place, heard, remarks = [], 0, 0, False, {}
    for block in resampled(path, config, content, a_clip=False, remarks=remarks):
        blocks.append(block)
        length += len(block)
        while length > most:
            signal = _joined(blocks)
            blocks, length = [signal[section:].copy()], length - section
            silent = not signal[:section].any()
            found = _section(signal[:beyond], place, place + section, config, silent)
            place, heard = place + section, heard or not silent
            del signal  # who looks at the image holds 5 minutes of sound and not 20
            yield found
    signal = _joined(blocks)
    last = _section(signal, place, place + length, config, heard and not signal.any())
    del signal
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


def _section(signal, place, end, config, silent):
    if silent:
        return Section(None, place / config.sample_rate, end / config.sample_rate)
    fitted, begin = fit_with_begin(signal, config)
    return Section(to_image(log_mel(fitted, config)), (place + begin) / config.sample_rate, end / config.sample_rate)


def sections_of_all(paths, config=MelConfig(), n_jobs=-1):
    """The sections of many sounds, in order; over several processes if there is much to do.

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
    found = in_order(_if_short, [(path, config) for path in paths], n_jobs)
    for number, (path, of_it) in enumerate(zip(paths, found)):
        yield from ((number, section) for section in (of_it or _or_error(path, config)))


def _or_error(path, config):
    try:
        yield from sections(path, config)
    except OSError as error:
        yield error


def _if_short(path, config):
    """All sections of a sound; None of a long one or a pipe, which who asked reads one by one."""
    if is_pipe(path) or (seconds_of(path) or 0) > MAX_SECONDS:
        return None
    found = _or_error(path, config)
    with closing(found):
        first = next(found)
        second = next(found, None)
    return [first] if second is None else None
