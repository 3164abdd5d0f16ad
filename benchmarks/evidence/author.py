"""The training as a whole, beside the author's software: first weights to predictions, on the same images.

    python -m benchmarks.evidence.author FOLDER [--arms published none vgg16] [--seeds 1 2 ...] [--out results]

FOLDER holds what torch 1.0.1, torchvision 0.2.2 and fastai 1.0.51 made of the same images: `arrays-{32,64}.npz`, the
images and labels of the clips that are trained on and tested, and `author-<arm>-<size>.npz`, by seed the loss of each
step and the predictions of the test clips. Each training of ours is kept as it ends, in `--out`; what is there is not
trained again.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from fastai.callback.core import CancelFitException
from scipy import stats

from freesound_tagging.augment import PUBLISHED, compose
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.lwlrap import lwlrap
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.prediction.inference import predict
from freesound_tagging.training.batches import MiddleExcerpts, RandomExcerpts
from freesound_tagging.training.learner import fit
from freesound_tagging.training.pool import ClipPool

BATCH, STEPS, LR, WIDTH = 32, 900, 1e-2, 8  # of both sides
EPOCH = 10  # steps of an epoch; the author's side drops what is left over of each
PLACES = np.linspace(50, STEPS, 10).astype(int)  # of the loss curve: the mean of the 50 steps before each


class Arm(NamedTuple):
    """One thing that both sides train."""

    network: str
    size: int  # mel bands and frames of an image
    augmentation: tuple


ARMS = {"published": Arm("cnn-model-1", 32, PUBLISHED), "none": Arm("cnn-model-1", 32, ()),
        "vgg16": Arm("vgg16", 64, PUBLISHED)}


def main():
    parser = argparse.ArgumentParser(description="Train as the author's software did, and compare.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, help="those of the author's side, as a rule")
    parser.add_argument("--out", type=Path, default=Path("build/author"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # several seeds side by side are as many calls of this with other seeds
    for name in arguments.arms:
        arrays, author = author_side(arguments.folder, name)
        ours = {}
        for seed in arguments.seeds or author:
            kept = arguments.out / f"{name}_{seed}.npz"
            if not kept.exists():
                losses, predictions = train(arrays, ARMS[name], seed)
                np.savez(kept, loss=losses, predictions=predictions)
            with np.load(kept) as record:
                ours[seed] = record["loss"], record["predictions"]
        if len(ours) > 1:
            print(f"\n{name}: {ARMS[name].network}, {ARMS[name].size} x {ARMS[name].size}\n")
            print(table(arrays["test_targets"], author, ours), flush=True)


def author_side(folder, name):
    """The images and labels of both sides, and by seed the author's losses and predictions."""
    size = ARMS[name].size
    with np.load(Path(folder) / f"arrays-{size}.npz") as file:
        arrays = dict(file)
    with np.load(Path(folder) / f"author-{name}-{size}.npz") as file:
        seeds = sorted(int(key.split(".")[0]) for key in file.files if key.endswith(".loss"))
        return arrays, {seed: (file[f"{seed}.loss"], file[f"{seed}.predictions"]) for seed in seeds}


def train(arrays, arm, seed, until=STEPS):
    """One training of ours, as the published way has it.

    Parameters
    ----------
    arrays : dict of str to numpy.ndarray
    arm : Arm
    seed : int
    until : int
        The step at which to stop, of a cycle that is made for `STEPS`.

    Returns
    -------
    losses : numpy.ndarray, float32 (until,)
    predictions : numpy.ndarray, float32 (test clips, labels)
    """
    size, labels = int(arrays["frames"]), arrays["vocabulary"].tolist()
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    config = MelConfig(n_mels=size, excerpt_frames=size, hop_length=MelConfig.hop_length * 128 // size)
    spec = NetworkSpec(arm.network, {"width": WIDTH}, tuple(labels), config, (float(arrays["mean"]),) * 3,
                       (float(arrays["std"]),) * 3)
    pool = ClipPool(torch.from_numpy(arrays["curated_pixels"]), torch.from_numpy(arrays["curated_starts"]),
                    torch.from_numpy(arrays["curated_lengths"]), torch.from_numpy(arrays["curated_targets"]).float(),
                    size, list(map(str, range(len(arrays["curated_starts"])))))
    tagger = Tagger(spec)

    losses = []

    def stop(loss, _):
        losses.append(loss)
        if len(losses) * EPOCH >= until:
            raise CancelFitException
    history = fit(tagger, RandomExcerpts(pool, np.arange(len(pool.starts)), BATCH, EPOCH, generator),
                  MiddleExcerpts(pool, []), STEPS // EPOCH, LR, compose(arm.augmentation) if arm.augmentation else None,
                  generator, on_epoch=stop)
    predictions = predict(tagger, torch.from_numpy(arrays["test_pixels"]), arrays["test_starts"],
                          arrays["test_lengths"])
    return np.float32(history.losses), predictions


def table(truth, author, ours):
    """Both sides in a table of markdown: lwlrap with Welch's interval, and the loss curve."""
    rows = [("", "the author's", "ours", "difference or ratio", "95 %")]
    theirs, own = (np.array([lwlrap(truth, scores) for _, scores in side.values()]) for side in (author, ours))
    rows.append(("lwlrap", *(f"{side.mean():.4f} ± {side.std(ddof=1):.4f}" for side in (theirs, own)),
                 f"{own.mean() - theirs.mean():+.4f}", "{:+.4f} to {:+.4f}".format(*welch(theirs, own))))
    for place in PLACES:
        theirs, own = (np.array([losses[place - 50:place].mean() for losses, _ in side.values()])
                       for side in (author, ours))
        low, high = welch(theirs, own) / theirs.mean() + 1
        rows.append((f"loss of steps {place - 49} to {place}", f"{theirs.mean():.5f}", f"{own.mean():.5f}",
                     f"{own.mean() / theirs.mean():.4f}", f"{low:.4f} to {high:.4f}"))
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "| --- " * len(rows[0]) + "|", *body, f"\n{len(author)} seeds beside {len(ours)}."])


def welch(a, b):
    """The 95 % interval of the difference of two means, those of `b` less those of `a`."""
    return np.array(stats.ttest_ind(b, a, equal_var=False).confidence_interval())


if __name__ == "__main__":
    main()
