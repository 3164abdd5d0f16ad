"""Where a training step's time goes on this GPU, by kernel, and what variants of it take. Prints JSON lines.

    python profile_step.py [profile] [variants] [compiled]
"""

import json
import os
import sys
import time

sys.path.insert(0, os.environ["PROJECT"])
import torch
from torch import nn

from benchmarks.speed.common import (
    BATCH,
    CUDA,
    DEVICE,
    excerpts,
    matrix_rate,
    memory_bandwidth,
    network_flops,
    synthetic_pool,
    tagger_of,
)
from freesound_tagging.augment import compose
from freesound_tagging.machine.device import prepare_device

BATCH = int(os.environ.get("PB", BATCH))
generator, loss_of = torch.Generator(DEVICE).manual_seed(0), nn.BCEWithLogitsLoss()
NETWORKS = ("cnn-model-1", "vgg16")


def say(**what):
    """A line of JSON."""
    print(json.dumps(what), flush=True)


def milliseconds(work, repeats=20, warm=5):
    """Of a call, by the GPU's own clock."""
    for _ in range(warm if CUDA else 1):
        work()
    if not CUDA:
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) * 1e3
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(repeats):
        work()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / repeats


class Step:
    """A training step of a network, on one batch or with data and augmentation."""

    def __init__(self, tagger, call=None, with_data=False, capturable=False):
        options = {"capturable": True} if capturable else {}
        self.optimizer = torch.optim.AdamW(tagger.parameters(), betas=(0.95, 0.99), eps=1e-8, fused=True, **options)
        self.call, pool = call or tagger, synthetic_pool(1000)
        self.batches = iter(excerpts(pool, 100_000 if CUDA else 50, BATCH)) if with_data else None
        self.batch = compose()(*next(iter(excerpts(pool, 1, BATCH))), generator=generator)

    def __call__(self):
        images, targets = self.batch
        if self.batches:
            images, targets = compose()(*next(self.batches), generator=generator)
        loss_of(self.call(images), targets).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def network(name, precision=None, layout=None):
    """A network in training mode."""
    tagger = tagger_of(name).train()
    if precision is not None:
        tagger.precision, tagger.layout = precision, layout
        tagger.to(memory_format=layout)
    return tagger


def variants():
    """A step eager, with data, in other layouts and formats, and as a CUDA graph."""
    say(matrix_bf16_TFLOPs=matrix_rate(torch.bfloat16) / 1e12, copy_GBs=memory_bandwidth() / 1e9, batch=BATCH)
    for name in NETWORKS:
        flops = 3 * network_flops(tagger_of(name))
        for variant, precision, layout, with_data in (
                ("bf16 channels_last", torch.bfloat16, torch.channels_last, False),
                ("the same with data and augmentation", torch.bfloat16, torch.channels_last, True),
                ("bf16 contiguous", torch.bfloat16, torch.contiguous_format, False),
                ("fp16 channels_last", torch.float16, torch.channels_last, False)):
            ms = milliseconds(Step(network(name, precision, layout), with_data=with_data))
            say(network=name, variant=variant, ms=round(ms, 3), images_s=round(BATCH / ms * 1e3),
                TFLOPs=round(flops * BATCH / ms / 1e9, 1))
        if CUDA:
            graph(name)


def graph(name):
    """A whole step as a CUDA graph."""
    try:
        step, stream = Step(network(name), capturable=True), torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(4):
                step()
        torch.cuda.current_stream().wait_stream(stream)
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            step()
        ms = milliseconds(captured.replay)
        say(network=name, variant="CUDA graph", ms=round(ms, 3), images_s=round(BATCH / ms * 1e3))
    except RuntimeError as error:
        say(network=name, variant="CUDA graph", error=str(error)[:300])


def compiled():
    """A step through torch.compile."""
    for name in NETWORKS:
        for mode in ("default", "max-autotune-no-cudagraphs"):
            try:
                torch._dynamo.reset()
                tagger = network(name)
                step = Step(tagger, torch.compile(tagger, mode=mode, dynamic=False))
                start = time.perf_counter()
                step()
                first = time.perf_counter() - start
                ms = milliseconds(step)
                say(network=name, variant=f"compiled, {mode}", ms=round(ms, 3), images_s=round(BATCH / ms * 1e3),
                    first_s=round(first, 1))
            except Exception as error:  # of any kind, out of the compiler
                say(network=name, variant=f"compiled, {mode}", error=str(error)[:300])


def profile():
    """The kernels of a step, and torch's operations."""
    if not CUDA:
        return
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    for name in NETWORKS:
        step = Step(network(name), with_data=True)
        for _ in range(5):
            step()
        torch.cuda.synchronize()
        with profiler(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as found:
            start = time.perf_counter()
            for _ in range(5):
                step()
            host = (time.perf_counter() - start) / 5 * 1e3
            torch.cuda.synchronize()
            wall = (time.perf_counter() - start) / 5 * 1e3
        events = found.key_averages()
        kernels = sorted(((e.self_device_time_total, e.count, e.key) for e in events
                          if e.self_device_time_total > 0 and not e.key.startswith("aten::")), reverse=True)
        total = sum(time for time, *_ in kernels)
        say(network=name, profile="kernels of a step", host_ms=round(host, 2), wall_ms=round(wall, 2),
            device_ms=round(total / 5e3, 3))
        for micros, count, key in kernels[:22]:
            print(f"   {micros / 5e3:8.3f} ms {100 * micros / total:5.1f}% x{count // 5:<4d} {key[:150]}", flush=True)
        operations = sorted(((e.device_time_total, e.count, e.key) for e in events if e.key.startswith("aten::")),
                            reverse=True)
        for micros, count, key in operations[:16]:
            print(f"   op {micros / 5e3:8.3f} ms x{count // 5:<4d} {key[:80]}", flush=True)


if __name__ == "__main__":
    prepare_device(DEVICE)
    for part in sys.argv[1:] or ("profile", "variants"):
        {"profile": profile, "variants": variants, "compiled": compiled}[part]()
