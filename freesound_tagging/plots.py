"""The figures, tables and players that the notebooks show."""

import base64
import io
from functools import partial
from html import escape

import librosa
import matplotlib.pyplot as plt
import numpy as np
import soundfile as sf
import torch
from IPython.display import HTML
from matplotlib.patches import Rectangle

from .augment import mixup, spec_augment, specmix, specmix_mask
from .inference import gather, pixels_on, window_starts
from .models import to_images
from .spectrogram import load_clip, log_mel, to_image

HZ_TICKS = (100, 500, 1000, 2000, 4000, 8000, 16000)
CURATED, NOISY = "tab:blue", "tab:orange"


def player(path, config, label="", seconds=5):
    """An audio player for the first seconds of a clip, small enough to be kept in a notebook.

    Parameters
    ----------
    path : path
    config : MelConfig
    label : str
        Shown beside the player.
    seconds : float

    Returns
    -------
    IPython.display.HTML
        What is wrong with the file, if it cannot be read.
    """
    try:
        signal = load_clip(path, config)[:round(seconds * config.sample_rate)]
    except OSError as error:
        return HTML(escape(f"{label}: {error}"))
    buffer = io.BytesIO()
    sf.write(buffer, signal, config.sample_rate, format="MP3")
    data = base64.b64encode(buffer.getvalue()).decode()
    return HTML(f'<audio controls preload="none" style="vertical-align: middle" src="data:audio/mpeg;base64,{data}">'
                f"</audio> {escape(label)}")


def players(rows, config, seconds=4):
    """Players of several clips, one below the other.

    Parameters
    ----------
    rows : iterable of (path, str)
        Clips and what to write beside them.
    config : MelConfig
    seconds : float

    Returns
    -------
    IPython.display.HTML
    """
    return HTML("<br>".join(player(path, config, label, seconds).data for path, label in rows))


def clip_figure(path, config, title=""):
    """A clip as waveform and as mel spectrogram, over the same time.

    Parameters
    ----------
    path : path
    config : MelConfig
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    signal = load_clip(path, config)
    image = to_image(log_mel(signal, config))
    seconds = len(signal) / config.sample_rate
    figure, (wave, mel) = plt.subplots(2, 1, figsize=(8, 4.5), sharex=True, height_ratios=(1, 2.5),
                                       layout="constrained")
    points = max(1, len(signal) // 8000)
    wave.plot(np.arange(0, len(signal), points) / config.sample_rate, signal[::points], lw=0.5)
    wave.set(title=title, ylabel="amplitude")
    mel.imshow(image, origin="lower", aspect="auto", cmap="magma",
               extent=(0, image.shape[1] * config.hop_length / config.sample_rate, 0, config.n_mels))
    mel.set(xlim=(0, seconds), xlabel="time (s)", ylabel="frequency (Hz)")
    _hz_ticks(mel, config)
    return figure


def _hz_ticks(axes, config):
    centres = librosa.mel_frequencies(config.n_mels, fmin=config.f_min, fmax=config.f_max)
    ticks = [hz for hz in HZ_TICKS if config.f_min < hz < config.f_max]
    axes.set_yticks(np.interp(ticks, centres, np.arange(config.n_mels)) + 0.5, ticks)


def some_excerpts(store, clips, seed=0):
    """A random excerpt of each clip, as the augmentations take it.

    Parameters
    ----------
    store : SpectrogramStore
    clips : sequence of int
    seed : int

    Returns
    -------
    torch.Tensor, float32 (clips, 1, mel bands, frames)
    """
    rng = np.random.default_rng(seed)
    frames = store.config.excerpt_frames
    first = [store.starts[clip] + rng.integers(store.lengths[clip] - frames + 1) for clip in clips]
    return to_images(gather(pixels_on("cpu", store), torch.as_tensor(np.array(first)), frames))


def augmentation_figure(images, targets, vocabulary, seed=0):
    """The published figure: mixup, SpecAugment and SpecMix, each with its inputs and the resulting labels.

    Parameters
    ----------
    images : torch.Tensor, float (2, 1, mel bands, frames)
        Two excerpts.
    targets : torch.Tensor, float (2, labels)
    vocabulary : sequence of str
    seed : int
        The same seed shows the same draw.

    Returns
    -------
    matplotlib.figure.Figure
        SpecMix is shown with one stripe of mel bands and two of frames, as published.
    """
    stripes = (1, 2)
    shown = {
        "mixup": partial(mixup, alpha=1.0),
        "SpecAugment": partial(spec_augment, stripes=stripes),
        "SpecMix": partial(specmix, stripes=stripes, min_width=0.1),
    }
    figure, axes = plt.subplots(3, 3, figsize=(9, 9.6), layout="constrained")
    for row, (name, augmentation) in zip(axes, shown.items()):
        generator = _generator_that_swaps(seed)
        state = generator.get_state()
        result, weights = augmentation(images, targets, generator=generator)
        inputs = [0] if name == "SpecAugment" else [0, 1]
        for axis, clip in zip(row, inputs):
            _show(axis, images[clip, 0], targets[clip], vocabulary, f"clip {'AB'[clip]}")
        if name == "SpecAugment":
            row[1].axis("off")
        _show(row[2], result[0, 0], weights[0], vocabulary, name)
        if name == "SpecMix":
            generator.set_state(state)
            torch.randperm(2, generator=generator)  # specmix draws the partners first
            _outline(row[2], specmix_mask(images, min_width=0.1, stripes=stripes, generator=generator)[0, 0])
    return figure


def _generator_that_swaps(seed):
    """A generator whose first permutation of two clips makes each the other's partner."""
    while True:
        generator = torch.Generator().manual_seed(seed)
        permutation = torch.randperm(2, generator=generator)
        if permutation[0] == 1:
            return generator.manual_seed(seed)
        seed += 1


def _outline(axis, mask):
    """Frame the stripes: runs of whole rows and of whole columns of the mask."""
    bands, frames = mask.shape
    for full, box in ((mask.all(1), lambda start, size: ((-0.5, start - 0.5), frames, size)),
                      (mask.all(0), lambda start, size: ((start - 0.5, -0.5), size, bands))):
        edges = np.flatnonzero(np.diff(np.r_[0, full.numpy().astype(int), 0]))
        for start, end in zip(edges[::2], edges[1::2]):
            axis.add_patch(Rectangle(*box(start, end - start), fill=False, ec="cyan", lw=1.2, clip_on=False))


def _show(axis, image, weights, vocabulary, title):
    """One excerpt with the labels that it carries, and how much of each, below."""
    axis.imshow(image, origin="lower", cmap="magma", vmin=0, vmax=1)
    axis.set(title=title, xticks=[], yticks=[])
    order = np.argsort(-np.asarray(weights), kind="stable")[:4]
    axis.set_xlabel("\n".join(f"{weights[i]:.2f}  {_short(vocabulary[i])}" for i in order if weights[i] > 0.005),
                    fontsize=8)


def _short(label, most=26):
    return label if len(label) <= most else label[:most - 1] + "…"


def batch_figure(before, targets_before, after, targets_after, vocabulary, most=6):
    """Excerpts of a batch above what an augmentation made of them, with the labels' weights.

    Parameters
    ----------
    before, after : torch.Tensor, float (batch, 1, mel bands, frames)
    targets_before, targets_after : torch.Tensor, float (batch, labels)
    vocabulary : sequence of str
    most : int
        Excerpts shown.

    Returns
    -------
    matplotlib.figure.Figure
    """
    most = min(most, len(before))
    figure, axes = plt.subplots(2, most, figsize=(2.3 * most, 6), layout="constrained", squeeze=False)
    for i, (above, below) in enumerate(axes.T):
        _show(above, before[i, 0], targets_before[i], vocabulary, "")
        _show(below, after[i, 0], targets_after[i], vocabulary, "")
    axes[0, 0].set_ylabel("excerpt")
    axes[1, 0].set_ylabel("augmented")
    return figure


def training_figure(history, stage):
    """The loss and the lwlrap of a stage's trainings, a line a fold.

    Parameters
    ----------
    history : list of dict
        As `WarmupPipeline.history` gives it.
    stage : int

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    for fold, record in enumerate(history):
        loss = np.asarray(record["loss"])
        width = max(1, len(loss) // 30)  # a running mean
        smooth = np.convolve(loss, np.ones(width) / width, "valid")
        left.plot(np.arange(len(smooth)) + width, smooth, lw=1, label=f"fold {fold}")
        right.plot(np.arange(1, len(record["lwlrap"]) + 1), record["lwlrap"], marker=".", lw=1, label=f"fold {fold}")
    left.set(title=f"stage {stage}: training loss", xlabel="step", ylabel="binary cross-entropy")
    right.set(title=f"stage {stage}: lwlrap of the clips held out", xlabel="epoch", ylabel="lwlrap")
    right.legend(fontsize=8, ncols=2)
    for axis in (left, right):
        axis.grid(alpha=0.3)
    return figure


def selection_figure(selected, targets, vocabulary, title=""):
    """How many of each label's noisy clips a stage selects.

    Parameters
    ----------
    selected : array of bool (clips,)
    targets : array (clips, labels)
    vocabulary : sequence of str
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    targets = np.asarray(targets)
    every, chosen = targets.sum(0), targets[np.asarray(selected)].sum(0)
    order = np.argsort(chosen / np.maximum(every, 1), kind="stable")
    figure, axis = plt.subplots(figsize=(8, 1 + 0.2 * len(vocabulary)), layout="constrained")
    place = np.arange(len(vocabulary))
    axis.barh(place, every[order], color="lightgrey", label="noisy clips")
    axis.barh(place, chosen[order], color=NOISY, label="selected")
    axis.set_yticks(place, [_short(vocabulary[i]) for i in order], fontsize=8)
    axis.set(title=title, xlabel="clips", ylim=(-0.7, len(vocabulary) - 0.3))
    axis.legend(loc="lower right", fontsize=8)
    return figure


def predictions_figure(store, clips, probabilities, vocabulary, labels=None, top=5):
    """Clips' spectrograms beside their most probable labels.

    Parameters
    ----------
    store : SpectrogramStore
    clips : sequence of int
        Numbers of clips in the store.
    probabilities : array (all clips, labels)
    vocabulary : sequence of str
    labels : sequence of tuple of str, optional
        The true labels of all clips, drawn in another colour.
    top : int

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(len(clips), 2, figsize=(9, 1.6 * len(clips)), width_ratios=(1.4, 1),
                                layout="constrained", squeeze=False)
    for (mel, bars), clip in zip(axes, clips):
        image = store[clip]
        mel.imshow(image, origin="lower", aspect="auto", cmap="magma",
                   extent=(0, image.shape[1] * store.config.hop_length / store.config.sample_rate, 0, len(image)))
        windows = len(window_starts(image.shape[1], store.config.excerpt_frames))
        mel.set(yticks=[], title=f"{store.fnames[clip]}, {windows} window{'s'[:windows > 1]}")
        mel.title.set_fontsize(9)
        best = np.argsort(-probabilities[clip], kind="stable")[:top][::-1]
        true = [labels is not None and vocabulary[i] in labels[clip] for i in best]
        bars.barh(range(top), probabilities[clip][best], color=[CURATED if t else "silver" for t in true])
        bars.set_yticks(range(top), [_short(vocabulary[i]) for i in best], fontsize=8)
        bars.set_xlim(0, 1)
        bars.tick_params(axis="x", labelsize=8)
    axes[-1, 0].set_xlabel("time (s)")
    axes[-1, 1].set_xlabel("probability" + (" (blue: true label)" if labels is not None else ""))
    return figure


def per_class_figure(per_class, title=""):
    """lwlrap of each label, sorted, with the number of its clips.

    Parameters
    ----------
    per_class : pandas.DataFrame
        As `score_submission` gives it; labels without a clip are left out.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    shown = per_class[per_class["clips"] > 0].sort_values("lwlrap", kind="stable")
    figure, axis = plt.subplots(figsize=(8, 1 + 0.2 * len(shown)), layout="constrained")
    bars = axis.barh(np.arange(len(shown)), shown["lwlrap"], color=CURATED)
    axis.bar_label(bars, [f"{row.lwlrap:.3f} ({row.clips})" for row in shown.itertuples()], padding=3, fontsize=7)
    axis.set_yticks(np.arange(len(shown)), [_short(label) for label in shown.index], fontsize=8)
    axis.set(title=title, xlabel="lwlrap (number of clips)", xlim=(0, 1.15), ylim=(-0.7, len(shown) - 0.3))
    return figure
