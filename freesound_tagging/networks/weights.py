"""Trained networks as safetensors files that say what they are."""

import dataclasses
import itertools
import json
import re
import reprlib
import warnings
from pathlib import Path

import safetensors.torch

from .. import __version__
from ..clips.tables import few
from ..images.mel import MelConfig
from ..machine.files import files_below, whole_file
from .fastai_v1 import read_export
from .models import UntrustedCode, check_trusted
from .tagger import PUBLISHED_ENSEMBLE, NetworkSpec, Tagger
from .tensors import Place, check_fit, network_file, read_header, read_tensors

FORMATS = ("freesound-tagging-1", "freesound-tagging-2")  # that are read; the last is written
AUTHORS_STAGES = {2: 2, 10: 3, 11: 4}  # how the author's files number the models
NAMED = 5  # of the models that an ensemble lacks


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

    Raises
    ------
    ValueError
        If weights are not those that the description has, as after `fold_batchnorm`. An earlier file is as it was.
    """
    # One entry, as safetensors writes several in random order: equal networks make equal files.
    described = {"version": __version__, **dataclasses.asdict(tagger.spec), "options": dict(tagger.spec.options)}
    metadata = {FORMATS[-1]: json.dumps(described)}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tagger.network.state_dict().items()}
    try:
        check_fit(tagger.spec, {name: Place(tensor.dtype, tensor.shape, 0) for name, tensor in tensors.items()})
    except ValueError as error:
        raise ValueError(f"{path} was not written: {error}; write a network as it was trained, in float32 and "
                         "before it is made ready to predict") from error
    with whole_file(path) as part:
        part.write_bytes(safetensors.torch.save(tensors, metadata))


def read_spec(path, expected=None):
    """The description of a network, without reading its weights.

    Parameters
    ----------
    path : path
        What `save_tagger` wrote, or a ``.pkl`` for `import_fastai_v1`.
    expected : NetworkSpec, optional
        What the network has to be.

    Returns
    -------
    NetworkSpec

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a network of this package, or is another network than expected. The message names it.
    """
    return _read_expected(path, expected)[0]


def _read_expected(path, expected):
    spec, places = _read(path)
    found, wanted = _settings(spec), _settings(expected or spec)
    differ = [f"{key[-1]} is {found.get(key)!r}, expected {wanted.get(key)!r}" for key in {**found, **wanted}
              if found.get(key) != wanted.get(key)]
    if differ:
        raise ValueError(f"{path} is another network: {'; '.join(differ)}. Put the right file back, or delete it to "
                         "train it again")
    return spec, places


def _settings(spec):
    """All that a network is, by names; options, which may be called as anything, as pairs."""
    settings = {(name,): value for name, value in vars(spec).items() if name != "options"}
    return settings | {("options", name): value for name, value in spec.options}


def _read(path):
    """The description of a network, and where its weights are in the file."""
    if Path(path).suffix == ".pkl":
        return read_export(path, *(stage_and_fold(path) or ()))
    with network_file(path, "cannot be loaded") as file:
        metadata, places = read_header(file)
        formats = [key for key in metadata if key.startswith("freesound-tagging-")]
        if others := [key for key in formats if key not in FORMATS]:
            raise ValueError(f"it is of the format {others[0]}, and version {__version__} of this package reads "
                             f"{' and '.join(FORMATS)}; install the version that wrote it")
        if len(formats) != 1:
            raise ValueError(f"it is a safetensors file without {FORMATS[-1]!r} in its metadata; expected one that "
                             "save_tagger wrote")
        spec = _parse_spec(*formats, metadata[formats[0]])
        check_fit(spec, places)
    return spec, places


def _parse_spec(format, text):
    version = "unknown"
    try:
        spec = json.loads(text)
        version = reprlib.repr(spec.pop("version")).strip("'")
        if format == FORMATS[0]:
            spec = _as_today(spec)
        check_trusted(spec["network"])
        spec["mel"] = MelConfig(**spec["mel"])
        return NetworkSpec(**{name: tuple(value) if isinstance(value, list) else value for name, value in spec.items()})
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"version {version} of this package wrote it, and {__version__} does not understand its "
                         f"description ({str(error)[:500]}); install that version or make the file again") from error


def _as_today(spec):
    """The description that the first format has, with fields for what was special of the two networks it knew."""
    # Until there was a choice, signals were padded with zeros, and VGG-16 had no pool before its head.
    options = {"width": spec.pop("width"), "body_pool": spec.pop("body_pool", 0)}
    network = spec.pop("architecture")
    if network == "cnn-model-1" and options["body_pool"] == 0:  # it never has one
        del options["body_pool"]
    return {"network": network, "options": options, **spec, "mel": {"padding": "constant", **spec["mel"]}}


def load_tagger(path, device="cpu", expected=None):
    """Read a network.

    Parameters
    ----------
    path : path
        What `save_tagger` wrote, or a ``.pkl`` for `import_fastai_v1`.
    device : str or torch.device
    expected : NetworkSpec, optional
        What the network has to be.

    Returns
    -------
    Tagger
        In evaluation mode.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a network of this package, its weights do not fit its description, or it is another network
        than expected. The message says what differs.
    """
    return _load(path, *_read_expected(path, expected)).to(device)


def import_fastai_v1(path):
    """Read a learner that fastai 1 exported, such as the author's public weights, without running anything in it.

    Parameters
    ----------
    path : path
        A ``.pkl``. If it is named as the author's are, ``stage-{2,10,11}_fold-<k>.pkl``, that says which model of
        which fold it is: stages 10 and 11 are models 3 and 4. That its images were made as `MelConfig` has it by
        default is assumed, as the file does not say.

    Returns
    -------
    Tagger
        In evaluation mode.

    Raises
    ------
    ValueError
        If the file is damaged or holds another network than CNN-model-1 or VGG-16-BN. The message names it and the
        first layer that differs.

    Warns
    -----
    UnknownNames
        If the file names what exported learners do not usually name. It is read as any other.
    """
    return _load(path, *read_export(path, *(stage_and_fold(path) or ())))


def _load(path, spec, places):
    with network_file(path, "cannot be loaded") as file:
        return Tagger(spec, weights=read_tensors(file, places)).eval()


def stage_and_fold(path):
    """Which model of which fold a file is by its name, ``stage-<n>_fold-<k>.safetensors`` or ``.pkl``; None of another.

    In a .pkl the author's stages 2, 10 and 11 are the models 2, 3 and 4.
    """
    path = Path(path)
    match = re.fullmatch(r"stage-(\d+)_fold-(\d+)", path.stem)
    stage = match and (int(match[1]) if path.suffix == ".safetensors" else AUTHORS_STAGES.get(int(match[1])))
    return (stage, int(match[2])) if stage else None


def find_weights(folder, stages="voting"):
    """Trained networks in a folder and the folders below it, ours and the author's alike.

    A warning names the voting models that a folder lacks, of any fold.

    Parameters
    ----------
    folder : path
    stages : {"voting", "all"} or sequence of int
        Those of the stages that vote in their run, as each file says; where it does not, models 2, 3 and 4, as
        published. Or of all stages, or of some.

    Returns
    -------
    list of pathlib.Path
        Sorted, so that an ensemble is always summed in the same order.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    def is_meant(stage, voting):
        return stage in voting if stages == "voting" else stages == "all" or stage in stages

    there = {}  # of each folder: the stage and fold of each file, and the stages that vote
    for path in files_below(folder):
        if path.suffix in (".safetensors", ".pkl") and (which := stage_and_fold(path)):
            there.setdefault(path.parent, {})[path] = *which, _voting(path)
    found = [path for files in there.values() for path, (stage, _, voting) in files.items() if is_meant(stage, voting)]
    if not found:
        which = f"{stages} stages" if isinstance(stages, str) else f"the stages {', '.join(map(str, stages))}"
        raise FileNotFoundError(f"no stage-<n>_fold-<k>.safetensors (or the author's .pkl) of {which} in {folder} or "
                                "below; train first, or give the folder that holds the weights")
    if lacking := list(itertools.islice(_lacking(there, is_meant), NAMED + 1)):
        more = " and more" * (len(lacking) > NAMED)
        warnings.warn(f"there is no {few(lacking[:NAMED])}{more}: what is there is used", stacklevel=2)
    return sorted(found)


def _lacking(there, is_meant):
    """The models that folders lack, one after the other, as any number may stand in a file's name."""
    for parent, files in there.items():
        models = {(stage, fold) for stage, fold, _ in files.values()}
        wanted = sorted({stage for *_, voting in files.values() for stage in voting})
        for stage in wanted:
            for fold in range(1 + max(fold for _, fold in models)) if is_meant(stage, wanted) else ():
                if (stage, fold) not in models:
                    yield f"model {stage} of fold {fold} in {parent}"


def weights_to_upload(folder):
    """Trained networks to be read elsewhere: `find_weights`.

    Parameters
    ----------
    folder : path

    Returns
    -------
    list of pathlib.Path

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If one is of one's own, and this program has not asked for its code by a profile.
    """
    try:
        return find_weights(folder)
    except ValueError as error:
        if not isinstance(error.__cause__, UntrustedCode):
            raise
        raise ValueError(f"{folder} has networks of one's own, {reprlib.repr(error.__cause__.name)}, and their code "
                         "has to go along: give the profile that they were trained by (--profile, PROFILE=file)"
                         ) from error


def _voting(path):
    """The stages that vote in the run of a network; of a file that cannot be read, the published ones."""
    try:
        return read_spec(path).voting or PUBLISHED_ENSEMBLE if path.suffix == ".safetensors" else PUBLISHED_ENSEMBLE
    except (OSError, ValueError) as error:
        if isinstance(error.__cause__, ImportError):  # code that nobody has asked for: nothing is known of it
            raise
        return PUBLISHED_ENSEMBLE  # whoever loads it says what is wrong
