"""What a run leaves on the disk: what it is, and of each finished fold its weights, history and predictions."""

import inspect
import json
import zipfile
from functools import partial

import numpy as np

from .. import __version__
from ..machine.files import as_path, only_writer, whole_file
from ..networks.weights import load_tagger, read_spec, save_tagger, weights_path


class StartingWeights:
    """What a training begins with: read when it begins, so that those of all folds are not in memory at once.

    Pickled, it is the weights themselves, as another machine may not have the file.

    Parameters
    ----------
    path : path
    spec : NetworkSpec
        What the network has to be.
    """

    def __init__(self, path, spec):
        self.path, self.spec, self.weights = path, spec, None

    def read(self):
        """The weights, dict of str to torch.Tensor."""
        return load_tagger(self.path, expected=self.spec).state_dict() if self.weights is None else self.weights

    def __getstate__(self):
        return vars(self) | {"weights": self.read()}


class RunFolder:
    """The two folders of a run. A fold of a stage is finished once both its files are there.

    Parameters
    ----------
    work, weights : path
        Made if need be.
    settings : dict of str to object
        All that decides the results, such as can be written as JSON; the package's version is added.

    Raises
    ------
    ValueError
        If `work` holds a run of other settings, or `weights` networks of a run that `work` knows nothing of.
        The message says what differs.
    """

    def __init__(self, work, weights, settings):
        self.work, self.weights = as_path(work), as_path(weights)
        settings = json.loads(json.dumps(settings | {"version": __version__}))
        path = self.work / "run.json"
        if path.exists():
            try:
                earlier = dict(json.loads(path.read_text()))
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path} is damaged ({error}); put it back, or give another folder") from error
            differ = [f"{key} was {earlier.get(key)!r} and is {settings.get(key)!r}"
                      for key in sorted(earlier.keys() | settings.keys()) if earlier.get(key) != settings.get(key)]
            if differ:
                raise ValueError(f"{self.work} holds a run that this one cannot continue: {'; '.join(differ)}. "
                                 "Give another folder, or delete this one and its weights to start anew")
            return
        left = sorted(self.weights.glob("stage-*_fold-*.safetensors"))
        if left:
            raise ValueError(f"{self.weights} holds networks of another run ({left[0].name}) and {self.work} does not; "
                             "give the folder of that run, or another one for these weights, or delete them")
        with whole_file(path) as part:
            part.write_text(json.dumps(settings, indent=1))

    def only_trainer(self):
        """A context in which no other process trains in this folder."""
        return only_writer(self.work, "training in it")

    def is_finished(self, stage, fold):
        """Whether a fold of a stage is."""
        return self._record_path(stage, fold).exists() and weights_path(self.weights, stage, fold).exists()

    def save(self, tagger, **record):
        """Keep a finished fold: its network, which says of which stage and fold it is, and arrays."""
        stage, fold = tagger.spec.stage, tagger.spec.fold
        save_tagger(tagger, weights_path(self.weights, stage, fold))
        with whole_file(self._record_path(stage, fold)) as part, open(part, "wb") as file:
            np.savez(file, **record)

    def record(self, stage, fold):
        """The arrays of a finished fold."""
        if not self.is_finished(stage, fold):
            raise RuntimeError(f"fold {fold} of stage {stage} is not finished: run_stage({stage}) first")
        try:
            with np.load(self._record_path(stage, fold)) as record:
                return dict(record)
        except (EOFError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self._record_path(stage, fold)} is damaged ({error}); delete it, and the fold is "
                             "trained again") from error

    def start(self, spec):
        """The weights of a finished fold, if it is what is wanted, for a training that begins with them.

        Parameters
        ----------
        spec : NetworkSpec
            What it has to be.

        Returns
        -------
        StartingWeights
        """
        path = weights_path(self.weights, spec.stage, spec.fold)
        read_spec(path, expected=spec)
        return StartingWeights(path, spec)

    def _record_path(self, stage, fold):
        return self.work / f"stage-{stage}_fold-{fold}.npz"


def name_of(step):
    """An augmentation and its settings as text, the same in every process: ``"specmix(stripes=(1, 2))"``.

    Raises
    ------
    ValueError
        If it has no name that tells it from others: a lambda, a method, or a function that is given an object or a
        long array.
    """
    if isinstance(step, partial):
        given = [*map(_text_of, step.args), *(f"{name}={_text_of(value)}" for name, value in step.keywords.items())]
        text = f"{name_of(step.func).removesuffix('()')}({', '.join(given)})"
        is_known = " at 0x" not in text and "..." not in text  # the words for an object, and for a part of an array
    else:
        function = inspect.unwrap(step)
        made_with = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
        given = [f"{name}={_text_of(value)}" for name, value in sorted(made_with.items())
                 if isinstance(value, (int, float, str, tuple))]  # others may be what it remembers
        text = f"{getattr(function, '__name__', '<none>')}({', '.join(given)})"
        is_known = text[0] != "<" and not inspect.ismethod(function)
    if not is_known:
        raise ValueError(f"the augmentation {step!r} has no name by which a run would know it: give a function made by "
                         "def, its settings as numbers and texts by functools.partial")
    return text


def _text_of(value):
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_text_of, value))}{',' * (len(value) == 1)})"
    return name_of(value) if callable(value) else repr(value)
