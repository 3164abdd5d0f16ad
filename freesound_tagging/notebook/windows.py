"""What a network sees of a clip, drawn: its windows and what it says of each, and what its answer hangs on."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator

from .plots import plain, shortened, show_frequencies, show_spectrogram

NUMBERED = 50  # windows that have a line each with its number; of more the lines are thinner


def windows_figure(image, starts, says, vocabulary, config, title="", top=5):
    """A clip's windows, what a network says of each, and their mean.

    Parameters
    ----------
    image : array, uint8 (mel bands, frames)
        The clip's.
    starts : array of int (windows,)
        First frames of the windows.
    says : array (windows, labels)
        Probabilities.
    vocabulary : sequence of str
    config : MelConfig
        The image's.
    title : str
    top : int
        Labels that are shown: those of the greatest mean.

    Returns
    -------
    matplotlib.figure.Figure
    """
    mean = np.mean(says, axis=0)
    best = np.argsort(-mean, kind="stable")[:top]
    heights = (2, 0.12 * min(len(starts), NUMBERED) + 0.2, 0.25 * len(best) + 0.2)
    figure = plt.figure(figsize=(9, 1 + sum(heights)), layout="constrained")
    grid = figure.add_gridspec(3, 2, width_ratios=(3, 1), height_ratios=heights)
    mel, spans = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    show_spectrogram(mel, image, config)
    mel.set(title=plain(title), xticks=[])
    show_frequencies(mel, config)
    seconds = config.hop_length / config.sample_rate
    for number, start in enumerate(starts):
        spans.barh(number, config.excerpt_seconds, 0.7, left=start * seconds, color="tab:blue")
        if len(starts) <= NUMBERED:
            spans.text(start * seconds, number, f" {number + 1}", va="center", fontsize=7, color="white")
    spans.set(xlim=mel.get_xlim(), ylim=(len(starts) - 0.4, -0.6), yticks=[], xlabel="time (s)", ylabel="windows")
    heat, bars = figure.add_subplot(grid[2, 0]), figure.add_subplot(grid[2, 1])
    heat.imshow(np.asarray(says)[:, best].T, vmin=0, vmax=1, cmap="Blues", aspect="auto", extent=(
        0.5, len(starts) + 0.5, len(best) - 0.5, -0.5))
    if len(starts) <= 16:
        for window, row in enumerate(np.asarray(says)[:, best]):
            for place, value in enumerate(row):
                heat.text(window + 1, place, f"{value:.2f}", ha="center", va="center", fontsize=7,
                          color="white" if value > 0.6 else "black")
    heat.set_yticks(range(len(best)), [plain(shortened(vocabulary[i])) for i in best], fontsize=8)
    heat.xaxis.set_major_locator(MaxNLocator(16, integer=True))
    heat.set(xlabel="window", title="what the network says of each")
    shown = bars.barh(range(len(best)), mean[best], color="tab:orange")
    bars.bar_label(shown, [f"{value:.2f}" for value in mean[best]], padding=3, fontsize=8)
    bars.set(xlim=(0, 1.25), ylim=(len(best) - 0.5, -0.5), yticks=[], title="the mean")
    return figure


def occlusion_figure(image, drop, config, title=""):
    """An excerpt, and how far the logit of a label falls where a patch of it is covered.

    Parameters
    ----------
    image : array, float (mel bands, frames)
    drop : array (places down, places across)
        The logit of the whole less that of the image covered there; places are spread evenly.
    config : MelConfig
        The image's.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained", sharey=True, width_ratios=(1, 1.15))
    for axis in axes:
        show_spectrogram(axis, np.asarray(image), config)
        axis.set(xlabel="time (s)")
    axes[1].images[0].set_cmap("gray")
    reach = max(float(np.abs(drop).max()), 1e-6)
    heat = axes[1].imshow(drop, origin="lower", aspect="auto", cmap="RdBu_r", vmin=-reach, vmax=reach, alpha=0.7,
                          interpolation="bilinear", extent=axes[1].images[0].get_extent())
    axes[0].set(title=plain(title))
    show_frequencies(axes[0], config)
    axes[1].set(title="red: needed for it; blue: against it")
    figure.colorbar(heat, ax=axes[1], label="fall of the logit")
    return figure
