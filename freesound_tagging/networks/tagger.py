"""A network with all that has to be known about it: `NetworkSpec`, and `Tagger`, which computes."""

import copy
import dataclasses
import functools
import reprlib
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode

from ..images.mel import MelConfig, is_finite
from ..machine.checks import as_python
from .head import BodyAndHead
from .models import PUBLISHED_NETWORKS, complete, create, find

# Images that a CPU predicts at a time: few, so that what one layer leaves is in the cache when the next one wants it.
# It takes the time of 256 at a time times 0.4 at a width of 4, 0.6 at 16 and 0.9 at 64.
CPU_IMAGES = 8
PUBLISHED_ENSEMBLE = (2, 3, 4)  # the stages whose models' mean is the published submission


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """All that has to be known about a network, beside its weights, to tag a clip with it."""

    network: str  # a name that `create` knows
    options: tuple  # of `create`, given as a dict: sorted pairs, the network's defaults among them
    vocabulary: tuple  # the label of each output
    mel: MelConfig  # how its images are made
    mean: tuple  # of the training pixels, in [0, 1], one a channel
    std: tuple
    stage: int | None = None  # of its run, from 1 on
    fold: int | None = None  # the fold that it was not trained on
    seed: int | None = None  # of its training
    voting: tuple | None = None  # the stages of its run that vote. None: not known, so that the published ones do

    def __post_init__(self):
        as_python(self)
        if not isinstance(self.vocabulary, tuple) or not self.vocabulary or not all(
                isinstance(label, str) for label in self.vocabulary):
            raise ValueError(f"vocabulary {reprlib.repr(self.vocabulary)}: expected a tuple of labels")
        if not isinstance(self.mel, MelConfig):
            raise ValueError(f"mel {reprlib.repr(self.mel)}: expected a MelConfig")
        if not all(isinstance(three, tuple) and len(three) == 3 and all(map(is_finite, three))
                   for three in (self.mean, self.std)) or min(self.std) <= 0:
            raise ValueError(f"mean {reprlib.repr(self.mean)} and std {reprlib.repr(self.std)}: expected three numbers "
                             "each, std above 0")
        for name in ("stage", "fold", "seed"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 0):  # not isinstance: True is no count
                raise ValueError(f"{name}={reprlib.repr(value)}: expected a whole number or None")
        if self.voting is not None and not (isinstance(self.voting, tuple) and self.voting and all(
                type(stage) is int and stage > 0 for stage in self.voting)):
            raise ValueError(f"voting={reprlib.repr(self.voting)}: expected a tuple of stages or None")
        try:
            options = dict(self.options)
        except (TypeError, ValueError) as error:
            raise ValueError(f"options {reprlib.repr(self.options)}: expected a dict") from error
        object.__setattr__(self, "options", complete(self.network, options))
        self.outline()  # the network judges the options' values

    @property
    def votes(self):
        """Whether it is a member of its run's ensemble."""
        return self.stage in (PUBLISHED_ENSEMBLE if self.voting is None else self.voting)

    def build(self):
        """The network, with new weights."""
        return create(self.network, len(self.vocabulary), **dict(self.options))

    def unfilled(self):
        """The network, into which weights are to come: it draws and downloads nothing."""
        if self.network in PUBLISHED_NETWORKS:
            return copy.deepcopy(self.outline())
        with torch.random.fork_rng(devices=[]):  # it may hold numbers that are no weights
            return create(self.network, len(self.vocabulary), **_untrained(self.options))

    def outline(self):
        """The network without numbers, for its layers and shapes. It is one for all of a kind: not to be changed."""
        return _outline(find(self.network), self.network, len(self.vocabulary), **_untrained(self.options))


def _untrained(options):
    options = dict(options)
    return options | {"pretrained": False} if "pretrained" in options else options


@functools.lru_cache(maxsize=8, typed=True)  # typed: a width of 1 is one, of True or 1.0 is none
def _outline(_, name, n_classes, /, **options):
    """As `NetworkSpec.outline`; of a function that is imported, as what it imports is not to be on "meta"."""
    def build():
        try:
            with torch.device("meta"), _NothingDrawn():
                return create(name, n_classes, **options).float()  # as the program may have set another default
        except (NotImplementedError, RuntimeError, TypeError) as error:  # it looks at its numbers while it is built
            if name.startswith("timm:"):  # which has some of 7,000 million
                raise ValueError(f"network {name} cannot be built without its numbers: {error}") from error
            with torch.random.fork_rng(devices=[]):
                return create(name, n_classes, **options).to("meta").float()
    # In a thread, where no interrupt comes: one within torch's context would leave all of this process on "meta".
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(build).result()


class _NothingDrawn(TorchFunctionMode):
    """Draws nothing for tensors without numbers: torch would import its compiler for that, a second of each command."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return args[0] if function is torch.Tensor.normal_ else function(*args, **kwargs or {})


class Tagger(nn.Module):
    """A network with its description and its input normalization.

    Takes images as the augmentations make them, float (batch, 1, mel bands, frames) in [0, 1]: normalizes them,
    repeats the one channel three times and gives logits, float32 (batch, labels). Other images are a ValueError.

    Parameters
    ----------
    spec : NetworkSpec
    precision : torch.dtype
        What convolutions and linear layers compute in, by autocast: torch.float32, torch.bfloat16 or torch.float16.
        The weights are float32 always.
    compiled : bool
        Train through `torch.compile`. Prediction is not compiled.
    weights : dict of str to torch.Tensor, optional
        Those of the network, which takes them as they are and keeps them. New ones without it.
    """

    def __init__(self, spec, precision=torch.float32, compiled=False, weights=None):
        super().__init__()
        self.spec, self.precision, self.compiled = spec, precision, compiled
        self.network = (spec.unfilled() if weights else spec.build()).float()  # whatever torch's default is
        if weights:
            self.network.load_state_dict(weights, assign=True)
        self.register_buffer("mean", _normal_of(spec.mean), persistent=False)
        self.register_buffer("std", _normal_of(spec.std), persistent=False)
        # Channels last is what convolutions are fastest in; but with few channels, torch's batch normalization on a
        # CPU has its threads wait for each other (they write sums to one cache line).
        shares_lines = torch.get_num_threads() > 1 and any(
            layer.num_features < 16 for layer in self.network.modules() if isinstance(layer, nn.BatchNorm2d))
        self.layout = torch.contiguous_format if shares_lines else torch.channels_last
        self.to(memory_format=self.layout)

    def forward(self, images):
        if images.ndim != 4 or not images.is_floating_point():
            raise ValueError(f"images of shape {tuple(images.shape)} in {images.dtype}: expected floats from 0 to 1 of "
                             "shape (batch, 1, mel bands, frames), as images.to_images makes of a store's excerpts")
        # Here and not around the training step, so that an interrupt hardly ever leaves autocast switched on; where it
        # does, `autocast_as_before` helps.
        with torch.autocast(images.device.type, self.precision, enabled=self.precision != torch.float32):
            if (images.device.type == "cpu" and not torch.is_grad_enabled() and not self.training
                    and isinstance(self.network, BodyAndHead)):
                features = torch.cat([self.network.body(self._normal(few)) for few in images.split(CPU_IMAGES)])
                return self.network.head(features).float()  # whose products round as their number of rows says
            network = _compiled() if self.compiled and self.training else _call
            return network(self.network, self._normal(images)).float()

    def _normal(self, images):
        return ((images - self.mean) / self.std).contiguous(memory_format=self.layout)  # one channel becomes three


def _normal_of(values):
    """On the CPU, where weights are read to, whatever torch's default device is."""
    return torch.tensor(values, dtype=torch.float32, device="cpu").view(1, 3, 1, 1)


def _call(network, x):
    return network(x)


@functools.cache
def _compiled():
    """`_call`, compiled once for all networks of a kind: their weights are its arguments."""
    return torch.compile(_call, dynamic=False)


def fold_batchnorm(tagger):
    """Fold trained batch normalization into the convolutions before it, in place: the same outputs, sooner.

    Parameters
    ----------
    tagger : Tagger
        In evaluation mode; cannot be trained any further. A network that torch.fx cannot trace, or that would fail or
        give other outputs then, is left as it is.

    Returns
    -------
    Tagger
        `tagger`.
    """
    network = tagger.network
    if tagger.spec.network in PUBLISHED_NETWORKS:  # all in a row: no need for a trace, which patches torch for 4 ms
        layers = []
        for layer in network.body:
            if isinstance(layer, nn.BatchNorm2d):
                layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
            else:
                layers.append(layer)
        network[0] = nn.Sequential(*layers)
    else:
        from .tracing import normalized_convolutions

        if not (pairs := normalized_convolutions(network)):
            return tagger
        folded = copy.deepcopy(network)
        for convolution, normalization in pairs:
            fused = fuse_conv_bn_eval(network.get_submodule(convolution), network.get_submodule(normalization))
            folded.set_submodule(convolution, fused)
            folded.set_submodule(normalization, nn.Identity())
        mel, generator = tagger.spec.mel, torch.Generator().manual_seed(0)
        images = torch.rand(2, 1, mel.n_mels, mel.excerpt_frames, generator=generator, device="cpu")
        if _are_alike(network, folded, tagger._normal(images.to(tagger.mean.device))):
            tagger.network = folded
    return tagger


@torch.no_grad()
def _are_alike(network, folded, images):
    """Whether a network gives the same with its normalizations folded, whose layers its own code may look into."""
    expected = network(images)
    try:
        return torch.allclose(folded(images), expected, rtol=1e-4, atol=1e-4)
    except Exception:  # of any kind, out of code that may be anyone's
        return False
