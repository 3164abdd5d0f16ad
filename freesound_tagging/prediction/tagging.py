"""Tag any sound with trained networks: all at once, window by window, and event by event."""

from pathlib import Path

import numpy as np
import pandas as pd

from ..clips.tables import few
from ..images.mel import MelConfig
from .ensemble import Ensemble

TOUCH = 0.1  # seconds: stretches of sound that are no further apart are one


def tag(paths, weights="weights", device=None, progress=False, raw=False):
    """The probability of each label in each sound.

    Nothing of the calling program's settings is changed. (The command and the notebooks call
    `machine.prepare_device`, which does, for their own processes.)

    Parameters
    ----------
    paths : path or sequence of path
        Files that libsndfile reads (WAV, FLAC, Ogg, MP3, ...), of any length, sample rate and number of channels;
        folders, for the sounds in them; or patterns such as ``"2026/**/*.flac"`` (`paths.sounds_of`).
    weights : path, sequence of path, or Ensemble
        A folder, for all networks in it and below of the stages that vote in their run (`Ensemble.load`); network
        files; or an ensemble that is in memory already: networks are read once then, not at every call.
    device : str or torch.device, optional
        A CUDA GPU if there is one, else the CPU. An ensemble's own, if one is given.
    progress : bool
        Show a progress bar on standard error.
    raw : bool
        Probabilities as the networks give them, which rank the labels. If not, calibrated ones, where a
        ``calibration.json`` beside the networks says how (`Calibration`): of those of 0.7, about seven in ten are right
        on sounds such as it was fitted on. Where there is none, raw ones too.

    Returns
    -------
    pandas.DataFrame, float32
        A row a sound, indexed by its path as it was given; a column a label, in the networks' order. The mean over the
        sound's windows (`Ensemble.listen` says how a long one is seen). A file that cannot be read is named in a
        warning, and its row is NaN. Named are also sounds that are silent, whose channels are opposite, or that were
        not read whole, and their rows are of what was read.

    Raises
    ------
    FileNotFoundError
        If a sound is missing or there is no network.
    ValueError
        If none of the sounds can be read, or the networks do not belong together.

    Examples
    --------
    >>> freesound_tagging.tag("dog.wav").loc["dog.wav"].nlargest(3)  # doctest: +SKIP
    """
    return _ensemble(weights, device).tag(paths, progress, raw)


def timeline(path, weights="weights", device=None, progress=False, raw=False):
    """The probability of each label in each window of a sound: what is heard when.

    Parameters
    ----------
    path : path
        A file of any length.
    weights, device, progress, raw
        As for `tag`.

    Returns
    -------
    pandas.DataFrame, float32
        A row a window of about 2 s, indexed by `second`, where it starts in the file; a column a label. Windows are at
        most 48 frames, 0.76 s, apart. The first starts where the silence ends that the sound begins with, and before 0
        where a sound of less than 2 s has been zero-padded on both sides. `events` makes events of it. Its ``attrs``
        have the length of a window and of the file in seconds, ``"window"`` and ``"duration"``, and ``"calibrated"``,
        True, where its probabilities are.

        A sound of more than 15 minutes is seen in sections of 10 minutes, each as if it were a clip of its own, so that
        silence at both ends of a section, 60 dB below what is loudest in it, has no windows; nor has a section of
        zeros.

    Raises
    ------
    FileNotFoundError
        As `tag`.
    ValueError
        If the sound cannot be read, or the networks do not belong together.
    """
    return _ensemble(weights, device).timeline(path, progress, raw)


def best_labels(table, top=3):
    """The most probable labels of each sound, to be read.

    Parameters
    ----------
    table : pandas.DataFrame
        As `tag` gives it; sounds that could not be read are left out.
    top : int

    Returns
    -------
    pandas.DataFrame, str
        A row a sound, by its file's name; columns 1, 2, ... such as ``"Bark (0.93)"``.
    """
    read = table.dropna()
    best = [row.nlargest(top).items() for _, row in read.iterrows()]
    return pd.DataFrame([[f"{label} ({probability:.2f})" for label, probability in row] for row in best],
                        [Path(path).name for path in read.index], range(1, min(top, table.shape[1]) + 1))


def events(timeline, threshold=None, release=None):
    """Join the windows of a sound in which a label is on.

    A label comes on in a window of probability `threshold` or more, and stays on in the windows around it as long as
    these have `release` or more (hysteresis: what wavers about the threshold is one event). A window speaks for the
    time about its middle, up to halfway to the windows before and after it; at both ends of a sound, and where silence
    was left out, for all of its time.

    Parameters
    ----------
    timeline : pandas.DataFrame (windows, labels)
        As `timeline` gives it. Its ``attrs`` have the length of a window and of the file; `read_timelines` reads
        them too, and without them, as in a table that was read otherwise, windows are as published.
    threshold : float, optional
        In (0, 1]; if not given 0.5 where the timeline says that its probabilities are calibrated, else 0.3.
    release : float, optional
        In (0, threshold]; two thirds of `threshold` if not given.

    Returns
    -------
    pandas.DataFrame
        A row an event, in the order of their starts: `start` and `end` in seconds of the file, `label`, and
        `probability`, the greatest of its windows.

    Raises
    ------
    ValueError
        If `threshold` or `release` are out of their range, or the table is no timeline.
    """
    threshold = default_threshold(timeline.attrs.get("calibrated")) if threshold is None else threshold
    release = threshold * 2 / 3 if release is None else release
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold={threshold}: expected a probability above 0, at most 1")
    if not 0 < release <= threshold:
        raise ValueError(f"release={release}: expected a probability above 0, at most the threshold {threshold}")
    if "second" in timeline.columns and timeline.index.name != "second":  # else it is a label
        raise ValueError("the timeline has 'second' as a column: expected as its index, such as by "
                         "pandas.read_csv(path, index_col='second')")
    others = [column for column, values in timeline.items()
              if not pd.api.types.is_numeric_dtype(values) or (values > 1).any()]
    if others:
        raise ValueError(f"the timeline has columns that are no probabilities: {few(others)}; leave them out")
    seconds = timeline.index.to_numpy(float)
    if not np.isfinite(seconds).all() or (np.diff(seconds) <= 0).any():
        raise ValueError("the timeline's index: expected seconds, each greater than the one before (sort_index)")
    starts, ends = (np.clip(times, 0, timeline.attrs.get("duration", np.inf)) for times in spoken_for(timeline))
    rows = []
    for number, label in enumerate(timeline.columns):
        probabilities = timeline.iloc[:, number].to_numpy()
        on = np.flatnonzero(probabilities >= release)
        # A stretch ends where the next window is not on, or is not next in time.
        last = np.flatnonzero((np.diff(on) > 1) | (starts[on[1:]] - ends[on[:-1]] > TOUCH))
        for stretch in np.split(on, last + 1) if len(on) else ():
            if (greatest := probabilities[stretch].max()) >= threshold:
                rows.append((starts[stretch[0]], ends[stretch[-1]], label, float(greatest)))
    table = pd.DataFrame(rows, columns=["start", "end", "label", "probability"])
    table = table.astype({"start": float, "end": float, "probability": float})
    return table.sort_values(["start", "end"], ignore_index=True)  # stable, as by more than one column


def default_threshold(calibrated):
    """From which probability on a label is an event, if nobody says: even odds, or what is usual of raw ones."""
    return 0.5 if calibrated else 0.3


def _ensemble(weights, device):
    return weights if isinstance(weights, Ensemble) else Ensemble.load(weights, device)


def spoken_for(timeline):
    """The time that each window of a sound speaks for, as `events` has it.

    Parameters
    ----------
    timeline : pandas.DataFrame (windows, labels)
        As `timeline` gives it.

    Returns
    -------
    starts, ends : numpy.ndarray, float64 (windows,)
        In seconds of the file; below 0 where a short sound was zero-padded in front.
    """
    first = timeline.index.to_numpy(float)
    window = timeline.attrs.get("window", MelConfig().excerpt_seconds)
    between = (first[1:] + first[:-1] + window) / 2  # halfway from one window's middle to the next one's
    return np.maximum(first, np.r_[-np.inf, between]), np.minimum(first + window, np.r_[between, np.inf])
