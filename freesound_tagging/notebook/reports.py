"""Looking at a run and at what its networks say: the figures and tables of the notebooks."""

from html import escape

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.patches import FancyBboxPatch
from matplotlib.ticker import MaxNLocator

from ..images.excerpts import window_starts
from ..lwlrap import geometric_mean, lwlrap
from ..prediction.inference import ensemble_mean
from .plots import as_html, plain, player, shortened, show_frequencies, show_spectrogram, span_of

CURATED, NOISY = "tab:blue", "tab:orange"
GREY = "0.8"


def pipeline_figure(stages):
    """The warm-up pipeline as a picture: what each stage starts from, trains on and selects.

    Parameters
    ----------
    stages : sequence of StageConfig
        As `published_stages` gives them.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axis = plt.subplots(figsize=(11, 3.6), layout="constrained")
    axis.set(xlim=(-0.5, len(stages) + 0.45), ylim=(-0.35, 3.1))
    axis.axis("off")

    def box(x, y, text, color, width=0.76, height=0.62, **style):
        axis.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0.02",
                                      fc=color, ec="0.3", lw=1))
        axis.text(x, y, text, ha="center", va="center", fontsize=9, **style)

    def arrow(start, end, **style):
        axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": "0.3", "lw": 1.2, **style})

    networks, ensemble = 1.4, len(stages)
    places = {config.stage: x for x, config in enumerate(stages)}
    below = {config.selects_from for config in stages}  # sets of which some stage selects
    for config in stages:
        x = places[config.stage]
        box(x, networks, f"model {config.stage}" + ("\n(new)" if config.starts_from is None else ""), "white",
            fontweight="bold")
        if config.starts_from is not None:
            arrow((places[config.starts_from] + 0.38, networks), (x - 0.39, networks))
        above = [name for name in config.trains_on if name not in below]
        if above:
            box(x, 2.7, "\n".join(above), "#cfe2f3")
            arrow((x, 2.36), (x, networks + 0.36))
        under = [f"{name}\nall" for name in config.trains_on if name in below]
        under += [f"{config.selects_from}\n{_rule(config)}"] if config.selects_from else []
        if under:
            box(x, 0.15, "\n".join(under), "#fce5cd", height=0.85)
            arrow((x, 0.6), (x, networks - 0.36))
        for earlier in config.scored_by:
            arrow((places[earlier] + 0.15, networks - 0.36), (x - 0.25, 0.6), ls="--", color="0.6",
                  connectionstyle="arc3,rad=0.1")
    voters = [config.stage for config in stages if config.votes]
    box(ensemble, networks, f"ensemble\nmean of {', '.join(map(str, voters))}", "#d9ead3")
    for stage in voters:
        x = places[stage] + 0.25
        axis.plot([x, x, ensemble], [networks + 0.34, 2.05, 2.05], color="#6aa84f", lw=1.2, zorder=0)
    arrow((ensemble, 2.07), (ensemble, networks + 0.34), color="#6aa84f")
    if any(config.scored_by for config in stages):
        axis.plot([ensemble - 0.38, ensemble - 0.2], [0.3, 0.3], ls="--", color="0.6")
        axis.text(ensemble - 0.15, 0.3, "scores out of fold", va="center", fontsize=8, color="0.3")
    axis.plot([ensemble - 0.38, ensemble - 0.2], [0.05, 0.05], color="#6aa84f")
    axis.text(ensemble - 0.15, 0.05, "votes", va="center", fontsize=8, color="0.3")
    return figure


def _rule(config):
    scores = "$\\cdot$".join(f"lwlrap$_{stage}$" for stage in config.scored_by)
    least = f"√({scores})" if len(config.scored_by) > 1 else scores
    rule = f"{least} {'≥' if config.threshold < 1 else '='} {config.threshold:g}"
    return rule + (f"\n≤ {config.cap} a fold and label" if config.cap else "")


def labels_figure(targets, vocabulary, title=""):
    """How many clips of each label each set has.

    Parameters
    ----------
    targets : dict of str to array (clips, labels)
        By the name of the set.
    vocabulary : sequence of str
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axis = _labels_figure(list(vocabulary)[::-1], title, "clips")
    height = 0.8 / len(targets)
    for row, (name, matrix) in enumerate(targets.items()):
        axis.barh(np.arange(len(vocabulary))[::-1] + 0.4 - height * (row + 0.5), np.sum(matrix, 0), height, label=name)
    _count_clips(axis)
    return figure


def training_figure(history, stage):
    """The loss and the lwlrap of a stage's trainings, a line a fold and their mean.

    Parameters
    ----------
    history : list of dict
        A fold each, as `WarmupPipeline.history` gives it.
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
    if len({len(record["lwlrap"]) for record in history}) == 1 < len(history):
        mean = np.mean([record["lwlrap"] for record in history], axis=0)
        right.plot(np.arange(1, len(mean) + 1), mean, color="black", marker="_", lw=1.5, label=f"mean: {mean[-1]:.3f}")
    left.set(title=f"stage {stage}: training loss", xlabel="step", ylabel="binary cross-entropy")
    right.set(title=f"stage {stage}: lwlrap of the clips held out", xlabel="epoch", ylabel="lwlrap")
    figure.legend(*right.get_legend_handles_labels(), fontsize=8, loc="outside right upper")
    for axis in (left, right):
        axis.grid(alpha=0.3)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
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
    figure, axis = _labels_figure([vocabulary[i] for i in order], title, "clips")
    place = np.arange(len(vocabulary))
    axis.barh(place, every[order], color=GREY, label="noisy clips")
    axis.barh(place, chosen[order], color=NOISY, label="selected")
    _count_clips(axis)
    return figure


def selection_table(noisy, scores, selected, config, most=4):
    """Noisy clips that a stage has selected and that it has turned down, with players and the models' scores.

    Parameters
    ----------
    noisy : pandas.DataFrame
        The noisy clips: `fname`, `labels`, `path`, and `start` and `end` of stretches.
    scores : dict of str to array (clips,)
        lwlrap of each clip under the labels that it carries, by the name of the model.
    selected : array of bool (clips,)
    config : MelConfig
    most : int
        Clips of either kind: the best of those selected and the worst of those turned down, by the geometric mean of
        the scores.

    Returns
    -------
    IPython.display.HTML
    """
    table = noisy.assign(**scores)
    table["mean"] = geometric_mean(list(scores.values()))
    order = table["mean"].sort_values(kind="stable").index
    chosen = np.asarray(selected)[order]
    shown = {"selected": order[chosen][::-1][:most], "turned down": order[~chosen][:most]}
    columns = [*scores, *(["mean"] if len(scores) > 1 else [])]
    head = "".join(f"<th>{escape(name)}</th>" for name in ("", "labels", *columns, "", "clip"))
    rows = "".join(
        f"<tr><td>{choice}</td><td style='text-align: left'>{as_html(', '.join(row['labels']))}</td>"
        + "".join(f"<td>{row[name]:.2f}</td>" for name in columns)
        + f"<td>{player(row['path'], config, '', 4, span_of(row)).data}</td><td>{as_html(row['fname'])}</td></tr>"
        for choice, clips in shown.items() for row in (table.loc[clip] for clip in clips))
    return HTML(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")


def predictions_figure(store, clips, probabilities, vocabulary, labels=None):
    """Clips' spectrograms beside their five most probable labels and, where they are known, all true ones.

    Parameters
    ----------
    store : SpectrogramStore
    clips : sequence of int
        Numbers of clips in the store.
    probabilities : array (all clips, labels)
    vocabulary : sequence of str
    labels : sequence of tuple of str, optional
        The true labels of all clips, drawn in another colour; those that are not among the five below them.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axes = plt.subplots(len(clips), 2, figsize=(9, 1.6 * len(clips)), width_ratios=(1.4, 1),
                                layout="constrained", squeeze=False)
    for (mel, bars), clip in zip(axes, clips):
        image = store[clip]
        show_spectrogram(mel, image, store.config)
        windows = len(window_starts(image.shape[1], store.config.excerpt_frames))
        show_frequencies(mel, store.config, (500, 2000, 8000))
        mel.set(title=f"{plain(store.fnames[clip])}, {windows} window{'s'[:windows > 1]}")
        mel.title.set_fontsize(9)
        order = np.argsort(-probabilities[clip], kind="stable")
        known = labels[clip] if labels is not None else ()
        best = [i for rank, i in enumerate(order) if rank < 5 or vocabulary[i] in known][::-1]
        true = [vocabulary[i] in known for i in best]
        bars.barh(range(len(best)), probabilities[clip][best], color=[CURATED if t else "silver" for t in true])
        bars.set_yticks(range(len(best)), [plain(shortened(vocabulary[i])) for i in best], fontsize=8)
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
    figure, axis = _labels_figure(shown.index, title, "lwlrap (number of clips)")
    bars = axis.barh(np.arange(len(shown)), shown["lwlrap"], color=CURATED)
    axis.bar_label(bars, [f"{row.lwlrap:.3f} ({row.clips})" for row in shown.itertuples()], padding=3, fontsize=7)
    axis.set(xlim=(0, 1.15), xticks=np.linspace(0, 1, 6))
    return figure


def confusion_figure(pairs, title=""):
    """The fifteen pairs of labels that are confused most.

    Parameters
    ----------
    pairs : pandas.DataFrame
        As `lwlrap.confused_pairs` gives it.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    shown = pairs[:15][::-1]
    figure, axis = _labels_figure(
        [f"{shortened(row.true)}: {shortened(row.above)}" for row in shown.itertuples()], title,
        "clips with the true label (left) for which the other (right) is ranked above it")
    place = np.arange(len(shown))
    axis.barh(place, shown["of"], color=GREY)
    bars = axis.barh(place, shown["clips"], color=NOISY)
    axis.bar_label(bars, [f"{row.clips} of {row.of}" for row in shown.itertuples()], padding=3, fontsize=7)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlim(0, 1.15 * shown["of"].max() if len(shown) else 1)
    return figure


def members_table(truth, probabilities, members):
    """What each member does for an ensemble.

    Parameters
    ----------
    truth : array (clips, labels)
    probabilities : array (networks, clips, labels)
    members : sequence of str (networks,)
        The member that each network belongs to, such as ``"cnn-model-1, model 2"``.

    Returns
    -------
    pandas.DataFrame
        A row a member: its lwlrap `alone`; the ensemble's `without` it (NaN if there is no other); and `effect`, the
        whole ensemble's less that.
    """
    members = np.asarray(members)
    whole = lwlrap(truth, ensemble_mean(probabilities))
    rows = {}
    for member in dict.fromkeys(members):
        own = members == member
        without = np.nan if own.all() else lwlrap(truth, ensemble_mean(probabilities[~own]))
        rows[member] = {"alone": lwlrap(truth, ensemble_mean(probabilities[own])), "without": without,
                        "effect": whole - without}
    return pd.DataFrame.from_dict(rows, "index")


def members_figure(table, whole, title=""):
    """Each member of an ensemble alone, and the ensemble without it, beside the whole.

    Parameters
    ----------
    table : pandas.DataFrame
        As `members_table` gives it.
    whole : float
        lwlrap of the ensemble.
    title : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure, axis = _labels_figure(table.index[::-1], title, "lwlrap", line=0.3)
    place = np.arange(len(table))[::-1]
    axis.axvline(whole, color="black", lw=1, label=f"the ensemble: {whole:.3f}")
    axis.plot(table["alone"], place, "o", color=CURATED, label="alone")
    axis.plot(table["without"], place, "D", color=NOISY, label="the ensemble without it")
    axis.grid(axis="x", alpha=0.3)
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def _count_clips(axis):
    """An axis of numbers of clips, and the legend where it hides no bar."""
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def _labels_figure(labels, title, xlabel, line=0.2):
    """A figure with one line a label, as high as they are many."""
    figure, axis = plt.subplots(figsize=(8, 1 + line * len(labels)), layout="constrained")
    axis.set_yticks(np.arange(len(labels)), [plain(shortened(label, 48)) for label in labels], fontsize=8)
    axis.set(title=title, xlabel=xlabel, ylim=(-0.7, len(labels) - 0.3))
    return figure, axis
