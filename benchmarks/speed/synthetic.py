"""A data set of the competition's size without its sounds: tables, and stores of random images."""

import csv
import json
from pathlib import Path

import numpy as np

from freesound_tagging.images.mel import MelConfig
from freesound_tagging.images.store import SpectrogramStore

# FSDKaggle2019: clips of each set and their hours; most noisy clips last 15 s, the others a few seconds.
SIZES = {"curated": (4_970, 10.5), "noisy": (19_815, 80.0), "test": (4_481, 12.9)}
LABELS = 80


def labels_of(clips, rng, vocabulary):
    """1.2 labels a clip, every label about as often."""
    found = []
    for clip in range(clips):
        second = [vocabulary[rng.integers(len(vocabulary))]] if rng.random() < 0.2 else []
        found.append(",".join(dict.fromkeys([vocabulary[clip % len(vocabulary)], *second])))
    return found


def write_tables(root, clips, seed=0, labels=LABELS):
    """Tables in Kaggle's layout with Zenodo's truth, and a file for every clip: one silent sound under many names.

    Parameters
    ----------
    root : path
    clips : dict of str to int
        Of ``"curated"``, ``"noisy"`` and ``"test"``.
    """
    rng = np.random.default_rng(seed)
    vocabulary = [f"Label_{number:02}" for number in range(labels)]
    root = Path(root)
    for name, folder, table in (("curated", "train_curated", "train_curated.csv"),
                                ("noisy", "train_noisy", "train_noisy.csv"),
                                ("test", "test", "FSDKaggle2019.meta/test_post_competition.csv")):
        rows = list(zip([f"{name[0]}{number:05}.wav" for number in range(clips[name])],
                        labels_of(clips[name], rng, vocabulary)))
        header = ["fname", "labels"]
        if name == "test":
            header.append("usage")
            rows = [(*row, "Public" if number % 4 == 0 else "Private") for number, row in enumerate(rows)]
        (root / table).parent.mkdir(parents=True, exist_ok=True)
        with open(root / table, "w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        put_sounds(root / folder, [row[0] for row in rows])
    with open(root / "sample_submission.csv", "w", newline="") as file:
        csv.writer(file).writerows([["fname", *vocabulary], *([f"t{number:05}.wav", *[0] * labels]
                                                              for number in range(clips["test"]))])


def put_sounds(folder, fnames):
    """A file of each name: one short sound, linked."""
    import soundfile as sf

    folder.mkdir(parents=True)
    tone = (0.1 * np.sin(2 * np.pi * 440 * np.arange(8_820) / 44_100)).astype(np.float32)
    for number, fname in enumerate(fnames):
        if number % 30_000 == 0:  # more links than a file system may allow to one file
            sf.write(folder / fname, tone, 44_100)
            first = folder / fname
        else:
            (folder / fname).hardlink_to(first)


def write_store(folder, fnames, hours, seed=0, config=MelConfig()):
    """A store of random images: clips of random lengths that last so many hours together, in 64 MB of noise repeated.

    Returns
    -------
    SpectrogramStore
    """
    rng = np.random.default_rng(seed)
    frames = hours * 3600 * config.sample_rate / config.hop_length
    weights = rng.random(len(fnames)) + 0.2
    lengths = np.maximum(config.min_frames, (weights / weights.sum() * frames).astype(int))
    folder = Path(folder) / config.key
    folder.mkdir(parents=True)
    noise = rng.integers(0, 256, (1 << 19, config.n_mels), np.uint8)
    with open(folder / "pixels.u8", "wb") as file:
        left = int(lengths.sum())
        while left > 0:
            file.write(noise[:left].data)
            left -= len(noise)
    files = [{"fname": fname, "frames": int(length), "stat": [number, 0], "digest": f"{seed:02}{number:030}",
              "problem": ""} for number, (fname, length) in enumerate(zip(fnames, lengths))]
    SpectrogramStore._write_index(folder, config, "pixels.u8", files)
    return SpectrogramStore(folder)


def told(result):
    """What a part of a benchmark that runs in a process of its own says to who started it."""
    print(json.dumps(result), flush=True)
