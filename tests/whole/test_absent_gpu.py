"""On a GPU that is not there: torch's fake tensors, which claim to be on ``cuda`` and hold no numbers.

Under them a mixed device is an error, and so is whatever needs a number on the host. What remains unproven is inside
torch's own kernels; the autograd engine's way back runs on fake tensors of the CPU, as it asks the driver for streams.
"""

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.utils._python_dispatch import TorchDispatchMode

from freesound_tagging.augment import compose, spec_augment
from freesound_tagging.images.excerpts import HostPixels
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.machine.device import inference_precision, training_precision
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.prediction.inference import choose_precision, predict
from freesound_tagging.training.batches import MiddleExcerpts, RandomExcerpts
from freesound_tagging.training.learner import History, make_learner
from freesound_tagging.training.pool import ClipPool

LABELS, CLIPS, FRAMES, BATCH, STEPS = 5, 12, 300, 8, 3
WAITS = (DataDependentOutputException, DynamicOutputShapeException)  # fake tensors' words for a number that is needed


class Waiting(Exception):
    """The host fetches something from the device."""


class Watch(TorchDispatchMode):
    """Find what is copied from the device to the host, and what to the device without a wait."""

    def __init__(self, fake):
        super().__init__()
        self.fake, self.sent, self.computed = fake, [], []

    def __torch_dispatch__(self, function, types, arguments=(), settings=None):
        settings = settings or {}
        arguments = tuple(self.fake.from_tensor(argument) if type(argument) is torch.Tensor else argument
                          for argument in arguments)
        result = function(*arguments, **settings)
        devices = [t.device.type for t in arguments if isinstance(t, torch.Tensor)]
        to = result.device.type if isinstance(result, torch.Tensor) else None
        if to == "cpu" and "cuda" in devices:
            raise Waiting(str(function))
        if to == "cuda" and devices[-1:] == ["cpu"]:
            self.sent.append(any(value is True for value in (*arguments, settings.get("non_blocking"))))
        if function in (torch.ops.aten.convolution.default, torch.ops.aten.conv2d.default):
            self.computed.append(result.dtype)
        return result


@pytest.fixture
def gpu(monkeypatch):
    """A context in which there is a GPU of some compute capability, and a `Watch`."""
    @contextlib.contextmanager
    def gpu(capability=(9, 0), device="cuda"):
        monkeypatch.setattr("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
        assert device == "cpu" or training_precision(torch.device(device)) == (
            torch.bfloat16 if capability >= (8, 0) else torch.float16)
        with FakeTensorMode() as fake, Watch(fake) as watch:
            yield watch
    return gpu


def tagger_on(device, precision, width=4):
    """A network whose weights are on a device that is not there; to be called where there is one."""
    spec = NetworkSpec("cnn-model-1", {"width": width}, tuple(map(str, range(LABELS))), MelConfig(), (0.4,) * 3,
                       (0.2,) * 3)
    with unset_fake_temporarily():
        tagger = Tagger(spec, precision)
    for module in tagger.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                module._parameters[name] = nn.Parameter(like(parameter, device))
        for name, buffer in module._buffers.items():
            module._buffers[name] = like(buffer, device)
    tagger.to = lambda to: tagger if torch.device(to).type == device else pytest.fail(f"to {to} from {device}")
    return tagger


def like(tensor, device):
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)


def pool_on(device, pixels=None):
    starts = torch.arange(CLIPS, device=device) * FRAMES
    if pixels is None:
        pixels = torch.empty(CLIPS * FRAMES, 128, dtype=torch.uint8, device=device)
    return ClipPool(pixels, starts, torch.full_like(starts, FRAMES), torch.zeros(CLIPS, LABELS, device=device), 128,
                    [f"{clip}.wav" for clip in range(CLIPS)])


class Quiet(History):
    """`History` up to where an epoch's end fetches what it has: a wait for the losses, two for the validation."""

    def after_epoch(self):
        assert len(self.pending) == STEPS
        assert all(loss.device == self.pending[0].device for loss in self.pending)
        assert all(pred.dtype == torch.float32 for _, pred in self.outputs)
        self.seen = [len(truth) for truth, _ in self.outputs]


def train(device, precision, augmentation=None, pool=None):
    """An epoch as `fit` makes it, and its validation; on a GPU gradients without numbers, and without the way back."""
    tagger, history = tagger_on(device, precision), Quiet()
    pool = pool or pool_on(device)
    random = RandomExcerpts(pool, np.arange(CLIPS), BATCH, STEPS, None)
    middle = MiddleExcerpts(pool, np.arange(CLIPS), 5)
    learner = make_learner(tagger, random, middle, augmentation or compose(), None, cbs=[history], recorder=False)

    def backward():
        assert learner.loss_grad.dtype == torch.float32 and learner.loss_grad.requires_grad
        for parameter in tagger.parameters():
            parameter.grad = torch.empty_like(parameter)
    if device == "cuda":
        learner._backward = backward
    with learner.no_logging():
        learner.fit(1, 1e-3)  # without the cycle, which is arithmetic of the host on tensors of its own
    assert history.seen == [5, 5, 2]
    assert {parameter.device.type for parameter in tagger.parameters()} == {device}
    assert {parameter.dtype for parameter in tagger.parameters()} == {torch.float32}


PRECISIONS = pytest.mark.parametrize(("capability", "precision"), [((9, 0), torch.bfloat16), ((7, 5), torch.float16)])


@PRECISIONS
def test_a_training_step_and_a_validation_never_wait_and_stay_on_the_gpu(gpu, capability, precision):
    with gpu(capability) as watch:
        train("cuda", precision)
    assert watch.computed == [precision] * 8 * (STEPS + 3), "every convolution of every batch"


@PRECISIONS
def test_the_way_back_needs_no_number_on_the_host(gpu, capability, precision):
    with gpu(capability, "cpu"):
        train("cpu", precision)


class OnTheHost(HostPixels):
    """`HostPixels` that cut tensors without numbers, in memory that is not pinned: there is no driver to pin it."""

    def cut(self, first, frames):
        with unset_fake_temporarily():
            return torch.zeros(len(first), frames, 128, dtype=torch.uint8)


@pytest.fixture
def on_the_host(gpu, monkeypatch):
    """Pixels that stay on the host; where excerpts begin, which training fetches once an epoch, is not looked at."""
    fetched = []

    def to_host(batches):
        fetched.append(len(batches))
        return [SimpleNamespace(numpy=lambda first=first: np.zeros(len(first), int)) for first in batches]
    monkeypatch.setattr("freesound_tagging.images.excerpts._to_host", to_host)
    pixels = OnTheHost([], torch.device("cuda"))
    return pixels, fetched


def test_excerpts_are_sent_from_the_host_without_a_wait(gpu, on_the_host):
    pixels, fetched = on_the_host
    with gpu() as watch:
        pool = pool_on("cuda", pixels)
        watch.sent.clear()
        train("cuda", torch.bfloat16, pool=pool)
    assert fetched == [STEPS, 3], "once an epoch's training, once its validation"
    excerpts = [non_blocking for non_blocking in watch.sent if non_blocking]
    assert len(excerpts) == STEPS + 3


@pytest.mark.parametrize("where", ["on the gpu", "on the host"])
def test_predicting_waits_once_when_all_batches_are_on_their_way(gpu, on_the_host, where):
    with gpu() as watch:
        tagger = fold_without_numbers(tagger_on("cuda", torch.float16))
        assert inference_precision(torch.device("cuda")) == torch.float16
        pool = pool_on("cuda", on_the_host[0] if where == "on the host" else None)
        starts, lengths = np.arange(CLIPS) * FRAMES, np.full(CLIPS, FRAMES)
        with pytest.raises(Waiting):
            predict(tagger, pool.pixels, starts, lengths, batch_size=7)
    windows = CLIPS * 5  # of 300 frames: (300 - 128) / 48, rounded up, and one
    assert watch.computed == [torch.float16] * 8 * -(-windows // 7)


def fold_without_numbers(tagger):
    """As `fold_batchnorm` leaves the layers; folding itself happens before a network goes to a device."""
    tagger.network[0] = nn.Sequential(*[layer for layer in tagger.network[0] if not isinstance(layer, nn.BatchNorm2d)])
    return tagger.eval()


def test_choosing_a_precision_waits_once(gpu):
    """For whether it changes little, the one thing that it decides."""
    with gpu() as watch:
        images = torch.empty(4, 1, 128, 128, device="cuda")
        with pytest.raises(WAITS):
            choose_precision(tagger_on("cuda", torch.float32).eval(), images)
    assert watch.computed == [torch.float32] * 8 + [torch.float16] * 8


@pytest.mark.parametrize("augmentation", [spec_augment], ids=["SpecAugment"])
def test_what_is_not_in_the_published_chain_does_not_wait_either(gpu, augmentation):
    with gpu():
        train("cuda", torch.bfloat16, augmentation)


@pytest.mark.parametrize(("fault", "found"), [
    (lambda images: images * images.mean().item(), WAITS),
    (lambda images: images[images.mean((1, 2, 3)) > 0.5], WAITS),
    (lambda images: images if images.mean() > 0 else images + 1, WAITS),
    (lambda images: images + images.mean().cpu().to("cuda"), (Waiting,)),
    (lambda images: images + torch.rand(len(images), 1, 1, 1), (RuntimeError,)),
], ids=["item", "a mask", "an if", "to the host and back", "numbers drawn on the host"])
def test_a_wait_and_a_mixed_device_in_a_step_are_found(gpu, fault, found):
    with gpu(), pytest.raises(found):
        train("cuda", torch.bfloat16, lambda images, targets, generator=None: (fault(images), targets))
