"""Listening to a sound that somebody waits for: in turns, within bounds, until it is stopped."""

import dataclasses
import math
import os

import numpy as np

from ..images.sections import sections
from .turns import Turns

BATCH = 32  # windows from one look at what is asked for, and turn, to the next
LONGEST = 1e9  # seconds; a header that says more does not know
DRAWING = Turns()  # in which sounds are read anew for their images, as reading takes memory


class Stopped(Exception):
    """Nobody waits for it any more."""


class TooLong(Exception):
    """A sound that lasts longer than the page takes."""


def hear(networks, turns, visit, max_minutes, tell):
    """Listen to the sound of a visit.

    Parameters
    ----------
    networks : Ensemble
    turns : Turns
    visit : Visit
    max_minutes : float
    tell : callable
        Gets the seconds heard so far and those of the file, 0 if its header does not say.

    Returns
    -------
    Heard
        Its path, problem and remark are without the file's folder.

    Raises
    ------
    Stopped
        If it is to be stopped.
    TooLong
        If it lasts more than `max_minutes`.
    """
    def after_a_batch(heard, lasting):
        _go_on(visit)
        lasting = lasting if lasting < LONGEST else 0
        if max(heard, lasting) > 60 * max_minutes:
            raise TooLong(f"{visit.path.name} lasts more than {max_minutes:g} minutes; cut it, or have the page take "
                          "more (--max-minutes)")
        tell(heard, lasting)
        turns.pass_on()
        _go_on(visit)

    with turns:
        _go_on(visit)
        sound, = networks.listen(visit.path, BATCH, after_a_batch)
    _go_on(visit)
    inside = f"{visit.folder}{os.sep}"
    return dataclasses.replace(sound, path=visit.path.name, problem=sound.problem.replace(inside, ""),
                               remark=sound.remark.replace(inside, ""))


def _go_on(visit):
    if visit.stopped.is_set():
        raise Stopped


def overview(visit, config, columns=1600):
    """The image of a sound of any length, of neighbouring frames the greatest, so that it is no wider than a screen.

    Parameters
    ----------
    visit : Visit
        Of a sound that has been listened to; reading it anew is stopped with it.
    config : MelConfig
    columns : int

    Returns
    -------
    image : numpy.ndarray, uint8 (mel bands, at most columns)
        From where the first window begins; zeros where silence was left out.
    config : MelConfig
        The same with the hop from column to column.
    """
    table, rate = visit.heard.timeline, config.sample_rate / config.hop_length
    origin = table.index[0]
    ends = max(table.attrs["duration"], table.index[-1] + config.excerpt_seconds)
    frames = math.ceil((ends - origin) * rate)
    together = math.ceil(frames / columns)
    canvas = np.zeros((config.n_mels, math.ceil(frames / together)), np.uint8)
    with DRAWING:
        for section in sections(visit.path, config):
            DRAWING.pass_on()
            _go_on(visit)
            if section.image is None:
                continue
            column = (round((section.begin - origin) * rate) + np.arange(section.image.shape[1])) // together
            column = np.clip(column, 0, canvas.shape[1] - 1)
            firsts = np.flatnonzero(np.diff(column, prepend=-1))
            there = column[firsts]
            canvas[:, there] = np.maximum(canvas[:, there], np.maximum.reduceat(section.image, firsts, axis=1))
    return canvas, dataclasses.replace(config, hop_length=config.hop_length * together, excerpt_frames=1)
