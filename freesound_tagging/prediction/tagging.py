"""Tag any sound with trained networks: all at once, and window by window."""

import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from ..images.excerpts import window_starts
from ..images.store import SpectrogramStore
from ..networks.models import default_device
from ..networks.weights import find_weights, read_spec
from .inference import ensemble_mean, predict_ensemble


def tag(paths, weights="weights", device=None, progress=False):
    """The probability of each label in each sound.

    Parameters
    ----------
    paths : path or sequence of path
        Files that libsndfile reads (WAV, FLAC, Ogg, MP3, ...), of any sample rate and number of channels.
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
        A row a window of about 2 s, indexed by `second`, where it starts, counted from the end of the silence that
        the sound begins with, which is trimmed; a column a label.

    Raises
    ------
    FileNotFoundError, ValueError
        As `tag`.
    """
    store, probabilities, vocabulary = _look_at([path], weights, device, progress=False, each_window=True)
    config = store.config
    seconds = window_starts(store.lengths[0], config.excerpt_frames) * config.hop_length / config.sample_rate
    return pd.DataFrame(probabilities, pd.Index(seconds, name="second"), list(vocabulary))


def _look_at(paths, weights, device, progress, each_window=False):
    """The images of sounds, the ensemble's probabilities for them or for their windows, and the labels."""
    weights = [weights] if isinstance(weights, (str, os.PathLike)) else list(weights)
    networks = [network for path in weights for network in (find_weights(path) if _is_folder(path) else [path])]
    spec = read_spec(networks[0])
    with tempfile.TemporaryDirectory() as folder:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # named below
            store = SpectrogramStore.build(paths, folder, spec.mel, progress=progress)
        probabilities = predict_ensemble(networks, store, device or default_device(), progress=progress,
                                         each_window=each_window)
    if store.problems:
        warnings.warn(f"{len(store.problems)} of {len(paths)} sounds cannot be read: "
                      f"{'; '.join(store.problems.values())}", stacklevel=3)
    return store, ensemble_mean(probabilities), spec.vocabulary


def _is_folder(path):
    return Path(path).suffix not in (".safetensors", ".pkl")
