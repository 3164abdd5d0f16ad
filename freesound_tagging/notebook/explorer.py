"""The augmentations with sliders, where there are widgets, or as the figure of them."""

import warnings

import matplotlib.pyplot as plt
import torch

from .augmented import explorer_figure, settings_of, some_of_each, unlike
from .plots import some_excerpts


def augmentation_explorer(table, store, targets, vocabulary, name="SpecMix"):
    """Two clips with players, an augmentation, its settings and the draw, to be changed over `explorer_figure`.

    Parameters
    ----------
    table : pandas.DataFrame
        The clips of the store: `fname`, `labels`, `path`.
    store : SpectrogramStore
    targets : array (clips, labels)
    vocabulary : sequence of str
    name : str
        The augmentation shown first, one of `SHOWN`.

    Returns
    -------
    AugmentationExplorer or matplotlib.figure.Figure
        The figure of what would be shown first, with a warning, where ipywidgets is not installed.
    """
    try:
        from .sliders import AugmentationExplorer
    except ModuleNotFoundError as error:
        if error.name != "ipywidgets":
            raise
        warnings.warn("ipywidgets is not installed: the explorer is a picture; install it to have sliders",
                      stacklevel=2)
        clips = some_of_each(targets)
        shown = [clips[0], unlike(clips, targets)]
        figure = explorer_figure(some_excerpts(store, shown), torch.as_tensor(targets)[shown], vocabulary, name,
                                 settings_of(name), config=store.config)
        plt.close(figure)  # or a notebook shows it twice
        return figure
    return AugmentationExplorer(table, store, targets, vocabulary, name)
