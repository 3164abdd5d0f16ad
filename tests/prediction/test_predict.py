"""Prediction on pixels that are cut by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from freesound_tagging.images.excerpts import HostPixels
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.machine.device import OutOfMemory
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.prediction import inference
from freesound_tagging.prediction.inference import (
    Budget,
    ensemble_mean,
    first_images,
    for_prediction,
    half_precision_pays,
    predict,
)

STARTS, LENGTHS = np.array([300, 0, 172]), np.array([310, 172, 128])  # frames of three clips, out of order
WINDOWS = ([300, 346, 391, 436, 482], [0, 44], [172])  # by hand: 182 frames in four steps, 44 in one


@pytest.fixture
def tagger():
    torch.manual_seed(0)
    return Tagger(NetworkSpec("cnn-model-1", {"width": 2}, tuple("abcde"), MelConfig(), (0.4,) * 3, (0.2,) * 3)).eval()


@pytest.fixture(scope="module")
def noise():
    return torch.randint(0, 256, (610, 128), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def plainly(tagger, noise, first, frames=128):
    """Probabilities of windows that are cut by hand: (windows, labels)."""
    windows = torch.stack([noise[start:start + frames].T.float() / 255 for start in first])[:, None]
    with torch.no_grad():
        return torch.sigmoid(tagger.network((windows.expand(-1, 3, -1, -1) - 0.4) / 0.2))


@pytest.mark.parametrize("on_host", [False, True])
def test_a_clip_is_the_mean_of_its_windows_cut_by_hand(tagger, noise, on_host):
    seen = []
    tagger.register_forward_pre_hook(lambda _, images: seen.append((len(images[0]), tagger.training)))
    pixels = HostPixels([SimpleNamespace(pixels=noise.numpy())], torch.device("cpu")) if on_host else noise
    expected = torch.stack([plainly(tagger, noise, first).mean(0) for first in WINDOWS])
    for batch_size, batches in ((256, [8]), (3, [3, 3, 2])):
        found = predict(tagger.train(), pixels, STARTS, LENGTHS, batch_size)
        assert seen == [(batch, False) for batch in batches] and tagger.training
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)
        del seen[:]


def test_windows_are_as_long_as_the_network_says(noise):
    torch.manual_seed(0)
    half = Tagger(NetworkSpec("cnn-model-1", {"width": 2}, ("a",), MelConfig(excerpt_frames=64), (0.4,) * 3,
                              (0.2,) * 3)).eval()
    expected = plainly(half, noise, [0, 32, 64], 64).mean(0)
    np.testing.assert_allclose(predict(half, noise, [0], [128]), expected[None], atol=1e-6)
    assert first_images(half, noise, [0], [128]).shape == (3, 1, 128, 64)


@pytest.mark.parametrize("on_host", [False, True])
def test_a_programs_default_device_and_format_change_nothing(tagger, noise, on_host):
    pixels = HostPixels([SimpleNamespace(pixels=noise.numpy())], torch.device("cpu")) if on_host else noise
    expected = predict(tagger, pixels, STARTS, LENGTHS)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            found = predict(tagger, pixels, STARTS, LENGTHS)
            images = first_images(tagger, pixels, STARTS, LENGTHS)
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32 and images.dtype == torch.float32 and images.device.type == "cpu"


@pytest.mark.parametrize("on_host", [False, True])
def test_windows_are_computed_with_on_the_device_of_the_pixels(tagger, noise, on_host):
    """On `meta`, which there is no autocast for: the first batch comes there."""
    seen, device = [], torch.device("meta")
    tagger.to(device).register_forward_pre_hook(lambda _, images: seen.append((len(images[0]), images[0].device.type)))
    pixels = HostPixels([SimpleNamespace(pixels=noise.numpy())], device) if on_host else noise.to(device)
    with pytest.raises(RuntimeError, match="autocast"):
        predict(tagger, pixels, STARTS, LENGTHS, 5)
    assert seen == [(5, "meta")]
    if not on_host:  # a driver brings numbers back to where they are cut, and meta has none
        assert first_images(tagger, pixels, STARTS, LENGTHS).device.type == "meta"


def test_a_batch_has_256_windows_if_nothing_is_said_and_one_that_does_not_fit_says_of_how_many(tagger, noise):
    seen = []

    def no_room(_, images):
        seen.append(len(images[0]))
        raise torch.cuda.OutOfMemoryError
    tagger.register_forward_pre_hook(no_room)
    with pytest.raises(OutOfMemory, match="a batch of 256 does not fit"):
        predict(tagger, noise, [0] * 300, [128] * 300)
    with pytest.raises(OutOfMemory, match="a batch of 7 does not fit"):
        predict(tagger, noise, [0] * 300, [128] * 300, 7)
    assert seen == [256, 7]


def test_the_first_windows_of_clips_are_cut_by_hand(tagger, noise):
    images = first_images(tagger, noise, STARTS, LENGTHS)
    expected = torch.stack([noise[start:start + 128].T for first in WINDOWS for start in first])[:, None] / 255
    torch.testing.assert_close(images, expected)
    many = first_images(tagger, noise, [5] + [7] * 80, [128 + 48] + [128] * 80)
    assert len(many) == 64
    torch.testing.assert_close(many[[0, 1, 2, 63], 0], torch.stack([noise[i:i + 128].T for i in (5, 53, 7, 7)]) / 255)
    assert len(first_images(tagger, noise, [0] * 63, [128] * 63)) == 63


@pytest.mark.parametrize(("precision", "tolerance", "used"), [
    (None, 1.0, torch.bfloat16), (None, 1e-9, torch.float32), (torch.float16, 1e-9, torch.float16)])
def test_a_network_made_ready_gives_what_it_gave_in_the_precision_that_is_best(tagger, noise, monkeypatch, precision,
                                                                              tolerance, used):
    seen = []
    tagger.network[0][1].running_mean += 0.1
    expected = torch.cat([plainly(tagger, noise, first) for first in WINDOWS])
    monkeypatch.setattr(inference, "inference_precision", lambda device: {"cpu": torch.bfloat16}[device.type])
    monkeypatch.setattr(inference, "TOLERANCE", tolerance)
    monkeypatch.setattr(inference, "PAYS_FROM", len([start for first in WINDOWS for start in first]))
    tagger.register_forward_hook(lambda _, images, logits: seen.append(torch.sigmoid(logits)))
    assert for_prediction(tagger.train(), noise, STARTS, LENGTHS, precision) is tagger
    assert tagger.precision == used and not tagger.training
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in tagger.modules())
    assert len(seen) == (0 if precision else 2)
    if not precision:
        torch.testing.assert_close(seen[0], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(seen[1], expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("quick", [torch.float32, torch.bfloat16])
def test_on_a_cpu_few_windows_are_left_in_float32_untried(tagger, noise, monkeypatch, quick):
    """The trial would take longer than it gains."""
    tagger.register_forward_pre_hook(lambda *_: pytest.fail("nothing has to be computed"))
    monkeypatch.setattr(inference, "inference_precision", lambda device: quick)
    assert for_prediction(tagger, noise, [7] * 255, [128] * 255).precision == torch.float32
    assert for_prediction(tagger, noise, [7] * 256, [128] * 256, torch.bfloat16).precision == torch.bfloat16
    assert not half_precision_pays(torch.device("cpu"), lambda: 255)
    assert half_precision_pays(torch.device("cpu"), lambda: 256) == (quick == torch.bfloat16)
    monkeypatch.setattr(inference, "inference_precision", lambda device: torch.float16)
    assert half_precision_pays(torch.device("cuda"), lambda: pytest.fail("a GPU tries it always"))


def test_a_change_of_exactly_the_tolerance_is_too_much(tagger, noise, monkeypatch):
    """Of a network without weights, which gives a half in any precision."""
    for parameter in tagger.parameters():
        nn.init.zeros_(parameter)
    monkeypatch.setattr(inference, "inference_precision", lambda device: torch.bfloat16)
    monkeypatch.setattr(inference, "PAYS_FROM", 1)
    for tolerance, used in ((0, torch.float32), (1e-30, torch.bfloat16)):
        monkeypatch.setattr(inference, "TOLERANCE", tolerance)
        assert for_prediction(tagger, noise, STARTS, LENGTHS).precision == used


def test_the_mean_of_networks_is_summed_in_float64():
    """In float32 one and thrice its rounding's half are one."""
    networks = np.array([1, 2**-24, 2**-24, 2**-24], np.float32)[:, None, None]
    mean = ensemble_mean(networks)
    assert mean.shape == (1, 1) and mean.dtype == np.float32
    assert mean[0, 0] == np.float32((1 + 3 * 2**-24) / 4) != 0.25
    np.testing.assert_array_equal(ensemble_mean([[[0, 1]], [[1, 1]]]), [[0.5, 1]])


def test_the_budget_counts_what_is_over_and_what_is_left():
    budget = Budget(60)
    budget.started -= 20 * 60
    assert budget.estimate(left=15 * 60) == "35.0 of 60 min"
    assert budget.estimate(left=45 * 60) == "65.0 of 60 min: too long"
    assert budget.estimate() == "20.0 of 60 min"


def test_a_budget_that_is_used_up_to_the_second_is_kept(monkeypatch):
    monkeypatch.setattr("time.monotonic", lambda: 1200.0)
    assert Budget(20, started=0.0).estimate() == Budget(20, started=60.0).estimate(60) == "20.0 of 20 min"
    assert Budget(20, started=0.0).estimate(left=3) == "20.1 of 20 min: too long"
