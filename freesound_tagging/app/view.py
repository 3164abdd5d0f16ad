"""What the page shows of a sound, as HTML. Words from data are escaped; colours are the theme's, light and dark."""

import base64
import html
import io
import threading
import urllib.parse

import pandas as pd

from ..notebook.plots import as_html
from ..notebook.timelines import clock, timeline_figure
from ..prediction import events
from .downloads import DOWNLOADS

TOP = 5  # labels with bars
MOST = 200  # events in the table: the most probable ones
DRAWING = threading.Lock()  # pyplot is one for all threads
STYLE = """
.heard { color: var(--body-text-color) }
.heard a { color: var(--link-text-color); text-decoration: underline }
.heard h3 { overflow-wrap: anywhere; margin: 0 0 .6em; font-weight: 600 }
.heard audio { width: 100%; margin: .8em 0 }
.dark .heard audio { color-scheme: dark }
.heard .bars { display: grid; grid-template-columns: minmax(6em, max-content) 1fr 3em; gap: .35em .8em;
               align-items: center }
.heard .bars span { overflow-wrap: anywhere }
.heard .bar { height: .8em; border-radius: .3em; background: var(--border-color-primary) }
.heard .bar div { height: 100%; border-radius: .3em; background: #3b82f6 }
.heard .number { text-align: right; font-variant-numeric: tabular-nums }
.heard .figure { overflow-x: auto; background: white; border-radius: .5em }
.heard .figure img { display: block; width: 100%; min-width: 40em; margin: 0 }
.heard .table { max-height: 24em; overflow: auto; margin-bottom: .8em }
.heard table { width: 100%; border-collapse: collapse }
.heard th, .heard td { text-align: left; border: 0; border-bottom: 1px solid var(--border-color-primary);
                       padding: .35em .8em .35em 0 }
.heard td { font-variant-numeric: tabular-nums }
.heard td button { background: none; border: 0; padding: .2em 0; font: inherit; color: var(--link-text-color);
                   cursor: pointer; text-decoration: underline }
.heard .downloads a { display: inline-block; margin: 0 1.2em .4em 0 }
.heard .said { overflow-wrap: anywhere; border-left: .25em solid #f59e0b; padding: .3em .8em; margin: .4em 0 }
.heard .strip { display: grid; grid-template-columns: minmax(5em, max-content) 1fr 3em; gap: .35em .8em;
                align-items: center }
.heard .strip svg { width: 100%; height: 1.3em; background: var(--border-color-primary); border-radius: .3em }
"""


def said(text):
    """One line that the page has to say."""
    return f'<div class="heard"><p class="said" role="status">{as_html(text)}</p></div>'


def _bars(probabilities):
    return "".join(f'<span>{as_html(str(label))}</span><div class="bar"><div style="width: {100 * value:.1f}%"></div>'
                   f'</div><span class="number">{value:.2f}</span>' for label, value in probabilities.items())


def sound_view(visit, image, config):
    """The five most probable labels with bars, a player, and the timeline under the spectrogram.

    Parameters
    ----------
    visit : Visit
        Of a sound that has been listened to.
    image, config
        As `hearing.overview` gives them.

    Returns
    -------
    str
        HTML, whose player asks for the sound by the visit's token.
    """
    heard = visit.heard
    remark = f'<p class="said">{as_html(heard.remark)}</p>' if heard.remark else ""
    return (f'<div class="heard"><h3>{as_html(visit.path.name)}</h3>{remark}'
            f'<div class="bars">{_bars(heard.best(TOP))}</div>'
            f'<audio controls preload="metadata" src="heard/{visit.token}/sound"></audio>'
            f'<div class="figure"><img alt="spectrogram and timeline" src="{_figure(heard, image, config)}"></div>'
            "</div>")


def _figure(heard, image, config):
    """The timeline's figure as an address that has it within."""
    import matplotlib.pyplot as plt

    picture = io.BytesIO()
    with DRAWING:
        figure = timeline_figure(heard.timeline, image, config)
        figure.savefig(picture, format="png", dpi=130)
        plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()


def events_view(visit, threshold):
    """The events as a table whose starts are buttons that jump there in the player, and the files to take home.

    Parameters
    ----------
    visit : Visit
        Of a sound that has been listened to.
    threshold : float
        From which probability on a label is an event.

    Returns
    -------
    str
        HTML.
    """
    table = events(visit.heard.timeline, threshold)
    shown = table.nlargest(MOST, "probability").sort_values(["start", "end"])
    longest = visit.heard.timeline.attrs["duration"]
    rows = "".join(
        f'<tr><td><button title="play from here" onclick="const player = document.querySelector(\'.heard audio\'); '
        f'player.currentTime = {row.start:.2f}; player.play()">{clock(round(row.start, 1), longest)}</button></td>'
        f"<td>{clock(round(row.end, 1), longest)}</td><td>{as_html(str(row.label))}</td>"
        f'<td>{row.probability:.2f}</td></tr>' for row in shown.itertuples())
    if len(shown):
        head = "".join(f"<th>{name}</th>" for name in ("start", "end", "label", "probability"))
        rows = f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    else:
        rows = f"<p>No event: no label reaches {threshold:g} in any window.</p>"
    left = f"<p>and {len(table) - len(shown)} less probable ones</p>" if len(table) > len(shown) else ""
    links = "".join(
        f'<a download="{html.escape(visit.path.name)}.{ending}" '
        f'href="heard/{visit.token}/{ending}?{urllib.parse.urlencode({"threshold": threshold})}">{words}</a>'
        for ending, words in DOWNLOADS.items())
    return f'<div class="heard">{rows}{left}<div class="downloads">Download: {links}</div></div>'


def strip_view(columns, labels, most=60, top=6):
    """What a microphone has heard in its last windows: a strip for each of the most probable labels, now at the right.

    Parameters
    ----------
    columns : list of array, float32 (labels,)
        Window by window.
    labels : sequence of str
    most : int
        Windows shown.
    top : int
        Strips.

    Returns
    -------
    str
        HTML.
    """
    table = pd.DataFrame(columns[-most:], columns=labels)
    rows = []
    for label in table.max().nlargest(top).index:
        cells = "".join(f'<rect x="{most - len(table) + place}" width="1.05" height="1" fill="#3b82f6" '
                        f'fill-opacity="{value:.2f}"/>' for place, value in enumerate(table[label]) if value >= 0.005)
        rows.append(f'<span>{as_html(str(label))}</span><svg viewBox="0 0 {most} 1" preserveAspectRatio="none">{cells}'
                    f'</svg><span class="number">{table[label].iloc[-1]:.2f}</span>')
    return f'<div class="heard"><div class="strip" data-windows="{len(columns)}">{"".join(rows)}</div></div>'
