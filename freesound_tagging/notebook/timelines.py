"""What is heard when: strips of labels over the time of a sound, and a player that jumps to its events."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from matplotlib.ticker import MultipleLocator

from ..images.mel import read_stretch
from ..prediction.tagging import TOUCH, default_threshold, spoken_for
from .plots import as_html, plain, shortened, show_frequencies, show_spectrogram, sound_element

# Seconds from one mark of a time axis to the next.
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)


def timeline_figure(table, image=None, config=None, title="", threshold=None, top=12):
    """Which label is heard when: a strip for each label that occurs, over seconds, minutes or hours.

    Of more than 1,500 windows, the greatest probability of neighbours is drawn, so that nothing short is lost. Where
    silence was left out, a strip is empty.

    Parameters
    ----------
    table : pandas.DataFrame
        As `prediction.timeline` gives it.
    image : array, uint8 (n_mels, frames), optional
        The same sound's, drawn above the strips: ``to_image(log_mel(load_clip(path, config), config))``.
    config : MelConfig, optional
        The image's.
    title : str
    threshold : float, optional
        A label occurs if a window has it with this probability; if not given, as for `prediction.events`.
    top : int
        The most strips: those of the greatest probability in any window. If no label occurs, the first three of them.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no window, or an image without its config.
    """
    if not len(table) or not len(table.columns) or top < 1:
        raise ValueError(f"a timeline of {len(table)} windows and {len(table.columns)} labels, top={top}: expected one "
                         "of each at least")
    if image is not None and config is None:
        raise ValueError("an image and no config: give the MelConfig that the image was made with")
    threshold = default_threshold(table.attrs.get("calibrated")) if threshold is None else threshold
    best = table.max().nlargest(top)
    occurring = int((best >= threshold).sum())
    best = best[:occurring or 3].index[::-1]
    heights = [max(0.8, 0.25 * len(best))]  # inches; of one strip too there is room for the colour bar's numbers
    if image is not None:
        heights.insert(0, 2)
    figure, axes = plt.subplots(len(heights), 1, figsize=(9, 0.7 + sum(heights)), sharex=True, layout="constrained",
                                height_ratios=heights, squeeze=False)
    heat = axes[-1, 0]
    axes[0, 0].set_title(plain(title))
    if image is not None:
        show_spectrogram(axes[0, 0], image, config, table.index[0])
        show_frequencies(axes[0, 0], config)
    edges, values = _strips(table[best])
    colours = heat.pcolormesh(edges, np.arange(len(best) + 1), values.T, vmin=0, vmax=1, cmap="Blues")
    heat.set_yticks(np.arange(len(best)) + 0.5, [plain(shortened(str(label))) for label in best], fontsize=8)
    lasting = edges[-1] - edges[0]
    heat.xaxis.set_major_locator(MultipleLocator(next((step for step in TICKS if lasting <= 10 * step), lasting / 10)))
    heat.xaxis.set_major_formatter(lambda seconds, _: clock(seconds, edges[-1]))
    time = "time (s)" if edges[-1] < 120 else "time (min:s)" if edges[-1] < 3600 else "time (h:min:s)"
    heat.set_xlabel(time if occurring else f"{time}; no label has a probability of {threshold:g}")
    figure.colorbar(colours, ax=list(axes[:, 0]), aspect=sum(heights) / 0.15, fraction=0.05, label="probability")
    return figure


def _strips(table, most=1500):
    """What windows speak for, side by side: edges (columns + 1,) in seconds and probabilities (columns, labels)."""
    starts, ends = spoken_for(table)
    apart = 1 + np.flatnonzero(starts[1:] - ends[:-1] > TOUCH)  # where silence was left out
    firsts = np.union1d(apart, np.arange(0, len(table), -(-len(table) // most)))
    edges, columns = [starts[0]], []
    for first, last in zip(firsts, [*firsts[1:], len(table)]):
        if first in apart:
            columns.append(np.full(table.shape[1], np.nan))
            edges.append(starts[first])
        columns.append(table.iloc[first:last].max().to_numpy())
        edges.append(ends[last - 1])
    return np.array(edges), np.array(columns)


def clock(seconds, longest):
    """A time of a sound as one reads it: ``"7.5"``, ``"12:07"`` or ``"2:12:07"``, by how long the sound is."""
    if longest < 120:
        return f"{seconds:g}"
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02}" if longest < 3600 else f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def event_player(path, events, config, seconds=120, most=200):
    """A player of a sound, with its name, that jumps to an event when it is clicked.

    The events are buttons, label by label. Where a notebook is only shown, the player plays and the buttons are a list.

    Parameters
    ----------
    path : path
    events : pandas.DataFrame
        As `prediction.events` gives it.
    config : MelConfig
    seconds : float
        Of the sound that are kept in the notebook, from its beginning. Events after them can be read, not clicked.
    most : int
        Events shown: the most probable ones.

    Returns
    -------
    IPython.display.HTML
        What is wrong with the file, if it cannot be read.
    """
    try:
        sound = sound_element(read_stretch(path, config, 0, seconds), config.sample_rate)
    except OSError as error:
        return HTML(as_html(str(error)))
    shown = events.nlargest(most, "probability").sort_values("start")
    longest = max(shown["end"], default=0)
    rows = []
    for label, of_it in shown.groupby("label", sort=False):
        jumps = "".join(
            f'<button{"" if row.start < seconds else " disabled"} title="{row.probability:.2f}, to '
            f'{clock(round(row.end, 1), longest)}" onclick="const player = this.closest(\'.heard\').querySelector('
            f"'audio'); player.currentTime = {row.start:.2f}; player.play()\">{clock(round(row.start, 1), longest)}"
            "</button> " for row in of_it.itertuples())
        rows.append(f"<div><b>{as_html(str(label))}</b> {jumps}</div>")
    left = len(events) - len(shown)
    more = f"<div>and {left} less probable ones</div>" if left else ""
    name, heard = as_html(Path(path).name), "".join(rows) or "<div>no event</div>"
    return HTML(f'<div class="heard">{sound} {name}{heard}{more}</div>')
