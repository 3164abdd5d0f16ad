"""What is written with times is read again, and cuts say where they are from."""

import os

import pandas as pd
import pytest

from freesound_tagging.annotations.cuts import Cut, cut_of
from freesound_tagging.annotations.reading import read_events
from freesound_tagging.annotations.writing import write_dcase, write_labels, write_selections

EVENTS = pd.DataFrame([("/night/a.wav", 0.0, 0.5, "Bark", 0.25),
                       ("/night/a.wav", 0.25, 7200.125, 'Rain, 5" of it', 1.0),
                       ("b c.flac", 1.5, 1.5, "犬", 0.5)], columns=["file", "start", "end", "label", "probability"])


def test_a_timeline_goes_through_every_format_and_comes_back(tmp_path):
    write_selections(tmp_path / "t.selections.txt", EVENTS, {"/night/a.wav": 7300.5, "quiet.wav": 10, "b c.flac": 3})
    here = EVENTS.assign(file=EVENTS["file"].map(os.path.abspath))
    pd.testing.assert_frame_equal(read_events(tmp_path / "t.selections.txt"), here)
    write_dcase(tmp_path / "t.tsv", EVENTS)
    pd.testing.assert_frame_equal(read_events(tmp_path / "t.tsv"), EVENTS.drop(columns="probability"))
    write_labels(tmp_path / "t.txt", EVENTS)
    pd.testing.assert_frame_equal(read_events(tmp_path / "t.txt"),
                                  EVENTS.drop(columns="probability").assign(file=""))


def test_a_selection_begins_where_raven_has_it_in_the_sequence_of_files(tmp_path):
    write_selections(tmp_path / "t.selections.txt", EVENTS, {"/night/a.wav": 7300.5, "quiet.wav": 10, "b c.flac": 3})
    table = pd.read_csv(tmp_path / "t.selections.txt", sep="\t")
    assert list(table["Begin Time (s)"]) == [0, 0.25, 7300.5 + 10 + 1.5]
    assert list(table["End Time (s)"]) == [0.5, 7200.125, 7312]
    assert list(table["File Offset (s)"]) == [0, 0.25, 1.5]
    assert list(table["Begin File"]) == ["a.wav", "a.wav", "b c.flac"] and list(table["Selection"]) == [1, 2, 3]


def test_a_label_with_a_tab_or_an_escape_is_one_cell(tmp_path):
    events = pd.DataFrame([("a\tb.wav", 1.0, 2.0, "one\ttwo\n\x1b[31m")], columns=["file", "start", "end", "label"])
    write_dcase(tmp_path / "t.tsv", events)
    assert (tmp_path / "t.tsv").read_text().splitlines()[1] == "a\\tb.wav\t1.000\t2.000\tone two \\x1b[31m"


def test_labels_with_quotation_marks_come_back(tmp_path):
    events = pd.DataFrame([("a.wav", 1.0, 2.0, "dog"), ("a.wav", 3.0, 4.0, '"high" call'), ("b.wav", 5.0, 6.0, '"x'),
                           ("b.wav", 7.0, 8.0, '"'), ("b.wav", 9.0, 9.5, "cat")],
                          columns=["file", "start", "end", "label"])
    write_dcase(tmp_path / "t.tsv", events)
    pd.testing.assert_frame_equal(read_events(tmp_path / "t.tsv"), events)
    write_selections(tmp_path / "t.selections.txt", events, {"a.wav": 10, "b.wav": 10})
    pd.testing.assert_frame_equal(read_events(tmp_path / "t.selections.txt"),
                                  events.assign(file=events["file"].map(os.path.abspath)))


@pytest.mark.parametrize("label", ["Bark", "a/b", "..", ".hidden", "_background_noise_", "100 %", "Knock, 犬", "what?",
                                   "C:\\x", "end.", "a\n"])
@pytest.mark.parametrize("recording", ["night.wav", "0.500_x.wav_1.000-2.000.flac", "a b_-_%2F'犬.aiff", "no ending"])
def test_a_cut_says_what_it_is_cut_from(tmp_path, label, recording):
    cut = Cut(label, 0.873, recording, 12.34, 3600.1)
    path = tmp_path / cut.path()
    path.parent.mkdir()
    path.touch()
    assert path.parent.parent == tmp_path and path.name.endswith("_12.340-3600.100.flac")
    assert [cut_of(found) for found in tmp_path.rglob("*.flac")] == [cut]
    moved = tmp_path / "Meow" / path.name
    moved.parent.mkdir()
    path.rename(moved)
    assert cut_of(moved) == Cut("Meow", 0.873, recording, 12.34, 3600.1)


def test_cuts_of_recordings_with_the_longest_names_are_told_apart(tmp_path):
    names = [Cut("a", 0.5, "犬" * 80 + end, 99_999.5, 100_000.5).path() for end in ("1.wav", "2.wav")]
    recordings = []
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        recordings.append(cut_of(path).recording)
    assert recordings[0] != recordings[1] and all(recording.startswith("犬" * 60) for recording in recordings)


def test_a_name_of_ones_own_is_no_cut():
    for name in ("dog.flac", "0.873_dog.flac", "dog_1.000-2.000.flac", "0.873__1.000-2.000.flac"):
        assert cut_of(f"Bark/{name}") is None
