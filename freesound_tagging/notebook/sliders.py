"""The augmentations with sliders, by ipywidgets."""

import io
from base64 import b64encode

import ipywidgets as widgets
import matplotlib.pyplot as plt
import numpy as np
import torch

from .augmented import SETTINGS, SHOWN, explorer_figure, settings_of, some_of_each, unlike
from .plots import player, some_excerpts, span_of


class AugmentationExplorer(widgets.VBox):
    """Sliders over `explorer_figure`, as `augmentation_explorer` gives them.

    Where widgets cannot run (GitHub, nbviewer, a notebook executed without a browser) it shows as the figure of its
    present state.
    """

    def __init__(self, table, store, targets, vocabulary, name="SpecMix"):
        self._table, self._store, self._targets = table, store, torch.as_tensor(targets)
        self._vocabulary = vocabulary
        clips = some_of_each(targets)
        options = [(f"{', '.join(table['labels'].iloc[clip])}: {table['fname'].iloc[clip]}", int(clip))
                   for clip in clips]
        wide = widgets.Layout(width="auto")
        columns = "repeat(auto-fit, minmax(min(28em, 100%), 1fr))"  # one below the other where it is narrow
        self.clips = tuple(widgets.Dropdown(options=options, value=int(clip), description=f"clip {letter}", layout=wide)
                           for letter, clip in zip("AB", (clips[0], unlike(clips, targets))))
        self._players = tuple(widgets.HTML() for _ in self.clips)
        self.augmentation = widgets.Dropdown(options=list(SHOWN), value=name, description="change")
        self.seed = widgets.IntSlider(min=0, max=99, description="draw", continuous_update=False)
        self.settings = {setting: tuple(_slider(*slider) for slider in sliders)
                         for setting, sliders in SETTINGS.items()}
        clip_boxes, chosen, self._sliders = (widgets.GridBox(layout=widgets.Layout(grid_template_columns=columns))
                                             for _ in range(3))
        clip_boxes.children = [widgets.VBox(pair) for pair in zip(self.clips, self._players)]
        chosen.children = [self.augmentation, self.seed]
        self.image = widgets.Image(format="png", layout=widgets.Layout(width="100%"))
        super().__init__([clip_boxes, chosen, self._sliders, self.image])
        self._still = True
        self._choose_clips()
        self._choose_augmentation()
        for dropdown in self.clips:
            dropdown.observe(self._choose_clips, "value")
        self.augmentation.observe(self._choose_augmentation, "value")
        self.seed.observe(self._draw, "value")
        for sliders in self.settings.values():
            for slider in sliders:
                slider.observe(self._change, "value")

    def figure(self):
        """The present state as a figure."""
        clips = [dropdown.value for dropdown in self.clips]
        values = {setting: tuple(slider.value for slider in self.settings[setting])
                  for setting in settings_of(self.augmentation.value)}
        return explorer_figure(some_excerpts(self._store, clips), self._targets[clips], self._vocabulary,
                               self.augmentation.value,
                               {setting: value if len(value) > 1 else value[0] for setting, value in values.items()},
                               self.seed.value, self._store.config)

    def _choose_clips(self, change=None):
        for dropdown, html in zip(self.clips, self._players):
            clip = self._table.iloc[dropdown.value]
            html.value = player(clip["path"], self._store.config, "", span=span_of(clip)).data
        self._draw()

    def _choose_augmentation(self, change=None):
        published = settings_of(self.augmentation.value)
        self._sliders.children = [slider for setting in published for slider in self.settings[setting]]
        self._still = True  # one figure for all sliders
        for setting, value in published.items():
            for slider, number in zip(self.settings[setting], np.atleast_1d(value)):
                slider.value = number.item()
        self._still = False
        self._draw()

    def _change(self, change):
        """A setting that is moved past the one that it has to agree with takes it along, in one picture."""
        if self._still:
            return
        least, greatest = (self.settings[setting][0] for setting in ("min_width", "max_width"))
        if least.value > greatest.value:
            self._still = True
            (greatest if change.owner is least else least).value = change.new
            self._still = False
        self._draw()

    def _draw(self, change=None):
        if self._still:
            return
        figure = self.figure()
        png = io.BytesIO()
        figure.savefig(png, format="png", dpi=90)
        plt.close(figure)
        self.image.value = png.getvalue()

    def _repr_mimebundle_(self, **kwargs):
        return super()._repr_mimebundle_(**kwargs) | {"image/png": b64encode(self.image.value).decode()}


def _slider(says, low, high, step):
    kind = widgets.IntSlider if isinstance(step, int) else widgets.FloatSlider
    return kind(min=low, max=high, step=step, value=low, description=says, continuous_update=False,
                style={"description_width": "min(11em, 44%)"}, layout=widgets.Layout(width="auto"))
