"""From clips to probabilities on each device of this machine: its CPU, and its GPU where it has one."""

import numpy as np
import pytest
import torch

from freesound_tagging.augment import compose, lighting, mixup, spec_augment, specmix, zoom_crop
from freesound_tagging.images.excerpts import HostPixels
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.machine.device import training_precision
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.prediction.ensemble import Ensemble
from freesound_tagging.prediction.inference import TOLERANCE
from freesound_tagging.prediction.tagging import tag
from freesound_tagging.training.batches import MiddleExcerpts, RandomExcerpts
from freesound_tagging.training.learner import fit
from freesound_tagging.training.pool import ClipPool


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request):
    return torch.device(request.param)


def generator(device, seed=0):
    return torch.Generator(device).manual_seed(seed)


@pytest.mark.parametrize("step", [mixup, specmix, spec_augment, zoom_crop, lighting], ids=lambda step: step.__name__)
def test_an_augmentation_stays_on_the_device_and_follows_its_generator(step, device):
    images, targets = torch.rand(32, 1, 64, 96, device=device), torch.eye(32, device=device)
    first, again, other = (step(images, targets, generator=generator(device, seed)) for seed in (3, 3, 4))
    for ours, same in zip(first, again):
        assert ours.device.type == device.type
        assert torch.equal(ours, same)
    assert not torch.equal(first[0], other[0])
    assert first[0].min() >= 0 and first[0].max() <= 1
    torch.testing.assert_close(first[1].sum(1), torch.ones(32, device=device))


def test_specmix_on_the_device_weights_targets_by_the_pixels_that_came_from_the_partner(device):
    clips = torch.arange(64, device=device)
    images = clips.float()[:, None, None, None].expand(64, 1, 128, 128)
    mixed, weights = specmix(images, torch.eye(64, device=device), stripes=(1, 2), generator=generator(device))
    counted = torch.stack([(mixed == clip).float().mean((1, 2, 3)) for clip in range(64)], 1)
    torch.testing.assert_close(weights, counted, atol=1e-6, rtol=0)


@pytest.mark.parametrize("stream", [False, True], ids=["on the device", "streamed to it"])
def test_the_excerpts_of_a_batch_are_those_of_the_store(demo, demo_stores, device, stream):
    store = demo_stores["curated"]
    pool = ClipPool.of(store, demo.targets(demo.curated), device, stream=stream)
    assert isinstance(pool.pixels, HostPixels) == stream
    clips = [5, 0, 9, 2, 7]
    images = torch.cat([images for images, _ in MiddleExcerpts(pool, clips, 2)])
    assert images.device.type == device.type
    first = [(store.lengths[clip] - 128) // 2 for clip in clips]
    expected = np.stack([store[clip][None, :, start:start + 128] for clip, start in zip(clips, first)])
    np.testing.assert_array_equal((images * 255).round().cpu().numpy(), expected)
    random = RandomExcerpts(pool, clips, 4, 3, generator(device))
    assert [tuple(images.shape) for images, _ in random] == [(4, 1, 128, 128)] * 3
    assert all(targets.device.type == device.type for _, targets in random)


@pytest.mark.parametrize("stream", [False, True], ids=["on the device", "streamed to it"])
def test_a_network_learns_in_the_devices_own_precision(demo, demo_stores, device, stream):
    pool = ClipPool.of(demo_stores["curated"], demo.targets(demo.curated), device, stream=stream)
    clips = np.arange(len(pool.lengths))
    torch.manual_seed(0)
    spec = NetworkSpec("cnn-model-1", {"width": 4}, tuple(demo.vocabulary), MelConfig(), (0.4,) * 3, (0.2,) * 3)
    tagger = Tagger(spec, training_precision(device)).to(device)
    history = fit(tagger, RandomExcerpts(pool, clips, 16, 15, generator(device)), MiddleExcerpts(pool, clips), 3, 1e-2,
                  compose(), generator(device))
    assert len(history.losses) == 45
    assert np.mean(history.losses[-5:]) < 0.7 * np.mean(history.losses[:5])
    assert {parameter.device.type for parameter in tagger.parameters()} == {device.type}


@pytest.mark.slow
def test_a_pipeline_trains_on_the_device_and_predicts_there_what_the_cpu_predicts(
        make_pipeline, demo, demo_stores, device, tmp_path):
    pipeline = make_pipeline(tmp_path, device=device)
    assert list(pipeline.run().index) == [*(f"model {stage}" for stage in (1, 2, 3, 4)), "ensemble"]
    paths = sorted(pipeline.weights.glob("*.safetensors"))
    ours = Ensemble.load(paths, device).predict(demo_stores["test"], progress=False)
    on_cpu = Ensemble.load(paths, "cpu").predict(demo_stores["test"], progress=False)
    assert np.abs(ours - on_cpu).mean() < TOLERANCE
    tagged = tag(demo.test["path"][:3], paths, device)
    np.testing.assert_allclose(tagged.to_numpy(), on_cpu.mean(0)[:3], atol=0.02)
