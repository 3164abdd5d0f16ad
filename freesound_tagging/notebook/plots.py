"""A clip to look at and to listen to: what all figures are made of."""

import base64
import io
import textwrap
from html import escape
from pathlib import Path

import librosa
import matplotlib.pyplot as plt
import numpy as np
import soundfile as sf
import torch
from IPython.display import HTML
from matplotlib.ticker import MaxNLocator

from ..clips.audio import MAX_SECONDS, UnusableAudio, seconds_of
from ..images.excerpts import gather, pixels_on, to_images
from ..images.mel import load_clip, log_mel, to_image

MP3_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # that an MP3 can have
HZ_TICKS = (100, 500, 1000, 2000, 4000, 8000, 16000)


def span_of(clip):
    """From when to when a clip is in its file.

    Parameters
    ----------
    clip : pandas.Series
        A row of a data set's table.

    Returns
    -------
    (float, float) or None
        Start and end in seconds of a stretch; None of a whole file.
    """
    start, end = clip.get("start", np.nan), clip.get("end", np.nan)
    return None if np.isnan(start) else (start, end)


def player(path, config, label=None, seconds=5, span=None):
    """An audio player for the first seconds of a clip, small enough to be kept in a notebook.

    Parameters
    ----------
    path : path
    config : MelConfig
        How the clip is read: its rate, and whether silence is trimmed.
    label : str, optional
        Shown beside the player; if it is not given, the file's name.
    seconds : float
    span : (float, float), optional
        As for `load_clip`.

    Returns
    -------
    IPython.display.HTML
        What is wrong with the file, if it cannot be read.
    """
    label = Path(path).name if label is None else label
    try:
        if span is None and (seconds_of(path) or 0) > MAX_SECONDS:
            span = 0, seconds
        signal = load_clip(path, config, span=span)[:round(seconds * config.sample_rate)]
    except OSError as error:
        return HTML(as_html(f"{label}: {error}"))
    return HTML(f"{sound_element(signal, config.sample_rate)} {as_html(label)}")


def sound_element(signal, rate):
    """An audio player as HTML with the sound in it: float32 (samples,) at `rate` in Hz."""
    if rate not in MP3_RATES:
        signal, rate = librosa.resample(signal, orig_sr=rate, target_sr=MP3_RATES[-1]), MP3_RATES[-1]
    buffer = io.BytesIO()
    sf.write(buffer, signal, rate, format="MP3")
    data = base64.b64encode(buffer.getvalue()).decode()
    return ('<audio controls preload="none" style="vertical-align: middle" '
            f'src="data:audio/mpeg;base64,{data}"></audio>')


def as_html(text):
    """Words from data for HTML: no mark-up in it nor, as notebooks find it there too, mathematics."""
    text = escape(text.encode("utf-8", "backslashreplace").decode())
    return text.replace("$", "<span>$</span>").replace("\\", "<span>\\</span>")


def players(rows, config):
    """Players of the first four seconds of several clips, one below the other.

    Parameters
    ----------
    rows : iterable of (path, str)
        Clips and what to write beside them.
    config : MelConfig

    Returns
    -------
    IPython.display.HTML
    """
    return HTML("<br>".join(player(path, config, label, seconds=4).data for path, label in rows))


def clip_figure(path, config, title="", span=None):
    """A clip as waveform and as mel spectrogram, over the same time.

    Parameters
    ----------
    path : path
    config : MelConfig
    title : str
    span : (float, float), optional
        As for `load_clip`.

    Returns
    -------
    matplotlib.figure.Figure
        What is wrong with the clip, if it cannot be read.
    """
    try:
        signal = load_clip(path, config, span=span)
    except UnusableAudio as error:
        figure = plt.figure(figsize=(8, 1))
        figure.text(0.02, 0.5, plain(textwrap.fill(f"{title}: {error}", 100)), va="center")
        return figure
    image = to_image(log_mel(signal, config))
    seconds = len(signal) / config.sample_rate
    figure, (wave, mel) = plt.subplots(2, 1, figsize=(8, 4.5), sharex=True, height_ratios=(1, 2.5),
                                       layout="constrained")
    # The least and the greatest sample of each of some 4,000 columns: a figure has fewer, and no peak is left out.
    columns = np.arange(0, len(signal), max(1, len(signal) // 4000))
    heights = np.stack([reach.reduceat(signal, columns) for reach in (np.minimum, np.maximum)], 1)
    wave.plot(np.repeat(columns, 2) / config.sample_rate, heights.ravel(), lw=0.5)
    wave.set(title=plain(title), ylabel="amplitude")
    show_spectrogram(mel, image, config)
    mel.set(xlim=(0, seconds), xlabel="time (s)")
    show_frequencies(mel, config)
    return figure


def show_spectrogram(axes, image, config, begin=0):
    """Draw an image, uint8 (n_mels, frames), over its time in seconds, which starts at `begin`."""
    axes.imshow(image, origin="lower", aspect="auto", cmap="magma",
                extent=(begin, begin + image.shape[1] * config.hop_length / config.sample_rate, 0, config.n_mels))


def show_frequencies(axes, config=None, ticks=HZ_TICKS):
    """Give an image that is drawn an axis in Hz; without its config, of its mel bands."""
    if config is None:
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_ylabel("mel band")
        return
    centres = librosa.mel_frequencies(config.n_mels, fmin=config.f_min, fmax=config.f_max)
    ticks = [hz for hz in ticks if config.f_min < hz < config.f_max]
    lowest = axes.get_ylim()[0] + 0.5  # the middle of the first band
    axes.set_yticks(np.interp(ticks, centres, np.arange(config.n_mels)) + lowest, ticks, fontsize=8)
    axes.set_ylabel("frequency (Hz)")


def some_excerpts(store, clips, seed=0):
    """A random excerpt of each clip, as the augmentations take it.

    Parameters
    ----------
    store : SpectrogramStore
    clips : sequence of int
        Their numbers in the store.
    seed : int

    Returns
    -------
    torch.Tensor, float32 (clips, 1, mel bands, frames)
        In [0, 1].
    """
    rng = np.random.default_rng(seed)
    frames = store.config.excerpt_frames
    first = [store.starts[clip] + rng.integers(store.lengths[clip] - frames + 1) for clip in clips]
    return to_images(gather(pixels_on("cpu", store), torch.as_tensor(np.array(first)), frames))


def show_excerpt(axis, image, weights, vocabulary, title):
    """One excerpt with the labels that it carries, and how much of each, below."""
    axis.imshow(np.asarray(image), origin="lower", cmap="magma", vmin=0, vmax=1)
    axis.set(title=plain(title), xticks=[], yticks=[])
    order = np.argsort(-np.asarray(weights), kind="stable")[:4]
    carried = [f"{weights[i]:.2f}  {plain(shortened(vocabulary[i]))}" for i in order if weights[i] > 0.005]
    axis.set_xlabel("\n".join(carried), fontsize=8)


def shortened(label, most=26):
    """A label, cut where it is too long for a figure."""
    return label if len(label) <= most else label[:most - 1] + "…"


def plain(text):
    """Words from data for a figure: dollar signs make no mathematics, and what is no text is written with escapes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("$", r"\$")
