"""A small data set in the competition's layout, synthesized: to try everything on before fetching 25 GB.

Each label's sound is made so that a person hears what it is; pitch, tempo, timbre, length, level and background vary
from clip to clip. As in the competition, the noisy set's labels are wrong for a part of its clips and its recordings
come from another world: a narrower band, more background.
"""

import hashlib
import os
import shutil
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import scipy.signal
import soundfile as sf
from tqdm import tqdm

from ..machine.files import as_path
from .sounds import RATE, SOUNDS, coloured

WRONG_LABELS = 0.4  # of the noisy clips
TWO_LABELS = 0.2  # of all clips


def write_demo(root, curated=5, noisy=14, test=5, seed=0, progress=True):
    """Write the demo data set in Kaggle's layout, whole or not at all.

    The test clips' labels are in ``FSDKaggle2019.meta/test_post_competition.csv`` as on Zenodo, and the noisy clips'
    true labels, for measurement only, in ``truth/train_noisy.csv``.

    Parameters
    ----------
    root : path
        A folder that is empty or does not exist.
    curated, noisy, test : int
        Clips of each label in each set.
    seed : int
        The same seed gives the same bytes.
    progress : bool
        Show a progress bar a set.

    Returns
    -------
    pathlib.Path
        `root`.

    Raises
    ------
    FileExistsError
        If `root` holds anything.
    ValueError
        If `root` is the folder that this process is in, which cannot be replaced under its feet.
    """
    asked = as_path(root)
    root = Path(os.path.realpath(asked))
    if root.exists() and any(root.iterdir()):
        raise FileExistsError(f"{root} is not empty; delete it or give another folder")
    if root == Path.cwd():
        raise ValueError(f"{asked} is the folder that you are in; give the name of one to make, such as input")
    part = root.with_name(f".{root.name}.part")  # becomes the data set once it is whole
    shutil.rmtree(part, ignore_errors=True)
    labels = sorted(SOUNDS)
    # Each set has random numbers of its own, so that the size of one does not change the clips of another.
    for_labels, *for_sets = np.random.SeedSequence(seed).spawn(4)
    rng = np.random.default_rng(for_labels)
    sets = {name: _write_set(part / folder, name, count, seeds, progress)
            for seeds, name, folder, count in zip(for_sets, ("curated", "noisy", "test"),
                                                  ("train_curated", "train_noisy", "test"), (curated, noisy, test))}
    given = sets["noisy"].copy()
    wrong = rng.permutation(len(given)) < round(WRONG_LABELS * len(given))
    given["labels"] = [rng.choice([label for label in labels if label not in true.split(",")]) if swap else true
                       for true, swap in zip(given["labels"], wrong)]
    usage = np.where(np.arange(len(sets["test"])) % 4 == 0, "Public", "Private")
    sample = pd.DataFrame(0, index=sets["test"].index, columns=labels)
    sample.insert(0, "fname", sets["test"]["fname"])
    for name, table in {
        "train_curated.csv": sets["curated"],
        "train_noisy.csv": given,
        "truth/train_noisy.csv": sets["noisy"],
        "sample_submission.csv": sample,
        "FSDKaggle2019.meta/test_post_competition.csv": sets["test"].assign(usage=usage),
    }.items():
        (part / name).parent.mkdir(exist_ok=True)
        table.to_csv(part / name, index=False)
    part.replace(root)
    return asked


def _write_set(folder, name, count, seeds, progress):
    folder.mkdir(parents=True, exist_ok=True)
    clips = [(label, take) for label in sorted(SOUNDS) for take in range(count)]
    n_jobs = min(joblib.effective_n_jobs(-1), 1 + len(clips) // 32)  # a process takes as long to start as some clips
    rows = joblib.Parallel(n_jobs, return_as="generator")(
        joblib.delayed(_write_clip)(folder, name, label, take, clip_seed)
        for (label, take), clip_seed in zip(clips, seeds.spawn(len(clips))))
    rows = list(tqdm(rows, f"{name} clips", len(clips), unit="clip", file=sys.stdout, disable=not progress))
    return pd.DataFrame(sorted(rows), columns=["fname", "labels"])


def _write_clip(folder, name, label, take, seed):
    """Write a clip, and give its row of the table: its numbers are its own, whoever makes it."""
    rng, true = np.random.default_rng(seed), [label]
    sound = SOUNDS[label](rng, _seconds(rng))
    if rng.random() < TWO_LABELS:
        true.append(str(rng.choice([other for other in sorted(SOUNDS) if other != label])))
        sound = _over(rng, sound, SOUNDS[true[1]](rng, len(sound) / RATE))
    signal = _recorded(rng, sound, degraded=name == "noisy")
    fname = hashlib.sha256(f"{name}/{label}/{take}".encode()).hexdigest()[:8] + ".wav"
    sf.write(folder / fname, signal, RATE, subtype="PCM_16")
    return fname, ",".join(true)


def _seconds(rng):
    """Length of a clip: 0.3 to 15 s, most of them short."""
    return float(np.clip(rng.lognormal(0.9, 0.8), 0.3, 15))


def _over(rng, first, second):
    """Two sounds of one clip, neither more than 6 dB above the other."""
    second = second * 10 ** (rng.uniform(-6, 6) / 20)
    return first / (first.std() + 1e-9) + second[:len(first)] / (second.std() + 1e-9)


def _recorded(rng, sound, degraded):
    """Put a sound into a room, at some level, over some background; `degraded` as by a cheap camera."""
    echo = rng.standard_normal(int(RATE * rng.uniform(0.05, 0.4)))
    echo *= np.exp(-np.linspace(0, 7, len(echo)))
    sound = sound + rng.uniform(0, 0.4) * scipy.signal.fftconvolve(sound, echo / np.linalg.norm(echo))[:len(sound)]
    sound /= np.abs(sound).max() + 1e-9
    background = coloured(rng, len(sound), rng.uniform(0.5, 2.0))
    distance = rng.uniform(6, 22) if degraded else rng.uniform(12, 40)  # dB, of their RMS
    sound += background * sound.std() / (background.std() + 1e-9) * 10 ** (-distance / 20)
    if degraded:
        band = scipy.signal.butter(3, [rng.uniform(60, 200), rng.uniform(5_000, 9_000)], "bandpass", fs=RATE,
                                   output="sos")
        sound = np.tanh(2 * scipy.signal.sosfilt(band, sound))
    return (10 ** (rng.uniform(-24, -1) / 20) * sound / (np.abs(sound).max() + 1e-9)).astype(np.float32)
