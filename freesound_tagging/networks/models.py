"""The two networks, in plain torch: prediction needs no fastai."""

import contextlib
import copy
import ctypes
import dataclasses
import functools
import math
import platform
import reprlib
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.vgg import make_layers

from ..images.mel import MelConfig, is_finite

WIDTH_AT_MOST = 4096  # 64 times what is published
HEAD_UNITS = 512  # the head's hidden layer, whatever the width of the body
VGG16 = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]


def cnn_model_1(n_classes, width=64):
    """CNN-model-1: four blocks of two convolutions, then the head (the published system's Table 1).

    Parameters
    ----------
    n_classes : int
        Labels.
    width : int
        Channels of the first block; 64 as published. The other blocks have 2, 4 and 8 times as many.

    Returns
    -------
    torch.nn.Sequential
        Body and head. Takes normalized images (batch, 3, 128, 128), gives logits (batch, n_classes).
    """
    channels = [3, width, 2 * width, 4 * width, 8 * width]
    body = nn.Sequential(*[layer for block in pairwise(channels) for layer in _block(*block)])
    return _network(body, channels[-1], n_classes, fan="fan_in")


def vgg16_bn(n_classes, width=64, body_pool=7):
    """VGG-16 with batch normalization: torchvision's body, untrained, with the head of CNN-model-1.

    fastai 1.0.51 cuts torchvision's network before its classifier and not before the pool that stands there, so that
    a body of 4 x 4 is spread to 7 x 7 before the head looks at it: the head's maximum is the same, its mean a weighted
    one.

    Parameters
    ----------
    n_classes : int
        Labels.
    width : int
        Channels of the first block; 64 as in torchvision. All other layers keep their proportion to it.
    body_pool : int
        The size that the adaptive average pool between body and head gives; 0 for no such pool.

    Returns
    -------
    torch.nn.Sequential
        Body and head. Takes normalized images (batch, 3, 128, 128), gives logits (batch, n_classes).

    References
    ----------
    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
    configuration D.
    """
    layers = [layer if layer == "M" else layer * width // 64 for layer in VGG16]
    body = make_layers(layers, batch_norm=True)
    if body_pool:
        body.append(nn.AdaptiveAvgPool2d(body_pool))
    return _network(body, layers[-2], n_classes, fan="fan_out")


ARCHITECTURES = {"cnn-model-1": cnn_model_1, "vgg16": vgg16_bn}
BODY_POOL = {"cnn-model-1": 0, "vgg16": 7}  # as published: what fastai 1.0.51 leaves between body and head


class ConcatPool(nn.Module):
    """Maximum and mean over the image, maximum first as in fastai: (batch, channels, ...) to (batch, 2 channels)."""

    def forward(self, x):
        return torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)


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
        for name in ("stage", "fold"):
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
            return _build(*network)
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
        self.register_buffer("mean", torch.tensor(spec.mean, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.std, dtype=torch.float32).view(1, 3, 1, 1), persistent=False)
        # Channels last is what convolutions are fastest in; but with few channels, torch's batch normalization on a
        # CPU has its threads wait for each other (they write sums to one cache line).
        shares_lines = spec.width < 16 and torch.get_num_threads() > 1
        self.layout = torch.contiguous_format if shares_lines else torch.channels_last
        self.to(memory_format=self.layout)

    def forward(self, images):
        x = (images - self.mean) / self.std  # one channel becomes three
        x = x.contiguous(memory_format=self.layout)
        # Here and not around the training step, so that an interrupt never leaves autocast switched on.
        with torch.autocast(x.device.type, self.precision, enabled=self.precision != torch.float32):
            network = _compiled() if self.compiled and self.training else _call
            return network(self.network, x).float()


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


def default_device():
    """The first CUDA GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def training_precision(device):
    """The fastest number format that trains well on a device.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    torch.dtype
        bfloat16 on GPUs from Ampere on and on CPUs with the instructions that oneDNN needs for it (AVX-512); float16
        on older GPUs, with loss scaling; float32 on other CPUs.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    return torch.bfloat16 if torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def inference_precision(device):
    """The number format to predict in.

    Parameters
    ----------
    device : torch.device

    Returns
    -------
    torch.dtype
        float16 on GPUs, where it is quick from Pascal on and eight times as exact as bfloat16; float32 on CPUs.
    """
    return torch.float16 if device.type == "cuda" else torch.float32


def prepare_device(device):
    """Let a GPU choose its fastest convolutions for the one shape that comes, and round products to TF32.

    On a CPU, keep the memory of a step for the next one, in place of giving it back to the system and zeroing it anew.

    Parameters
    ----------
    device : torch.device
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.allow_tf32 = True
    elif platform.libc_ver()[0] == "glibc":
        M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 32 << 20)  # the most that it takes
        ctypes.CDLL(None).mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


class OutOfMemory(RuntimeError):
    """A batch does not fit on the GPU; the message has its size, the memory, and what to change."""


@contextlib.contextmanager
def enough_memory(batch_size):
    """Turn torch's word of a full GPU into an `OutOfMemory` that says what to do.

    Parameters
    ----------
    batch_size : int
    """
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        free, total = torch.cuda.mem_get_info() if torch.cuda.is_available() else (0, 0)
        raise OutOfMemory(f"a batch of {batch_size} does not fit on the GPU: {free / 2**30:.1f} of {total / 2**30:.1f} "
                          "GiB are free. Stop what else uses it (such as other notebooks), or give a smaller "
                          "batch_size or width") from error


def to_images(excerpts):
    """Excerpts as a store keeps them to images as networks and augmentations take them.

    Parameters
    ----------
    excerpts : torch.Tensor, uint8 (batch, frames, mel bands)

    Returns
    -------
    torch.Tensor, float32 (batch, 1, mel bands, frames)
        In [0, 1]; band 0 is row 0.
    """
    return excerpts.transpose(1, 2)[:, None].float() / 255


def _block(n_in, n_out):
    for channels in (n_in, n_out):
        yield nn.Conv2d(channels, n_out, 3, padding=1)
        yield nn.BatchNorm2d(n_out)
        yield nn.ReLU(inplace=True)
    yield nn.AvgPool2d(2)


def _network(body, channels, n_classes, fan):
    head = nn.Sequential(
        ConcatPool(),
        nn.BatchNorm1d(2 * channels),
        nn.Dropout(0.25),
        nn.Linear(2 * channels, HEAD_UNITS),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(HEAD_UNITS),
        nn.Dropout(0.5),
        nn.Linear(HEAD_UNITS, n_classes),
    )
    for layer in [*body, *head]:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(layer.weight, mode=fan if isinstance(layer, nn.Conv2d) else "fan_in",
                                    nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return nn.Sequential(body, head)
