"""What is said about a run: tables worked out by hand, figures that show all of it."""

import base64
import copy
import io
import re

import librosa
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch

from freesound_tagging.images.mel import MelConfig
from freesound_tagging.lwlrap import clip_lwlrap, confused_pairs, lwlrap
from freesound_tagging.notebook import augmented, plots, reports, timelines
from freesound_tagging.notebook.plots import some_excerpts
from freesound_tagging.training.profile import published_stages


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def sounds_of(html):
    """What the players of a notebook play: signals, each with its rate."""
    return [sf.read(io.BytesIO(base64.b64decode(data)))
            for data in re.findall(r"data:audio/mpeg;base64,([^\"]+)", html)]


def loudest(signal, rate):
    """The frequency of a tone, in Hz."""
    return np.fft.rfftfreq(len(signal), 1 / rate)[np.abs(np.fft.rfft(signal)).argmax()]


@pytest.fixture
def recording(tmp_path, monkeypatch):
    """20 s, longer than a clip may be here, each 5 s of another tone: the rows of two stretches and of the whole."""
    second = np.arange(5 * 16_000) / 16_000
    tones = [0.5 * np.sin(2 * np.pi * hertz * second) for hertz in (400, 800, 1600, 3200)]
    sf.write(tmp_path / "night.wav", np.concatenate(tones), 16_000)
    for module in ("freesound_tagging.clips.audio", "freesound_tagging.notebook.plots"):
        monkeypatch.setattr(f"{module}.MAX_SECONDS", 15)
    return pd.DataFrame({"path": tmp_path / "night.wav", "fname": "night.wav",
                         "labels": [("Low",), ("High",), ("Night",)],
                         "start": [6, 15.5, np.nan], "end": [8, 17.5, np.nan]})


def test_what_is_played_and_drawn_of_a_stretch_is_the_stretch(recording):
    """And of a recording that is longer than a clip, its first seconds."""
    config = MelConfig()
    scores, selected = {"model 1": np.array([0.9, 0.8, 0.7])}, np.ones(3, bool)
    played = sounds_of(reports.selection_table(recording, scores, selected, config).data)
    assert [loudest(*sound) for sound in played] == [pytest.approx(hertz, rel=0.01) for hertz in (800, 3200, 400)]
    assert [len(signal) / rate for signal, rate in played] == [pytest.approx(s, abs=0.1) for s in (2, 2, 4)]
    figure = plots.clip_figure(recording["path"][1], config, "night", plots.span_of(recording.loc[1]))
    assert figure.axes[0].get_xlim() == (0, pytest.approx(2))
    assert plots.span_of(recording.loc[1]) == (15.5, 17.5)
    assert plots.span_of(recording.loc[2]) is None
    assert plots.span_of(recording.drop(columns=["start", "end"]).loc[0]) is None


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
    dashed = [arrow for arrow in arrows if arrow.arrow_patch.get_linestyle() == "--"]
    boxes = [patch.get_bbox() for patch in axis.patches]
    for arrow, box in zip(dashed, [boxes[-5], boxes[-5], boxes[-2]], strict=True):
        x, y = arrow.xy
        assert box.x0 <= x <= box.x1 and y >= box.y1, "from above, so that it lies on no box"


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


def test_of_one_epoch_every_fold_and_the_mean_are_seen():
    """Points, as there is no line; nothing on them; and no part of an epoch on the axis."""
    history = [{"loss": np.array([0.5, 0.4]), "lwlrap": np.array([score])} for score in (0.5, 0.7)]
    figure = reports.training_figure(history, 1)
    figure.canvas.draw()
    loss, score = figure.axes
    assert [float(line.get_ydata()[0]) for line in score.lines] == pytest.approx([0.5, 0.7, 0.6])
    assert all(line.get_marker() not in ("", "None", None) for line in score.lines)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["fold 0", "fold 1", "mean: 0.600"]
    assert legend.get_window_extent().x0 > score.get_window_extent().x1
    assert seen_ticks(score) == [1]
    assert seen_ticks(loss) == [1, 2]


def seen_ticks(axis):
    """Where the marks of an axis' length are."""
    least, greatest = axis.get_xlim()
    return [tick for tick in axis.get_xticks() if least <= tick <= greatest]


def test_no_bar_is_hidden_and_no_half_clip_is_marked():
    """The label that is selected least has the most clips, so that its bar ends where a legend would stand."""
    targets = np.eye(3)[[0, 1, 2, 2]]
    figure = reports.selection_figure([True, True, False, False], targets, "abc")
    counts = reports.labels_figure({"curated": targets[:2], "noisy": targets[:1]}, "abc")
    for drawn in (figure, counts):
        drawn.canvas.draw()
        (axis,) = drawn.axes
        legend = axis.get_legend().get_window_extent()
        assert not any(legend.overlaps(bar.get_window_extent()) for bar in axis.patches)
        assert legend.x1 <= drawn.bbox.width
        ticks = seen_ticks(axis)
        assert len(ticks) > 1 and all(tick == round(tick) for tick in ticks)


def test_a_true_label_that_is_not_among_the_five_is_shown_too(demo_stores):
    """Eight labels, the true ones first and seventh: six bars, two of them blue."""
    store, vocabulary = demo_stores["test"], list("abcdefgh")
    probabilities = np.tile(np.linspace(0.8, 0.1, 8), (len(store), 1))
    labels = [("a", "g")] * len(store)
    for known, shown in ((labels, "abcdeg"), (None, "abcde")):
        figure = reports.predictions_figure(store, [0], probabilities, vocabulary, known)
        bars = figure.axes[1]
        assert [label.get_text() for label in bars.get_yticklabels()][::-1] == list(shown)
        blue = [bar.get_facecolor()[2] > bar.get_facecolor()[0] for bar in bars.patches][::-1]
        assert blue == ([label in "ag" for label in shown] if known else [False] * 5)
    assert [bar.get_width() for bar in figure.axes[1].patches][::-1] == pytest.approx([0.8, 0.7, 0.6, 0.5, 0.4])


def test_spectrograms_have_an_axis_in_hz_that_is_librosas(demo, demo_stores):
    """A mark stands at the mel band whose centre is nearest, in clips and in excerpts."""
    store = demo_stores["test"]
    config, excerpts = store.config, some_excerpts(store, [0, 1])
    centres = librosa.mel_frequencies(config.n_mels, fmin=config.f_min, fmax=config.f_max)
    targets, table = torch.eye(3)[:2], pd.DataFrame({"dog": [0.5]}, index=[0.0])
    in_hz = [plots.clip_figure(demo.test["path"][0], config).axes[1],
             timelines.timeline_figure(table, store[0], config).axes[0],
             reports.predictions_figure(store, [0], np.ones((len(store), 3)), "abc").axes[0],
             augmented.augmentation_figure(excerpts, targets, "abc", config=config).axes[0],
             augmented.explorer_figure(excerpts, targets, "abc", "mixup", {"alpha": 1.0}, config=config).axes[0],
             augmented.batch_figure(excerpts, targets, excerpts, targets, "abc", config).axes[0]]
    for axis in in_hz:
        assert axis.get_ylabel() == "frequency (Hz)"
        lowest = axis.images[0].get_extent()[2]
        marked = {int(label.get_text()): place - lowest for place, label in zip(axis.get_yticks(),
                                                                               axis.get_yticklabels())}
        assert {500, 2000, 8000} <= set(marked)
        for hz, place in marked.items():
            assert int(place) in np.argsort(np.abs(centres - hz))[:2], "the middle of band b is at b + 0.5"
    bands = augmented.batch_figure(excerpts, targets, excerpts, targets, "abc").axes[0]
    assert bands.get_ylabel() == "mel band", "without the config nothing is known of Hz"


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
               augmented.augmentation_figure(excerpts, targets, COSTLY),
               augmented.explorer_figure(excerpts, targets, COSTLY, "mixup", {"alpha": 1.0})]
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
    assert [label.get_text() for label in heat.get_yticklabels()][::-1] == ["dog", "rain"], "those that occur"
    (strips,) = heat.collections
    values = np.ma.filled(strips.get_array().astype(float), np.nan)
    edges = strips.get_coordinates()[0, :, 0]
    assert len(values) == 2 and values.shape[1] <= 1503 and edges[-1] == pytest.approx(starts[-1] + 2.0145, abs=1e-3)
    at = np.searchsorted(edges, 4001) - 1
    assert values[1, at] == pytest.approx(0.9) and np.nanmax(np.delete(values[1], at)) == 0
    assert np.isnan(values[:, np.searchsorted(edges, 7300) - 1]).all()
    assert heat.get_xlabel() == "time (h:min:s)"
    assert "1:00:00" in [label.get_text() for label in heat.get_xticklabels()]


@pytest.mark.parametrize("image", [False, True])
@pytest.mark.parametrize("occurring", [0, 1, 2, 12])
def test_labels_that_occur_get_a_strip_and_the_colour_bar_can_be_seen(occurring, image):
    """With its numbers and words inside the figure, however many strips there are."""
    labels = [f"label {number}" for number in range(14)]
    table = pd.DataFrame(0.2, index=[0.0, 1.0], columns=labels)
    table.iloc[1, :occurring] = 0.5
    drawn = (np.zeros((128, 191), np.uint8), MelConfig()) if image else ()
    figure = timelines.timeline_figure(table, *drawn)
    figure.canvas.draw()
    *_, heat, bar = figure.axes
    strips = [label.get_text() for label in heat.get_yticklabels()][::-1]
    assert strips == labels[:occurring or 3]
    assert ("no label has a probability of 0.3" in heat.get_xlabel()) == (occurring == 0)
    box = bar.get_window_extent()
    assert 10 <= box.width <= 25 and box.height > 50, "pixels"
    around = bar.get_tightbbox()
    assert around.y0 >= 0 and around.y1 <= figure.bbox.height and around.x1 <= figure.bbox.width
    assert box.x0 > heat.get_window_extent().x1


@pytest.mark.parametrize(("seconds", "longest", "read"), [
    (7.5, 10, "7.5"), (90, 100, "90"), (727, 800, "12:07"), (59.9, 800, "1:00"), (7927, 9000, "2:12:07")])
def test_times_are_read_as_one_says_them(seconds, longest, read):
    assert timelines.clock(seconds, longest) == read


def test_a_player_jumps_to_the_events_that_are_in_the_notebook(demo, tmp_path):
    path, config = demo.test["path"][0], MelConfig()
    rows = [(0.5, 1.5, "<Dog>", 0.9), (4.0, 5.0, "<Dog>", 0.8), (1.0, 1.2, "Cat", 0.1)]
    events = pd.DataFrame(rows, columns=["start", "end", "label", "probability"])
    html = timelines.event_player(path, events, config, seconds=2, most=2).data
    assert path.name in html
    assert html.count("<button") == 2 and html.count("<button disabled") == 1 and "and 1 less probable ones" in html
    assert "player.currentTime = 0.50; player.play()" in html and "&lt;Dog&gt;" in html and "Cat" not in html
    (signal, rate), = sounds_of(html)
    assert len(signal) / rate == pytest.approx(min(2, sf.info(path).duration), abs=0.1)
    assert "no event" in timelines.event_player(path, events[:0], config).data
    assert "does not exist" in timelines.event_player(tmp_path / "none.wav", events, config).data
