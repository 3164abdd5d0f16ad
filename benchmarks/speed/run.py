"""Speed, each figure beside the alternative in the same process and run: ``python -m benchmarks.speed.run``.

On a CUDA GPU with full sizes, else on the CPU with small ones. Writes ``benchmarks/results/<device>.json`` and prints
the table of docs/speed.md. The parts ``numerics`` and ``kernel`` take a data set, ``--input FOLDER``, and
``half_precision`` networks that were trained on it too, ``--weights FOLDER``. ``commands`` is run where it is named
alone: it takes a quarter of an hour.
"""

import argparse
import datetime
import importlib.util
import json
import multiprocessing
import platform
import time
from functools import partial
from pathlib import Path

import torch

from benchmarks.speed.audio import growth, preprocessing
from benchmarks.speed.commands import commands
from benchmarks.speed.common import CUDA, DEVICE, ROOT
from benchmarks.speed.network import compilation, float32, inference, loop, step, training
from benchmarks.speed.numerics import half_precision, numerics
from benchmarks.speed.projection import kaggle_hour, projection
from benchmarks.speed.scaling import cluster_plan, folds, ray_preprocessing, scaling
from benchmarks.speed.sounds import hours, kernel
from freesound_tagging.machine.device import prepare_device

PARTS = {part.__name__: part for part in (training, float32, compilation, numerics, step, loop, preprocessing,
                                          inference, half_precision, growth, hours, kernel, folds, scaling,
                                          ray_preprocessing, commands)}
OF_DATA = {"numerics": ["input"], "kernel": ["input"], "half_precision": ["input", "weights"]}  # what each takes


def rows(results):
    """The table for the README."""
    for network in ("cnn-model-1", "vgg16"):
        if "training" in results:
            r = results["training"][network]
            yield f"training {network}, images/s", r["ours, images/s"], r["published way, images/s"], r["ratio"]
        if "inference" in results:
            r = results["inference"][network]
            theirs = r["published way, windows/s"]
            yield f"inference {network}, windows/s", r["ours, windows/s"], theirs, r["ratio"]
    for name, r in results.get("float32", {}).items():
        if isinstance(r, dict):
            yield f"training {name}, float32, images/s", r["ours, images/s"], r["published way, images/s"], r["ratio"]
    if "preprocessing" in results:
        r = results["preprocessing"]
        yield "preprocessing, clips/s", r["ours, clips/s"], r["librosa one by one, clips/s"], r["ratio"]
        yield ("preprocessing, against as many processes, clips/s", r["ours, clips/s"],
               r["librosa in as many processes, clips/s"], r["ratio to that"])
    if "kernel" in results:
        r = results["kernel"]
        yield (f"{r['clips']} clips to submission.csv, {r['networks']} networks of full width, s", r["ours, s"],
               r["the author's way, s"], r["ratio"])
    if "half_precision" in results:
        r = results["half_precision"]
        half, float32 = r["seconds"][r["half precision"]], r["seconds"]["torch.float32"]
        yield f"predicting in {r['half precision']}, s, against float32", half, float32, r["ratio"]
    if "hours" in results:
        r = results["hours"]
        yield "minutes of sound listened to, min/s", r["ours, min/s"], r["a loop over tag, min/s"], r["ratio"]
    if "loop" in results:
        r = results["loop"]
        yield "fastai's loop against a bare one, ms a step", r["fastai, ms a step"], r["bare, ms a step"], r["ratio"]
    for beside in ("alone", "beside a busy program") if "folds" in results else ():
        _, one, two = results["folds"][beside].values()
        yield f"two folds side by side, {beside}, images/s, against one after the other", two, one, two / one
    if "scaling" in results:
        r = results["scaling"]
        own, one = r["in-process, s"], r["one Ray worker, s"]
        yield "a stage by one Ray worker, s, against in-process", one, own, one / own
        if "two Ray workers, s" in r:
            two = r["two Ray workers, s"]
            yield "a stage by two Ray workers, s, against one", two, one, r["scaling from one worker to two"]


def main():
    """Run all parts or some."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[], help="all if none is given")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    parser.add_argument("--input", type=Path, help="a data set, without which some parts are left out")
    parser.add_argument("--weights", type=Path, help="networks trained on it, for half_precision")
    parser.add_argument("--seeds", type=int, default=5, help="of the part numerics")
    parser.add_argument("--steps", type=int, default=300, help="of the part numerics")
    options = parser.parse_args()
    prepare_device(DEVICE)
    name = torch.cuda.get_device_name() if CUDA else f"{multiprocessing.cpu_count()} CPU cores"
    parts = PARTS | {"numerics": partial(numerics, options.input, options.seeds, options.steps),
                     "kernel": partial(kernel, options.input),
                     "half_precision": partial(half_precision, options.input, options.weights)}
    for part, takes in OF_DATA.items():
        if lacking := " ".join(f"--{name} FOLDER" for name in takes if not getattr(options, name)):
            if part in options.parts:
                parser.error(f"{part} lacks {lacking}")
            del parts[part]
            if not options.parts:
                print(f"{part} is left out: it lacks {lacking}")
    if importlib.util.find_spec("ray") is None and not options.parts:
        del parts["scaling"], parts["ray_preprocessing"]
        print("scaling and ray_preprocessing are left out: they need Ray")
    if not options.parts:
        del parts["commands"]
    results = {"device": name, "date": datetime.date.today().isoformat(), "torch": torch.__version__,
               "python": platform.python_version()}
    print(f"{name}, torch {torch.__version__}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{name.lower().replace(' ', '-')}.json"
    results = (json.loads(path.read_text()) if options.parts and path.exists() else {}) | results
    for part in options.parts or parts:
        start = time.perf_counter()
        results[part] = parts[part]()
        print(f"{part} ({time.perf_counter() - start:.0f} s): {json.dumps(results[part], indent=1)}", flush=True)
        path.write_text(json.dumps(results, indent=1) + "\n")  # what is measured is kept, whatever comes of the rest
    for what, work, needed in (("projection", projection, ["training"]), ("Kaggle's hour", kaggle_hour, ["inference"]),
                               ("cluster", cluster_plan, ["training", "scaling"])):
        if results.keys() >= set(needed):
            results[what] = work(*(results[part] for part in needed))
            print(f"{what}: {json.dumps(results[what], indent=1)}")
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n| {name} | ours | alternative | ratio |\n| --- | --- | --- | --- |")
    for what, ours, theirs, ratio in rows(results):
        print(f"| {what} | {ours:.4g} | {theirs:.4g} | {ratio:.2f} |")
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
