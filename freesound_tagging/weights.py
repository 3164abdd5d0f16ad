"""Trained networks as safetensors files that say what they are."""

import dataclasses
import json
import re
from pathlib import Path

import safetensors
import safetensors.torch

from . import __version__
from .files import whole_file
from .models import NetworkSpec, Tagger
from .spectrogram import MelConfig

FORMAT = "freesound-tagging-1"


def weights_path(folder, stage, fold):
    """Where the network of a stage and fold is kept: ``folder/stage-<stage>_fold-<fold>.safetensors``."""
    return Path(folder) / f"stage-{stage}_fold-{fold}.safetensors"


def save_tagger(tagger, path):
    """Write a network with its description; the file appears whole or not at all.

    Parameters
    ----------
    tagger : Tagger
    path : path
        Ends in ``.safetensors``; an earlier file is replaced.
    """
    # One entry, as safetensors writes several in random order: equal networks make equal files.
    metadata = {FORMAT: json.dumps({"version": __version__, **dataclasses.asdict(tagger.spec)})}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tagger.network.state_dict().items()}
    with whole_file(path) as part:
        safetensors.torch.save_file(tensors, part, metadata)


def read_spec(path):
    """The description of a network, without reading its weights.

    Parameters
    ----------
    path : path

    Returns
    -------
    NetworkSpec

    Raises
    ------
    ValueError
        If the file is not a network of this package. The message names it.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a whole safetensors file ({error}); copy or train it again") from error
    if FORMAT not in metadata:
        raise ValueError(f"{path} is a safetensors file without {FORMAT!r} in its metadata; expected one that "
                         "save_tagger wrote")
    spec = json.loads(metadata[FORMAT])
    del spec["version"]
    spec["mel"] = MelConfig(**spec["mel"])
    return NetworkSpec(**{name: tuple(value) if isinstance(value, list) else value for name, value in spec.items()})


def load_tagger(path, device="cpu"):
    """Read a network that `save_tagger` wrote.

    Parameters
    ----------
    path : path
    device : str or torch.device

    Returns
    -------
    Tagger
        In evaluation mode.

    Raises
    ------
    ValueError
        If the file is not a network of this package, or its weights do not fit its description.
    """
    tagger = Tagger(read_spec(path))
    try:
        tagger.network.load_state_dict(safetensors.torch.load_file(path))
    except RuntimeError as error:
        raise ValueError(f"{path}: the weights do not fit the architecture that the file names: {error}") from error
    return tagger.to(device).eval()


def find_weights(folder, stages=(2, 3, 4)):
    """The trained networks of some stages in a folder and the folders below it.

    Parameters
    ----------
    folder : path
    stages : sequence of int

    Returns
    -------
    list of pathlib.Path
        Sorted, so that an ensemble is always summed in the same order.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    found = sorted(path for path in Path(folder).glob("**/*.safetensors")
                   if (match := re.fullmatch(r"stage-(\d+)_fold-\d+", path.stem)) and int(match[1]) in stages)
    if not found:
        raise FileNotFoundError(f"no stage-<n>_fold-<k>.safetensors of the stages {', '.join(map(str, stages))} in "
                                f"{folder} or below; train first, or give the folder that holds the weights")
    return found
