"""Does the method work, and which part of it? ``python benchmarks/study.py INPUT``.

Every arm trains as many networks (one a fold) for as many gradient steps, and is scored on the same test clips. INPUT
is a data set with known test labels, or a folder with ``clips.csv``, ``audio/`` and ``make_input.py``, which arranges
recordings in folds as the competition does: then the folds rotate through the roles of curated, noisy and test set.

Each finished arm is one file in ``--work``; running again goes on, and ``--part 1/2`` and ``--part 2/2`` share the work
between two processes. At the end all finished arms are summed up in ``benchmarks/results/study-<name>.json``, which
also holds what earlier runs left: what is in there is not trained again. They are drawn in a ``.png`` beside it, and
printed as the README's tables. Only what was trained in the same size is compared; another size asks for another
``--name``. Machines that train in another precision can take turns: a lead is always that over a pipeline of the same
seed, rotation and precision, which is trained again where it is missing. In a quarter of an hour on 2 cores:
``--seeds 2 --rotations 0 --steps 20 --executor ray --name quick``, which shows that it runs: so few steps teach little.

The package's rule for small data (`published_stages`) was chosen on ESC-10 with seeds 0 and 1, so that the seeds judged
here are others. The recordings are the same: a seed decides labels' noise, folds, first weights and augmentation.
"""

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from common import CUDA, ROOT
from comparison import PIPELINE, VGG_16, arms_table, figure, models_table, sum_up, unit_of

from freesound_tagging.augment import PUBLISHED, lighting, mixup, spec_augment, specmix, zoom_crop
from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.lwlrap import lwlrap
from freesound_tagging.machine.cluster import RayExecutor
from freesound_tagging.machine.device import default_device, training_precision
from freesound_tagging.machine.executors import EXECUTORS
from freesound_tagging.machine.files import whole_file
from freesound_tagging.prediction.ensemble import Ensemble
from freesound_tagging.prediction.inference import ensemble_mean
from freesound_tagging.training.stages import LEAST_STEPS, Profile, StageConfig, published_stages
from freesound_tagging.training.warmup import WarmupPipeline

ALONE = (zoom_crop, lighting)  # what changes each image alone


def selecting(threshold, cap):
    """The published stages with another selection for stage 3."""
    return lambda stages: tuple(config if config.stage != 3 else
                                dataclasses.replace(config, threshold=threshold, cap=cap) for config in stages)


@dataclasses.dataclass(frozen=True)
class Arm:
    """What is trained: the pipeline, or a single training on the curated clips or on all."""

    augmentation: tuple = PUBLISHED
    single: str | None = None  # "curated" or "all": one training in place of four stages
    stages: object = None  # changes the published stages
    architecture: str = "cnn-model-1"


ARMS = {
    PIPELINE: Arm(),
    "a: curated, no augmentation": Arm((), "curated"),
    "b: curated, augmented": Arm(single="curated"),
    "c: curated and all noisy, augmented": Arm(single="all"),
    "e: pipeline, mixup only": Arm((*ALONE, mixup)),
    "e: pipeline, SpecMix only": Arm((*ALONE, specmix)),
    "e: pipeline, SpecAugment only": Arm((*ALONE, spec_augment)),
    "e: pipeline, neither": Arm(ALONE),
    "f: threshold 0.25, cap 5": Arm(stages=selecting(0.25, 5)),
    "f: threshold 0.75, cap 5": Arm(stages=selecting(0.75, 5)),
    "f: threshold 0.5, cap 2": Arm(stages=selecting(0.5, 2)),
    "f: threshold 0.5, no cap": Arm(stages=selecting(0.5, None)),
    VGG_16: Arm(architecture="vgg16"),
}


class Unit:
    """One arrangement of the data, seed and precision: what all arms of a comparison share."""

    def __init__(self, source, seed, rotation, options, done):
        self.seed, self.rotation, self.options, self.done = seed, rotation, options, done
        self.work = options.work / f"seed-{seed}_rotation-{rotation}"
        root = arranged(source, seed, rotation, self.work / "input")
        stores = (options.work if root == source else self.work) / "stores"
        self.data = FSDKaggle2019(root)
        if "labels" not in self.data.test:
            raise ValueError(f"{root} has no labels of the test clips: the study cannot score anything")
        self.stores = {name: SpectrogramStore.build(getattr(self.data, name)["path"], stores / name, progress=False,
                                                    executor=options.executor) for name in ("curated", "noisy", "test")}
        self.targets = {name: self.data.targets(getattr(self.data, name)) for name in self.stores}
        self.right = self.data.rightly_labelled()

    def train(self, name):
        """Train an arm and score it.

        Returns
        -------
        dict
            The arm's record.
        """
        arm, options, folder = ARMS[name], self.options, self.folder(name)
        started, single = time.perf_counter(), arm.single
        stages = published_stages((1,) * 4, least_steps=options.steps) if options.steps else published_stages()
        if single:
            same = self.done.get((self.seed, self.rotation, options.precision, PIPELINE)) or self.record(PIPELINE)
            total = round(np.mean(same["steps"]))
            stages = (StageConfig(1, None, True, "all" if single == "all" else "none", 1, stages[0].lr, total),)
        elif arm.stages:
            stages = arm.stages(stages)
        pipeline = WarmupPipeline({name: (self.stores[name], self.targets[name]) for name in ("curated", "noisy")},
                                  self.data.vocabulary, arm.architecture, Profile(options.folds, options.width, stages),
                                  folder / "work", folder / "weights", self.seed, augmentation=arm.augmentation,
                                  progress=False, executor=options.executor)
        shared = self.folder(PIPELINE)
        if arm.stages:  # stages 1 and 2 are the pipeline's own
            self.record(PIPELINE)
            for path in [*shared.glob("work/stage-[12]_*"), *shared.glob("weights/stage-[12]_*")]:
                copy = folder / path.relative_to(shared)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
        pipeline.run()
        record = {"seed": self.seed, "rotation": self.rotation, "precision": options.precision, "arm": name, "test": {},
                  "steps": np.sum([pipeline.n_steps(stage) for stage in pipeline.stages], axis=0).tolist(),
                  "cross-validated": pipeline.table().T.to_dict()}
        paths = sorted((folder / "weights").glob("*.safetensors"))
        probabilities = Ensemble.load(paths).predict(self.stores["test"], progress=False)
        by_stage = {stage: ensemble_mean([p for p, path in zip(probabilities, paths) if f"stage-{stage}_" in path.name])
                    for stage in pipeline.stages}
        for stage, mean in by_stage.items():
            record["test"][f"model {stage}"] = lwlrap(self.targets["test"], mean)
        ensemble = by_stage[1] if single else ensemble_mean([by_stage[stage] for stage in (2, 3, 4)])
        np.save(folder / "test.npy", ensemble)
        record["test"]["ensemble"] = lwlrap(self.targets["test"], ensemble)
        if arm.architecture == "vgg16":
            self.record(PIPELINE)
            other = np.load(shared / "test.npy")
            record["test"]["both networks"] = lwlrap(self.targets["test"], ensemble_mean([ensemble, other]))
        if not single:
            record["test"]["models 3 and 4"] = lwlrap(self.targets["test"], ensemble_mean([by_stage[3], by_stage[4]]))
            selected = {stage: pipeline.selected(stage) for stage in (3, 4)}
            record["selected"] = {stage: int(chosen.sum()) for stage, chosen in selected.items()}
            if self.right is not None:
                record["noisy labels right"] = {"all": self.right.mean()} | {
                    stage: self.right[chosen].mean() if chosen.any() else None for stage, chosen in selected.items()}
        record["seconds"] = time.perf_counter() - started
        with whole_file(self.path(name)) as part:
            part.write_text(json.dumps(record))
        return record

    def folder(self, name):
        """Where an arm's run is kept."""
        return self.work / name.replace(":", "").replace(",", "").replace(" ", "-")

    def path(self, name):
        """Where an arm's record is kept."""
        return self.options.work / "records" / f"{self.seed}-{self.rotation}-{name.replace(' ', '-')}.json"

    def record(self, name):
        """An arm's record, trained if need be."""
        path = self.path(name)
        return json.loads(path.read_text()) if path.exists() else self.train(name)


def arranged(source, seed, rotation, root):
    """The data set itself, or one arranged anew for a seed and a rotation of its four folds."""
    if not (source / "make_input.py").exists():
        return source
    if not (root / "sample_submission.csv").exists():
        shutil.rmtree(root, ignore_errors=True)
        curated, *noisy, test = (str((rotation + role) % 4 + 1) for role in range(4))
        subprocess.run([sys.executable, source / "make_input.py", root, "--seed", str(seed), "--curated-fold", curated,
                        "--noisy-folds", *noisy, "--test-fold", test], check=True, stdout=subprocess.DEVNULL)
    return root


def _key(record):
    return *unit_of(record), record["arm"]


def main():
    """Train what is missing, then sum up."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("input", type=Path, help="a data set, or a folder with make_input.py")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2, 3, 4, 5, 6])
    parser.add_argument("--rotations", type=int, nargs="+", default=[0, 1, 2], help="of a folder with make_input.py")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), metavar="ARM",
                        help=f"first letters of: {'; '.join(ARMS)}")
    parser.add_argument("--folds", type=int, default=10 if CUDA else 2)
    parser.add_argument("--width", type=int, default=64 if CUDA else 8)
    parser.add_argument("--steps", type=int, help="gradient steps a stage (default: the package's rule)")
    parser.add_argument("--work", type=Path, default=ROOT / "build/study")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    parser.add_argument("--name", help="of the data in the results' file name (default: the folder's)")
    parser.add_argument("--executor", choices=EXECUTORS, default="in-process",
                        help='"ray": folds side by side over all GPUs, or the cores of a CPU, one each')
    parser.add_argument("--part", default="1/1", help="i/n: the i-th of n processes that share the units")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    source = options.input.resolve()
    path = options.out / f"study-{options.name or source.name}.json"
    options.precision = str(training_precision(default_device())).removeprefix("torch.")
    settings = {"folds": options.folds, "width": options.width,
                "steps a stage": options.steps or f"the package's rule, at least {LEAST_STEPS}",
                "method": f"images {MelConfig().key}, trained by the optimizer and cycle of fastai 1.0.51"}
    earlier = json.loads(path.read_text()) if path.exists() else {"settings": settings, "records": []}
    if earlier["settings"] != settings:
        parser.error(f"{path} holds results of {earlier['settings']}, not of {settings}; give another --name")
    if options.executor == "ray":
        options.executor = RayExecutor(num_cpus=1)
    kept = options.work / f"{options.name or source.name}"
    options.work = kept / options.precision
    done = {_key(record): record for record in earlier["records"]}
    arms = [arm for arm in ARMS if arm.startswith(tuple(options.arms))]
    rotations = options.rotations if (source / "make_input.py").exists() else [0]
    part, parts = map(int, options.part.split("/"))
    units = [(seed, rotation) for seed in options.seeds for rotation in rotations][part - 1::parts]
    for seed, rotation in units:
        there = {arm for s, r, _, arm in done if (s, r) == (seed, rotation)}  # in whichever precision
        lacking = [arm for arm in arms if arm not in there]
        if not lacking:
            continue
        if (seed, rotation, options.precision, PIPELINE) not in done:  # all are compared with it
            lacking = [PIPELINE, *(arm for arm in lacking if arm != PIPELINE)]
        unit = Unit(source, seed, rotation, options, done)
        for arm in lacking:
            record = unit.record(arm)
            scores = ", ".join(f"{which} {score:.3f}" for which, score in record["test"].items())
            print(f"seed {seed}, rotation {rotation}, {arm}: {scores} ({record['seconds']:.0f} s)", flush=True)
    trained = map(json.loads, (p.read_text() for p in sorted(kept.glob("*/records/*.json"))))
    found = done | {_key(record): record for record in trained}
    records = [found[key] for key in sorted(found)]
    summary = sum_up(records)
    with whole_file(path) as part:
        part.write_text(json.dumps({"settings": settings, **summary, "records": records}, indent=1) + "\n")
    figure(records, path.with_suffix(".png"))
    print("\n".join([*arms_table(summary), "", *models_table(summary)]))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
