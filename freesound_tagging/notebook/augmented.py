"""What the augmentations do to a spectrogram: figures."""

from functools import partial
from inspect import signature

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.patches import Rectangle

from ..augment import (
    AUGMENTATIONS,
    PUBLISHED,
    apply_mixup,
    apply_spec_augment,
    apply_specmix,
    draw_mixup,
    draw_spec_augment,
    draw_specmix,
    mixup,
    spec_augment,
    specmix,
    zoom_crop,
)
from .plots import plain, shortened, show_excerpt, show_frequencies

NAMES = {specmix: "SpecMix", mixup: "mixup", spec_augment: "SpecAugment", zoom_crop: "zoom and crop"}
SHOWN = {NAMES.get(step, step.__name__): (step,) for step in (*NAMES, *AUGMENTATIONS)} | {"the full chain": PUBLISHED}
DRAWN = {mixup: (draw_mixup, apply_mixup), specmix: (draw_specmix, apply_specmix),
         spec_augment: (draw_spec_augment, apply_spec_augment)}  # what can be looked at between draw and result
# The sliders of their settings: what it says, least and greatest value, and step. A pair has two.
SETTINGS = {
    "max_zoom": (("greatest zoom", 1.0, 2.0, 0.05),),
    "max_change": (("greatest change", 0.0, 0.9, 0.05),),
    "p": (("probability", 0.0, 1.0, 0.05),),
    "alpha": (("mixup's alpha", 0.1, 2.0, 0.1),),
    "warp": (("time warp", 0.0, 0.45, 0.05),),
    "min_width": (("least stripe width", 0.0, 1.0, 0.05),),
    "max_width": (("greatest stripe width", 0.0, 1.0, 0.05),),
    "stripes": (("stripes of mel bands", 0, 4, 1), ("stripes of frames", 0, 4, 1)),
}


def settings_of(name):
    """The settings of one of `SHOWN` and their published values, a pair where there are two sliders."""
    found = [parameter for step in SHOWN[name] for parameter in signature(step).parameters.values()]
    return {setting: next(p.default for p in found if p.name == setting)
            for setting in SETTINGS if setting in [p.name for p in found]}


def augmented(images, targets, steps, seed=0):
    """Two clips after `steps`, each the other's partner, and bool (mel bands, frames) of what stripes have replaced.

    That is what SpecMix has put into the first clip, or SpecAugment has blanked. Draws in which a clip is its own
    partner are passed over.
    """
    generator = torch.Generator().manual_seed(seed)
    while True:
        results, replaced, mixed = (images, targets), torch.zeros_like(images[0, 0], dtype=torch.bool), True
        for step in steps:
            function = getattr(step, "func", step)
            if function not in DRAWN:
                results = step(*results, generator=generator)
                continue
            draw, apply = DRAWN[function]
            drawn = draw(results[0], generator=generator, **getattr(step, "keywords", {}))
            results = apply(*results, *drawn)
            if function is mixup or function is specmix:
                mixed &= bool(drawn[0][0] == 1)  # the first clip's partner
            if function is not mixup:
                replaced = drawn[1][0, 0]
        if mixed:
            return *results, replaced


def augmentation_figure(images, targets, vocabulary, seed=0, config=None):
    """What the published figure shows: two clips, and the image and labels that mixup, SpecAugment and SpecMix make.

    SpecMix has one stripe of mel bands and two of frames, as published. Shares and widths are drawn from wider ranges
    than in training, so that something is seen of each.

    Parameters
    ----------
    images : torch.Tensor, float (2, 1, mel bands, frames)
        Two excerpts, as `some_excerpts` gives them.
    targets : torch.Tensor, float (2, labels)
    vocabulary : sequence of str
    seed : int
    config : MelConfig, optional
        The images', for an axis in Hz; without it, of mel bands.

    Returns
    -------
    matplotlib.figure.Figure
    """
    stripes = (1, 2)
    shown = {
        "mixup": partial(mixup, alpha=1.0),
        "SpecAugment": partial(spec_augment, stripes=stripes),
        "SpecMix": partial(specmix, stripes=stripes, min_width=0.1),
    }
    figure, axes = plt.subplots(1, 5, figsize=(10, 2.7), layout="constrained")
    for axis, clip in zip(axes, (0, 1)):
        show_excerpt(axis, images[clip, 0], targets[clip], vocabulary, f"clip {'AB'[clip]}")
    show_frequencies(axes[0], config)
    for axis, (name, augmentation) in zip(axes[2:], shown.items()):
        result, weights, replaced = augmented(images, targets, [augmentation], seed)
        show_excerpt(axis, result[0, 0], weights[0], vocabulary, name)
        if name == "SpecMix":
            _outline(axis, replaced)
    return figure


def explorer_figure(images, targets, vocabulary, name, settings, seed=0, config=None):
    """Two clips, what an augmentation makes of the first, and the weights of its labels before and after.

    Stripes that SpecMix takes from clip B, or that SpecAugment blanks, are outlined.

    Parameters
    ----------
    images : torch.Tensor, float (2, 1, mel bands, frames)
    targets : torch.Tensor, float (2, labels)
    vocabulary : sequence of str
    name : str
        One of `SHOWN`.
    settings : dict
        Of it, as `settings_of` gives them.
    seed : int
    config : MelConfig, optional
        The images', for an axis in Hz; without it, of mel bands.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the settings do not go together.
    """
    steps = [partial(step, **{setting: value for setting, value in settings.items()
                              if setting in signature(step).parameters}) for step in SHOWN[name]]
    result, weights, replaced = augmented(images, targets, steps, seed)
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.7), layout="constrained", width_ratios=(1, 1, 1, 0.8))
    for axis, clip in zip(axes, (0, 1)):
        show_excerpt(axis, images[clip, 0], targets[clip], vocabulary, f"clip {'AB'[clip]}")
    show_frequencies(axes[0], config)
    show_excerpt(axes[2], result[0, 0], weights[0], vocabulary, f"clip A after {name}")
    _outline(axes[2], replaced)
    own, after = targets[0].numpy(), weights[0].numpy()
    shown = [i for i in np.argsort(-np.maximum(own, after), kind="stable")[:6] if max(own[i], after[i]) > 0.005][::-1]
    place = np.arange(len(shown))
    bars = axes[3].barh(place - 0.2, after[shown], 0.38, color="tab:orange", label="after")
    axes[3].bar_label(bars, [f"{after[i]:.2f}" for i in shown], padding=3, fontsize=8)
    axes[3].barh(place + 0.2, own[shown], 0.38, color="0.75", label="clip A before")
    axes[3].set_yticks(place, [plain(shortened(vocabulary[i], 20)) for i in shown], fontsize=8)
    axes[3].set(title="weights of the labels", xlim=(0, 1.2), ylim=(-0.6, max(len(shown), 4) - 0.4))
    axes[3].legend(fontsize=8, loc="upper right")
    return figure


def _outline(axis, mask):
    """Frame the stripes: runs of whole rows and of whole columns of the mask."""
    bands, frames = mask.shape
    for full, box in ((mask.all(1), lambda start, size: ((-0.5, start - 0.5), frames, size)),
                      (mask.all(0), lambda start, size: ((start - 0.5, -0.5), size, bands))):
        edges = np.flatnonzero(np.diff(np.r_[0, full.numpy().astype(int), 0]))
        for start, end in zip(edges[::2], edges[1::2]):
            axis.add_patch(Rectangle(*box(start, end - start), fill=False, ec="cyan", lw=1.2, clip_on=False))


def batch_figure(before, targets_before, after, targets_after, vocabulary, config=None):
    """The first six excerpts of a batch above what an augmentation made of them, with the labels' weights.

    Parameters
    ----------
    before, after : torch.Tensor, float (batch, 1, mel bands, frames)
    targets_before, targets_after : torch.Tensor, float (batch, labels)
    vocabulary : sequence of str
    config : MelConfig, optional
        The images', for an axis in Hz; without it, of mel bands.

    Returns
    -------
    matplotlib.figure.Figure
    """
    most = min(6, len(before))
    figure, axes = plt.subplots(2, most, figsize=(2.3 * most, 6), layout="constrained", squeeze=False)
    for i, (above, below) in enumerate(axes.T):
        show_excerpt(above, before[i, 0], targets_before[i], vocabulary, "" if i else "excerpts")
        show_excerpt(below, after[i, 0], targets_after[i], vocabulary, "" if i else "augmented")
    for axis in axes[:, 0]:
        show_frequencies(axis, config)
    return figure


def unlike(clips, targets):
    """The first clip that shares no label with the first of all, or else the last one."""
    return next((clip for clip in clips if not (targets[clip] * targets[clips[0]]).any()), clips[-1])


def some_of_each(targets, most=200):
    """The first clips of each label, `most` in all."""
    targets = np.asarray(targets) > 0
    rank = np.where(targets, targets.cumsum(0), len(targets) + 1).min(1)  # its number among the clips of a label
    return sorted(np.argsort(rank, kind="stable")[:most], key=lambda clip: (targets[clip].argmax(), clip))
