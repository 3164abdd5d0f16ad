"""Does the method work, and which part of it? ``python -m benchmarks.evidence.study INPUT``.

Every arm trains as many networks (one a fold) for as many gradient steps, and is scored on the same test clips; what
differs is said in `ARMS`. INPUT is a data set with known test labels, or a folder with ``clips.csv``, ``audio/`` and
``make_input.py``, which arranges recordings in folds as the competition does: then the folds rotate through the roles
of curated, noisy and test set. A unit is a seed and a rotation. Some arms are trained in all units, others, which ask
about details, only in those of the first seed that is given.

Each finished arm is one file in ``--work``; running again goes on, and ``--part 1/2`` and ``--part 2/2`` share the
units between two processes, which on two cores, with ``OMP_NUM_THREADS=1``, is the quickest. At the end all finished
arms are summed up in ``benchmarks/results/study-<name>.json``, which also holds what earlier runs left: what is in
there is neither trained again nor replaced; another ``--name`` trains all of it anew. They are drawn in a ``.png``
beside it, and printed as the tables of docs/evidence.md. Only what was trained in the same size is compared; another
size asks for another ``--name``. Machines that train in another precision, or ``--compiled``, can take turns: what is
compared is of the same seed, rotation and precision, so that the pipeline is trained again where it is missing. In four
minutes on 2 cores: ``--seeds 0 --rotations 0 --steps 20 --arms a d --name quick``, which shows that it runs: so few
steps teach little.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from benchmarks.evidence.arms import ARMS
from benchmarks.evidence.comparison import PIPELINE, TABLES, figure, sum_up, unit_of
from benchmarks.speed.common import CUDA, ROOT
from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.lwlrap import lwlrap
from freesound_tagging.machine.cluster import RayExecutor
from freesound_tagging.machine.device import default_device, training_precision
from freesound_tagging.machine.executors import EXECUTORS
from freesound_tagging.machine.files import whole_file
from freesound_tagging.networks.models import PUBLISHED_NETWORKS
from freesound_tagging.prediction.ensemble import Ensemble
from freesound_tagging.prediction.inference import ensemble_mean
from freesound_tagging.training.profile import Profile, published_stages
from freesound_tagging.training.stages import LEAST_STEPS, StageConfig, batch_size_for
from freesound_tagging.training.warmup import WarmupPipeline


class Unit:
    """One arrangement of the data, seed and precision: what all arms of a comparison share."""

    def __init__(self, source, seed, rotation, options, done):
        self.seed, self.rotation, self.options, self.done = seed, rotation, options, done
        self.work = options.work / f"seed-{seed}_rotation-{rotation}"
        root = arranged(source, seed, rotation, self.work / "input")
        self.images = (options.work if root == source else self.work) / "stores"
        self.data = FSDKaggle2019(root)
        if "labels" not in self.data.test:
            raise ValueError(f"{root} has no labels of the test clips: the study cannot score anything")
        self.clips, self.truth = self.data.clips(), self.data.targets(self.data.test)
        self.right = self.data.rightly_labelled()

    def train(self, name):
        """Train an arm and score it.

        Returns
        -------
        dict
            The arm's record.
        """
        arm, options, folder, started = ARMS[name], self.options, self.folder(name), time.perf_counter()
        if arm.shared or arm.both:
            self.record(PIPELINE)
        training = self.run(name)
        shared, predictions = self.folder(PIPELINE), {}
        for stage in arm.shared:
            for path in [*shared.glob(f"work/stage-{stage}_*"), *shared.glob(f"weights/stage-{stage}_*")]:
                copy = folder / path.relative_to(shared)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
            predictions[stage] = np.load(shared / f"test-{stage}.npy")
        training.run()
        test = SpectrogramStore.build(self.data.test["path"], self.images / "test", training.profile.mel,
                                      progress=False, executor=options.executor)
        for stage in training.stages.keys() - predictions.keys():
            paths = sorted(folder.glob(f"weights/stage-{stage}_*.safetensors"))
            predictions[stage] = ensemble_mean(Ensemble.load(paths).predict(test, progress=False))
            np.save(folder / f"test-{stage}.npy", predictions[stage])
        last = max(predictions)
        means = {f"model {stage}": predictions[stage] for stage in sorted(predictions)} | {
            "last model": predictions[last],
            "ensemble": predictions[1] if arm.single else ensemble_mean([predictions[n] for n in (2, 3, last)])}
        if not arm.single:
            means["models 3 and 4"] = ensemble_mean([predictions[3], predictions[4]])
        if arm.both:
            others = [np.load(shared / f"test-{stage}.npy") for stage in (2, 3, 4)]
            means["both networks"] = ensemble_mean([means["ensemble"], ensemble_mean(others)])
        record = {"seed": self.seed, "rotation": self.rotation, "precision": options.precision, "arm": name,
                  "steps": np.sum([training.n_steps(stage) for stage in training.stages], axis=0).tolist(),
                  "test": {which: lwlrap(self.truth, mean) for which, mean in means.items()},
                  "cross-validated": training.table().drop("ensemble", errors="ignore").T.to_dict()}
        if not arm.single:
            noisy = self.clips.is_of("noisy")
            selected = {stage: training.selected(stage)[noisy] for stage in (3, 4)
                        if training.stages[stage].selects_from}
            record["selected"] = {stage: int(chosen.sum()) for stage, chosen in selected.items()}
            if self.right is not None:
                record["noisy labels right"] = {"all": self.right.mean()} | {
                    stage: self.right[chosen].mean() if chosen.any() else None for stage, chosen in selected.items()}
        record["seconds"] = time.perf_counter() - started
        with whole_file(self.path(name)) as part:
            part.write_text(json.dumps(record))
        return record

    def run(self, name):
        """An arm's run, as far as it is there."""
        arm, options, folder = ARMS[name], self.options, self.folder(name)
        mel = MelConfig(n_mels=options.image, excerpt_frames=options.image,
                        hop_length=MelConfig.hop_length * MelConfig.excerpt_frames // options.image)
        stages = published_stages((1,) * 4, least_steps=options.steps) if options.steps else published_stages()
        if arm.single:
            pipeline = self.done.get((self.seed, self.rotation, options.precision, PIPELINE)) or self.record(PIPELINE)
            sets = ("curated", "noisy") if arm.single == "all" else ("curated",)
            stages = [StageConfig(1, sets, 1, stages[0].lr, least_steps=round(np.mean(pipeline["steps"])))]
        elif arm.stages:
            stages = arm.stages(stages)
        size = {"width": options.width} if arm.network in PUBLISHED_NETWORKS else {}  # timm's bodies have their own
        profile = Profile(options.folds, stages, arm.network, size,
                          options.batch or self.batch_size, arm.augmentation, mel)
        store = SpectrogramStore.build(self.clips.paths, self.images / "training", mel, progress=False,
                                       executor=options.executor)
        return WarmupPipeline(self.clips, store, profile, folder / "work", folder / "weights", self.seed,
                              progress=False, compiled=options.compiled, executor=options.executor)

    @property
    def batch_size(self):
        """The package's rule, of the curated clips in all arms."""
        return batch_size_for(len(self.data.curated) * (self.options.folds - 1) // self.options.folds)

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
        part = root.with_suffix(".part")
        for rest in (root, part):
            shutil.rmtree(rest, ignore_errors=True)
        part.parent.mkdir(parents=True, exist_ok=True)
        curated, *noisy, test = (str((rotation + role) % 4 + 1) for role in range(4))
        subprocess.run([sys.executable, source / "make_input.py", part, "--seed", str(seed), "--curated-fold", curated,
                        "--noisy-folds", *noisy, "--test-fold", test], check=True, stdout=subprocess.DEVNULL)
        part.rename(root)
    return root


def part_of(text):
    """The two numbers of ``"1/2"``."""
    try:
        part, parts = map(int, text.split("/"))
    except ValueError:
        part = parts = 0
    if not 1 <= part <= parts:
        raise argparse.ArgumentTypeError(f"{text!r}: expected two numbers as 1/2, the first not above the second")
    return part, parts


def _key(record):
    return *unit_of(record), record["arm"]


def main():
    """Train what is missing, then sum up."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("input", type=Path, help="a data set, or a folder with make_input.py")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--rotations", type=int, nargs="+", default=[0, 1, 2, 3], help="of a folder with make_input.py")
    parser.add_argument("--arms", nargs="+", default=[""], metavar="ARM", help=f"first letters of: {'; '.join(ARMS)}")
    parser.add_argument("--folds", type=int, default=5 if CUDA else 2)
    parser.add_argument("--width", type=int, default=64 if CUDA else 8)
    parser.add_argument("--image", type=int, default=128, help="mel bands, and frames of the same two seconds")
    parser.add_argument("--batch", type=int, help="excerpts (default: the package's rule)")
    parser.add_argument("--steps", type=int, help="gradient steps a stage (default: the package's rule)")
    parser.add_argument("--work", type=Path, default=ROOT / "build/study")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    parser.add_argument("--name", help="of the data in the results' file name (default: the folder's)")
    parser.add_argument("--executor", choices=EXECUTORS, default="in-process",
                        help='"ray": folds side by side over all GPUs, or the cores of a CPU, one each')
    parser.add_argument("--compiled", action="store_true", help="train through torch.compile: quicker in float32")
    parser.add_argument("--part", type=part_of, default=(1, 1), metavar="I/N",
                        help="the I-th of N processes that share the units")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    source = options.input.resolve()
    if not source.is_dir():
        parser.error(f"{source} is no folder; give a data set, or recordings with make_input.py")
    for start in options.arms:
        if not any(name.startswith(start) for name in ARMS):
            parser.error(f"--arms {start!r}: no arm begins so; there are {'; '.join(ARMS)}")
    path = options.out / f"study-{options.name or source.name}.json"
    options.precision = (str(training_precision(default_device())).removeprefix("torch.")
                         + "-compiled" * options.compiled)
    settings = {"folds": options.folds, "width": options.width, "image": options.image,
                "batch": options.batch or "the package's rule",
                "steps a stage": options.steps or f"the package's rule, at least {LEAST_STEPS}"}
    earlier = json.loads(path.read_text()) if path.exists() else {"settings": settings, "records": []}
    kept = options.work / f"{options.name or source.name}"
    begun = kept / "settings.json"
    in_work = json.loads(begun.read_text()) if begun.exists() else settings
    for file, held in ((path, earlier["settings"]), (begun, in_work)):
        if held != settings:
            parser.error(f"{file} is of {held}, not of {settings}; give these, or another --name")
    kept.mkdir(parents=True, exist_ok=True)
    with whole_file(begun) as part:
        part.write_text(json.dumps(settings))
    if options.executor == "ray":
        options.executor = RayExecutor(num_cpus=1)
    options.work = kept / options.precision
    done = {_key(record): record for record in earlier["records"]}
    rotations = options.rotations if (source / "make_input.py").exists() else [0]
    part, parts = options.part
    units = [(seed, rotation) for seed in options.seeds for rotation in rotations][part - 1::parts]
    for seed, rotation in units:
        asked = [name for name, arm in ARMS.items() if name.startswith(tuple(options.arms))
                 and (arm.every_unit or seed == options.seeds[0] or options.arms != [""])]
        there = {arm for s, r, _, arm in done if (s, r) == (seed, rotation)}  # in whichever precision
        lacking = [name for name in asked if name not in there]
        if not lacking:
            continue
        if (seed, rotation, options.precision, PIPELINE) not in done:  # all are compared with it
            lacking = [PIPELINE, *(name for name in lacking if name != PIPELINE)]
        unit = Unit(source, seed, rotation, options, done)
        going_on = [name for name in lacking if ARMS[name].shared or ARMS[name].both]
        if going_on and PIPELINE not in lacking and not unit.path(PIPELINE).exists():
            print(f"seed {seed}, rotation {rotation}: left out {'; '.join(going_on)}, which go on from the pipeline's "
                  f"networks: these are not in {options.work}. Another --name trains all anew", flush=True)
            lacking = [name for name in lacking if name not in going_on]
        for name in lacking:
            record = unit.record(name)
            scores = ", ".join(f"{which} {score:.3f}" for which, score in record["test"].items())
            print(f"seed {seed}, rotation {rotation}, {name}: {scores} ({record['seconds']:.0f} s)", flush=True)
    trained = map(json.loads, (p.read_text() for p in sorted(kept.glob("*/records/*.json"))))
    found = {_key(record): record for record in trained} | done
    records = [found[key] for key in sorted(found)]
    summary = sum_up(records)
    with whole_file(path) as part:
        part.write_text(json.dumps({"settings": settings, **summary, "records": records}, indent=1) + "\n")
    figure(records, path.with_suffix(".png"))
    print("\n\n".join("\n".join(table(summary)) for table in TABLES))
    print(f"written to {path}")


if __name__ == "__main__":
    main()
