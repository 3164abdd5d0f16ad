"""Everything that waits for a GPU, in order of worth: ``make gpu``, at most 8 minutes on an H100.

Each part is a process of its own with its own limit of time, and what it found is written before the next begins, so
that a cut loses nothing. On a machine without a GPU the same runs in small.

    tests      tests/whole/test_device.py: the device beside the CPU
    training   images/s beside the published way, share of the matrix rate and of the bandwidth, peak memory
    step       where the time of a step goes
    run        a run in small that is killed once and continued: the loss falls, the CPU predicts the same
    inference  windows/s, what half precision changes; 60 networks over 42,192 windows by multiplication
    compilation  images/s through torch.compile, compiling apart
    study      the pipeline beside simpler trainings, on the recordings that INPUT has
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from benchmarks.speed.common import CUDA, DEVICE, ROOT
from benchmarks.speed.floors import floors
from benchmarks.speed.synthetic import SIZES, told, write_store
from freesound_tagging.clips.clips import Clips
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.machine import peak_memory
from freesound_tagging.prediction import Ensemble
from freesound_tagging.prediction.inference import TOLERANCE
from freesound_tagging.training.profile import Profile, published_stages
from freesound_tagging.training.warmup import WarmupPipeline

LIMIT = 480  # seconds of all parts together
MEL = MelConfig() if CUDA else MelConfig(n_mels=32, hop_length=2776, excerpt_frames=32)  # of the run in small
PYTHON = [sys.executable, "-W", "ignore", "-m"]


def parts_of(options):
    """The command of each part, and its limit in seconds."""
    bench = [*PYTHON, "benchmarks.speed.run", "--out", options.out]
    parts = {
        "tests": ([*PYTHON, "pytest", "-q", "-p", "no:cacheprovider", ROOT / "tests/whole/test_device.py"], 100),
        "training": ([*bench, "training"], 120),
        "step": ([*bench, "step"], 40 if CUDA else 120),
        "run": ([*PYTHON, "benchmarks.gpu.gpu", "--run-in-small", options.out / "run"], 150),
        "inference": ([*bench, "inference"], 60),
        "compilation": ([*bench, "compilation"], 150),
    }
    if options.input:
        parts["study"] = ([*PYTHON, "benchmarks.evidence.study", options.input, "--name", "gpu", "--folds", "5",
                           "--width", "64", "--arms", "a", "b", "c", "d", "--seeds", "0",
                           "--work", options.out / "study", "--out", options.out], 240)
    return {name: part for name, part in parts.items() if not options.parts or name in options.parts}


def run_part(command, limit):
    """Run a part, stop it with all that it has begun when its time is over, and say how it ended."""
    start = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               start_new_session=True, cwd=ROOT)
    try:
        out, _ = process.communicate(timeout=limit)
        ended = "finished" if process.returncode == 0 else f"failed with status {process.returncode}"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, _ = process.communicate()
        ended = f"cut after {limit:.0f} s"
    print(out, flush=True)
    return {"ended": ended, "seconds": time.perf_counter() - start, "last lines": out.splitlines()[-12:]}


def run_in_small(folder):
    """A run of the real data's size and full width, some hundred steps a stage, killed once and continued.

    Its images are random: it shows that a run goes through and on, not that anything is learned of sounds.
    """
    folder.mkdir(parents=True)
    clips = {name: count if CUDA else 40 for name, (count, _) in SIZES.items() if name != "test"}
    hours = sum(SIZES[name][1] * (1 if CUDA else 40 / SIZES[name][0]) for name in clips)
    write_store(folder / "stores/training", [f"{name}{clip}.wav" for name, count in clips.items()
                                             for clip in range(count)], hours, 0, MEL)
    command = [*PYTHON, "benchmarks.gpu.gpu", "--train", folder]
    started = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, start_new_session=True, cwd=ROOT)
    while process.poll() is None and not list((folder / "work").glob("stage-1_fold-0.npz")):
        time.sleep(0.1)
    killed = process.poll() is None
    if killed:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    first = (folder / "weights/stage-1_fold-0.safetensors").read_bytes()
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, cwd=ROOT)
    result = json.loads(done.stdout.splitlines()[-1])
    kept = first == (folder / "weights/stage-1_fold-0.safetensors").read_bytes()

    store = SpectrogramStore(next((folder / "stores/training").iterdir())).take(slice(8))
    weights = sorted((folder / "weights").glob("stage-4_*.safetensors"))[:1]
    ours, cpus = (Ensemble.load(weights, device).predict(store, progress=False) for device in (DEVICE, "cpu"))
    difference = float(np.abs(ours - cpus).mean())
    losses = result.pop("losses")
    result |= {"killed": killed, "what was finished is kept": kept, "seconds, killed and continued":
               time.perf_counter() - started, "loss of stage 1, first and last tenth": losses,
               "difference from the CPU's predictions, mean": difference}
    failed = [what for what, good in (
        ("it could not be killed before it was finished", killed), ("a finished fold was trained again", kept),
        ("the loss does not fall", losses[1] < losses[0]),
        (f"predictions differ from the CPU's by {difference:.2g} in the mean", difference < TOLERANCE)) if not good]
    told(result)
    return failed


def train(folder):
    """The run itself, as far as it is not finished."""
    store = SpectrogramStore(next((folder / "stores/training").iterdir()))
    labels = [f"label {number}" for number in range(80 if CUDA else 5)]
    table = pd.DataFrame({"path": store.fnames, "labels": [(labels[clip % len(labels)],) for clip in range(len(store))],
                          "set": [fname.rstrip(".wav0123456789") for fname in store.fnames]})
    profile = Profile(2, published_stages((1, 1, 1, 1), least_steps=100 if CUDA else 30),
                      options={"width": 64 if CUDA else 2}, batch_size=128 if CUDA else 8, mel=MEL)
    start = time.perf_counter()
    pipeline = WarmupPipeline(Clips(table, labels), store, profile, folder / "work", folder / "weights", device=DEVICE,
                              progress=False, executor="in-process")
    pipeline.run()
    loss = np.concatenate([record["loss"] for record in pipeline.history(1)]).reshape(2, -1).mean(0)
    tenth = max(1, len(loss) // 10)
    told({"seconds after the kill": time.perf_counter() - start, "peak memory of the host, MB": peak_memory() / 2**20,
          "peak memory of the GPU, MB": torch.cuda.max_memory_allocated() / 2**20 if CUDA else None,
          "steps a fold": [pipeline.n_steps(stage)[0] for stage in (1, 2, 3, 4)],
          "losses": [float(loss[:tenth].mean()), float(loss[-tenth:].mean())]})


def main():
    """All parts or some."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", help="all if none is given")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    parser.add_argument("--input", type=Path, help="recordings for the study, such as a folder with make_input.py")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of all parts together")
    parser.add_argument("--run-in-small", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        return train(options.train)
    if options.run_in_small:
        failed = run_in_small(options.run_in_small)
        return sys.exit("; ".join(failed) if failed else 0)
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    if unknown := set(options.parts) - set(parts_of(argparse.Namespace(**vars(options) | {"parts": []}))):
        parser.error(f"no part {', '.join(unknown)}")
    path, started = options.out / "gpu.json", time.perf_counter()
    name = torch.cuda.get_device_name() if CUDA else "no GPU: the same in small, on the CPU"
    results = {"device": name, "torch": torch.__version__, "floors": floors(), "parts": {}}
    print(f"{name}, torch {torch.__version__}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for part, (command, limit) in parts_of(options).items():
            left = options.limit - (time.perf_counter() - started)
            command = [Path(scratch) / "run" if word == options.out / "run" else word for word in command]
            results["parts"][part] = run_part(command, min(limit, left)) if left > 5 else {"ended": "no time was left"}
            path.write_text(json.dumps(results, indent=1) + "\n")
            print(f"{part}: {results['parts'][part]['ended']}", flush=True)
    print(f"written to {path}, and what the benchmarks measured beside it")
    return sys.exit(any(part["ended"] != "finished" for part in results["parts"].values()))


if __name__ == "__main__":
    main()
