"""Tag any sound with trained networks: all at once, and window by window."""

import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile as sf

from ..clips.tables import ENDINGS, few
from ..images.excerpts import window_starts
from ..images.mel import begins_at
from ..images.store import SpectrogramStore
from ..machine.device import device_named
from ..networks.weights import find_weights, read_spec
from .inference import ensemble_mean, predict_ensemble


def tag(paths, weights="weights", device=None, progress=False):
    """The probability of each label in each sound.

    Parameters
    ----------
    paths : path or sequence of path
        Files that libsndfile reads (WAV, FLAC, Ogg, MP3, ...), of any sample rate and number of channels; or folders,
        for the sounds in them (`sounds_in`).
    weights : path or sequence of path
        A folder, for the ensemble of models 2, 3 and 4 of all folds and networks in it and below; or network files.
    device : str or torch.device, optional
        A CUDA GPU if there is one, else the CPU.
    progress : bool
        Show progress bars.

    Returns
    -------
    pandas.DataFrame, float32
        A row a sound, indexed by its path as it was given; a column a label, in the networks' order. A file that
        cannot be read is named in a warning, and its row is NaN.

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
    paths = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    paths = [path for given in paths for path in (sounds_in(given) if os.path.isdir(given) else [given])]
    store, probabilities, vocabulary = _look_at(paths, weights, device, progress)
    table = pd.DataFrame(probabilities, pd.Index([str(path) for path in paths], name="path"), list(vocabulary))
    table.iloc[list(store.problems)] = np.nan
    return table


def timeline(path, weights="weights", device=None):
    """The probability of each label in each window of a sound: what is heard when.

    Parameters
    ----------
    path : path
    weights, device
        As for `tag`.

    Returns
    -------
    pandas.DataFrame, float32
        A row a window of about 2 s, indexed by `second`, where it starts in the file; a column a label. The first
        starts where the silence ends that the sound begins with, and before 0 where a sound of less than 2 s has been
        zero-padded on both sides.

    Raises
    ------
    FileNotFoundError, ValueError
        As `tag`.
    """
    store, probabilities, vocabulary = _look_at([path], weights, device, progress=False, each_window=True)
    config = store.config
    seconds = window_starts(store.lengths[0], config.excerpt_frames) * config.hop_length / config.sample_rate
    seconds = seconds + begins_at(path, config)
    return pd.DataFrame(probabilities, pd.Index(seconds, name="second"), list(vocabulary))


def sounds_in(folder):
    """The sounds in a folder.

    Parameters
    ----------
    folder : path

    Returns
    -------
    list of pathlib.Path
        Sorted: the files that libsndfile reads, and those that are sounds by their names, of which `tag` says what is
        wrong with them. Others, and folders, are named in a warning.
    """
    try:
        everything = sorted(Path(folder) / name for name in os.listdir(folder))
    except OSError as error:
        warnings.warn(f"{folder} cannot be read ({error.strerror}); its sounds are left out", stacklevel=2)
        return []
    sounds = [path for path in everything if _is_sound(path)]
    others = [path.name for path in everything if path not in set(sounds)]
    if others:
        warnings.warn(f"{folder}: no sounds, passed over: {few(others)}", stacklevel=2)
    return sounds


def _is_sound(path):
    if not os.path.isfile(path) or path.name.startswith("."):
        return False
    if path.suffix.lower() in ENDINGS:
        return True
    try:
        return bool(sf.info(path))
    except (sf.SoundFileError, OSError):
        return False


def _look_at(paths, weights, device, progress, each_window=False):
    """The images of sounds, the ensemble's probabilities for them or for their windows, and the labels."""
    weights = [weights] if isinstance(weights, (str, os.PathLike)) else list(weights)
    networks = [network for path in weights for network in (find_weights(path) if _is_folder(path) else [path])]
    if not paths:
        raise ValueError("no sounds: expected at least one file that libsndfile reads")
    if not networks:
        raise ValueError(f"weights={weights}: expected at least one network")
    spec = read_spec(networks[0])
    with tempfile.TemporaryDirectory() as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # named below
            store = SpectrogramStore.build(paths, folder, spec.mel, progress=progress)
        probabilities = predict_ensemble(networks, store, device_named(device), progress=progress,
                                         each_window=each_window)
    if store.problems:
        warnings.warn(f"{len(store.problems)} of {len(paths)} sounds cannot be read: "
                      f"{'; '.join(store.problems.values())}", stacklevel=3)
    return store, ensemble_mean(probabilities), spec.vocabulary


def _is_folder(path):
    return Path(path).suffix not in (".safetensors", ".pkl")
