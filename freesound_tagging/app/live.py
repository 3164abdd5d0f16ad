"""A microphone, heard while it runs: the last two seconds again and again."""

import dataclasses

import numpy as np
import soundfile as sf

from .hearing import BATCH

KEPT = 600  # windows of which probabilities are kept


@dataclasses.dataclass
class Live:
    """What a microphone gave last, and what was heard in it."""

    rate: int = 0  # Hz
    signal: np.ndarray | None = None  # float32 (samples,): of a window
    fresh: int = 0  # samples of it that no column has heard of
    columns: list = dataclasses.field(default_factory=list)  # float32 (labels,) each, window by window


def hear_chunk(networks, turns, live, chunk, folder):
    """Add to a microphone's sound, and listen to its last window as to a file of these seconds.

    Parameters
    ----------
    networks : Ensemble
    turns : Turns
    live : Live
        As the last call gave it.
    chunk : path
        A sound file: what the microphone heard since.
    folder : path
        Where the window may lie while it is listened to.

    Returns
    -------
    Live
        With a column more, if there is a window of which `MelConfig.hop_seconds` are new; of one that is silent
        throughout, zeros.

    Raises
    ------
    OSError
        If the chunk is no sound.
    """
    try:
        signal, rate = sf.read(chunk, dtype="float32", always_2d=True)
    except sf.SoundFileError as error:
        raise OSError(f"the microphone's sound cannot be read ({error})") from error
    signal = signal.mean(axis=1)
    if live.rate != rate:
        live = Live(rate, signal[:0], columns=live.columns)
    window = round(max(networks.mel.min_seconds, networks.mel.excerpt_seconds) * rate)
    fresh, step = live.fresh + len(signal), round(networks.mel.hop_seconds * rate)
    signal = np.concatenate([live.signal, signal])[-window:]
    if len(signal) < window or fresh < step:
        return Live(rate, signal, fresh, live.columns)
    if signal.any():
        path = folder / "window.wav"
        sf.write(path, signal, rate, subtype="FLOAT")
        with turns:
            heard, = networks.listen(path, BATCH)
        path.unlink()
        if heard.problem:
            raise OSError(heard.problem)
        column = heard.probabilities
    else:
        column = np.zeros(len(networks.vocabulary), np.float32)
    return Live(rate, signal, fresh % step, [*live.columns, column][-KEPT:])
