"""Do few clips need fewer steps from trained networks? ``python -m benchmarks.evidence.from_trained OTHERS OWN``.

Both are folders with ``clips.csv`` (file, label, fold) and ``audio/``. A small network learns the labels of OTHERS that
OWN has not; from there, and from new weights, networks learn the labels of OWN from few clips a label, by the package's
own way: a profile with ``start`` and one without. Scored on the clips of OWN that no network was trained on: lwlrap of
the mean of a run's folds. Of the same seed both ways have the same folds and the same excerpts.
"""

import argparse
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.evidence.comparison import interval
from benchmarks.speed.common import ROOT
from freesound_tagging.clips.clips import Clips
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.lwlrap import lwlrap
from freesound_tagging.prediction import Ensemble, ensemble_mean
from freesound_tagging.training import Profile, StageConfig, WarmupPipeline

WAYS = {"from trained": 0.003, "new": 0.01, "new, lr 0.003": 0.003}  # the greatest learning rate of each


def main():
    """Train all, and print and keep the scores."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("others", type=Path)
    parser.add_argument("own", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--first-steps", type=int, default=500, help="of the networks that others begin with")
    parser.add_argument("--image", type=int, default=32, help="mel bands and frames")
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--folds", type=int, nargs="+", default=[1, 2], help="of OWN, that are trained on")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # short sounds, and clips that are there twice
    mel = MelConfig(n_mels=options.image, excerpt_frames=options.image,
                    hop_length=MelConfig.hop_length * MelConfig.excerpt_frames // options.image)
    own, others = (pd.read_csv(folder / "clips.csv", dtype={"fold": int}).assign(folder=folder)
                   for folder in (options.own, options.others))
    others = others[~others["label"].isin(own["label"])]
    trained = own["fold"].isin(options.folds)
    with tempfile.TemporaryDirectory() as folder:
        folder, records = Path(folder), []
        first = run(others, folder / "first", mel, options, options.first_steps, WAYS["new"])
        known = first.table().iloc[0].to_dict()
        print(f"the networks of other labels: {known}", flush=True)
        test = SpectrogramStore.build(paths(own[~trained]), folder / "test", mel, progress=False)
        truth = clips(own[~trained]).targets
        for seed in options.seeds:
            for steps in options.steps:
                for way, lr in WAYS.items():
                    start = str(first.weights) if way == "from trained" else None
                    done = run(own[trained], folder / f"{way}-{steps}-{seed}", mel, options, steps, lr, seed, start)
                    score = lwlrap(truth, ensemble_mean(Ensemble.load(done.weights).predict(test, progress=False)))
                    records.append({"seed": seed, "steps": steps, "way": way, "lwlrap": score})
                    print(records[-1], flush=True)
    table = pd.DataFrame(records).pivot(index=["steps", "seed"], columns="way", values="lwlrap")
    summary = {str(steps): {way: interval({(seed, 0): value for seed, value in values.items()})
                            for way, values in {**of, **{f"from trained - {way}": of["from trained"] - of[way]
                                                         for way in list(WAYS)[1:]}}.items()}
               for steps, of in ((steps, table.loc[steps]) for steps in options.steps)}
    print(table.round(3).to_string(), json.dumps(summary, indent=1), sep="\n")
    counts = {"clips of others": len(others), "labels of others": others["label"].nunique(),
              "clips a fold": int(trained.sum()) // 2, "test clips": int((~trained).sum())}
    settings = {name: value for name, value in vars(options).items() if name not in ("own", "others")}
    (ROOT / "benchmarks/results/from-trained.json").write_text(
        json.dumps({**settings, **counts, "first": known, "runs": records,
                    "summary": summary}, indent=1) + "\n")


def paths(table):
    """The sounds of a table of clips."""
    return [row.folder / "audio" / row.file for row in table.itertuples()]


def clips(table):
    """The clips of a table, all curated."""
    return Clips(pd.DataFrame({"path": paths(table), "labels": [(label,) for label in table["label"]],
                               "set": "curated"}), np.unique(table["label"]))


def run(table, folder, mel, options, steps, lr, seed=0, start=None):
    """Two folds of one stage over the clips of a table, finished."""
    profile = Profile(2, [StageConfig(1, ("curated",), 1, lr, least_steps=steps)], options={"width": options.width},
                      batch_size=32, mel=mel, start=start)
    own = clips(table)
    images = folder.parent / ("others" if folder.name == "first" else "own")
    store = SpectrogramStore.build(own.paths, images, mel, progress=False)
    pipeline = WarmupPipeline(own, store, profile, folder / "work", folder / "weights", seed, progress=False,
                              executor="in-process")
    pipeline.run()
    return pipeline


if __name__ == "__main__":
    main()
