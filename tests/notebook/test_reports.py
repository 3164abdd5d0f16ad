"""What is said about a run: tables worked out by hand, figures that show all of it."""

import base64
import copy
import io
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch

from freesound_tagging.images.mel import MelConfig
from freesound_tagging.lwlrap import clip_lwlrap, confused_pairs, lwlrap
from freesound_tagging.notebook import explorer, plots, reports, timelines
from freesound_tagging.notebook.plots import some_excerpts
from freesound_tagging.training.profile import published_stages


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def texts(axis):
    return [text.get_text() for text in axis.texts] + [label.get_text() for label in axis.get_yticklabels()]


@pytest.mark.parametrize("peak", [0.9, -0.9])
@pytest.mark.parametrize("seconds", [2, 17.3])
def test_a_peak_of_one_sample_is_drawn_at_its_height_and_time(tmp_path, peak, seconds):
    signal = 0.05 * np.sin(np.arange(int(seconds * 44_100)))
    signal[30_011] = peak
    sf.write(tmp_path / "a.wav", signal, 44_100, subtype="FLOAT")
    figure = plots.clip_figure(tmp_path / "a.wav", MelConfig())
    wave = figure.axes[0]
    (line,) = wave.lines
    place = np.abs(line.get_ydata()).argmax()
    assert line.get_ydata()[place] == np.float32(peak)
    assert line.get_xdata()[place] == pytest.approx(30_011 / 44_100, abs=seconds / 4000)
    figure.canvas.draw()
    ink = np.asarray(figure.canvas.buffer_rgba())[::-1, :, 0] < 200  # from the bottom, as display coordinates are
    left, bottom = wave.transData.transform((30_011 / 44_100, peak * 0.97)).round().astype(int)
    assert ink[bottom - 1:bottom + 2, left - 1:left + 2].any()
    assert not ink[bottom - 1:bottom + 2, left + 10:left + 200].any()


def test_nothing_is_confused_where_all_is_right():
    reports.confusion_figure(confused_pairs(np.eye(3), np.eye(3), "abc"))


def test_the_members_effects_by_hand():
    truth = np.eye(2)
    right, wrong = [[0.9, 0.1], [0.2, 0.8]], [[0.45, 0.55], [0.6, 0.4]]
    table = reports.members_table(truth, np.array([right, wrong, wrong]), ["good", "bad", "bad"])
    assert lwlrap(truth, np.mean([right, wrong, wrong], 0)) == 1  # 0.6 against 0.4, 0.47 against 0.53
    np.testing.assert_allclose(table.loc["good"], [1, 0.5, 0.5])
    np.testing.assert_allclose(table.loc["bad"], [0.5, 1, 0])
    alone = reports.members_table(truth, np.array([right]), ["good"])
    assert alone.loc["good", "alone"] == 1 and np.isnan(alone.loc["good", "without"])
    figure = reports.members_figure(table, 1.0)
    dots, diamonds = figure.axes[0].lines[1:]
    assert dots.get_xdata().tolist() == [1, 0.5] and diamonds.get_xdata().tolist() == [0.5, 1]


def test_the_selection_table_shows_the_best_and_the_worst_with_both_scores(demo, demo_stores):
    config, n = demo_stores["noisy"].config, len(demo.noisy)
    scores = {"model 1": np.linspace(0.1, 1, n), "model 2": np.linspace(0.2, 0.9, n)}
    selected = np.sqrt(scores["model 1"] * scores["model 2"]) >= 0.5
    html = reports.selection_table(demo.noisy, scores, selected, config, most=2).data
    rows = re.findall("<tr>.*?</tr>", html)[1:]
    assert [re.findall("<td>(selected|turned down)</td>", row)[0] for row in rows] == ["selected"] * 2 + [
        "turned down"] * 2
    for row, clip in zip(rows, (n - 1, n - 2, 0, 1)):
        mean = np.sqrt(scores["model 1"][clip] * scores["model 2"][clip])
        for number in (scores["model 1"][clip], scores["model 2"][clip], mean):
            assert f"<td>{number:.2f}</td>" in row
        assert demo.noisy["fname"][clip] in row and "<audio" in row


def test_the_pipelines_picture_says_what_the_stages_do():
    axis = reports.pipeline_figure(published_stages()).axes[0]
    said = " ".join(texts(axis)).replace("$", "")
    for words in ("model 1\n(new)", "model 4", "noisy\nall", "≥ 0.5", "≤ 5 a fold", "= 1", "mean of 2, 3, 4"):
        assert words in said
    assert said.count("curated") == 3
    from_stage_to_stage, from_data, by_score = 3, 6, 3
    arrows = [text for text in axis.texts if getattr(text, "arrow_patch", None)]
    assert len(arrows) == from_stage_to_stage + from_data + by_score + 1  # and one to the ensemble
    assert len([line for line in axis.lines if len(line.get_xdata()) == 3]) == 3, "from each model that votes"
    assert {"scores out of fold", "votes"} <= set(texts(axis)), "what the lines are"


def test_every_label_is_in_the_figures(finished_run, demo):
    noisy = finished_run.clips.is_of("noisy")
    targets = finished_run.targets[~noisy]
    axis = reports.labels_figure({"curated": targets}, demo.vocabulary).axes[0]
    assert [bar.get_width() for bar in axis.patches] == targets.sum(0).tolist()
    assert set(texts(axis)) == set(demo.vocabulary)
    per_class = pd.DataFrame({"lwlrap": [0.5, 1.0, np.nan], "clips": [2, 3, 0]}, index=["a", "b", "none"])
    assert texts(reports.per_class_figure(per_class).axes[0]) == ["0.500 (2)", "1.000 (3)", "a", "b"]
    targets = finished_run.targets[noisy]
    selected = clip_lwlrap(targets, finished_run.out_of_fold(1)[noisy]) > 0.5
    bars = reports.selection_figure(selected, targets, demo.vocabulary).axes[0].patches
    assert sum(bar.get_width() for bar in bars[len(demo.vocabulary):]) == targets[selected].sum()


def test_a_stages_figure_has_a_line_a_fold_and_their_mean(finished_run):
    history = finished_run.history(2)
    loss, score = reports.training_figure(history, 2).axes
    assert len(loss.lines) == 3
    assert len(score.lines) == 4
    np.testing.assert_allclose(score.lines[-1].get_ydata(), np.mean([record["lwlrap"] for record in history], axis=0))


COSTLY = ["Ba$$", "$\\frac$", "a$", "b^$x_$", r"\$c$"]


def test_nothing_from_data_is_mathematics_or_mark_up(demo, demo_stores, tmp_path):
    """File names and labels with dollar signs, angle brackets and bytes that are no UTF-8: drawn as they are."""
    store, path = copy.copy(demo_stores["test"]), demo.test["path"][0]
    store.fnames = [f"$\\nonsense${clip}.wav" for clip in range(len(store))]
    excerpts, targets = some_excerpts(store, [0, 1]), torch.eye(5)[:2]
    per_class = pd.DataFrame({"lwlrap": 0.5, "clips": 2}, index=COSTLY)
    pairs = pd.DataFrame({"true": COSTLY[:2], "above": COSTLY[1:3], "clips": 1, "of": 2})
    table = pd.DataFrame(np.ones((2, 5)), columns=COSTLY, index=[0.0, 1.0])
    figures = [plots.clip_figure(path, store.config, "a$$\udcff.wav: $\\nonsense$"),
               reports.predictions_figure(store, [0], np.ones((len(store), 5)), COSTLY),
               timelines.timeline_figure(table, store[0], store.config, "$\\nonsense$"),
               reports.per_class_figure(per_class), reports.confusion_figure(pairs),
               explorer.augmentation_figure(excerpts, targets, COSTLY),
               explorer.explorer_figure(excerpts, targets, COSTLY, "mixup", {"alpha": 1.0})]
    for figure in figures:
        figure.canvas.draw()
    drawn = {text.get_text().replace(r"\$", "$") for text in figures[3].axes[0].get_yticklabels()}
    assert drawn == set(COSTLY)
    noisy = pd.DataFrame({"fname": ["$x$<b>.wav"], "labels": [("<i>", "\\(x\\)")], "path": [path]})
    html = reports.selection_table(noisy, {"model 1": np.ones(1)}, np.ones(1, bool), store.config).data
    html += plots.player(tmp_path / "$none$<b>.wav", store.config, "<script>").data
    assert not re.search(r"<b>|<i>|<script>|\$\w+\$|\\\(", html)


def test_a_clip_that_cannot_be_read_is_said_in_its_figure(tmp_path):
    (tmp_path / "bad.wav").write_text("no sound")
    (text,) = plots.clip_figure(tmp_path / "bad.wav", MelConfig(), "bad.wav: Bark").texts
    assert "cannot be read as audio" in text.get_text().replace("\n", " ")


def test_a_timeline_is_drawn_from_end_to_end(demo_stores):
    store = demo_stores["test"]
    clip = int(store.lengths.argmax())
    table = pd.DataFrame({"dog": [0.1, 0.9], "cat": [0.3, 0.2]}, index=[0.0, 1.0])
    mel, heat, _ = timelines.timeline_figure(table, store[clip], store.config, top=2).axes
    np.testing.assert_allclose(heat.get_xlim(), (0, store.lengths[clip] * 694 / 44100))
    later, *_ = timelines.timeline_figure(table.set_axis(table.index + 2.5), store[clip], store.config).axes
    np.testing.assert_allclose(later.get_xlim(), (2.5, 2.5 + store.lengths[clip] * 694 / 44100))
    assert heat.get_xlim() == mel.get_xlim()
    assert [label.get_text() for label in heat.get_yticklabels()] == ["cat", "dog"], "the surest on top"


def test_of_hours_nothing_short_is_lost_and_silence_is_empty():
    """Three hours, with one window of a label in the second, and ten minutes of silence that were left out."""
    starts = np.arange(0, 10_800, 0.75)
    starts = starts[(starts < 7000) | (starts > 7600)]
    table = pd.DataFrame({"rain": np.full(len(starts), 0.6), "dog": 0.0, "cat": 0.0, "owl": 0.0}, index=starts)
    table.iloc[np.searchsorted(starts, 4000), 1] = 0.9
    figure = timelines.timeline_figure(table, title="a night")
    heat = figure.axes[0]
    figure.canvas.draw()
    assert [label.get_text() for label in heat.get_yticklabels()][::-1] == ["dog", "rain", "cat"], "at least three"
    (strips,) = heat.collections
    values = np.ma.filled(strips.get_array().astype(float), np.nan)
    edges = strips.get_coordinates()[0, :, 0]
    assert values.shape[1] <= 1503 and edges[-1] == pytest.approx(starts[-1] + 2.0145, abs=1e-3)
    at = np.searchsorted(edges, 4001) - 1
    assert values[2, at] == pytest.approx(0.9) and np.nanmax(np.delete(values[2], at)) == 0
    assert np.isnan(values[:, np.searchsorted(edges, 7300) - 1]).all()
    assert heat.get_xlabel() == "time (h:min:s)"
    assert "1:00:00" in [label.get_text() for label in heat.get_xticklabels()]


@pytest.mark.parametrize(("seconds", "longest", "read"), [
    (7.5, 10, "7.5"), (90, 100, "90"), (727, 800, "12:07"), (59.9, 800, "1:00"), (7927, 9000, "2:12:07")])
def test_times_are_read_as_one_says_them(seconds, longest, read):
    assert timelines.clock(seconds, longest) == read


def test_a_player_jumps_to_the_events_that_are_in_the_notebook(demo, tmp_path):
    path, config = demo.test["path"][0], MelConfig()
    rows = [(0.5, 1.5, "<Dog>", 0.9), (4.0, 5.0, "<Dog>", 0.8), (1.0, 1.2, "Cat", 0.1)]
    events = pd.DataFrame(rows, columns=["start", "end", "label", "probability"])
    html = timelines.event_player(path, events, config, seconds=2, most=2).data
    assert html.count("<button") == 2 and html.count("<button disabled") == 1 and "and 1 less probable ones" in html
    assert "player.currentTime = 0.50; player.play()" in html and "&lt;Dog&gt;" in html and "Cat" not in html
    sound = base64.b64decode(re.search(r"data:audio/mpeg;base64,([^\"]+)", html)[1])
    signal, rate = sf.read(io.BytesIO(sound))
    assert len(signal) / rate == pytest.approx(min(2, sf.info(path).duration), abs=0.1)
    assert "no event" in timelines.event_player(path, events[:0], config).data
    assert "does not exist" in timelines.event_player(tmp_path / "none.wav", events, config).data
