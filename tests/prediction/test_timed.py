"""From a timeline through a file and back: what is read is what was heard."""

from contextlib import closing

import numpy as np
import pandas as pd
import pytest

from freesound_tagging.annotations.reading import read_all_events
from freesound_tagging.prediction.__main__ import main
from freesound_tagging.prediction.formats import timelines_writer
from freesound_tagging.prediction.listening import Heard
from freesound_tagging.prediction.tagging import events
from freesound_tagging.prediction.timed import is_timelines, read_timelines, score_timed


@pytest.fixture(scope="module")
def night():
    """Two sounds of a minute each, with windows of 2 s and three labels."""
    rng, found = np.random.default_rng(0), []
    for path in ("site a/0300.wav", "site b/0400.wav"):
        table = pd.DataFrame(rng.random((75, 3)).astype(np.float32) ** 4, pd.Index(np.arange(75) * 0.76, name="second"),
                             ["Bark", "Male speech, 'man'", "犬"])
        table.attrs = {"window": 2.0, "duration": 60.0}
        found.append(Heard(path, table, table.mean().to_numpy()))
    return found


@pytest.mark.parametrize(("name", "step", "file"), [("t.selections.txt", 1e-6, lambda path: path.split("/")[-1]),
                                                    ("t.tsv", 1e-3, lambda path: path.split("/")[-1]),
                                                    ("labels", 1e-6, lambda path: path.split("/")[-1][:-4])])
def test_events_that_were_written_are_read_as_they_were(night, tmp_path, name, step, file):
    if name == "labels":
        (tmp_path / name).mkdir()
    with closing(timelines_writer(tmp_path / name, [sound.path for sound in night], threshold=0.4)) as writer:
        for sound in night:
            writer.add(sound)
    expected = pd.concat([events(sound.timeline, 0.4).assign(file=file(sound.path)) for sound in night],
                         ignore_index=True)
    table = read_all_events(tmp_path / name)
    assert len(table) > 20 and list(table["label"]) == list(expected["label"])
    assert [path.split("/")[-1] for path in table["file"]] == list(expected["file"])
    np.testing.assert_allclose(table[["start", "end"]], expected[["start", "end"]], rtol=0, atol=0.51 * step)
    assert ("probability" in table) == (name == "t.selections.txt")
    if "probability" in table:
        np.testing.assert_allclose(table["probability"], expected["probability"], rtol=0, atol=5.1e-5)


def test_timelines_that_were_written_are_read_as_they_were(night, tmp_path):
    with closing(timelines_writer(tmp_path / "t.csv", [sound.path for sound in night])) as writer:
        for sound in night:
            writer.add(sound)
    tables = read_timelines(tmp_path / "t.csv")
    assert is_timelines(tmp_path / "t.csv") and list(tables) == [sound.path for sound in night]
    for sound in night:
        pd.testing.assert_frame_equal(tables[sound.path].astype(np.float32), sound.timeline, check_index_type=False)
        assert tables[sound.path].attrs == sound.timeline.attrs
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\0")
    assert not is_timelines(tmp_path / "t.csv") and not is_timelines(tmp_path / "none.csv")


def test_a_sound_that_is_given_twice_is_written_once_and_a_table_of_none_is_refused(night, tmp_path):
    with closing(timelines_writer(tmp_path / "t.csv", [sound.path for sound in night])) as writer:
        for sound in (*night, night[0]):
            writer.add(sound)
    assert [len(one) for one in read_timelines(tmp_path / "t.csv").values()] == [75, 75]
    (tmp_path / "none.csv").write_text("path,second,Bark\n")
    (tmp_path / "truth.txt").write_text("1\t2\tBark\n")
    with pytest.raises(ValueError, match=r"none\.csv has no window of a sound: expected what --timeline"):
        score_timed(tmp_path / "none.csv", tmp_path / "truth.txt")


def test_two_sounds_of_one_name_stay_two(night, tmp_path):
    named = [Heard(f"{site}/a.wav", sound.timeline, sound.probabilities) for site, sound in zip(("x", "y"), night)]
    for name in ("t.tsv", "t.selections.txt"):
        with closing(timelines_writer(tmp_path / name, [sound.path for sound in named], threshold=0.4)) as writer:
            for sound in named:
                writer.add(sound)
        files = read_all_events(tmp_path / name)["file"].unique()
        assert [file[-len("x/a.wav"):] for file in files] == ["x/a.wav", "y/a.wav"]


def written(path, sounds, labels=("Bark",), window=1.0):
    """Timelines of sounds: of each its name, how long it lasts, and the probabilities of each window by its start."""
    with closing(timelines_writer(path, [name for name, *_ in sounds])) as writer:
        for name, duration, windows in sounds:
            table = pd.DataFrame(list(windows.values()), pd.Index([*windows], name="second", dtype=float), labels)
            table.attrs = {"window": window, "duration": duration}
            writer.add(Heard(name, table, table.mean().to_numpy()))
    return path


def test_a_timeline_is_scored_by_its_own_windows_up_to_the_end_of_the_sound(tmp_path):
    """Windows of 4 s, a second apart, speak for the second about their middles; one of 2 s for a sound of 0.5 s."""
    (tmp_path / "long.txt").write_text("4\t5\tBark\n")
    windows = {second: [0.9 if second == 2.5 else 0.1] for second in np.arange(0.5, 6)}
    path = written(tmp_path / "long.csv", [("long.wav", 10.0, windows)], window=4.0)
    assert score_timed(path, tmp_path / "long.txt")[0]["event F1"] == 1
    (tmp_path / "short.txt").write_text("0\t0.5\tBark\n")
    path = written(tmp_path / "short.csv", [("short.wav", 0.5, {-0.75: [0.9]})], window=2.0)
    totals, _ = score_timed(path, tmp_path / "short.txt")
    assert totals["event F1"] == totals["segment F1"] == totals["PSDS1"] == 1


@pytest.mark.parametrize(("duration", "expected"), [(3600.0, 0.99), (36.0, 0.0)])
def test_false_detections_are_those_an_hour_of_sound_whatever_of_it_is_silent(tmp_path, duration, expected):
    """One beside the true event, and surer: up to one an hour of an hour's sound nothing is found, then all of it."""
    (tmp_path / "truth.txt").write_text("2\t3\tBark\n")
    windows = {second: [{2: 0.8, 6: 0.9}.get(second, 0.1)] for second in range(10)}
    path = written(tmp_path / "t.csv", [("truth.wav", duration, windows)])
    assert score_timed(path, tmp_path / "truth.txt")[0]["PSDS1"] == pytest.approx(expected)


def test_timelines_that_do_not_say_how_long_windows_are_are_read_with_a_warning(tmp_path):
    (tmp_path / "t.csv").write_text("path,second,Bark\na.wav,0.0,0.9\n")
    with pytest.warns(UserWarning, match=r"t\.csv does not say .*: windows are taken as 2\.01 s, and sounds"):
        tables = read_timelines(tmp_path / "t.csv")
    assert tables["a.wav"].to_dict() == {"Bark": {0.0: 0.9}} and tables["a.wav"].attrs == {}


def test_labels_called_as_columns_and_a_sound_called_na_are_read_as_they_were_written(tmp_path):
    labels = ["second", "path", "window", "Bark"]
    tables = read_timelines(written(tmp_path / "t.csv", [("NA", 1.0, {0.0: [0.5, 0.25, 0.75, 0.125]})], labels))
    assert [*tables] == ["NA"] and [*tables["NA"].columns] == labels
    assert tables["NA"].loc[0.0].tolist() == [0.5, 0.25, 0.75, 0.125]
    assert set(events(tables["NA"], 0.3)["label"]) == {"second", "window"}
    written(tmp_path / "start.csv", [("a", 1.0, {0.0: [0.5, 0.25]})], ["start", "Bark"])
    (tmp_path / "a.txt").write_text("0\t1\tstart\n")
    with pytest.raises(ValueError, match=r"start\.csv has the label 'start', which is called as a column"):
        score_timed(tmp_path / "start.csv", tmp_path / "a.txt")


def test_labels_of_a_sound_in_which_nothing_was_heard_are_scored_as_no_event(tmp_path, capsys):
    (tmp_path / "labels").mkdir()
    (tmp_path / "truth.tsv").write_text("filename\tonset\toffset\tevent_label\na.wav\t1\t2\tBark\n")
    for out, found in (("a.txt", "a.txt"), ("labels", "labels/a.wav.txt")):
        with closing(timelines_writer(tmp_path / out, ["a.wav"])) as writer:
            writer.add(Heard("a.wav", pd.DataFrame({"Bark": [0.1]}, pd.Index([0.0], name="second")), np.array([0.1])))
        assert (tmp_path / found).read_text() == ""
        with pytest.warns(UserWarning, match="nothing was found in a: events there count as missed"):
            totals, per_label = score_timed(tmp_path / out, tmp_path / "truth.tsv")
        assert totals["event F1"] == 0 and per_label.loc["Bark", ["true", "found"]].tolist() == [1, 0]
    assert main([str(tmp_path / "a.txt"), str(tmp_path / "truth.tsv")]) == 0
    assert "nothing was found in a" in capsys.readouterr().err
