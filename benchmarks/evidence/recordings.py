"""What does training on recordings bring? ``python -m benchmarks.evidence.recordings SOURCE``.

SOURCE is a folder with ``clips.csv`` (file, label, fold, recording) and ``make_recordings.py``, which makes recordings
of these clips, with labels in time, at random gaps over noise. Two trainings of a seed see the same clips, those of all
folds but the last; one of them sees recordings made of them besides, with what lies between their labels as background.
Both then listen to recordings made of the last fold's clips. Printed are, by seed: the F1 of segments of one second at
the threshold that events have by default, the share of windows in which nothing sounds and some label is heard all the
same, and the expected calibration error of the top label, on the last fold's clips.

Running again goes on where it was stopped, and trains nothing twice.
"""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.speed.common import ROOT
from freesound_tagging.annotations import read_events, score_events
from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.clips.prepare import prepare
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.lwlrap import lwlrap
from freesound_tagging.prediction.calibration import calibration_error
from freesound_tagging.prediction.ensemble import Ensemble
from freesound_tagging.prediction.tagging import default_threshold, events
from freesound_tagging.training.profile import load_profile
from freesound_tagging.training.warmup import WarmupPipeline

ARMS = ("clips", "clips and recordings")


def arrange(source, work):
    """Recordings of all folds but the last, and of the last; clips of both; a set to train on for each arm."""
    with open(source / "clips.csv", newline="") as file:
        clips = list(csv.DictReader(file))
    *training, last = sorted({clip["fold"] for clip in clips})
    for name, folds in (("recordings", training), ("test", [last])):
        if not (work / name / "labels.tsv").exists():
            subprocess.run([sys.executable, source / "make_recordings.py", work / name, "--folds", *folds], check=True)
        folder = work / f"{name} as clips"
        folder.mkdir(exist_ok=True)
        mine = [clip for clip in clips if clip["fold"] in folds]
        for clip in mine:
            link = folder / Path(clip["file"]).name
            if not link.exists():
                link.symlink_to((source / "audio" / clip["file"]).resolve())
        table = pd.DataFrame(mine)[["file", "label", "recording"]]
        table.assign(file=table["file"].map(lambda name: Path(name).name)).to_csv(folder / "clips.csv", index=False)
    prepare(work / "recordings as clips", work / "sets" / ARMS[0], test=0)
    prepare(work / "recordings", work / "sets" / ARMS[1], test=0, more=[work / "recordings as clips"])


def train(arm, seed, work, profile):
    """Train an arm, if it is not: the folder of its networks."""
    folder = work / f"{arm}, seed {seed}"
    clips = FSDKaggle2019(work / "sets" / arm).clips("curated")
    store = SpectrogramStore.build(clips.paths, work / "stores" / arm, profile.mel, progress=False, spans=clips.spans)
    WarmupPipeline(clips, store, profile, folder / "work", folder / "weights", seed, device="cpu").run()
    return folder / "weights"


def judge(weights, work):
    """What an arm's networks hear in recordings and clips that none of them was trained on.

    Returns
    -------
    dict of str to float
        F1 of segments of a second and of events at the default threshold, with precision and recall of the former;
        `false windows`, the share of windows in which nothing sounds and some label is heard; `calibration error` of
        the top label of clips, and `lwlrap`.
    """
    networks = Ensemble.load(weights, "cpu")
    truth, found, quiet, false = read_events(work / "test/labels.tsv"), [], 0, 0
    for path in sorted((work / "test").glob("*.flac")):
        timeline = networks.timeline(path)
        found.append(events(timeline).assign(file=path.name))
        threshold = default_threshold(timeline.attrs.get("calibrated"))
        mine, begins = truth[truth["file"] == path.name], timeline.index.to_numpy()[:, None]
        silent = ~((mine["start"].to_numpy() < begins + timeline.attrs["window"])
                   & (mine["end"].to_numpy() > begins)).any(1)
        quiet, false = quiet + silent.sum(), false + (timeline.to_numpy()[silent].max(1) >= threshold).sum()
    totals, _ = score_events(pd.concat(found, ignore_index=True), truth)
    clips = pd.read_csv(work / "test as clips/clips.csv")
    heard = networks.tag([work / "test as clips" / name for name in clips["file"]])
    targets = clips["label"].to_numpy()[:, None] == np.array(networks.vocabulary)
    return {**{name: totals[name] for name in ("segment F1", "segment precision", "segment recall", "event F1")},
            "false windows": float(false / quiet), "calibration error": calibration_error(heard.to_numpy(), targets),
            "lwlrap": lwlrap(targets, heard.to_numpy())}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--work", type=Path, default=ROOT / "build/recordings")
    parser.add_argument("--profile", default=ROOT / "profiles/recordings.toml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    arrange(options.source, options.work)
    profile, rows = load_profile(options.profile), []
    for seed in options.seeds:
        for arm in ARMS:
            record = options.work / f"{arm}, seed {seed}.json"
            if not record.exists():
                figures = judge(train(arm, seed, options.work, profile), options.work)
                record.write_text(json.dumps({"trained on": arm, "seed": seed, **figures}, indent=1))
            rows.append(json.loads(record.read_text()))
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format="{:.3f}".format))
    print(table.drop(columns="seed").groupby("trained on").agg(["mean", "std"]).T.unstack().to_string(
        float_format="{:.3f}".format))
    results = ROOT / f"benchmarks/results/recordings-{options.source.resolve().name}.json"
    results.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
