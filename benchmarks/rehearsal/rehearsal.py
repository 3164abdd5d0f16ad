"""The whole at the competition's size, without sounds and without the networks' arithmetic: ``make rehearsal``.

Tables, folds, stores, the folds' records and weights of all four stages of both networks (killed now and then),
reading 60 networks, the submission and its score: seconds and peak memory of each part, and their share in the
projection of the whole; and what a training takes of a GPU's memory, by arithmetic. It takes about 10 GB of disk while
it runs. With ``--input`` the tables are the real ones, in Kaggle's layout; with ``--workers 2`` folds go side by side
in two processes, as on two GPUs.
"""

import argparse
import csv
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.common import CLIPS_A_STAGE, ROOT, SPEC, network_flops
from benchmarks.speed.floors import GPUS
from benchmarks.speed.synthetic import SIZES, put_sounds, told, write_store, write_tables
from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.machine import Processes, peak_memory
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.prediction import Ensemble, ensemble_mean, leaderboards, score_submission, write_submission
from freesound_tagging.training.profile import load_profile
from freesound_tagging.training.warmup import WarmupPipeline, run_together

NETWORKS = ("cnn-model-1", "vgg16")


def prepare(folder, size, source):
    """The tables, and files and stores of random numbers for their clips. Not counted: they are not the product's."""
    clips = {name: max(2 * SPEC_FOLDS, round(count * size)) for name, (count, _) in SIZES.items()}
    root = folder / "input"
    if source is None:
        write_tables(root, clips)
    else:
        root.mkdir()
        for name in ("train_curated.csv", "train_noisy.csv", "sample_submission.csv"):
            shutil.copy(source / name, root / name)
            with open(root / name, newline="") as file:
                fnames = [row[0] for row in csv.reader(file)][1:]
            put_sounds(root / {"sample_submission.csv": "test"}.get(name, name.removesuffix(".csv")), fnames)
    data = FSDKaggle2019(root)
    for number, names in enumerate((("curated", "noisy"), ("test",))):
        fnames = [fname for name in names for fname in getattr(data, name)["fname"]]
        hours = sum(SIZES[name][1] * len(getattr(data, name)) / SIZES[name][0] for name in names)
        write_store(folder / "stores" / STORES[number], fnames, hours, number)


STORES = ("training", "test")
SPEC_FOLDS = 10  # the least clips of a set are two a fold


def opened(folder):
    """The data set and its stores."""
    data = FSDKaggle2019(folder / "input")
    return data, {name: SpectrogramStore(next((folder / "stores" / name).iterdir())) for name in STORES}


def tables(folder, options):
    """Reading the tables and opening the stores."""
    start = time.perf_counter()
    data = FSDKaggle2019(folder / "input")
    read = time.perf_counter() - start
    opened(folder)
    return {"tables, s": read, "tables and stores, s": time.perf_counter() - start - read,
            "clips": [len(getattr(data, name)) for name in SIZES]}


def without_arithmetic(training, clips, report, threads=None):
    """`train_fold` with everything but the networks: the clips on the device, a batch, a network, and its records."""
    pool = clips.on(training.device)
    rng = np.random.default_rng(training.seed)
    from freesound_tagging.training.batches import RandomExcerpts

    next(iter(RandomExcerpts(pool, training.trained, training.batch_size, 1,
                             torch.Generator(training.device).manual_seed(training.seed))))
    torch.manual_seed(training.seed)
    tagger = Tagger(training.spec)
    if training.start is not None:
        tagger.load_state_dict(training.start.read())
        tagger.network[1][-1].bias.data += 1  # another network than it began with
    report(training.epochs * training.steps, 0.1, 0.5)
    targets = pool.targets.numpy()
    # Scores that agree with the labels of three clips of four, so that stages 3 and 4 have something to select.
    scores = [(rng.random((len(numbers), targets.shape[1])) * 0.5
               + 0.5 * targets[numbers] * (rng.random((len(numbers), 1)) < 0.75)).astype(np.float32)
              for numbers in training.held_out]
    return tagger, {"loss": np.full(training.epochs * training.steps, 0.1), "lwlrap": np.full(training.epochs, 0.5),
                    "held_out": np.concatenate(scores)}


def train(folder, options):
    """All folds of all stages of both networks that are not finished."""
    start = time.perf_counter()
    data, stores = opened(folder)
    profile, clips = dataclasses.replace(load_profile("full"), options={"width": options.width}), data.clips()
    executor = Processes(options.workers) if options.workers else "in-process"
    made = time.perf_counter()
    pipelines = [WarmupPipeline(clips, stores["training"], dataclasses.replace(profile, network=name),
                                folder / "work" / name, folder / "weights" / name, device="cpu", progress=False,
                                executor=executor, test=data.test["path"]) for name in NETWORKS]
    begun = time.perf_counter()
    run_together(*pipelines, train=without_arithmetic)
    counts = [np.bincount(pipelines[0].folds[clips.is_of(name) & (targets > 0)], minlength=SPEC_FOLDS)
              for name in clips.sets for targets in clips.targets.T]
    workers = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split() if options.workers else ()
    return {"folds and identity, s": begun - made, "in all, s": time.perf_counter() - start,
            "peak memory of other processes, MB": sum(map(peak_memory, map(int, workers))) / 2**20,
            "most clips of a label in a fold less the fewest": max(int(np.ptp(count)) for count in counts)}


def test_side(folder, options):
    """60 networks read, their means over the test clips, the submission and both leaderboards."""
    start = time.perf_counter()
    ensemble = Ensemble.load(folder / "weights", "cpu")
    read = time.perf_counter()
    data, stores = opened(folder)
    opening = time.perf_counter()
    rng = np.random.default_rng(0)
    probabilities = rng.random((len(ensemble.taggers), len(stores["test"]), len(data.vocabulary)), np.float32)
    numbers = time.perf_counter()  # in place of predicting
    write_submission(folder / "submission.csv", data.test["fname"], data.vocabulary, ensemble_mean(probabilities))
    if data.truth is not None:
        leaderboards(data.targets(data.test), ensemble_mean(probabilities), data.test["usage"])
        score_submission(folder / "submission.csv", data.truth)
    return {"networks": len(ensemble.taggers), "networks read, s": read - start,
            "means, submission and scores, s": time.perf_counter() - numbers,
            "in all, s": time.perf_counter() - start - (numbers - opening)}


def store(folder, options):
    """A store of as many short files as there are noisy clips."""
    data = FSDKaggle2019(folder / "input")
    start = time.perf_counter()
    SpectrogramStore.build(data.noisy["path"], folder / "built", progress=False)
    return {"clips": len(data.noisy), "in all, s": time.perf_counter() - start}


PARTS = {part.__name__: part for part in (tables, train, test_side, store)}


def apart(name, folder, options, killed_after=None):
    """A part in a process of its own: what it says, and its peak memory. None if it was killed after some seconds."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.rehearsal.rehearsal", "--part", name, "--folder",
               folder, "--width", str(options.width), "--workers", str(options.workers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        out, _ = process.communicate(timeout=killed_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return None
    if process.returncode:
        raise SystemExit(f"part {name} failed")
    return json.loads(out.splitlines()[-1])


def train_with_kills(folder, options, seed=0):
    """`train` begun as often as it is killed, at random moments, and once more; then a run that is finished."""
    rng, start, finished = random.Random(seed), time.perf_counter(), 0
    for _ in range(options.kills):
        if apart("train", folder, options, rng.uniform(8, 20)) is not None:
            break
        finished += 1
    last = apart("train", folder, options)
    seconds = time.perf_counter() - start
    again = apart("train", folder, options)
    return last | {"killed": finished, "with all beginnings, s": seconds,
                   "a run that is finished, s": again["in all, s"]}


def device_memory(architecture, width, batch=128):
    """What training a network takes of a GPU's memory: MB of each part, by arithmetic.

    What autograd keeps of a step is counted in steps of 2 and of 4 images in half precision on the CPU, where it is as
    much as on a GPU, and grows evenly with the images. Not counted is what CUDA, cuDNN and torch's allocator take.
    """
    tagger, kept = Tagger(NetworkSpec(architecture, **SPEC | {"options": {"width": width}}), torch.bfloat16).train(), []
    for images in (2, 4):
        saved = {}

        def keep(tensor, saved=saved):
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = tagger(torch.rand(images, 1, 128, 128)).sum()
        kept.append(sum(saved.values()))
        del loss
    weights = sum(parameter.nbytes for parameter in tagger.parameters())
    clips = [SIZES[name] for name in ("curated", "noisy")]
    return {name: size / 2**20 for name, size in {
        "pixels": sum(hours for _, hours in clips) * 3600 * 44_100 / 694 * 128,
        "targets": sum(count for count, _ in clips) * 80 * 4,
        "weights, gradients, and AdamW's two means": 4 * weights,
        f"what a step of {batch} keeps": kept[0] + (kept[1] - kept[0]) / 2 * (batch - 2)}.items()}


def projected(not_arithmetic):
    """Hours of the arithmetic on each GPU at 40 % of its matrix rate, and the share of what is none."""
    excerpts = sum(config.passes * clips for config, clips in zip(load_profile("full").stages, CLIPS_A_STAGE))
    windows = sum(hours for _, hours in list(SIZES.values())[:2]) * 3600 * 44_100 / 694 / 48 + 25_000
    flops = 0
    for name in NETWORKS:
        forward = network_flops(Tagger(NetworkSpec(name, **SPEC | {"options": {"width": 64}})))
        flops += load_profile("full").n_folds * excerpts * 3 * forward + 4 * windows * forward
    rows = {}
    for name, (tflops, _) in GPUS.items():
        seconds = flops / (0.4 * tflops * 1e12)
        rows[name] = {"hours of arithmetic at 40 % of the matrix rate": seconds / 3600,
                      "share that is not arithmetic": not_arithmetic / (seconds + not_arithmetic)}
    return rows


def main():
    """All parts, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--input", type=Path, help="a folder with the competition's tables")
    parser.add_argument("--size", type=float, default=1.0, help="of the made-up tables, in parts of the real ones")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="train in so many processes (default: in one)")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/rehearsal.json")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        result = PARTS[options.part](options.folder, options)
        told(result | {"peak memory, MB": peak_memory() / 2**20})
        return
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        folder, results = Path(folder), {"size": options.size, "width": options.width}
        prepare(folder, options.size, options.input)
        for name, work in (("tables", lambda: apart("tables", folder, options)),
                           ("training", lambda: train_with_kills(folder, options)),
                           ("test side", lambda: apart("test_side", folder, options)),
                           ("store", lambda: apart("store", folder, options))):
            results[name] = work()
            print(f"{name}: {json.dumps(results[name])}", flush=True)
    results["not arithmetic, s"] = (results["training"]["with all beginnings, s"] + results["test side"]["in all, s"]
                                    + results["store"]["in all, s"])
    results["device memory, MB"] = {name: device_memory(name, options.width) for name in NETWORKS}
    results["projection"] = projected(results["not arithmetic, s"])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(f"not arithmetic: {results['not arithmetic, s']:.0f} s")
    for name, row in results["projection"].items():
        hours, share = row.values()
        print(f"| {name} | {hours:.1f} h | {100 * share:.1f} % |")
    for name, parts in results["device memory, MB"].items():
        print(f"{name} on a GPU, MB: {', '.join(f'{what} {size:,.0f}' for what, size in parts.items())}")
    print(f"written to {options.out}")


if __name__ == "__main__":
    main()
