"""A network with all that has to be known about it: `NetworkSpec`, and `Tagger`, which computes."""

import copy
import dataclasses
import functools
import math
import reprlib
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..images.mel import MelConfig, is_finite
from .models import ARCHITECTURES, BODY_POOL

WIDTH_AT_MOST = 4096  # 64 times what is published
# Images that a CPU predicts at a time: few, so that what one layer leaves is in the cache when the next one wants it.
# It takes the time of 256 at a time times 0.4 at a width of 4, 0.6 at 16 and 0.9 at 64.
CPU_IMAGES = 8


def _is_count(value, least, most=math.inf):
    return type(value) is int and least <= value <= most  # not isinstance: True is no count


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """All that has to be known about a network, beside its weights, to tag a clip with it."""

    architecture: str  # a key of ARCHITECTURES
    width: int  # channels of the first block
    vocabulary: tuple  # the label of each output
    mel: MelConfig  # how its images are made
    mean: tuple  # of the training pixels, in [0, 1], one a channel
    std: tuple
    stage: int | None = None  # of the warm-up pipeline, 1 to 4
    fold: int | None = None  # the fold that it was not trained on
    seed: int | None = None  # of its training
    body_pool: int | None = None  # the size that a pool between body and head gives, 0: none. None: as BODY_POOL says

    def __post_init__(self):
        if self.architecture not in list(ARCHITECTURES):  # a list, as what is asked may be of any type
            raise ValueError(f"architecture {reprlib.repr(self.architecture)}: expected one of "
                             f"{', '.join(ARCHITECTURES)}")
        if not _is_count(self.width, 1, WIDTH_AT_MOST):
            raise ValueError(f"width={reprlib.repr(self.width)}: expected a whole number from 1 to {WIDTH_AT_MOST}")
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
            if not (getattr(self, name) is None or _is_count(getattr(self, name), 0)):
                raise ValueError(f"{name}={reprlib.repr(getattr(self, name))}: expected a whole number or None")
        published = BODY_POOL[self.architecture]
        if self.body_pool is None:
            object.__setattr__(self, "body_pool", published)
        if not _is_count(self.body_pool, 0) or self.body_pool not in (0, published):
            raise ValueError(f"body_pool={reprlib.repr(self.body_pool)}: expected {published} for "
                             f"{self.architecture}, or 0")

    def build(self):
        """The network, with new weights: body and head."""
        return _build(self.architecture, self.width, len(self.vocabulary), self.body_pool)

    def outline(self):
        """The network without numbers, for its layers and shapes. It is one for all of a kind: not to be changed."""
        return _outline(self.architecture, self.width, len(self.vocabulary), self.body_pool)


def _build(architecture, width, n_classes, body_pool):
    pool = {"body_pool": body_pool} if BODY_POOL[architecture] else {}
    return ARCHITECTURES[architecture](n_classes, width, **pool)


@functools.lru_cache(maxsize=8)
def _outline(*network):
    def build():
        with torch.device("meta"):
            return _build(*network).float()  # as the program may have set another default
    # In a thread, where no interrupt comes: one within torch's context would leave all of this process on "meta".
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(build).result()


class Tagger(nn.Module):
    """A network with its description and its input normalization.

    Takes images as the augmentations make them, float (batch, 1, mel bands, frames) in [0, 1]: normalizes them,
    repeats the one channel three times and gives logits, float32 (batch, labels).

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
        self.network = copy.deepcopy(spec.outline()) if weights else spec.build()
        if weights:
            self.network.load_state_dict(weights, assign=True)
        self.register_buffer("mean", _normal_of(spec.mean), persistent=False)
        self.register_buffer("std", _normal_of(spec.std), persistent=False)
        # Channels last is what convolutions are fastest in; but with few channels, torch's batch normalization on a
        # CPU has its threads wait for each other (they write sums to one cache line).
        shares_lines = spec.width < 16 and torch.get_num_threads() > 1
        self.layout = torch.contiguous_format if shares_lines else torch.channels_last
        self.to(memory_format=self.layout)

    def forward(self, images):
        # Here and not around the training step, so that an interrupt hardly ever leaves autocast switched on; where it
        # does, `autocast_as_before` helps.
        with torch.autocast(images.device.type, self.precision, enabled=self.precision != torch.float32):
            if images.device.type == "cpu" and not torch.is_grad_enabled() and not self.training:
                body, head = self.network  # the head's products round as their number of rows says: all rows at once
                return head(torch.cat([body(self._normal(few)) for few in images.split(CPU_IMAGES)])).float()
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
    """Fold the batch normalization of a trained body into its convolutions, in place: the same outputs, sooner.

    Parameters
    ----------
    tagger : Tagger
        In evaluation mode; cannot be trained any further.

    Returns
    -------
    Tagger
        `tagger`.
    """
    layers = []
    for layer in tagger.network[0]:
        if isinstance(layer, nn.BatchNorm2d):
            layers[-1] = fuse_conv_bn_eval(layers[-1], layer)
        else:
            layers.append(layer)
    tagger.network[0] = nn.Sequential(*layers)
    return tagger
