"""Training and inference of the networks, on synthetic images."""

import copy
import itertools
import multiprocessing
import os
import statistics
import time
from functools import partial

import torch

from benchmarks.speed import published
from benchmarks.speed.common import (
    BATCH,
    CLIP_FRAMES,
    CUDA,
    DEVICE,
    IMAGES_A_FOLD,
    REPEATS,
    SPEC,
    STEPS,
    WIDTH,
    excerpts,
    matrix_rate,
    memory_bandwidth,
    network_flops,
    seconds,
    synthetic_pool,
    tagger_of,
    wait,
)
from benchmarks.speed.floors import layers, numbers_moved, operations
from freesound_tagging.augment import PUBLISHED, compose, lighting, mixup, specmix, zoom_crop
from freesound_tagging.images.excerpts import to_images, windows_of
from freesound_tagging.machine.device import inference_precision, training_precision
from freesound_tagging.networks.tagger import NetworkSpec, Tagger, fold_batchnorm
from freesound_tagging.prediction.inference import predict
from freesound_tagging.training.batches import MiddleExcerpts
from freesound_tagging.training.learner import fit, make_learner


def published_training(network, pool, width=WIDTH, batch=BATCH, workers=None, steps=STEPS):
    """Images a second of the published way, over one epoch of `steps` batches after a first one."""
    images = [pool.pixels[start:start + CLIP_FRAMES].T.cpu().numpy() for start in pool.starts[:batch * (steps + 1)]]
    targets = pool.targets.cpu().numpy()
    tagger = Tagger(NetworkSpec(network, **SPEC | {"options": {"width": width}})).to(DEVICE)
    module = tagger.network.to(memory_format=torch.contiguous_format).train()
    optimizer = torch.optim.AdamW(module.parameters(), foreach=False)
    loss_of = torch.nn.BCEWithLogitsLoss()
    mean, std = (torch.tensor([number] * 3, device=DEVICE).view(3, 1, 1) for number in (0.4, 0.2))
    workers = multiprocessing.cpu_count() if workers is None else workers
    batches = published.loader(images, targets, batch, workers)

    def epoch():
        for x, y in batches:
            x, y = published.mixup((x.to(DEVICE) - mean) / std, y.to(DEVICE))
            x, y = published.specmix(x, y)
            loss_of(module(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
    return len(batches) * batch / seconds(epoch, 1, warm=1)


def our_training(network, pool, width=WIDTH, precision=None, steps=STEPS, repeats=REPEATS, compiled=False):
    """Images a second through `training.fit`: the same augmentations, with fastai's Learner around it."""
    tagger = tagger_of(network, compiled, width)
    tagger.precision = precision or tagger.precision
    train, valid = excerpts(pool, steps), MiddleExcerpts(pool, [])
    generator = torch.Generator(DEVICE).manual_seed(0)
    return steps * BATCH / seconds(lambda: fit(tagger, train, valid, 1, 1e-3, compose(), generator), repeats)


def training():
    """1. Training throughput, beside the published way and the device's matrix rate."""
    pool, result = synthetic_pool(max(1000, BATCH * (STEPS + 1))), {}
    dtype = training_precision(DEVICE)
    rate, bandwidth = matrix_rate(dtype), memory_bandwidth()
    for network in ("cnn-model-1", "vgg16"):
        if CUDA:
            torch.cuda.reset_peak_memory_stats()
        theirs, ours = published_training(network, pool), our_training(network, pool)
        flops = 3 * network_flops(tagger_of(network))  # backward costs twice forward
        result[network] = {
            "ours, images/s": ours, "published way, images/s": theirs, "ratio": ours / theirs,
            "GFLOP an image": flops / 1e9, "TFLOP/s": ours * flops / 1e12,
            "share of the matrix rate": ours * flops / rate,
            "share of the bandwidth": ours / BATCH * 2 * numbers_moved(layers(network, WIDTH, BATCH), False)
            / bandwidth,
            "peak memory of the GPU, MB": torch.cuda.max_memory_allocated() / 2**20 if CUDA else None}
    return {"matrix rate, TFLOP/s": rate / 1e12, "bandwidth, GB/s": bandwidth / 1e9, "precision": str(dtype),
            "width": WIDTH, "batch": BATCH, **result}


def float32():
    """1a. Training in float32 on both sides, with one thread and with all; the published way with its best workers.

    At 16 channels compiled too, once that is done. Beside the floor of a step on this machine: the greater of the time
    of its operations, at the rate of a large matrix product, and of its activations, at the bandwidth of a large copy.
    """
    pool, result, cores = synthetic_pool(max(1000, BATCH * (STEPS + 1))), {}, torch.get_num_threads()
    for threads, network in itertools.product(sorted({1, cores}), ("cnn-model-1", "vgg16")):
        torch.set_num_threads(threads)
        rate, bandwidth, workers = matrix_rate(torch.float32), memory_bandwidth(), (0, 1, 2)
        for width, steps, repeats in ((16, STEPS, REPEATS), (64, 2, 1)):  # of 64 channels a step takes seconds
            theirs = {number: published_training(network, pool, width, workers=number, steps=steps)
                      for number in workers}
            ours = our_training(network, pool, width, torch.float32, steps, repeats)
            found = layers(network, width, BATCH)
            workers = [max(theirs, key=theirs.get)]
            compiled = our_training(network, pool, width, torch.float32, compiled=True) if width == 16 else None
            floor = {"operations": operations(found) / rate, "activations": 4 * numbers_moved(found, False) / bandwidth}
            result[f"{network}, {width} channels, {threads} thread{'s' * (threads > 1)}"] = {
                "ours, images/s": ours, "compiled, images/s": compiled,
                "published way, images/s": theirs[workers[0]],
                "published way by workers": theirs, "ratio": ours / theirs[workers[0]],
                "ratio compiled": compiled and compiled / theirs[workers[0]],
                "floor of a step, s": floor, "share of the floor": max(floor.values()) * ours / BATCH}
    torch.set_num_threads(cores)
    return {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", ""), "batch": BATCH, **result}


def compilation():
    """1b. Training through torch.compile against without, over the images of a whole fold, compile time included.

    In float32 on a CPU, as compiled bfloat16 gives NaN there.
    """
    import torch._inductor.config

    pool, result = synthetic_pool(max(1000, BATCH * (STEPS + 1))), {}
    train, valid = excerpts(pool), MiddleExcerpts(pool, [])
    generator = torch.Generator(DEVICE).manual_seed(0)
    for network in ("cnn-model-1", "vgg16"):
        rate = {}
        for name in ("eager", "compiled"):
            tagger = tagger_of(network, name == "compiled")
            tagger.precision = training_precision(DEVICE) if CUDA else torch.float32
            epoch = partial(fit, tagger, train, valid, 1, 1e-3, compose(), generator)
            torch._dynamo.reset()
            with torch._inductor.config.patch(force_disable_caches=True):
                first = seconds(epoch, 1, warm=0)
            rate[name] = STEPS * BATCH / seconds(epoch)
        compiling = first - STEPS * BATCH / rate["compiled"]
        whole = {"eager": IMAGES_A_FOLD / rate["eager"], "compiled": compiling + IMAGES_A_FOLD / rate["compiled"]}
        result[network] = {
            "images/s": rate, "seconds to compile": compiling, "seconds a fold": whole,
            "ratio over a fold": whole["eager"] / whole["compiled"],
            "images from which on it pays": compiling / (1 / rate["eager"] - 1 / rate["compiled"])}
    return {"images a fold": IMAGES_A_FOLD, "width": WIDTH, **result}


def step():
    """2. Where the time of a step goes."""
    pool, tagger = synthetic_pool(1000), tagger_of("cnn-model-1").train()
    generator = torch.Generator(DEVICE).manual_seed(0)
    optimizer = torch.optim.AdamW(tagger.parameters(), fused=True)
    loss_of, batches = torch.nn.BCEWithLogitsLoss(), iter(excerpts(pool, 10_000))
    spent = {name: [] for name in ("gather", "augmentation", "forward", "backward", "optimizer")}
    for _ in range(REPEATS * 4):
        marks = [time.perf_counter()]

        def mark(marks=marks):
            wait()
            marks.append(time.perf_counter())
        x, y = next(batches)
        mark()
        x, y = compose(PUBLISHED)(x, y, generator=generator)
        mark()
        loss = loss_of(tagger(x), y)
        mark()
        loss.backward()
        mark()
        optimizer.step()
        optimizer.zero_grad()
        mark()
        for name, start, end in zip(spent, marks, marks[1:]):
            spent[name].append(end - start)
    medians = {name: statistics.median(times[REPEATS:]) for name, times in spent.items()}
    total = sum(medians.values())
    each = {}
    x, y = next(batches)
    for function in (zoom_crop, lighting, mixup, specmix):
        each[function.__name__] = 1e3 * seconds(lambda f=function: f(x, y, generator=generator))
    return {"ms": {name: 1e3 * value for name, value in medians.items()},
            "share": {name: value / total for name, value in medians.items()}, "augmentations, ms": each,
            "all but forward and backward": 1 - (medians["forward"] + medians["backward"]) / total}


def loop():
    """3. fastai's loop against a bare one over the same batches."""
    pool = synthetic_pool(1000)
    ours, bare = tagger_of("cnn-model-1"), tagger_of("cnn-model-1").train()
    generator = torch.Generator(DEVICE).manual_seed(0)
    optimizer = torch.optim.AdamW(bare.parameters(), fused=True)
    loss_of, train, valid = torch.nn.BCEWithLogitsLoss(), excerpts(pool), MiddleExcerpts(pool, [])
    learner = make_learner(ours, train, valid, compose(), generator, recorder=False)

    def by_hand():
        for x, y in train:
            x, y = compose()(x, y, generator=generator)
            loss_of(bare(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()

    times = [(seconds(lambda: learner.fit_one_cycle(1, 1e-3), 1), seconds(by_hand, 1)) for _ in range(REPEATS)]
    fastai, bare_time = (statistics.median(column) for column in zip(*times))
    return {"fastai, ms a step": 1e3 * fastai / STEPS, "bare, ms a step": 1e3 * bare_time / STEPS,
            "ratio": fastai / bare_time}


@torch.no_grad()
def half_changes(tagger, pixels):
    """By how much a GPU's half precision, or bfloat16 on a CPU, changes a probability in the mean."""
    images, precision, outputs = to_images(pixels.transpose(1, 2).to(DEVICE)), tagger.precision, []
    for tagger.precision in (torch.float32, torch.float16 if CUDA else torch.bfloat16):
        outputs.append(torch.sigmoid(tagger(images)))
    tagger.precision = precision
    return (outputs[0] - outputs[1]).abs().mean().item()


def inference():
    """5. Windows a second, against one pass a network over a DataLoader of windows."""
    clips = 400 if CUDA else 20
    pool = synthetic_pool(clips)
    starts, lengths = pool.starts.cpu().numpy(), pool.lengths.cpu().numpy()
    first, _ = windows_of(starts, lengths)
    images = [pool.pixels[s:s + n].T.cpu().numpy() for s, n in zip(starts, lengths)]
    result, rate = {}, matrix_rate(inference_precision(DEVICE))
    for network in ("cnn-model-1", "vgg16"):
        tagger = tagger_of(network).eval()
        tagger.precision = torch.float32

        module = copy.deepcopy(tagger.network).to(memory_format=torch.contiguous_format)
        theirs = len(first) / seconds(lambda module=module: published.predict(module, images, DEVICE), 1)
        fold_batchnorm(tagger)
        tagger.precision = inference_precision(DEVICE)
        ours = len(first) / seconds(lambda tagger=tagger: predict(tagger, pool.pixels, starts, lengths))
        change = half_changes(tagger, torch.stack([torch.from_numpy(image[:, :128].copy()) for image in images[:20]]))
        flops = network_flops(tagger)
        result[network] = {"what half precision changes, mean": change, "ours, windows/s": ours,
                                "published way, windows/s": theirs, "ratio": ours / theirs,
                                "GFLOP a window": flops / 1e9, "TFLOP/s": ours * flops / 1e12,
                                "share of the matrix rate": ours * flops / rate}
    return {"precision": str(inference_precision(DEVICE)), "width": WIDTH, **result}
