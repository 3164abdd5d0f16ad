"""Found and true events, drawn one above the other."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from freesound_tagging.images.mel import MelConfig
from freesound_tagging.notebook.recordings import FOUND, TRUE, events_figure

FOUND_EVENTS = pd.DataFrame({"start": [1.0, 30], "end": [4.0, 31], "label": ["Bark", "Meow"],
                             "probability": [1.0, 0.4]})
TRUE_EVENTS = pd.DataFrame({"start": [2.0, 50], "end": [4.5, 59], "label": ["Bark", "Rain$"]})


def bars_of(rows, names):
    """Start, end, label and colour of each bar that is drawn, of the labels from below."""
    return [(*path.vertices[:, 0][[0, 2]].round(6).tolist(), names[int(path.vertices[0, 1])], tuple(colour))
            for bars in rows.collections for path, colour in zip(bars.get_paths(), bars.get_facecolor())]


def test_every_event_is_a_bar_over_its_time_in_its_labels_row():
    figure = events_figure(FOUND_EVENTS, TRUE_EVENTS, np.zeros((128, 4000), np.uint8), MelConfig(), title="a.wav")
    picture, rows = figure.axes
    figure.canvas.draw()
    names = [text.get_text() for text in rows.get_yticklabels()]
    assert names == ["Rain\\$", "Meow", "Bark"]
    assert set(bars_of(rows, names)) == {
        (1.0, 4.0, "Bark", to_rgba(FOUND, 1.0)), (30.0, 31.0, "Meow", to_rgba(FOUND, 0.55)),
        (2.0, 4.5, "Bark", to_rgba(TRUE, 1.0)), (50.0, 59.0, "Rain\\$", to_rgba(TRUE, 1.0))}
    # 4,000 frames of 694 samples at 44,100 Hz
    assert rows.get_xlim() == picture.get_xlim() == pytest.approx((0, 4000 * 694 / 44_100))
    assert rows.get_xlabel() == "time (s)" and picture.get_title() == "a.wav"


def test_no_more_rows_than_asked_for_and_those_that_last_longest():
    rows, = events_figure(FOUND_EVENTS, TRUE_EVENTS, top=2).axes
    assert [text.get_text() for text in rows.get_yticklabels()] == ["Rain\\$", "Bark"]
    rows, = events_figure(FOUND_EVENTS[:0], TRUE_EVENTS).axes
    assert len(bars_of(rows, "ab")) == 2


def test_three_seconds_of_a_night_are_seen():
    call = pd.DataFrame({"start": [14_400.0], "end": [14_403.0], "label": ["Bark"]})
    night = pd.DataFrame({"start": [0.0], "end": [28_800.0], "label": ["Rain"]})
    figure = events_figure(call, night)
    figure.canvas.draw()
    bluer = np.asarray(figure.canvas.buffer_rgba()).astype(int) @ [-1, 0, 1, 0]  # than red
    reach = figure.axes[0].get_window_extent()
    row = bluer[:, round(reach.x0 + reach.width / 2) - 3:round(reach.x0 + reach.width / 2) + 4]
    expected = np.array(to_rgba(FOUND)) @ [-255, 0, 255, 0]
    assert row.max() > expected / 2, "at half past the night the bar is at least half as blue as one that is wide"


def test_thousands_of_events_are_drawn_as_a_few_things():
    many = pd.DataFrame({"start": np.arange(3000.0), "end": np.arange(3000.0) + 0.5, "label": ["Bark", "Meow"] * 1500})
    rows, = events_figure(many, many).axes
    assert len(bars_of(rows, "ab")) == 6000
    assert len(rows.get_children()) < 50


def test_nothing_to_draw_is_said():
    with pytest.raises(ValueError, match="neither a found nor a true event"):
        events_figure(FOUND_EVENTS[:0], TRUE_EVENTS[:0])
    with pytest.raises(ValueError, match="an image and no config"):
        events_figure(FOUND_EVENTS, TRUE_EVENTS, np.zeros((128, 400), np.uint8))
