"""Work in other processes, of this machine and of Ray, beside the same work in this process."""

import dataclasses
import heapq
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.audio import write_audio
from benchmarks.speed.common import BATCH, CLIPS_A_STAGE, CUDA, WIDTH, seconds, synthetic_pool
from benchmarks.speed.network import published_training
from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.demo.data import write_demo
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.machine.cluster import RayExecutor
from freesound_tagging.machine.executors import executor_of
from freesound_tagging.training.profile import Profile, load_profile, published_stages
from freesound_tagging.training.warmup import WarmupPipeline

FOLDS, STEPS, ROUNDS = 4, 2000 if CUDA else 60, 3


def first_stage(steps):
    """The first stage for so many steps; alone, it has to vote."""
    return dataclasses.replace(published_stages((1,) * 4, least_steps=steps)[0], votes=True)


def scaling():
    """Seconds of a stage's folds: in this process, by one Ray worker and, of single cores, by two.

    A fold is many steps, but far fewer than a real one; what a task costs beside its steps counts for more here. A CPU
    worker has one core, and so has this process. Workers have been started and used before.

    Returns
    -------
    dict
    """
    import ray
    threads = torch.get_num_threads()
    if not CUDA:
        torch.set_num_threads(1)
    workers = (1,) if CUDA else (1, 2)
    try:
        with tempfile.TemporaryDirectory() as folder:
            folder, runs = Path(folder), iter(range(1000))
            data = FSDKaggle2019(write_demo(folder / "input", progress=False))
            clips = data.clips()
            store = SpectrogramStore.build(clips.paths, folder / "store", progress=False)

            def stage(steps=STEPS, **where):
                run = folder / str(next(runs))
                profile = Profile(FOLDS, [first_stage(steps)], options={"width": WIDTH}, batch_size=BATCH)
                pipeline = WarmupPipeline(clips, store, profile, run / "work", run / "weights", progress=False,
                                          **{"executor": "in-process"} | where)
                start = time.perf_counter()
                pipeline.run()
                ended = [(run / f"work/stage-1_fold-{fold}.npz").stat().st_mtime for fold in range(FOLDS)]
                if not where and steps == STEPS:  # one fold after the other
                    spread.append(np.diff(ended))
                return time.perf_counter() - start

            took, starts, spread = {0: [], **{count: [] for count in workers}}, [], []
            stage(2)
            for _ in range(ROUNDS):
                took[0].append(stage())
                for count in workers:
                    ray.init(num_cpus=count, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
                    executor = RayExecutor()
                    starts.append(stage(2, executor=executor))
                    took[count].append(stage(executor=executor))
                    ray.shutdown()
    finally:
        torch.set_num_threads(threads)
    median = {count: statistics.median(values) for count, values in took.items()}
    slowest = statistics.median(float(folds.max() / folds.mean()) for folds in spread)
    result = {"folds": FOLDS, "steps a fold": STEPS, "in-process, s": median[0],
              "one Ray worker, s": median[1], "overhead of one Ray worker": median[1] / median[0] - 1,
              "slowest fold over their mean, in-process": slowest,
              "of a new worker, with 2 steps a fold, s": statistics.median(starts[::len(workers)])}
    if 2 in median:
        result |= {"two Ray workers, s": median[2], "scaling from one worker to two": median[1] / median[2]}
    return result


def ray_preprocessing():
    """Clips a second of the store's building: over all cores of a local Ray cluster, and by processes of this one."""
    import ray
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        paths = write_audio(folder / "audio", 2000, 5)
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        rate = {}
        for name in ("in-process", "ray"):
            def build(count, store, name=name):
                SpectrogramStore.build(paths[:count], folder / f"{name}-{store}", progress=False, executor=name)
            build(200, "warm")
            rate[name] = len(paths) / seconds(lambda build=build: build(len(paths), "store"), 1, warm=0)
        ray.shutdown()
    return {"in-process, clips/s": rate["in-process"], "over Ray, clips/s": rate["ray"],
            "ratio": rate["ray"] / rate["in-process"], "seconds a clip": 5}


def cluster_plan(training, scaling):
    """What Ray workers do to the time of the whole reproduction: every fold of every stage as a task, in order.

    A task takes as long as its stage's clips and passes, its network's measured rate, the measured overhead of a Ray
    task and the slowest of folds say. A stage waits for all folds of the one before, of its own network.

    Parameters
    ----------
    training, scaling : dict
        Results of these parts.

    Returns
    -------
    dict
        Of workers: the speed-up over one process, and the share of the workers' time that is idle, for CNN-model-1
        alone and for both networks side by side.
    """
    profile = load_profile("full")
    clips = np.array([config.passes * clips for config, clips in zip(profile.stages, CLIPS_A_STAGE)])
    networks = {name: clips / training[name]["ours, images/s"] for name in ("cnn-model-1", "vgg16")}
    overhead = max(0.0, scaling["overhead of one Ray worker"])
    slowest = scaling["slowest fold over their mean, in-process"]
    plan = {}
    for workers in (1, 2, 4, 8, 10, 20, 100):
        row = plan[f"{workers} workers"] = {}
        for name, trained in (("one network", [networks["cnn-model-1"]]), ("both networks", list(networks.values()))):
            alone = profile.n_folds * sum(stages.sum() for stages in trained)
            gain = alone / makespan(workers, trained, profile.n_folds, 1 + overhead, slowest)
            row[name] = {"speed-up": gain, "idle": 1 - gain / workers}
    return plan


def makespan(workers, networks, folds, factor, slowest):
    """When the last task is done, if a free worker takes the next task that has been submitted.

    Parameters
    ----------
    workers, folds : int
    networks : list of sequence of float
        Seconds of a fold of each stage of each network.
    factor, slowest : float
        What a task takes more than that, and a stage's first fold more than its others.

    Returns
    -------
    float
    """
    free, running, waiting = [0.0] * workers, [], []
    left = [folds] * len(networks)
    at = [0] * len(networks)

    def submit(network, when):
        seconds = networks[network][at[network]] * factor
        waiting.extend((network, when, seconds * (slowest if fold == 0 else 1)) for fold in range(folds))

    for network in range(len(networks)):
        submit(network, 0.0)
    end = 0.0
    while waiting or running:
        while waiting and free:
            network, when, seconds = waiting.pop(0)
            heapq.heappush(running, (max(when, heapq.heappop(free)) + seconds, network))
        end, network = heapq.heappop(running)
        heapq.heappush(free, end)
        left[network] -= 1
        if not left[network] and at[network] + 1 < len(networks[network]):
            at[network], left[network] = at[network] + 1, folds
            submit(network, end)
    return end


def folds():
    """Images a second of a stage's two folds at the demo's size: one after the other, and side by side.

    Alone, and beside another program that keeps one core busy; the published way for comparison, alone. On a CPU.

    Returns
    -------
    dict
    """
    steps, width, batch = 150, 4, 16
    profile = Profile(2, [first_stage(steps)], options={"width": width}, batch_size=batch)
    cores = torch.get_num_threads()
    busy, result = "while True: pass", {"width": width, "batch": batch, "cores": cores}
    with tempfile.TemporaryDirectory() as folder:
        folder, runs = Path(folder), iter(range(1000))
        data = FSDKaggle2019(write_demo(folder / "input", progress=False))
        clips = data.clips()
        store = SpectrogramStore.build(clips.paths, folder / "store", progress=False)

        def rate(executor, threads):
            torch.set_num_threads(threads)
            run = folder / str(next(runs))
            pipeline = WarmupPipeline(clips, store, profile, run / "work", run / "weights", device="cpu",
                                      progress=False, executor=executor)
            return 2 * steps * batch / seconds(lambda: pipeline.run_stage(1), 1, warm=0)

        side_by_side = executor_of("processes", 2)
        ways = {"one after the other, 1 thread": ("in-process", 1),
                f"one after the other, {cores} threads": ("in-process", cores), "side by side": (side_by_side, cores)}
        rate(side_by_side, cores)  # the processes import what they need
        for name in ("alone", "beside a busy program"):
            other = subprocess.Popen([sys.executable, "-c", busy]) if name != "alone" else None
            try:
                result[name] = {way: rate(*settings) for way, settings in ways.items()}
            finally:
                if other:
                    other.kill()
        torch.set_num_threads(cores)
    theirs = published_training("cnn-model-1", synthetic_pool(1000), width, batch)
    ours = result["alone"]["side by side"]
    return result | {"published way, images/s": theirs, "side by side against the published way": ours / theirs}
