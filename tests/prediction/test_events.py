"""Events of timelines by hand, and `tag` and `timeline` by a network whose probabilities are known."""

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
import torch
from torch import nn
from tqdm import tqdm

import freesound_tagging
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.networks.weights import save_tagger
from freesound_tagging.prediction.ensemble import Ensemble
from freesound_tagging.prediction.tagging import spoken_for


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A sound of 4 s of which the last two are silent, and a network that says the same of all sounds."""
    folder = tmp_path_factory.mktemp("folder")
    tagger = Tagger(NetworkSpec("cnn-model-1", {"width": 2}, ("Bark", "Meow"), MelConfig(), (0.4,) * 3, (0.2,) * 3,
                                stage=2, fold=0, voting=(2,)))
    last = [layer for layer in tagger.modules() if isinstance(layer, nn.Linear)][-1]
    nn.init.zeros_(last.weight)
    last.bias.data = torch.tensor([0, np.log(3)], dtype=torch.float32)  # of which the sigmoid is 1/2 and 3/4
    (folder / "weights").mkdir()
    save_tagger(tagger, folder / "weights/stage-2_fold-0.safetensors")
    tone = np.sin(2 * np.pi * 440 * np.arange(88_200) / 44_100)
    sf.write(folder / "a.wav", np.r_[tone, np.zeros(88_200)], 44_100)
    return folder


@pytest.mark.parametrize("weights", ["weights", None, Ensemble])
def test_what_is_said_of_a_sound_and_of_its_windows_is_what_the_network_says(folder, monkeypatch, weights):
    monkeypatch.chdir(folder)
    given = {} if weights is None else {"weights": weights}
    if weights is Ensemble:
        given["weights"] = Ensemble.load("weights", "cpu")
    heard = []
    table = freesound_tagging.tag(["a.wav"], device="cpu", progress=lambda *seconds: heard.append(seconds), **given)
    pd.testing.assert_frame_equal(table, pd.DataFrame([[0.5, 0.75]], pd.Index(["a.wav"], name="path"),
                                                      ["Bark", "Meow"], np.float32))
    assert heard[-1] == (4, 4) and all(0 <= until <= of == 4 for until, of in heard)
    del heard[:]
    table = freesound_tagging.timeline("a.wav", progress=lambda *seconds: heard.append(seconds), **given)
    np.testing.assert_allclose(table, [[0.5, 0.75]] * len(table), atol=1e-6)
    assert heard and table.index[0] == 0 and table.attrs["duration"] == 4
    sf.write("short.wav", sf.read("a.wav", frames=22_050)[0], 44_100)
    del heard[:]
    freesound_tagging.timeline("short.wav", progress=lambda *seconds: heard.append(seconds), **given)
    assert heard == [(0.5, 0.5)], "though it is padded with zeros, so that its window begins before it"
    if weights is not Ensemble:
        for function in (freesound_tagging.tag, freesound_tagging.timeline):
            with pytest.raises(ValueError, match="device='tube'"):
                function("a.wav", device="tube", **given)
            with pytest.raises(FileNotFoundError, match="elsewhere"):
                function("a.wav", "elsewhere")


def timeline_of(probabilities, starts=None, label="Bark", **attrs):
    """A timeline of windows of 2 s, a second apart unless said otherwise."""
    starts = np.arange(len(probabilities)) if starts is None else starts
    table = pd.DataFrame({label: np.array(probabilities, np.float32)}, pd.Index(starts, name="second", dtype=float))
    table.attrs = {"window": 2.0, "duration": float(starts[-1] + 2), **attrs}
    return table


@pytest.mark.parametrize(("probabilities", "expected"), [
    ([0, 0, 0.5, 0, 0], [(2.5, 3.5, 0.5)]),  # the window from 2 to 4, halfway to those around it
    ([0.5, 0, 0], [(0, 1.5, 0.5)]),
    ([0, 0, 0.5], [(2.5, 4, 0.5)]),
    ([0.1, 0.25, 0.5, 0.25, 0.9, 0.1, 0.29, 0.1], [(1.5, 5.5, 0.9)]),  # stays on down to 0.2; 0.29 comes not on
    ([0.5, 0.1, 0.5], [(0, 1.5, 0.5), (2.5, 4, 0.5)]),
    ([0.3, 0.2, 0.2], [(0, 4, 0.3)]),  # both bounds belong to it
    ([0, 0.1, 0.2], []),
    ([0.7], [(0, 2, 0.7)]),
])
def test_events_by_hand(probabilities, expected):
    table = freesound_tagging.events(timeline_of(probabilities), threshold=0.3, release=0.2)
    assert list(table.columns) == ["start", "end", "label", "probability"]
    assert table["label"].eq("Bark").all()
    np.testing.assert_allclose(table[["start", "end", "probability"]], np.reshape(expected, (-1, 3)), atol=1e-6)


def test_an_event_ends_where_silence_was_left_out_and_goes_on_over_a_sections_end():
    table = freesound_tagging.events(timeline_of([0.5, 0.5, 0.5], [0, 2.02, 9]))
    np.testing.assert_allclose(table[["start", "end"]], [[0, 4.02], [9, 11]])


def test_events_are_within_the_file_and_in_order():
    both = timeline_of([0.9], [-0.75], duration=0.5).assign(Meow=np.float32(0.4))
    table = freesound_tagging.events(both)
    assert table.to_dict("list") == {"start": [0, 0], "end": [0.5, 0.5], "label": ["Bark", "Meow"],
                                     "probability": pytest.approx([0.9, 0.4])}


@pytest.mark.parametrize(("settings", "said"), [
    ({"threshold": 0}, "threshold=0: expected a probability above 0"), ({"threshold": 1.5}, "threshold=1.5"),
    ({"threshold": float("nan")}, "threshold=nan"), ({"release": 0.5}, "release=0.5: .* at most the threshold 0.3"),
    ({"release": 0}, "release=0: expected")])
def test_thresholds_out_of_range_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        freesound_tagging.events(timeline_of([0.5]), **settings)


def test_tables_that_are_no_timelines_are_refused(tmp_path):
    table = timeline_of([0.5, 0.1, 0.5])
    table.to_csv(tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"has 'second' as a column: .*index_col='second'"):
        freesound_tagging.events(pd.read_csv(tmp_path / "t.csv"))
    read = pd.read_csv(tmp_path / "t.csv", index_col="second")
    assert len(freesound_tagging.events(read)) == 2
    for wrong in (table[::-1], table.set_axis([0, 1, np.nan]), table.set_axis([0, 1, 1])):
        with pytest.raises(ValueError, match="expected seconds, each greater than the one before"):
            freesound_tagging.events(wrong)
    with pytest.raises(ValueError, match="columns that are no probabilities: path"):
        freesound_tagging.events(table.assign(path="a.wav"))


@pytest.mark.parametrize("function", [freesound_tagging.tag, freesound_tagging.timeline])
def test_a_progress_bar_is_shown_where_one_is_asked_for(folder, monkeypatch, capsys, function):
    """Shown at once, and not after two seconds."""
    monkeypatch.setattr("freesound_tagging.prediction.listening.tqdm",
                        lambda *given, **settings: tqdm(*given, **settings | {"delay": 0}))
    function(folder / "a.wav", folder / "weights", "cpu")
    assert capsys.readouterr().err == ""
    function(folder / "a.wav", folder / "weights", "cpu", True)
    assert "sound" in capsys.readouterr().err


def test_what_is_not_said_of_events_is_three_tenths_and_two_thirds_of_it():
    np.testing.assert_allclose(freesound_tagging.events(timeline_of([0.31, 0.21, 0.19])).iloc[0, :2], [0, 2.5])
    assert freesound_tagging.events(timeline_of([0.29])).empty
    table = freesound_tagging.events(timeline_of([0.6, 0.41, 0.39, 0.41]), 0.6)
    np.testing.assert_allclose(table[["start", "end", "probability"]], [[0, 2.5, 0.6]], atol=1e-6)


def test_a_probability_of_one_may_be_asked_for():
    table = freesound_tagging.events(timeline_of([1.0, 0.99]), threshold=1, release=1)
    assert table[["start", "end", "probability"]].to_numpy().tolist() == [[0, 1.5, 1]]


def test_stretches_a_tenth_of_a_second_apart_are_one():
    """Windows of 2 s from 0 and from 2.09 on speak for all of their time."""
    assert freesound_tagging.events(timeline_of([0.5, 0.5], [0, 2.09]))["end"].tolist() == [pytest.approx(4.09)]
    assert freesound_tagging.events(timeline_of([0.5, 0.5], [0, 2.11]))["end"].tolist() == [2, pytest.approx(4.11)]
    exactly = timeline_of([0.5, 0.5], [0, 0.2], window=0.1)  # 0.2 - 0.1 is 0.1
    assert freesound_tagging.events(exactly)[["start", "end"]].to_numpy().tolist() == [[0, pytest.approx(0.3)]]


def test_a_window_that_is_not_on_parts_two_events_however_close_they_are():
    """Of windows a twentieth of a second apart."""
    table = freesound_tagging.events(timeline_of([0.5, 0, 0.5], [0, 0.05, 0.1]))
    np.testing.assert_allclose(table[["start", "end"]], [[0, 1.025], [1.075, 2.1]])


def test_events_of_several_labels_are_in_the_order_of_start_then_end():
    table = timeline_of([0.5, 0, 0, 0.5], label="a").assign(
        b=np.float32([0, 0.5, 0, 0]), c=np.float32([0.5, 0.5, 0, 0]), d=np.float32([0.4, 0, 0, 0]), e=np.zeros(4, int))
    found = freesound_tagging.events(table)
    assert found["label"].tolist() == ["a", "d", "c", "b", "a"]
    assert found["start"].tolist() == [0, 0, 0, 1.5, 3.5] and found["end"].tolist() == [1.5, 1.5, 2.5, 2.5, 5]
    assert found.index.tolist() == [0, 1, 2, 3, 4]


def test_of_no_windows_and_of_nothing_heard_there_is_a_table_of_no_events():
    for table in (timeline_of([0.1]), timeline_of([0.1])[:0]):
        found = freesound_tagging.events(table)
        assert found.empty and list(found.columns) == ["start", "end", "label", "probability"]
        assert (found[["start", "end", "probability"]].dtypes == np.float64).all()


def test_without_a_word_on_windows_and_length_they_are_the_published_ones():
    table = pd.DataFrame({"Bark": [0.5, 0.1]}, pd.Index([7.0, 8.0], name="second"))
    starts, ends = spoken_for(table)
    window = 128 * 694 / 44_100
    np.testing.assert_allclose([starts, ends], [[7, 7.5 + window / 2], [7.5 + window / 2, 8 + window]])
    np.testing.assert_allclose(freesound_tagging.events(table)[["start", "end"]], [[7, 7.5 + window / 2]])
    as_text = table.set_axis(["7", "8"])
    np.testing.assert_array_equal(spoken_for(as_text), [starts, ends])
    pd.testing.assert_frame_equal(freesound_tagging.events(as_text), freesound_tagging.events(table))
    starts, ends = spoken_for(timeline_of([0.5, 0.5, 0.5], [-0.5, 0.5, 3]))
    assert starts.tolist() == [-0.5, 1, 3] and ends.tolist() == [1, 2.5, 5]
