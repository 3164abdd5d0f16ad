"""Networks that a run begins with: which they are, whether they fit its profile, and what is taken of them."""

import dataclasses
import hashlib
import warnings

import torch

from ..clips.tables import few
from ..machine.files import as_path
from ..networks.weights import find_weights, load_tagger, read_spec


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

    def fill(self, tagger):
        """Give a new network of the same kind these weights; what belongs to a label, to those that both know."""
        weights = self.read()
        if self.spec.vocabulary != tagger.spec.vocabulary:
            theirs = {label: row for row, label in enumerate(self.spec.vocabulary)}
            both = [label for label in tagger.spec.vocabulary if label in theirs]
            here = [tagger.spec.vocabulary.index(label) for label in both]
            there = [theirs[label] for label in both]
            own = tagger.state_dict()
            for name in _of_labels(self.spec):
                new = own[f"network.{name}"].clone()
                new[here] = weights[f"network.{name}"][there]
                weights = weights | {f"network.{name}": new}
        tagger.load_state_dict(weights)


@dataclasses.dataclass(frozen=True)
class Start:
    """Trained networks of one kind, of which each fold of a run begins with one."""

    paths: tuple  # of pathlib.Path, in the order of their folds
    specs: tuple  # of NetworkSpec

    def __str__(self):
        stage = self.specs[0].stage
        return (f"{len(self.paths)} network{'s' * (len(self.paths) > 1)}" + (f" of stage {stage}" if stage else "")
                + f" in {self.paths[0].parent}")

    def of(self, fold):
        """What a fold begins with: the network of its number, and from the first on again where there are fewer."""
        return StartingWeights(self.paths[fold % len(self.paths)], self.specs[fold % len(self.specs)])

    @property
    def digest(self):
        """Sixteen hex digits that differ whenever a file does."""
        digests = hashlib.sha256()
        for path in self.paths:
            with open(path, "rb") as file:
                digests.update(hashlib.file_digest(file, "sha256").digest())
        return digests.hexdigest()[:16]

    def taken(self, vocabulary):
        """What networks for some labels take, in words."""
        theirs = self.specs[0].vocabulary
        if tuple(vocabulary) == theirs:
            return f"begins with {self}: all of each, as the labels are the same"
        known = [label for label in vocabulary if label in theirs]
        rows = f", and the last layer's rows of {few(known)}" if known else ""
        new = len(vocabulary) - len(known)
        return (f"begins with {self}: all of each but the last layer{rows}"
                + (f"; {new} label{'s' * (new > 1)} are new" if new else ""))


def find_start(start, network=None):
    """Find the networks that a run begins with.

    Parameters
    ----------
    start : path
        A file that `load_tagger` reads, with which each fold begins. Or a folder: of the last stage that votes the
        networks in it and below, fold by fold.
    network : str, optional
        Only these networks of a folder.

    Returns
    -------
    Start

    Raises
    ------
    FileNotFoundError
        If there is no network.
    ValueError
        If a file is no network, or the folder has networks that do not go together. The message names them.
    """
    start = as_path(start)
    paths = [start] if start.is_file() or start.suffix in (".safetensors", ".pkl") else _of_a_folder(start)
    networks = [(path, spec) for path in paths for spec in [read_spec(path)] if network in (None, spec.network)
                or len(paths) == 1]
    if not networks:
        raise ValueError(f"start={str(start)!r} has no network {network}; give a folder that does, or leave network "
                         "out")
    kinds = {(path.parent, spec.network) for path, spec in networks}
    if len(kinds) > 1:
        raise ValueError(f"start={str(start)!r} has networks of {len(kinds)} runs: "
                         f"{few([f'{kind} in {folder}' for folder, kind in sorted(kinds)])}; give the folder of one")
    last = max(spec.stage or 0 for _, spec in networks)
    chosen = sorted(((path, spec) for path, spec in networks if (spec.stage or 0) == last),
                    key=lambda found: found[1].fold or 0)
    paths, specs = zip(*chosen)
    for path, spec in chosen:
        for name in ("options", "vocabulary", "mel"):
            if getattr(spec, name) != getattr(specs[0], name):
                raise ValueError(f"start={str(start)!r}: {path} and {paths[0]} differ in {name}; give one of them")
    return Start(paths, specs)


def check_start(found, profile):
    """Raise a ValueError unless a profile's network and images are those of the networks that it begins with."""
    spec = found.specs[0]
    for name, theirs, own in (("network", spec.network, profile.network), ("options", dict(spec.options),
                              dict(profile.options)), ("mel", vars(spec.mel), vars(profile.mel))):
        if theirs != own:
            if isinstance(theirs, dict):
                differ = [key for key in {**theirs, **own} if theirs.get(key) != own.get(key)]
                theirs, own = ({key: settings.get(key) for key in differ} for settings in (theirs, own))
            raise ValueError(f"start={profile.start!r}: {name} is {own} and was {theirs} where the run begins; leave "
                             "it out of the profile's file, which then has what it begins with")


def _of_a_folder(folder):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "there is no model")  # what is lacking takes no part here
        return find_weights(folder)


def _of_labels(spec):
    """The tensors of a network that have a row a label: what is of another shape with a label more."""
    more = dataclasses.replace(spec, vocabulary=(*spec.vocabulary, "\0"))
    shapes = {name: tensor.shape for name, tensor in spec.outline().state_dict().items()}
    others = {name: tensor.shape for name, tensor in more.outline().state_dict().items()}
    found = [name for name, shape in shapes.items() if shape != others.get(name)]
    n = len(spec.vocabulary)
    if shapes.keys() != others.keys() or any(
            shapes[name][:1] != torch.Size([n]) or others[name] != torch.Size([n + 1, *shapes[name][1:]])
            for name in found):
        raise ValueError(f"network {spec.network} has no last layer with a row a label ({few(found)}); begin with "
                         "networks of the same labels, or with new ones")
    return found
