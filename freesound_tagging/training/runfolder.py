"""What a run leaves on the disk: what it is, and of each finished fold its weights, history and predictions."""

import contextlib
import json
import shutil
import uuid
import zipfile
from pathlib import Path

import numpy as np

from .. import __version__
from ..machine.files import as_path, only_writer, whole_file
from ..networks.weights import read_spec, save_tagger, weights_path
from ..prediction.calibration import CALIBRATION
from .start import StartingWeights

MOST_SAID, MOST_SHOWN = 6, 200  # settings that differ, and characters of each
SIGNATURE = ".run.json"  # in a folder of weights: whose they are


class RunFolder:
    """The two folders of a run. A fold of a stage is finished once both its files are there.

    Parameters
    ----------
    work, weights : path
        Made if need be.
    settings : dict of str to object
        All that decides the results, such as can be written as JSON; the package's version is added.
    profile : str
        The text of the profile's file, of which `work` gets a copy.
    earlier : sequence of (path, path)
        Such folders of the same run, from which what is finished there is copied.

    Raises
    ------
    ValueError
        If `work` or one of `earlier` holds a run of other settings, or another one of the same, or `weights` networks
        of a run that `work` knows nothing of. The message says what differs.
    """

    def __init__(self, work, weights, settings, profile="", earlier=()):
        self.work, self.weights = as_path(work), as_path(weights)
        settings = json.loads(json.dumps(settings | {"version": __version__}))
        earlier = [(as_path(theirs), as_path(networks)) for theirs, networks in earlier]
        for theirs, _ in earlier:
            _name_of(theirs, settings, "Take it out of the inputs, or set what it was begun with")
        with only_writer(self.work, "beginning a run in it", wait=True):
            if earlier and not (self.work / "run.json").exists():
                _copy(earlier[0][0] / "run.json", self.work / "run.json")
            self._begin(settings, profile)
            for theirs, networks in earlier:
                self._take_up(theirs, networks, settings)

    def _take_up(self, work, weights, settings):
        """Copy what is finished of this run in other folders and not yet here, the networks first."""
        if _name_of(work, settings) != self.name:
            raise ValueError(f"{work} holds another run of the same settings than {self.work}, and one run's folds do "
                             "not go with another's; take one of the two out of the inputs, or delete the latter")
        if (work / "profile.toml").exists() and not (self.work / "profile.toml").exists():
            _copy(work / "profile.toml", self.work / "profile.toml")
        for record in sorted(work.glob("stage-*_fold-*.npz")):
            network = weights / f"{record.stem}.safetensors"
            if network.exists() and not (self.work / record.name).exists():
                _copy(network, self.weights / network.name)
                _copy(record, self.work / record.name)

    def _begin(self, settings, profile):
        path = self.work / "run.json"
        if path.exists():
            self.name = _name_of(self.work, settings,
                                 "Give another folder, or delete this one and its weights to start anew")
            if self._networks():
                self._check_signature()
            self._sign()
            return
        if left := self._networks():
            raise ValueError(f"{self.weights} holds networks of another run ({left[0].name}) and {self.work} does not; "
                             "give the folder of that run, or another one for these weights, or delete them")
        self.name = uuid.uuid4().hex
        self._sign()
        if profile:
            (self.work / "profile.toml").write_text(profile, encoding="utf-8")
        with whole_file(path) as part:
            part.write_text(json.dumps(settings | {"run": self.name}, indent=1))

    def _sign(self):
        """Say in the folder of weights whose they are, if they are nobody's: of a run that is gone they are."""
        owner = self._signature()
        if owner and owner["run"] != self.name:
            with contextlib.suppress(OSError, json.JSONDecodeError, AttributeError):
                if json.loads(Path(owner["work"], "run.json").read_text()).get("run") == owner["run"]:
                    self._check_signature()
        if not owner or owner["run"] != self.name:
            (self.weights / CALIBRATION).unlink(missing_ok=True)  # of networks that are gone
            with whole_file(self.weights / SIGNATURE) as part:
                part.write_text(json.dumps({"run": self.name, "work": str(self.work.resolve())}))

    def _networks(self):
        return sorted(self.weights.glob("stage-*_fold-*.safetensors"))

    def _signature(self):
        """Whose the weights are: the run and its folder; None if nobody has said so."""
        path = self.weights / SIGNATURE
        try:
            signature = json.loads(path.read_text())
            return {name: signature[name] for name in ("run", "work")}
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path} is damaged ({error}); delete it, or give another folder") from error

    def _check_signature(self):
        """Refuse weights that are, or have become, another run's."""
        owner = self._signature()
        if owner and owner["run"] != self.name:
            raise ValueError(f"the weights in {self.weights} are those of the run in {owner['work']}, and not of "
                                   f"the one in {self.work}; give each run a folder of weights of its own")

    def claim(self, stage, fold):
        """Take a fold to train it, so that no other process does.

        Returns
        -------
        contextlib.ExitStack or None
            To be closed when it is trained; the system lets go of it if this process dies. None if another process
            has it, or it is finished.
        """
        claim = contextlib.ExitStack()
        try:
            claim.enter_context(only_writer(self.work, f"training fold {fold} of stage {stage}",
                                            name=f".stage-{stage}_fold-{fold}"))
        except RuntimeError:
            return None
        if self.is_finished(stage, fold):
            claim.close()
            return None
        return claim

    def is_finished(self, stage, fold):
        """Whether a fold of a stage is."""
        return is_finished(self.work, self.weights, stage, fold)

    def save(self, tagger, **record):
        """Keep a finished fold: its network, which says of which stage and fold it is, and arrays."""
        stage, fold = tagger.spec.stage, tagger.spec.fold
        self._check_signature()
        save_tagger(tagger, weights_path(self.weights, stage, fold))
        with whole_file(self._record_path(stage, fold)) as part, open(part, "wb") as file:
            np.savez(file, **record)

    def record(self, stage, fold):
        """The arrays of a finished fold."""
        self.check_finished(stage, fold)
        try:
            with np.load(self._record_path(stage, fold)) as record:
                return dict(record)
        except (EOFError, ValueError, zipfile.BadZipFile) as error:
            raise ValueError(f"{self._record_path(stage, fold)} is damaged ({error}); delete it, and the fold is "
                             "trained again") from error

    def check_finished(self, stage, fold):
        """Raise RuntimeError if a fold is not finished."""
        if not self.is_finished(stage, fold):
            raise RuntimeError(f"fold {fold} of stage {stage} is not finished: run_stage({stage}) first")

    def start(self, spec):
        """The weights of a finished fold, if it is what `spec` says, for a training that begins with them.

        Returns
        -------
        StartingWeights
        """
        self._check_signature()
        path = weights_path(self.weights, spec.stage, spec.fold)
        read_spec(path, expected=spec)
        return StartingWeights(path, spec)

    def _record_path(self, stage, fold):
        return _record_path(self.work, stage, fold)


def is_finished(work, weights, stage, fold):
    """Whether a fold of a stage is, in the folders of a run."""
    return _record_path(work, stage, fold).exists() and weights_path(weights, stage, fold).exists()


def _record_path(work, stage, fold):
    return as_path(work) / f"stage-{stage}_fold-{fold}.npz"


def _name_of(work, settings, advice=""):
    """The name of the run in a folder, if it is one of these settings."""
    path = work / "run.json"
    try:
        earlier = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); put it back, or give another folder") from error
    name = earlier.pop("run", None)
    if differ := list(_differences(earlier, settings)):
        differ[MOST_SAID:] = [f"and {len(differ) - MOST_SAID} settings more"] * (len(differ) > MOST_SAID)
        raise ValueError(f"{work} holds a run that this one cannot continue: {'; '.join(differ)}. {advice}")
    return name


def _copy(source, path):
    with whole_file(path) as part:
        shutil.copyfile(source, part)


def _differences(earlier, settings, name=""):
    """What differs between two descriptions, in words, setting by setting."""
    if isinstance(earlier, dict) and isinstance(settings, dict):
        for key in sorted(earlier.keys() | settings.keys()):
            yield from _differences(earlier.get(key), settings.get(key), f"{name}.{key}" if name else key)
    elif (isinstance(earlier, list) and isinstance(settings, list) and len(earlier) == len(settings)
          and all(isinstance(item, dict) for item in (*earlier, *settings))):
        for number, (one, other) in enumerate(zip(earlier, settings), 1):
            yield from _differences(one, other, f"{name}[{number}]")
    elif earlier != settings:
        one, other = (f"of {len(item)} tables" if isinstance(item, list) and item and isinstance(item[0], dict)
                      else repr(item) if len(repr(item)) < MOST_SHOWN else f"{repr(item)[:MOST_SHOWN]}..."
                      for item in (earlier, settings))
        yield f"{name} was {one} and is {other}"
