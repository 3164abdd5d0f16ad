"""All that decides what a run computes, as data: a `Profile`, and the TOML file that one is read from."""

import dataclasses
import difflib
import re
import reprlib
import sys
import tomllib
import warnings
from importlib import resources
from pathlib import Path

import torch

from ..augment import PUBLISHED
from ..images.mel import MelConfig
from ..machine.checks import as_python, check_number
from ..machine.files import as_path
from ..networks.models import PUBLISHED_NETWORKS, complete, find
from ..networks.tagger import NetworkSpec
from .augmentations import augmentation_named, try_augmentation
from .functions import check_modules, code_of, name_of
from .stages import StageConfig
from .start import check_start, find_start

FOLDER = resources.files(__package__) / "profiles"
NAMES = ("full", "laptop", "demo", "tiny", "curated")  # that come with the package


@dataclasses.dataclass(frozen=True)
class Profile:
    """What a run computes, but for its clips and its seed.

    Raises
    ------
    ValueError
        If a setting cannot be. The message names it.
    """

    n_folds: int
    stages: tuple  # of StageConfig, numbered from 1 on
    network: str = "cnn-model-1"  # a name of `networks`
    options: dict = dataclasses.field(default_factory=dict)  # of the network, as `networks.create` takes them
    batch_size: int | None = None  # None: `batch_size_for` the clips of the stage that has the fewest
    augmentation: tuple = PUBLISHED  # of each batch: functions of (images, targets, generator=), in order
    mel: MelConfig = dataclasses.field(default_factory=MelConfig)  # how images are made
    weight_decay: float = 0.01  # decoupled, of all parameters
    start: str | None = None  # trained networks, or a folder of them, that stages without `starts_from` begin with
    text: str = dataclasses.field(default="", compare=False, repr=False)  # the file that it was read from

    def __post_init__(self):
        as_python(self)
        check_number("n_folds", self.n_folds, 2, whole=True)  # one to train on, one to hold out
        if self.batch_size is not None:
            check_number("batch_size", self.batch_size, 2, whole=True)  # a batch normalization needs two
        check_number("weight_decay", self.weight_decay, 0)
        object.__setattr__(self, "options", dict(complete(self.network, self.options)))
        object.__setattr__(self, "stages", tuple(self.stages))
        object.__setattr__(self, "augmentation", tuple(self.augmentation))
        for name, values, is_one, wanted in (
                ("stages", self.stages, lambda value: isinstance(value, StageConfig), "StageConfig(1, ...), ..."),
                ("augmentation", self.augmentation, callable, "functions, as augment.specmix; names are for files"),
                ("mel", [self.mel], lambda value: isinstance(value, MelConfig), "a MelConfig")):
            for value in values:
                if not is_one(value):
                    raise ValueError(f"{name}: {reprlib.repr(value)} is none; expected {wanted}")
        if not self.stages or [config.stage for config in self.stages] != list(range(1, len(self.stages) + 1)):
            raise ValueError(f"stages {[config.stage for config in self.stages]}: expected one or more, numbered from "
                             "1 on")
        if not any(config.votes for config in self.stages):
            raise ValueError("no stage votes: expected votes = true in one or more, the ensemble's members")

    @property
    def name(self):
        """The network's as that of a folder: ``"timm-resnet18"``."""
        return folder_of(self.network)

    @property
    def sets(self):
        """The sets that its stages train on or select from, in the order of their first use."""
        return list(dict.fromkeys(name for config in self.stages
                                  for name in (*config.trains_on, config.selects_from) if name))

    @property
    def optional(self):
        """Those of its sets without which something is left to be done (`fitted`): that no voting stage trains on."""
        needed = {name for config in self.stages if config.votes for name in config.trains_on}
        return [name for name in self.sets if name not in needed]

    @property
    def trusted(self):
        """The set by whose labels networks are judged: what the last voting stage is validated on."""
        return [config for config in self.stages if config.votes][-1].trains_on[0]

    def fitted(self, clips):
        """What can be done of it with the sets that there are.

        Parameters
        ----------
        clips : Clips

        Returns
        -------
        Profile
            Itself where all sets have clips. Else one stage, a new network on the clips that its voting stages train
            on: of their passes together, and of the least steps of all stages. A warning says so.

        Raises
        ------
        ValueError
            If there is no voting stage for whose training there are clips.
        """
        lacking = [name for name in self.sets if name not in clips.sets]
        if not lacking:
            return self
        kept = [config for config in self.stages if config.votes and not set(config.trains_on) & set(lacking)]
        if not kept:
            raise ValueError(f"no {' and no '.join(lacking)} clips, and all of the profile's stages train on them")
        sets = tuple(dict.fromkeys(name for config in kept for name in config.trains_on))
        stage = StageConfig(1, sets, sum(config.passes for config in kept),
                            max(config.lr for config in kept), least_steps=sum(c.least_steps for c in self.stages))
        warnings.warn(f"without {' and '.join(lacking)} clips the profile's {len(self.stages)} stages become one, on "
                      f"the {' and '.join(sets)} ones, of as many steps", stacklevel=2)
        return dataclasses.replace(self, stages=(stage,))

    def begins_with(self):
        """The trained networks that it begins with.

        Returns
        -------
        Start or None

        Raises
        ------
        FileNotFoundError, ValueError
            If there is none, or its networks or images are others than the profile's.
        """
        if self.start is None:
            return None
        found = find_start(self.start, self.network)
        check_start(found, self)
        return found

    def described(self):
        """All of it as can be written as JSON: functions by their names and what they compute, a start by its digest.
        """
        own = {}
        for step in self.augmentation:
            if code := code_of(step):
                own[name_of(step)] = own.get(name_of(step), "") + code  # others may have the same name
        of_network = code_of(find(self.network))
        return {"network": self.network, **({"network code": of_network} if of_network else {}),
                "options": self.options, "n_folds": self.n_folds,
                "batch_size": self.batch_size, "augmentation": [name_of(step) for step in self.augmentation],
                **({"code": own} if own else {}), "weight_decay": self.weight_decay,
                **({} if self.start is None else {"start": self.begins_with().digest}),
                "mel": dataclasses.asdict(self.mel), "stages": [dataclasses.asdict(stage) for stage in self.stages]}


def folder_of(network):
    """A network's name as that of a folder."""
    return re.sub(r"[^\w.-]+", "-", network)


def load_profile(source):
    """Read a profile.

    Parameters
    ----------
    source : {"full", "laptop", "demo", "tiny", "curated"} or path
        One that comes with the package, or a TOML file such as these: `freesound_tagging/training/profiles/full.toml`
        explains each line. Modules that it names may stand beside it.

    Returns
    -------
    Profile

    Raises
    ------
    ValueError
        If there is none, or the file has a key or a value that cannot be. The message has file and key.
    """
    path = FOLDER / f"{source}.toml" if str(source) in NAMES else as_path(source)
    if not path.is_file():
        near = difflib.get_close_matches(str(source), NAMES, 1)
        raise ValueError(f"profile={str(source)!r}: expected {', '.join(NAMES)}, or a TOML file; there is none of this "
                         "name" + (f"; perhaps {near[0]!r} is meant" if near else ""))
    folder = "" if str(source) in NAMES else str(path.resolve().parent)
    if folder and folder not in sys.path:
        sys.path.append(folder)  # for modules beside the file, here and in the processes that train
    try:
        profile = parse_profile(path.read_text(encoding="utf-8"), folder)
        check_modules([*profile.augmentation, find(profile.network)], folder)
        return profile
    except (FileNotFoundError, ImportError, ValueError) as error:  # of tomllib too, which says the line
        raise ValueError(f"{path}: {error}") from error


def parse_profile(text, folder=""):
    """The profile that a TOML text describes, a start's path seen from a folder; ValueError names the key."""
    given = tomllib.loads(text)
    stages = given.pop("stage", None)
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise ValueError("no [[stage]]: expected a table for each stage")
    settings = _checked(given, Profile, leave_out=("stages", "text"))
    settings["stages"] = [_stage(number, stage) for number, stage in enumerate(stages, 1)]
    if "mel" in settings:
        settings["mel"] = MelConfig(**_checked(_a(dict, "mel", settings["mel"]), MelConfig, where="mel: "))
    if "start" in settings:
        settings = _begun(settings, folder)
    if "augmentation" in settings:
        settings["augmentation"] = [_step(step, settings.get("mel", MelConfig()))
                                    for step in _a(list, "augmentation", settings["augmentation"])]
    _a(dict, "options", settings.get("options", {}))
    _a(str, "network", settings.get("network", ""))
    profile = Profile(**settings, text=text)
    size = profile.mel.n_mels, profile.mel.excerpt_frames
    try:  # the network judges its options
        spec = NetworkSpec(profile.network, profile.options, ("one", "two"), profile.mel, (0,) * 3, (1,) * 3)
        if profile.network in PUBLISHED_NETWORKS:  # others are tried before they are trained
            with torch.no_grad():
                spec.unfilled().eval()(torch.empty(2, 3, *size, device="meta"))
    except RuntimeError as error:
        raise ValueError(f"network {profile.network!r} on images of {size[0]} x {size[1]}: {error}") from error
    except ValueError as error:
        raise ValueError(f"network {profile.network!r}: {error}") from error
    profile.begins_with()
    return profile


def _begun(settings, folder):
    """The settings with what they leave out, network, options and mel, as the networks have it that they begin with."""
    start = str(Path(folder) / as_path(_a(str, "start", settings["start"])))
    if "network" in settings:
        find(_a(str, "network", settings["network"]))  # so that its files may be read
    spec = find_start(start, settings.get("network")).specs[0]
    own = {} if settings.get("network", spec.network) != spec.network else {"options": dict(spec.options)}
    return {"network": spec.network, "mel": spec.mel, **own, **settings, "start": start}


def _stage(number, settings):
    try:
        return StageConfig(number, **_checked(settings, StageConfig, leave_out=("stage",)))
    except ValueError as error:
        raise ValueError(f"stage {number}: {error}") from error


def _step(step, mel):
    """An augmentation of a file: its name, or a table of its name and settings."""
    settings = {"name": step} if isinstance(step, str) else dict(_a(dict, "augmentation", step))
    name = _a(str, "an augmentation's name", settings.pop("name", None))
    function = augmentation_named(name, **settings)
    try_augmentation(name, function, mel)
    return function


def _checked(given, kind, leave_out=(), where=""):
    """Settings for a dataclass, if all are fields of it and none is missing that has to be there."""
    fields = {field.name: field for field in dataclasses.fields(kind) if field.name not in leave_out}
    for key in given:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1)
            raise ValueError(f"{where}{key} is not known: expected {', '.join(fields)}"
                             + (f"; perhaps {near[0]} is meant" if near else ""))
    lacking = [name for name, field in fields.items() if name not in given
               and field.default is field.default_factory is dataclasses.MISSING]
    if lacking:
        raise ValueError(f"{where}{', '.join(lacking)} missing")
    return dict(given)


def _a(kind, name, value):
    if not isinstance(value, kind):
        raise ValueError(f"{name}={value!r}: expected a {({list: 'list', dict: 'table', str: 'text'})[kind]}")
    return value


def published_stages(passes=None, lrs=None, least_steps=None):
    """The four published stages, of other lengths and learning rates if these are given.

    Parameters
    ----------
    passes : sequence of 4 int, optional
    lrs : sequence of 4 float, optional
    least_steps : int, optional

    Returns
    -------
    tuple of StageConfig
    """
    stages = load_profile("full").stages
    changes = {"passes": passes, "lr": lrs, "least_steps": least_steps and (least_steps,) * len(stages)}
    return tuple(dataclasses.replace(stage, **{name: values[stage.stage - 1] for name, values in changes.items()
                                               if values is not None}) for stage in stages)
