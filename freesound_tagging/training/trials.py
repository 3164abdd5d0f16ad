"""Beside a run: the run of another network on the same clips, and a fold trained otherwise than the profile says."""

import dataclasses
import hashlib
import json
import sys

import numpy as np
from tqdm import tqdm

from ..augment import compose
from ..machine.checks import of_python
from ..machine.files import whole_file
from ..networks.models import complete
from .fold import train_fold
from .functions import code_of, name_of
from .warmup import WarmupPipeline


def run_beside(pipeline, network):
    """The run of another network on the same clips, by the same profile and seed, in the folders beside this one's.

    Parameters
    ----------
    pipeline : WarmupPipeline
        Its folders are ``work/<name>`` and ``weights/<name>``, as the notebooks make them.
    network : str

    Returns
    -------
    WarmupPipeline

    Raises
    ------
    FileNotFoundError
        If there is no such run.
    ValueError
        If it is of other clips or settings. The message says what differs.
    """
    options = {name: value for name, value in pipeline.profile.options.items() if name in dict(complete(network, {}))}
    profile = dataclasses.replace(pipeline.profile, network=network, options=options)
    work, weights = (folder.parent / profile.name for folder in (pipeline.work, pipeline.weights))
    if not (work / "run.json").exists():
        raise FileNotFoundError(f"no run of {network} in {work}: train it there first")
    return WarmupPipeline(pipeline.clips, pipeline.store, profile, work, weights, pipeline.seed, pipeline.device.type,
                          progress=False, executor="in-process")


def trial(pipeline, stage, fold=0, progress=True, **changes):
    """Train a fold of a stage otherwise than the profile says: the same clips, start, steps and seed but for changes.

    What comes of it is kept in the run's folder, below ``trials``, so that the same trial is computed once; the run
    itself is not touched.

    Parameters
    ----------
    pipeline : WarmupPipeline
        What the fold builds on has to be finished.
    stage, fold : int
    progress : bool
        Show a progress bar.
    **changes
        Fields of `FoldTraining`: `augmentation` (a function of a batch, or a sequence of them), `lr`, `epochs`,
        `steps`, `weight_decay`, `change`.

    Returns
    -------
    dict of str to numpy.ndarray
        `loss` of each step, `lwlrap` of each epoch, and `held_out`, the predictions of the clips that it holds out.

    Raises
    ------
    RuntimeError
        If what the fold builds on is not finished.
    TypeError
        If a change is none of a training's fields.
    ValueError
        If a function has no name by which it would be known again (`functions.name_of`), or an augmentation is none.
    """
    pipeline.check_ready(stage, fold)
    changes = {name: of_python(value) for name, value in changes.items()}
    if callable(changes.get("augmentation")):
        changes["augmentation"] = (changes["augmentation"],)
    compose(changes.get("augmentation", ()))  # raises if one is no function
    training = dataclasses.replace(pipeline.training(stage, fold), **changes)
    described = json.dumps({name: _described(value) for name, value in sorted(changes.items())})
    digest = hashlib.sha256(described.encode()).hexdigest()[:12]
    path = pipeline.work / "trials" / f"stage-{stage}_fold-{fold}_{digest}.npz"
    if not path.exists():
        with tqdm(total=training.epochs * training.steps, desc=f"trial, stage {stage}, fold {fold}", unit="step",
                  file=sys.stdout, mininterval=1, disable=not progress) as bar:
            _, record = train_fold(training, pipeline.shared, lambda step, *_: bar.update(step - bar.n))
        path.parent.mkdir(exist_ok=True)
        with whole_file(path) as part, open(part, "wb") as file:
            np.savez(file, **record)
    with np.load(path) as record:
        return dict(record)


def _described(value):
    if callable(value):
        return [name_of(value), code_of(value)]
    return [_described(one) for one in value] if isinstance(value, (list, tuple)) else value
