"""What was heard in a recording beside what is known to be in it."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import to_rgba
from matplotlib.ticker import MultipleLocator

from .plots import plain, shortened, show_frequencies, show_spectrogram
from .timelines import TICKS, clock

FOUND, TRUE = "tab:blue", "tab:orange"


def events_figure(found, truth, image=None, config=None, begin=0.0, title="", top=20):
    """Found and true events of a recording, one above the other in a row for each label, over its time.

    However short an event is and however long the recording, its bar is wide enough to be seen.

    Parameters
    ----------
    found, truth : pandas.DataFrame
        `start` and `end` in seconds, and `label`, of this recording alone: as `events` and `read_events` give them.
        With a `probability`, the less probable an event is, the paler.
    image : array, uint8 (n_mels, frames), optional
        The recording's, drawn above the rows: ``to_image(log_mel(load_clip(path, config), config))``.
    config : MelConfig, optional
        The image's.
    begin : float
        Second of the recording at which the image begins: later than 0 where silence was trimmed, as
        ``timeline.index[0]`` says.
    title : str
    top : int
        The most rows: the labels that are there longest, found or true.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no event at all, or an image without its config.
    """
    if not len(found) + len(truth):
        raise ValueError("neither a found nor a true event: expected one at least")
    if image is not None and config is None:
        raise ValueError("an image and no config: give the MelConfig that the image was made with")
    lasting = {}
    for table in (found, truth):
        for label, seconds in (table["end"] - table["start"]).groupby(table["label"]).sum().items():
            lasting[label] = lasting.get(label, 0) + seconds
    labels = sorted(sorted(lasting, key=lasting.get)[-top:], reverse=True)
    heights = ([] if image is None else [2]) + [0.15 + 0.25 * len(labels)]
    figure, axes = plt.subplots(len(heights), 1, figsize=(9, 0.9 + sum(heights)), sharex=True, layout="constrained",
                                height_ratios=heights, squeeze=False)
    if image is not None:
        show_spectrogram(axes[0, 0], image, config, begin)
        show_frequencies(axes[0, 0], config)
    rows = axes[-1, 0]
    for table, place, colour in ((found, 0.5, FOUND), (truth, 0.15, TRUE)):
        surely = 0.25 + 0.75 * table.get("probability", pd.Series(1.0, table.index))
        for row, label in enumerate(labels):  # all bars at once, as they may be thousands
            of_it = table["label"] == label
            spans = zip(table["start"][of_it], (table["end"] - table["start"])[of_it])
            colours = [to_rgba(colour, alpha) for alpha in surely[of_it]]
            rows.broken_barh(list(spans), (row + place, 0.35), facecolors=colours, edgecolors=colours, linewidth=0.7)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in (FOUND, TRUE)]
    rows.legend(handles, ["found", "true"], fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    rows.set_yticks(np.arange(len(labels)) + 0.5, [plain(shortened(str(label))) for label in labels], fontsize=8)
    rows.set_ylim(0, len(labels))
    end = max(table["end"].max() for table in (found, truth) if len(table))
    if image is not None:
        end = max(end, begin + image.shape[1] * config.hop_length / config.sample_rate)
    rows.set_xlim(0, end)
    rows.xaxis.set_major_locator(MultipleLocator(next((step for step in TICKS if end <= 10 * step), end / 10)))
    rows.xaxis.set_major_formatter(lambda seconds, _: clock(seconds, end))
    rows.set_xlabel("time (s)" if end < 120 else "time (min:s)" if end < 3600 else "time (h:min:s)")
    axes[0, 0].set_title(plain(title))
    return figure
