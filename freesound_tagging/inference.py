"""From trained networks and a store to probabilities, `submission.csv` and its score."""

import sys

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from .files import whole_file
from .lwlrap import lwlrap, per_class_lwlrap
from .models import to_images
from .tables import few, label_matrix, read_table
from .weights import load_tagger, read_spec

HOP = 48  # frames from window to window


def window_starts(n_frames, window=128, hop=HOP):
    """First frames of the windows over a clip: evenly spread, at most `hop` apart, from its start to its end.

    Parameters
    ----------
    n_frames : int
        Of the clip; at least `window`.
    window, hop : int
        In frames.

    Returns
    -------
    numpy.ndarray, int64 (windows,)
        s = ceil((n_frames - window) / hop) + 1 starts, round((n_frames - window) k / (s - 1)); 0 if s is 1.

    Raises
    ------
    ValueError
        If the clip is shorter than a window.
    """
    free = n_frames - window
    if free < 0:
        raise ValueError(f"a clip of {n_frames} frames is shorter than a window of {window}; "
                         "images of this package's stores never are")
    count = -(-free // hop) + 1
    return np.round(free * np.arange(count) / max(count - 1, 1)).astype(np.int64)


def windows_of(starts, lengths, window=128, hop=HOP):
    """Windows over many clips of a store.

    Parameters
    ----------
    starts, lengths : array of int (clips,)
        Of the clips, in frames of the store.
    window, hop : int

    Returns
    -------
    first : numpy.ndarray, int64 (windows,)
        First frame of each window in the store.
    clip : numpy.ndarray, int64 (windows,)
        The clip that each window is of, counted from 0.
    """
    each = [window_starts(length, window, hop) for length in lengths]
    clip = np.repeat(np.arange(len(each)), [len(windows) for windows in each])
    return np.concatenate([start + windows for start, windows in zip(starts, each)] or [clip]), clip


def gather(pixels, first, frames):
    """Cut excerpts out of a store's pixels, on the device that they are on.

    Parameters
    ----------
    pixels : torch.Tensor, uint8 (all frames, mel bands)
    first : torch.Tensor, int64 (batch,)
        First frame of each excerpt.
    frames : int
        Frames of an excerpt.

    Returns
    -------
    torch.Tensor, uint8 (batch, frames, mel bands)
    """
    return pixels[first[:, None] + torch.arange(frames, device=first.device)]


def pixels_on(device, store):
    """A store's pixels as a tensor: on the CPU the memory map itself, elsewhere one copy.

    Parameters
    ----------
    device : str or torch.device
    store : SpectrogramStore

    Returns
    -------
    torch.Tensor, uint8 (all frames, mel bands)
    """
    return torch.from_numpy(store.pixels).to(device)


@torch.inference_mode()
def predict(tagger, pixels, starts, lengths, batch_size=256, hop=HOP):
    """Probability of each label in each clip: the mean of the sigmoid outputs over the clip's windows.

    Parameters
    ----------
    tagger : Tagger
        On the device of `pixels`; used in evaluation mode and left as it was.
    pixels : torch.Tensor, uint8 (all frames, mel bands)
        See `pixels_on`.
    starts, lengths : array of int (clips,)
        The clips to predict, in frames of `pixels`.
    batch_size : int
        Windows at a time; a batch takes windows of as many clips as fill it.
    hop : int
        Frames from window to window.

    Returns
    -------
    numpy.ndarray, float32 (clips, labels)
    """
    frames, device = tagger.spec.mel.excerpt_frames, pixels.device
    first, clip = windows_of(starts, lengths, frames, hop)
    total = torch.zeros(len(starts), len(tagger.spec.vocabulary), device=device)
    first, clip = torch.as_tensor(first, device=device), torch.as_tensor(clip, device=device)
    was_training = tagger.training
    tagger.eval()
    for batch in range(0, len(first), batch_size):
        now = slice(batch, batch + batch_size)
        images = to_images(gather(pixels, first[now], frames))
        total.index_add_(0, clip[now], torch.sigmoid(tagger(images)))
    tagger.train(was_training)
    return (total / torch.bincount(clip, minlength=len(starts))[:, None]).cpu().numpy()


def predict_ensemble(weights, store, device="cpu", batch_size=256, progress=True):
    """Probabilities of each network over all clips of a store, one network after the other.

    Parameters
    ----------
    weights : sequence of path
        Files that `save_tagger` wrote.
    store : SpectrogramStore
    device : str or torch.device
    batch_size : int
    progress : bool
        Show a progress bar.

    Returns
    -------
    numpy.ndarray, float32 (networks, clips, labels)
        The ensemble is its mean over the first axis, `ensemble_mean`.

    Raises
    ------
    ValueError
        If the networks differ in vocabulary, or were trained on images made otherwise than the store's.
    """
    specs = [read_spec(path) for path in weights]
    for path, spec in zip(weights, specs):
        if spec.vocabulary != specs[0].vocabulary:
            raise ValueError(f"{path} has another vocabulary than {weights[0]}; an ensemble needs the same in all")
        if spec.mel != store.config:
            raise ValueError(f"{path} was trained on images of {spec.mel}, but the store's are of {store.config}; "
                             "build the store with the network's settings")
    pixels = pixels_on(device, store)
    return np.stack([predict(load_tagger(path, device), pixels, store.starts, store.lengths, batch_size)
                     for path in tqdm(weights, "networks", file=sys.stdout, disable=not progress)])


def ensemble_mean(probabilities):
    """Mean over networks.

    Parameters
    ----------
    probabilities : array (networks, clips, labels)

    Returns
    -------
    numpy.ndarray, float32 (clips, labels)
    """
    return np.mean(probabilities, axis=0, dtype=np.float64).astype(np.float32)


def write_submission(path, fnames, vocabulary, probabilities):
    """Write `submission.csv`: a row a clip, a column a label.

    Parameters
    ----------
    path : path
    fnames : sequence of str (clips,)
    vocabulary : sequence of str (labels,)
        In the order of ``sample_submission.csv``.
    probabilities : array (clips, labels)

    Returns
    -------
    pandas.DataFrame
        What was written.

    Raises
    ------
    ValueError
        If the sizes do not fit or a probability is not a number.
    """
    probabilities = np.asarray(probabilities)
    if probabilities.shape != (len(fnames), len(vocabulary)):
        raise ValueError(f"probabilities of shape {probabilities.shape} for {len(fnames)} clips and "
                         f"{len(vocabulary)} labels: expected {(len(fnames), len(vocabulary))}")
    if np.isnan(probabilities).any():
        raise ValueError(f"the probabilities of {fnames[np.flatnonzero(np.isnan(probabilities).any(1))[0]]} "
                         "are not all numbers; nothing was written")
    submission = pd.DataFrame(probabilities, columns=list(vocabulary))
    submission.insert(0, "fname", list(fnames))
    with whole_file(path) as part:
        submission.to_csv(part, index=False)
    return submission


def score_submission(submission, truth):
    """Score a submission as the competition did, where the labels are known.

    Parameters
    ----------
    submission : path
        A file as `write_submission` writes; clips and labels in any order.
    truth : path
        A table with `fname`, `labels` and perhaps `usage`, such as Zenodo's ``test_post_competition.csv``.
        Clips of it with a usage that the submission has none of are left out: Kaggle's test set today is the
        private one.

    Returns
    -------
    scores : dict of str to float
        lwlrap as ``"overall"`` and, where the truth has `usage`, as ``"public"`` and ``"private"``.
    per_class : pandas.DataFrame
        Indexed by label: `lwlrap` and `clips`, the number of clips that carry it.

    Raises
    ------
    ValueError
        If clips are missing, double or unknown, labels are unknown, or a score is not a number.
        The message names them.
    """
    scores = read_table(submission, ["fname"]).set_index("fname")
    scores = scores.apply(pd.to_numeric, errors="coerce")
    known = read_table(truth, ["fname", "labels"]).set_index("fname")
    if "usage" in known:
        known = known[known["usage"].isin(known["usage"].reindex(scores.index).dropna().unique())]
    wrong = {
        "lacks the clips": known.index.difference(scores.index),
        "has clips that the truth does not know": scores.index.difference(known.index),
        "has scores that are not numbers for": scores.index[scores.isna().any(axis=1)],
    }
    for what, names in wrong.items():
        if len(names):
            raise ValueError(f"{submission} {what} {few(names)} (the truth is {truth})")
    labels = label_matrix(known.reset_index(), scores.columns, truth)
    scores = scores.loc[known.index]
    result = {"overall": lwlrap(labels, scores)}
    for usage in ("Public", "Private"):
        part = known["usage"].eq(usage).to_numpy() if "usage" in known else np.zeros(len(known), bool)
        if part.any():
            result[usage.lower()] = lwlrap(labels[part], scores[part])
    per_class, _ = per_class_lwlrap(labels, scores)
    return result, pd.DataFrame({"lwlrap": per_class, "clips": labels.sum(0).astype(int)}, index=scores.columns)
