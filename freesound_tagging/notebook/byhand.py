"""What the notebooks do by hand, drawn: folds, a training, the selection, a trial; and the picking of clips for it.

A cell computes, and calls these for what would hide the idea.
"""

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import display
from matplotlib.colors import to_rgb
from matplotlib.ticker import MaxNLocator

from ..clips.audio import UnusableAudio
from ..images.mel import load_clip
from ..lwlrap import geometric_mean
from .plots import plain, shortened, span_of

SETS = {"curated": "tab:blue", "noisy": "tab:orange"}


def show(*things):
    """Show figures, players and tables where they are called for; figures would else come at a cell's end.

    Parameters
    ----------
    *things : matplotlib.figure.Figure or object
        None is nothing to show.
    """
    for thing in things:
        if thing is not None:
            display(thing)
        if isinstance(thing, plt.Figure):
            plt.close(thing)


def first_readable(table, config):
    """The first clip of a set that can be read.

    Parameters
    ----------
    table : pandas.DataFrame
        A row a clip: `path`, and `start` and `end` of stretches.
    config : MelConfig
        How clips are read.

    Returns
    -------
    pandas.Series
        Its row; of a set without such a clip the first.
    """
    for _, clip in table.iterrows():
        try:
            load_clip(clip["path"], config, span=span_of(clip))
        except UnusableAudio:
            continue
        return clip
    return table.iloc[0]


def longest_alone(clips, store, labels, name="curated"):
    """Of each label the longest clip of a set that has no other label, or else the longest of the set.

    Parameters
    ----------
    clips : Clips
    store : SpectrogramStore
        Of their images.
    labels : sequence of int
        Numbers of labels; of one that there is not, the last label.
    name : str
        The set.

    Returns
    -------
    list of int
        Numbers of clips.
    """
    targets = clips.targets * (clips.targets.sum(1, keepdims=True) == 1)
    lengths, last = store.lengths * clips.is_of(name), targets.shape[1] - 1
    return [int(np.lexsort((lengths, lengths * targets[:, min(label, last)]))[-1]) for label in labels]


def folds_figure(clips, folds, most=200):
    """Which clips each fold holds out: a row a fold, a column a clip, white where it is held out.

    Parameters
    ----------
    clips : Clips
    folds : array of int (clips,)
    most : int
        Clips of each set that are drawn, in the order of their labels: spread evenly over the set.

    Returns
    -------
    matplotlib.figure.Figure
    """
    numbers = np.unique(folds)
    figure, axes = plt.subplots(1, len(clips.sets), figsize=(9, 0.8 + 0.2 * len(numbers)), layout="constrained",
                                squeeze=False, sharey=True)
    for axis, name in zip(axes[0], clips.sets):
        mine = np.flatnonzero(clips.is_of(name))
        mine = mine[np.argsort(clips.targets[mine].argmax(1), kind="stable")]
        mine = mine[np.linspace(0, len(mine) - 1, min(most, len(mine))).astype(int)]
        colours = np.ones((len(numbers), len(mine), 3))
        colours[numbers[:, None] != folds[mine]] = to_rgb(SETS.get(name, "tab:green"))
        axis.imshow(colours, aspect="auto", interpolation="nearest")
        axis.set(title=f"{name}, white: held out", xlabel="clips, by label", yticks=range(len(numbers)), xticks=[])
        axis.set_yticklabels([f"fold {number}" for number in numbers], fontsize=8)
        axis.set_yticks(np.arange(len(numbers) - 1) + 0.5, minor=True)
        axis.grid(which="minor", color="black", lw=0.5)
        axis.tick_params(which="minor", length=0)
    return figure


def cycle_figure(recorder):
    """Learning rate, momentum and loss of each step of a training.

    Parameters
    ----------
    recorder : fastai.learner.Recorder
        Of a Learner that was trained by `fit_one_cycle`: ``learn.recorder``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.2), layout="constrained")
    curves = {"learning rate": recorder.hps["lr"], "momentum": recorder.hps["mom"],
              "loss, a running mean": [float(loss) for loss in recorder.losses]}
    for axis, (title, values) in zip(axes, curves.items()):
        axis.plot(np.arange(1, len(values) + 1), values)
        axis.set(title=title, xlabel="step")
        axis.grid(alpha=0.3)
    return figure


def agreement_figure(scores, selected=None, threshold=None, marked=None, title=""):
    """Each clip's lwlrap under two models or networks, and by which rule some are selected.

    Parameters
    ----------
    scores : dict of str to array (clips,)
        Of two models, by their names.
    selected : array of bool (clips,), optional
        Which; without it, the diagonal is drawn.
    threshold : float, optional
        On the line that is drawn the geometric mean of the two is this.
    marked : dict of int to str, optional
        What is written beside clips, by their numbers.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    (across, x), (up, y) = scores.items()
    # Many clips have the same few scores: moved apart a little, and not at random, so that each is seen.
    moved = 0.015 * np.stack([np.cos(2.4 * np.arange(len(x))), np.sin(2.4 * np.arange(len(x)))]) * np.sqrt(
        np.arange(len(x)) % 37 / 37)
    figure, axis = plt.subplots(figsize=(7, 4.5), layout="constrained")
    groups = [("clips", np.full(len(x), True), "tab:blue")]
    if selected is not None:
        chosen = np.asarray(selected)
        groups = [("not selected", ~chosen, "0.7"), ("selected", chosen, "tab:orange")]
    for says, which, colour in groups:
        axis.scatter(*(np.stack([x, y]) + moved)[:, which], s=14, color=colour, label=f"{says}: {which.sum()}")
    if selected is None:
        axis.plot([0, 1], [0, 1], color="black", lw=1)
    if threshold:
        line = np.linspace(threshold ** 2, 1, 100)
        axis.plot(line, threshold ** 2 / line, color="black", lw=1, label=f"geometric mean {threshold:g}")
    below = above = 0
    for clip, text in (marked or {}).items():  # names in two columns: from the top right down, and from the left up
        high = x[clip] + y[clip] > 1
        below, above = below + high, above + (not high)
        axis.annotate(plain(shortened(text)), (x[clip] + moved[0, clip], y[clip] + moved[1, clip]), fontsize=8,
                      xytext=(0.9, 0.98 - 0.05 * below) if high else (0.35, 0.05 * above), textcoords="axes fraction",
                      ha="right" if high else "left", va="center", arrowprops={"arrowstyle": "-", "color": "0.5"})
    axis.set(xlabel=f"lwlrap of the clip under {across}", ylabel=f"lwlrap of the clip under {up}", title=title,
             xlim=(-0.02, 1.05), ylim=(-0.02, 1.05))
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def told_apart(scores, selected, most=3):
    """The clips of which models are surest: those selected of the greatest mean, and those not of the least.

    Parameters
    ----------
    scores : array (models, clips)
    selected : array of bool (clips,)
    most : int
        Clips of either kind.

    Returns
    -------
    list of int
        Their numbers, as `selection_table` has them.
    """
    order = np.argsort(geometric_mean(scores), kind="stable")
    chosen = np.asarray(selected)[order]
    return [*order[chosen][::-1][:most].tolist(), *order[~chosen][:most].tolist()]


def trials_figure(histories):
    """The loss and the lwlrap of trainings that are compared, each a mean over its folds.

    Parameters
    ----------
    histories : dict of str to list of dict
        By the name of what was tried; a fold each, of `loss` and `lwlrap`, as `WarmupPipeline.history` gives it.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    for name, folds in histories.items():
        loss, scores = (np.mean([fold[key] for fold in folds], axis=0) for key in ("loss", "lwlrap"))
        width = max(1, len(loss) // 10)
        left.plot(np.arange(len(loss) - width + 1) + width, np.convolve(loss, np.ones(width) / width, "valid"))
        right.plot(np.arange(1, len(scores) + 1), scores, marker=".", label=f"{name}: {scores[-1]:.3f}")
    left.set(title="training loss, a running mean", xlabel="step")
    right.set(title="lwlrap of the clips held out", xlabel="epoch")
    right.legend(fontsize=8)
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure
