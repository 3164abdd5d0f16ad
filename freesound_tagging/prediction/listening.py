"""Sounds of any length, heard window by window: what goes through the networks together, and what comes of it."""

import dataclasses

import numpy as np
import pandas as pd
from tqdm import tqdm

from ..clips.audio import seconds_of
from ..images.excerpts import window_starts
from ..images.sections import sections_of_all
from .inference import ensemble_mean


@dataclasses.dataclass
class Heard:
    """What an ensemble has heard in a sound."""

    path: object  # as it was given
    timeline: pd.DataFrame  # float32, as `Ensemble.timeline` gives it; no row where the sound cannot be read
    probabilities: np.ndarray  # float32 (labels,), of the whole sound; NaN where it cannot be read
    problem: str = ""  # why it cannot be read
    remark: str = ""  # what is to be known of it, such as that it is silent or that not all of it was read

    def best(self, top):
        """The most probable labels: pandas.Series of float32 by label."""
        return pd.Series(self.probabilities, self.timeline.columns).nlargest(top)


def listen(paths, look_at, mel, vocabulary, batch_size, progress, calibration=None):
    """`Ensemble.listen`, for anything that looks at windows.

    Parameters
    ----------
    paths : list of path
    look_at : callable
        From excerpts, uint8 (batch, frames, mel bands), to the probabilities of each network, float32 (networks, batch,
        labels).
    mel : MelConfig
    vocabulary : sequence of str
    batch_size : int
    progress : bool or callable
    calibration : Calibration, optional
        Applied to the means of the networks, of windows and of whole sounds.

    Yields
    ------
    Heard
        Of each sound, in order.
    """
    lasting = np.cumsum([seconds_of(path) or 0.0 for path in paths] if progress else [])
    batches = _batches(_windows(paths, mel), batch_size)
    sound = _Listening(paths[0], mel, vocabulary, calibration) if paths else None
    with tqdm(None, "sound", round(lasting[-1]) if len(lasting) else None, unit="s", delay=2,
              leave=False, disable=not progress or callable(progress)) as bar:
        number = 0
        for batch in batches:
            looked_at = [window.pixels for window in batch if window.pixels is not None]
            predicted = iter(look_at(np.stack(looked_at)).swapaxes(0, 1) if looked_at else ())
            for window in batch:
                while number < window.sound:
                    bar.clear()  # for what is printed of the sound
                    yield sound.heard()
                    number += 1
                    sound = _Listening(paths[number], mel, vocabulary, calibration)
                sound.hear(window, next(predicted) if window.pixels is not None else None)
            before = lasting[number - 1] if progress and number else 0
            if callable(progress):
                progress(float(before + sound.until), float(lasting[-1]))
            elif progress:
                bar.update(max(0, round(min(lasting[number], before + sound.until)) - bar.n))
    if sound:
        yield sound.heard()


@dataclasses.dataclass
class _Window:
    sound: int
    pixels: np.ndarray | None  # uint8 (frames, mel bands); None: silence, seen before, or the sound cannot be read
    problem: str
    second: float = 0.0  # of the file, where it begins
    end: float = 0.0  # as far as the sound has been read
    remark: str = ""
    until: float = 0.0  # as far as the sound is heard with it: with the last one of what has been read, all of that


def _windows(paths, mel):
    """All windows of sounds, as they come."""
    hop, sound, last = mel.hop_length / mel.sample_rate, 0, -np.inf  # both in seconds
    for number, section in sections_of_all(paths, mel):
        if isinstance(section, OSError):
            yield _Window(number, None, str(section))
            continue
        if section.image is None:
            yield _Window(number, None, "", section.begin, section.end, section.remark, section.end)
            continue
        pixels, sound, last = np.ascontiguousarray(section.image.T), number, last if number == sound else -np.inf
        starts = window_starts(len(pixels), mel.excerpt_frames)
        for start in starts:
            second = section.begin + start * hop
            # What is short and padded may begin before the last window of the section before, which saw it whole.
            excerpt = pixels[start:start + mel.excerpt_frames] if second > last else None
            last = max(last, second)
            until = section.end if start == starts[-1] else max(0.0, second + mel.excerpt_seconds)
            yield _Window(number, excerpt, "", second, section.end, section.remark, until)


def _batches(windows, size):
    """Lists of at most so many windows; one without pixels ends its list, as what it stands for may be hours."""
    batch = []
    for window in windows:
        batch.append(window)
        if len(batch) == size or window.pixels is None:
            yield batch
            batch = []
    if batch:
        yield batch


class _Listening:
    """What has been heard of a sound so far."""

    def __init__(self, path, mel, vocabulary, calibration=None):
        self.calibration = calibration
        self.path, self.mel, self.vocabulary, self.problem, self.remark = path, mel, list(vocabulary), "", ""
        self.seconds, self.windows, self.until, self.duration = [], [], 0.0, 0.0
        # Of each network's probabilities, (networks, labels): of a section in float32 as `predict` adds up a clip's,
        # and of those before in float64, as of days of sound float32 would lose the small ones.
        self.section, self.of_section, self.before = None, np.float32(0), np.float64(0)

    def hear(self, window, probabilities):
        """A window, and the probabilities of each network: float32 (networks, labels)."""
        self.problem, self.remark = window.problem, window.remark
        self.until, self.duration = window.until, window.end
        if probabilities is not None:
            if window.end != self.section:
                self.before = self.before + self.of_section
                self.section, self.of_section = window.end, np.float32(0)
            self.of_section = self.of_section + probabilities
            self.seconds.append(window.second)
            self.windows.append(ensemble_mean(probabilities))

    def heard(self):
        n_windows = 0 if self.problem else len(self.windows)
        windows = np.reshape(self.windows[:n_windows], (n_windows, len(self.vocabulary)))
        of_all = np.full(len(self.vocabulary), np.nan, np.float32)
        if n_windows:
            of_all = ensemble_mean(((self.before + self.of_section) / n_windows).astype(np.float32))
        attributes = {"window": self.mel.excerpt_seconds, "duration": self.duration}
        if self.calibration:
            windows, of_all = self.calibration(windows), self.calibration(of_all)
            attributes["calibrated"] = True
        table = pd.DataFrame(windows, pd.Index(self.seconds[:n_windows], name="second", dtype=float), self.vocabulary,
                             np.float32)
        table.attrs = attributes
        return Heard(self.path, table, of_all, self.problem, self.remark)
