"""What the benchmarks share: sizes for this device, a clock, networks and batches."""

import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from freesound_tagging.images.mel import MelConfig
from freesound_tagging.machine.device import default_device, training_precision
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.training.batches import RandomExcerpts
from freesound_tagging.training.pool import ClipPool
from freesound_tagging.training.profile import load_profile
from freesound_tagging.training.stages import LEAST_STEPS

ROOT = Path(__file__).resolve().parents[2]
CUDA = torch.cuda.is_available()
DEVICE = default_device()
WIDTH, BATCH, STEPS, REPEATS = (64, 128, 40, 5) if CUDA else (16, 32, 8, 3)
LABELS, CLIP_FRAMES = 80, 600  # a noisy clip of the competition is most often 15 s, some 950 frames; a curated one 480
SPEC = {"options": {"width": WIDTH}, "vocabulary": tuple(map(str, range(LABELS))), "mel": MelConfig(),
        "mean": (0.4,) * 3, "std": (0.2,) * 3}
# FSDKaggle2019: clips of a fold's training, of stages 1 to 4. Stages 3 and 4 add selected noisy clips: at most 5 a fold
# and label in stage 3; for stage 4, which has no cap, as many again are assumed.
CLIPS_A_STAGE = (17_834, 4_473, 4_473 + 9 * 5 * LABELS, 4_473 + 18 * 5 * LABELS)
# What a training takes in all, for the question whether to compile it: the demo's on a CPU, else the full profile's.
IMAGES_A_FOLD = sum(config.passes * clips for config, clips in zip(load_profile("full").stages, CLIPS_A_STAGE)
                    ) if CUDA else 4 * LEAST_STEPS * BATCH
# Kaggle's hour: 3,361 private test clips of 12.9 h * 3361 / 4481 in all, in frames of 694 samples, so many windows.
KAGGLE_CLIPS, KAGGLE_NETWORKS, P100_RATE = 3361, 60, 9.5e12
KAGGLE_WINDOWS = round(KAGGLE_CLIPS * ((12.9 / 4481 * 3600 * 44_100 / 694 - 128) / 48 + 1.5))


def wait():
    """Until the device has finished."""
    if CUDA:
        torch.cuda.synchronize()


def seconds(work, repeats=REPEATS, warm=1):
    """Median of repeats, after warming up."""
    for _ in range(warm):
        work()
    times = []
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def tagger_of(network, compiled=False, width=WIDTH):
    """A network as it is trained."""
    torch.manual_seed(0)
    spec = NetworkSpec(network, **SPEC | {"options": {"width": width}})
    return Tagger(spec, training_precision(DEVICE), compiled).to(DEVICE)


def synthetic_pool(clips, frames=CLIP_FRAMES):
    """Random pixels in place of images, on the device."""
    pixels = torch.randint(0, 256, (clips * frames, 128), dtype=torch.uint8, device=DEVICE)
    starts = torch.arange(clips, device=DEVICE) * frames
    return ClipPool(pixels, starts, torch.full_like(starts, frames),
                    torch.nn.functional.one_hot(torch.arange(clips, device=DEVICE) % LABELS, LABELS).float(), 128,
                    [str(clip) for clip in range(clips)])


def excerpts(pool, steps=STEPS, batch=BATCH):
    """Training batches without augmentation."""
    return RandomExcerpts(pool, np.arange(len(pool.starts)), batch, steps, torch.Generator(DEVICE).manual_seed(0))


def network_flops(tagger):
    """Floating-point operations of one image forward: two a multiplication in convolutions and linear layers."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        tagger.eval()(torch.zeros(1, 1, 128, 128, device=DEVICE))
    return counter.get_total_flops()


def memory_bandwidth():
    """Bytes a second that are read and written when a large array is copied."""
    size = (4 << 30) if CUDA else (256 << 20)
    source = torch.zeros(size, dtype=torch.uint8, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * size / seconds(lambda: target.copy_(source))


def matrix_rate(dtype):
    """Operations a second of a large matrix product."""
    n = 8192 if CUDA else 1024
    a, b = (torch.randn(n, n, device=DEVICE, dtype=dtype) for _ in range(2))
    return 2 * n ** 3 * 10 / seconds(lambda: [a @ b for _ in range(10)])
