"""Recordings whose labels have times, laid out to be trained on: what becomes of labels, and of what is between."""

import shutil
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from freesound_tagging.clips.__main__ import main
from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.clips.doctor import check
from freesound_tagging.clips.recordings import by_names, by_pattern
from freesound_tagging.clips.tables import read_table

RATE = 8000


def recording(path, seconds, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE)), RATE)
    return path


def track(path, *labels):
    """As Audacity exports labels."""
    path.write_text("".join(f"{start:.6f}\t{end:.6f}\t{label}\n" for start, end, label in labels))


def prepare(source, dest, *arguments, status=0):
    assert main(["prepare", str(source), str(dest), *arguments]) == status
    return FSDKaggle2019(dest) if not status else None


@pytest.fixture
def night(tmp_path):
    """Two recordings of a minute with tracks of labels, and what is told of them elsewhere."""
    source = tmp_path / "in"
    recording(source / "a.flac", 60)
    recording(source / "b.wav", 60, 1)
    track(source / "a.txt", (5, 8, "dog"), (7, 12.5, "rain"), (20, 20, "cat"))
    track(source / "b_labels.txt", (0, 4, "dog, cat"), (30, 59.9, "rain"))
    return source


def test_labels_become_stretches_and_what_is_between_them_background(night, tmp_path, capsys):
    data = prepare(night, tmp_path / "made", "--test", "0", "--separator", ",")
    table = data.curated
    labelled = table[~table["background"]]
    assert [(row.fname, row.start, row.end, row.labels) for row in labelled.itertuples()] == [
        ("a.flac", 5, 8, ("dog",)), ("a.flac", 7, 12.5, ("rain",)), ("a.flac", 20, 20, ("cat",)),
        ("b.wav", 0, 4, ("cat", "dog")), ("b.wav", 30, 59.9, ("rain",))]
    quiet = table[table["background"]]
    assert (quiet["labels"].map(len) == 0).all()
    assert 0 < len(quiet) <= len(labelled)
    # By hand: 3, 5.5, 0, 4 and 29.9 s are labelled.
    assert (quiet["end"] - quiet["start"]).sum() <= 42.4 + 1e-6
    assert (quiet["end"] - quiet["start"]).min() >= 2 - 1e-6, "an excerpt has room in it"
    for one in quiet.itertuples():
        of_it = labelled[labelled["fname"] == one.fname]
        apart = np.maximum(one.start - of_it["end"], of_it["start"] - one.end)
        assert apart.min() >= 0.1 - 1e-3 and one.end <= 60, "beside the labels, and not into them"
    assert set(table["group"]) == {"a.flac", "b.wav"}, "a recording is held out whole"
    assert (tmp_path / "made/train_curated/a.flac").resolve() == night / "a.flac", "nothing is cut or copied"
    said = capsys.readouterr().out
    assert "recordings with labels in time" in said and "5 stretches of 2 recordings have labels" in said
    again = prepare(night, tmp_path / "made", "--test", "0", "--separator", ",").curated
    pd.testing.assert_frame_equal(again, table)
    none = prepare(night, tmp_path / "made", "--test", "0", "--background", "no").curated
    assert "background" not in none and len(none) == 5


def test_the_same_labels_in_three_forms_count_once(tmp_path):
    """Each label as Audacity, Raven and DCASE write it."""
    source = tmp_path / "in"
    source.mkdir()
    recording(source / "00.flac", 100)
    rows = [(3.123456789, 4.5, "dog"), (10.2, 11.999999, "cat"), (10.2, 11.999999, "dog")]
    track(source / "00.txt", *rows)
    (source / "labels.tsv").write_text("filename\tonset\toffset\tevent_label\n" + "".join(
        f"00.flac\t{start:.3f}\t{end:.3f}\t{label}\n" for start, end, label in rows))
    (source / "00.selections.txt").write_text(
        "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tAnnotation\n" + "".join(
            f"{n}\t{view} 1\t1\t{start:.9f}\t{end:.9f}\t{label}\n" for n, (start, end, label) in enumerate(rows)
            for view in ("Waveform", "Spectrogram")))
    table = prepare(source, tmp_path / "made", "--test", "0", "--background", "no").curated
    assert table["labels"].tolist() == [("dog",), ("cat", "dog")]
    np.testing.assert_allclose(table[["start", "end"]], [(3.123, 4.5), (10.2, 12.0)], atol=0.001)


def test_recordings_are_tested_whole_and_their_labels_kept_with_times(tmp_path):
    source = tmp_path / "in"
    for number in range(6):
        recording(source / f"r{number}.flac", 30, number)
        track(source / f"r{number}.txt", (2, 4, "dog"), (10, 11.25, "rain"))
    data = prepare(source, tmp_path / "made", "--test", "0.34")
    assert len(data.test) == 2 and data.test["labels"].tolist() == [("dog", "rain")] * 2
    assert not set(data.test["fname"]) & set(data.curated["fname"])
    lines = (tmp_path / "made/test_events.tsv").read_text().splitlines()
    assert lines[0] == "filename\tonset\toffset\tevent_label"
    assert lines[1:3] == [f"{data.test['fname'][0]}\t2\t4\tdog", f"{data.test['fname'][0]}\t10\t11.25\train"]
    assert len(lines) == 5
    prepare(source, tmp_path / "made", "--test", "0")
    assert not (tmp_path / "made/test_events.tsv").exists(), "what the first call made is replaced"


def test_what_cannot_be_is_said_and_left_out(night, tmp_path, capsys):
    track(night / "a.txt", (5, 8, "dog"), (70, 71, "dog"), (10, 12, ""))
    track(night / "c.txt", (5, 8, "dog"))
    data = prepare(night, tmp_path / "made", "--test", "0", "--background", "no")
    assert len(data.curated) == 3
    said = capsys.readouterr().out
    assert "1 labels after the end of their sound are left out: a.flac at 70 s" in said
    assert "labels with times of 1 sounds that are not there, or not one alone, are left out: c.txt\n" in said
    assert "have no label" in said
    (night / "a.txt").write_text("5\t8\tdog\n9\t7\tdog\n")
    prepare(night, tmp_path / "made", status=1)
    assert "a.txt, line 2: ends at 7 s, before it starts at 9 s" in capsys.readouterr().err


def test_clips_without_a_label_are_background_where_it_is_asked_for(tmp_path, capsys):
    source = tmp_path / "in"
    for name in "abcd":
        recording(source / f"{name}.wav", 1)
    (source / "labels.csv").write_text("fname,labels\na.wav,dog\nb.wav,\nc.wav,nocall\nd.wav,quiet\n")
    table = prepare(source, tmp_path / "made", "--test", "0").curated
    assert table["fname"].tolist() == ["a.wav", "c.wav", "d.wav"] and "background" not in table
    assert "if nocall means that nothing of the labels is to be heard, say --background" in capsys.readouterr().out
    table = prepare(source, tmp_path / "made", "--test", "0", "--background").curated
    assert dict(zip(table["fname"], zip(table["labels"], table["background"]))) == {
        "a.wav": (("dog",), False), "b.wav": ((), True), "c.wav": ((), True), "d.wav": (("quiet",), False)}
    data = prepare(source, tmp_path / "made", "--test", "0", "--background", "quiet")
    assert data.curated["background"].tolist() == [False, True, True], "and not the empty cell"
    assert data.vocabulary == ["dog"]


def test_a_folder_of_background_beside_class_folders(tmp_path):
    for name in ("dog/1.wav", "dog/2.wav", "_background_noise_/hum.wav"):
        recording(tmp_path / "in" / name, 1)
    assert len(prepare(tmp_path / "in", tmp_path / "made", "--test", "0").curated) == 2
    table = prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--background").curated
    assert table.set_index("fname")["background"].to_dict() == {"1.wav": False, "2.wav": False, "hum.wav": True}


def test_sources_are_put_together(night, tmp_path):
    for label in ("dog", "cat"):
        recording(tmp_path / "clips" / label / "a.flac", 1)
    more = ("--background", "no", "--with", str(tmp_path / "clips"))
    table = prepare(night, tmp_path / "made", "--test", "0", *more).curated
    assert sorted(table["fname"].unique()) == ["a.flac", "b.wav", "cat_a.flac", "dog_a.flac"]
    whole = table[table["start"].isna()]
    assert dict(zip(whole["fname"], whole["labels"])) == {"cat_a.flac": ("cat",), "dog_a.flac": ("dog",)}


def test_times_that_are_those_of_where_clips_were_cut_from_are_none_of_the_clips(tmp_path, capsys):
    source = tmp_path / "in"
    for name in "abc":
        recording(source / f"{name}.wav", 2)
    (source / "labels.csv").write_text("fname,labels,start,end\na.wav,dog,0,2\nb.wav,cat,12,14\nc.wav,dog,31.5,33.5\n")
    assert "start" not in prepare(source, tmp_path / "made", "--test", "0").curated
    assert "times are not of the files that they stand beside, as b.wav has ended by 12 s" in capsys.readouterr().out
    recording(source / "b.wav", 20)
    recording(source / "c.wav", 40)
    assert "start" in prepare(source, tmp_path / "made", "--test", "0").curated
    assert "start" not in prepare(source, tmp_path / "made", "--test", "0", "--whole").curated


@pytest.mark.parametrize("rows, message", [
    ("a.wav,dog,3,2,", "a.wav from 3.0 to 2.0 s: expected a start, and an end that is not before it"),
    ("a.wav,dog,3,,", "from 3.0 to nan s"),
    ("a.wav,dog,x,2,", "a.wav has the time 'x': expected seconds"),
    ("a.wav,dog,-1,2,", "the time '-1'"),
    ("a.wav,,1,2,", "a.wav without a label; label them, delete their rows, or put yes into a column background"),
    ("a.wav,dog,1,2,yes", "a.wav are background and have labels"),
    ("a.wav,dog,1,2,\na.wav,cat,1,2,", "lists a.wav more than once"),
])
def test_a_table_with_times_says_what_is_wrong_with_it(tmp_path, rows, message):
    path = tmp_path / "train_curated.csv"
    path.write_text("fname,labels,start,end,background\n" + rows + "\n")
    with pytest.raises(ValueError, match=f"{path}.*{message}"):
        read_table(path, ["fname", "labels"])


def test_check_reads_a_recording_of_hours_that_clips_are_stretches_of(tmp_path, capsys):
    """A whole clip of that length is refused, as its image is made in one piece."""
    (tmp_path / "train_curated").mkdir()
    sf.write(tmp_path / "train_curated/a.flac", np.tile([0.1, -0.1], 1000 * 1000), 2000)  # 1000 s
    table = tmp_path / "train_curated.csv"
    shutil.copy(tmp_path / "train_curated/a.flac", tmp_path / "train_curated/b.flac")
    table.write_text("fname,labels,start,end\na.flac,dog,10,20\na.flac,cat,900,901\n")
    assert not check(tmp_path)
    assert "all curated clips are of one recording, a.flac: training holds recordings out" in capsys.readouterr().out
    table.write_text("fname,labels,start,end\na.flac,dog,10,20\nb.flac,cat,900,901\n")
    assert check(tmp_path)
    assert "in all: 2 curated clips, 2 labels" in capsys.readouterr().out
    table.write_text("fname,labels\na.flac,dog\n")
    assert not check(tmp_path)


def test_a_pattern_says_which_clips_are_of_one_recording(tmp_path, capsys):
    paths = [PurePosixPath(name) for name in ("x/site1-3.wav", "site2-4.wav", "y.wav")]
    assert by_pattern(paths, r"(site\d)-") == ["site1", "site2", ""]
    assert by_pattern([PurePosixPath("x/site1-3.wav")], r"site\d") == ["site1"]
    for wrong in ("(", "nothing"):
        with pytest.raises(ValueError, match="--recording"):
            by_pattern([PurePosixPath("x.wav")], wrong)
    for number in range(12):
        recording(tmp_path / "in" / ("dog" if number % 2 else "cat") / f"{number % 4}at{number}.wav", 1)
    table = prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--recording", r"(\d)at\d+").curated
    assert table["group"].value_counts().to_dict() == {"0": 3, "1": 3, "2": 3, "3": 3}
    assert "4 recordings, by the pattern" in capsys.readouterr().out


def test_places_of_acoustic_scenes_are_known():
    """Names as of TAU Urban Acoustic Scenes 2019: scene, city, place, segment, device."""
    names = ["airport-lisbon-1000-40000-a", "airport-lisbon-1000-40001-a", "bus-lyon-1001-40002-a",
             "bus-lyon-1002-40003-a", "metro_station-paris-1003-40004-a", "park-vienna-1005-7-b",
             "park-vienna-1006-7-b", "tram-oslo-1007-7-b"]
    assert by_names(names)[:4] == ["airport-lisbon-1000", "airport-lisbon-1000", "bus-lyon-1001", "bus-lyon-1002"]


def test_cuts_that_people_have_sorted_are_clips_of_their_recordings(tmp_path, capsys):
    """Named as ``--cut`` names them; one was moved to another label, one to what is none."""
    recording(tmp_path / "recordings/night.wav", 30)
    recording(tmp_path / "recordings/day 1.flac", 30, 1)
    cuts = ("dog/0.873_night.wav_12.340-13.100.flac", "rain%2Fsnow/0.400_night.wav_20.000-24.500.flac",
            "dog/0.310_day 1.flac_2.000-3.250.flac", "nocall/0.520_day 1.flac_9.000-10.000.flac")
    for name in cuts:
        recording(tmp_path / "sorted" / name, 1)
    made = prepare(tmp_path / "sorted", tmp_path / "made", "--test", "0", "--background").curated
    assert dict(zip(made["fname"], made["group"])) == {
        name.split("/")[1]: name.split("_")[1] for name in cuts}, "clips of one recording are held out together"
    assert sorted(made["labels"]) == [(), ("dog",), ("dog",), ("rain/snow",)] and "start" not in made
    assert "--sounds names" in capsys.readouterr().out
    made = prepare(tmp_path / "sorted", tmp_path / "made", "--test", "0", "--background", "--sounds",
                   str(tmp_path / "recordings")).curated
    assert [(row.fname, row.start, row.end, row.labels, row.background) for row in made.itertuples()] == [
        ("day 1.flac", 2, 3.25, ("dog",), False), ("day 1.flac", 9, 10, (), True),
        ("night.wav", 12.34, 13.1, ("dog",), False), ("night.wav", 20, 24.5, ("rain/snow",), False)]


def test_class_folders_beside_sorted_cuts_hold_their_sounds_themselves(tmp_path):
    """As `--with` gives more clips to cuts whose recordings are elsewhere, in folders that are no labels."""
    recording(tmp_path / "nights/n1/a.wav", 20)
    for number, start in enumerate((1, 5)):
        recording(tmp_path / f"sorted/owl/0.{number}00_n1+a.wav_{start}.000-{start + 1}.000.flac", 1)
    for number in range(3):
        recording(tmp_path / f"more/fox/{number}.wav", 2, number)
    table = prepare(tmp_path / "sorted", tmp_path / "made", "--with", str(tmp_path / "more"), "--sounds",
                    str(tmp_path / "nights"), "--test", "0", "--background", "no").curated
    assert sorted(zip(table["labels"], table["fname"])) == [
        *((("fox",), f"{number}.wav") for number in range(3)), *[(("owl",), "a.wav")] * 2]


def test_cuts_of_recordings_of_one_name_are_found_by_their_folders(tmp_path):
    for number, site in enumerate(("north", "south")):
        recording(tmp_path / "recordings" / site / "0300.wav", 30, number)
        recording(tmp_path / f"sorted/dog/0.500_rec+{site}+0300.wav_{number + 1}.000-{number + 3}.000.flac", 1)
    arguments = ("--test", "0", "--sounds", str(tmp_path / "recordings"))
    made = prepare(tmp_path / "sorted", tmp_path / "made", *arguments).curated
    assert [(row.path.resolve().parent.name, row.start, row.group) for row in made.itertuples()] == [
        ("north", 1, "north/0300.wav"), ("south", 2, "south/0300.wav")]


def test_cuts_of_recordings_with_a_plus_are_found_by_their_folder_and_name(tmp_path):
    for number, name in enumerate(("north/a+b.wav", "south/a+b.wav", "south/b.wav")):
        recording(tmp_path / "recordings" / name, 30, number)
        recording(tmp_path / f"sorted/dog/0.500_{name.replace('/', '+')}_{number + 1}.000-{number + 3}.000.flac", 1)
    arguments = ("--test", "0", "--sounds", str(tmp_path / "recordings"))
    made = prepare(tmp_path / "sorted", tmp_path / "made", *arguments).curated
    assert sorted(zip(made["group"], made["start"])) == [("north/a+b.wav", 1), ("south/a+b.wav", 2), ("south/b.wav", 3)]


def test_a_recording_of_unknown_length_ends_with_its_labels(tmp_path):
    """As of a FLAC that came through a pipe: it does not say how many samples it has."""
    path = recording(tmp_path / "in/a.flac", 20)
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)  # STREAMINFO's 36 bits
    path.write_bytes(data)
    recording(tmp_path / "in/b.flac", 20)
    for name in "ab":
        track(tmp_path / f"in/{name}.txt", (0, 5, "dog"), (12, 14, "cat"))
    quiet = prepare(tmp_path / "in", tmp_path / "made", "--test", "0").curated.query("background")
    assert quiet.groupby("fname")["end"].max()["a.flac"] <= 11.9 < quiet["end"].max() <= 20


@pytest.mark.parametrize("kind", ["flac", "mp3", "wav"])
def test_labels_in_recordings_that_were_joined_count_to_the_end_of_the_last(tmp_path, capsys, kind):
    pieces = [recording(tmp_path / f"{n}.{kind}", seconds) for n, seconds in enumerate((5, 15))]
    (tmp_path / "in").mkdir()
    (tmp_path / f"in/j.{kind}").write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    track(tmp_path / "in/j.txt", (1, 2, "owl"), (18, 19, "fox"), (25, 26, "dog"))
    table = prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--background", "no").curated
    assert [*zip(table["labels"], table["start"])] == [(("owl",), 1), (("fox",), 18)]
    assert f"1 labels after the end of their sound are left out: j.{kind} at 25 s" in capsys.readouterr().out


def test_an_empty_table_of_labels_says_that_nothing_is_to_be_heard(night, tmp_path):
    recording(night / "quiet.flac", 12)
    (night / "quiet.txt").write_text("\n")
    table = prepare(night, tmp_path / "made", "--test", "0").curated
    quiet = table[table["fname"] == "quiet.flac"]
    assert quiet[["start", "end", "background"]].to_numpy().tolist() == [[0, 12, True]]
    without = prepare(night, tmp_path / "made", "--test", "0", "--background", "no").curated
    assert "quiet.flac" not in set(without["fname"])


def test_an_empty_table_of_labels_alone_hides_neither_class_folders_nor_a_table(tmp_path):
    for label in ("cat", "dog"):
        recording(tmp_path / f"in/{label}/{label}0.wav", 2)
    (tmp_path / "in/dog/dog0.txt").write_text("")
    data = prepare(tmp_path / "in", tmp_path / "made", "--test", "0")
    assert [*zip(data.curated["fname"], data.curated["labels"])] == [("cat0.wav", ("cat",)), ("dog0.wav", ("dog",))]
    (tmp_path / "in/t.csv").write_text("file,label\ncat0.wav,purr\ndog0.wav,bark\n")
    data = prepare(tmp_path / "in", tmp_path / "made", "--test", "0")
    assert data.curated["labels"].tolist() == [("purr",), ("bark",)]


def test_what_labels_with_times_come_before_is_said(tmp_path, capsys):
    for label in ("cat", "dog"):
        for number in range(2):
            recording(tmp_path / f"in/{label}/{label}{number}.wav", 5)
    track(tmp_path / "in/dog/dog0.txt", (1, 2, "bark"))
    assert len(prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--background", "no").curated) == 1
    why = f"are not used, as {tmp_path / 'in/dog/dog0.txt'} has labels with times"
    said = capsys.readouterr().out
    assert f"3 sounds in the folders cat, dog {why}; if the folders' names are the labels, say --class-folders" in said
    assert "--whole" not in said
    assert len(prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--class-folders").curated) == 4
    (tmp_path / "in/t.csv").write_text("file,label\ncat0.wav,purr\ndog0.wav,bark\n")
    prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--background", "no")
    assert (f"{tmp_path / 'in/t.csv'}: what is said of whole sounds {why.replace('are', 'is', 1)}; --whole takes it"
            in capsys.readouterr().out)
    data = prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--whole")
    assert data.curated["labels"].tolist() == [("purr",), ("bark",)]


def test_a_table_is_about_the_sound_in_its_folder(tmp_path, capsys):
    source = tmp_path / "in"
    for folder, name in (("n1", "r1"), ("n2", "r2")):
        recording(source / folder / f"{name}.wav", 20)
        track(source / folder / f"{name}.txt", (2, 4, "dog"))
    track(source / "n2/r1.txt", (6, 8, "cat"))
    table = prepare(source, tmp_path / "made", "--test", "0", "--background", "no").curated
    assert table["labels"].tolist() == [("dog",)] * 2
    assert "are left out: r1.txt\n" in capsys.readouterr().out


def test_labels_are_in_folders_like_those_of_the_sounds(tmp_path):
    for site in ("north", "south"):
        recording(tmp_path / "sounds" / site / "0300.wav", 20)
        (tmp_path / "labels" / site).mkdir(parents=True)
        track(tmp_path / "labels" / site / "0300.txt", (2, 4, site))
    arguments = ("--test", "0", "--background", "no", "--sounds", str(tmp_path / "sounds"))
    table = prepare(tmp_path / "labels", tmp_path / "made", *arguments).curated
    assert [(row.path.resolve().parent.name, row.labels, row.group) for row in table.itertuples()] == [
        (site, (site,), f"{site}/0300.wav") for site in ("north", "south")]


@pytest.mark.parametrize("linked", ["the track", "its folder"])
@pytest.mark.parametrize("apart", [False, True])
def test_a_track_is_where_it_was_found_and_not_where_a_link_leads(tmp_path, linked, apart):
    recording(tmp_path / "in/night/a.wav", 20)
    (tmp_path / "annex").mkdir()
    track(tmp_path / "annex/a.txt", (2, 4, "owl"))
    labels = tmp_path / ("tracks" if apart else "in") / "labels"
    labels.parent.mkdir(exist_ok=True)
    if linked == "its folder":
        labels.symlink_to(tmp_path / "annex")
    else:
        labels.mkdir()
        (labels / "a.txt").symlink_to(tmp_path / "annex/a.txt")
    sounds = ("--sounds", str(tmp_path / "in")) if apart else ()
    table = prepare(labels.parent, tmp_path / "made", "--test", "0", "--background", "no", *sounds).curated
    assert [*zip(table["fname"], table["labels"])] == [("a.wav", ("owl",))]


@pytest.mark.parametrize("tables", [1, 2])
def test_labels_of_a_recording_that_is_not_there_are_not_put_into_one_of_its_name(tmp_path, capsys, tables):
    recording(tmp_path / "in/north/0300.wav", 20)
    head = "Begin Time (s)\tEnd Time (s)\tBegin Path\tFile Offset (s)\tSpecies\n"
    rows = ["2\t3\tD:\\north\\0300.wav\t2\towl\n", "25\t26\tD:\\south\\0300.wav\t5\tfox\n"]
    for number, lines in enumerate([rows] if tables == 1 else [rows[:1], rows[1:]]):
        (tmp_path / f"in/{number}.selections.txt").write_text(head + "".join(lines))
    table = prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--background", "no").curated
    assert [*zip(table["fname"], table["labels"], table["start"])] == [("0300.wav", ("owl",), 2)]
    assert "of 1 sounds that are not there, or not one alone, are left out: D:\\south\\0300.wav" in (
        capsys.readouterr().out)


@pytest.mark.parametrize("text", ["1\t2\tfox\n", ""])
@pytest.mark.parametrize("apart", [False, True])
def test_a_track_of_a_recording_that_is_not_there_is_not_taken_for_another_of_its_name(tmp_path, capsys, apart, text):
    """In folders of the sounds' names, beside the sounds or apart from them, with labels or silent."""
    sounds = tmp_path / "in"
    tracks = tmp_path / "labels" if apart else sounds
    for site in ("north", "south"):
        (tracks / site).mkdir(parents=True)
        track(tracks / site / "0300.txt", (2, 4, "owl"))
    recording(sounds / "north/0300.wav", 20)
    (tracks / "south/0300.txt").write_text(text)
    source = (tracks, "--sounds", str(sounds)) if apart else (sounds,)
    table = prepare(source[0], tmp_path / "made", "--test", "0", "--background", "no", *source[1:]).curated
    assert [*zip(table["fname"], table["labels"], table["start"])] == [("0300.wav", ("owl",), 2)]
    assert ("labels with times of 1 sounds that are not there, or not one alone, are left out: south/0300 "
            "(a table nearer to north/0300.wav is there)") in capsys.readouterr().out


def test_tracks_of_two_listeners_in_folders_of_their_own_both_count(tmp_path):
    recording(tmp_path / "in/sounds/0300.wav", 20)
    for who, label in (("ann", "owl"), ("bob", "fox")):
        (tmp_path / "in" / who).mkdir()
        track(tmp_path / "in" / who / "0300.txt", (2, 4, label))
    table = prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--background", "no").curated
    assert table["labels"].tolist() == [("fox", "owl")]


def test_tracks_in_a_folder_below_the_sounds_count_beside_those_that_lie_with_the_sounds(tmp_path):
    recording(tmp_path / "in/night/a.wav", 20)
    (tmp_path / "in/night/raven").mkdir()
    track(tmp_path / "in/night/a.txt", (1, 3, "owl"))
    track(tmp_path / "in/night/raven/a.txt", (8, 10, "fox"))
    table = prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--background", "no").curated
    assert [*zip(table["labels"], table["start"])] == [(("owl",), 1), (("fox",), 8)]


@pytest.mark.parametrize("beside", ["z.txt", "z.csv"])
def test_tracks_in_a_folder_of_labels_count_where_another_one_lies_beside_its_sound(tmp_path, beside):
    for name in "abz":
        recording(tmp_path / f"in/audio/{name}.wav", 20)
    (tmp_path / "in/labels").mkdir()
    for name in "ab":
        track(tmp_path / f"in/labels/{name}.txt", (8, 10, "fox"))
    (tmp_path / "in/audio" / beside).write_text({"z.txt": "1\t2\towl\n",
                                                 "z.csv": "file,start,end,label\naudio/z.wav,1,2,owl\n"}[beside])
    table = prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--background", "no").curated
    assert [*zip(table["fname"], table["labels"])] == [("a.wav", ("fox",)), ("b.wav", ("fox",)), ("z.wav", ("owl",))]


def test_a_copy_further_down_is_another_recording(tmp_path):
    for name, label in (("a", "dog"), ("b", "cat")):
        recording(tmp_path / f"in/{name}.wav", 20)
        track(tmp_path / f"in/{name}.txt", (1, 2, label))
    recording(tmp_path / "in/old/a.wav", 20)
    table = prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--background", "no").curated
    assert [(path.resolve().parent.name, labels) for path, labels in zip(table["path"], table["labels"])] == [
        ("in", ("dog",)), ("in", ("cat",))]


def test_labels_with_times_that_are_of_no_sound_are_an_error(tmp_path, capsys):
    recording(tmp_path / "in/dog/a.wav", 5)
    track(tmp_path / "in/other.txt", (1, 2, "dog"))
    prepare(tmp_path / "in", tmp_path / "made", status=1)
    assert "has labels with times, and none of its sounds, or not one alone: other.txt" in capsys.readouterr().err
    assert len(prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--class-folders").curated) == 1
    for name in ("a", "b"):
        track(tmp_path / f"in/dog/{name}.txt", (1, 2, ""))
    prepare(tmp_path / "in", tmp_path / "made2", status=1)
    assert "a.txt: no row has a label; name the column of labels by --label-column" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "text"), [
    ("events.csv", "clip,start,end,label\na.wav,1,2,dog\nb.wav,3,4,cat\n"),
    ("events.csv", "name,start,end,label\na.wav,1,2,dog\nb.wav,3,4,cat\n"),
    ("events.csv", "recording_id,start,end,label\na,1,2,dog\nb,3,4,cat\n"),
    ("events.tab", "filename\tonset\toffset\tevent_label\na.wav\t1\t2\tdog\nb.wav\t3\t4\tcat\n"),
])
def test_a_table_names_its_sounds_in_any_usual_column(tmp_path, name, text):
    for sound in ("a.wav", "b.wav"):
        recording(tmp_path / "in" / sound, 5)
    (tmp_path / "in" / name).write_text(text)
    table = prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--background", "no").curated
    assert [(row.fname, row.start, row.end, row.labels) for row in table.itertuples()] == [
        ("a.wav", 1, 2, ("dog",)), ("b.wav", 3, 4, ("cat",))]


def test_a_table_whose_column_of_sounds_is_not_known_is_asked_for_it(tmp_path, capsys):
    recording(tmp_path / "in/a.wav", 5)
    (tmp_path / "in/events.csv").write_text("wo,start,end,label\na.wav,1,2,dog\n")
    prepare(tmp_path / "in", tmp_path / "made", status=1)
    said = capsys.readouterr().err
    assert "not one alone: events.csv; give" in said and "the column of their names by --file-column" in said
    assert prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--file-column", "wo", "--background",
                   "no").curated["fname"].tolist() == ["a.wav"]


def test_what_a_table_with_times_says_besides_counts(tmp_path):
    source = tmp_path / "in"
    for number in range(6):
        recording(source / f"r{number}.wav", 20, number)
    lines = [f"r{number}.wav,{start},{start + 2},x,{kind},{number // 2},{number // 3 + 1}"
             for number in range(6) for start, kind in ((1, "dog"), (8, "cat"))]
    (source / "all.csv").write_text("wavname,start,end,label,kind,place,fold\n" + "\n".join(lines))
    columns = ("--file-column", "wavname", "--label-column", "kind", "label", "--background", "no")
    data = prepare(source, tmp_path / "made", *columns, "--group", "place", "--test-fold", "2")
    assert set(data.test["fname"]) == {"r3.wav", "r4.wav", "r5.wav"}
    assert data.curated["labels"].tolist() == [("dog", "x"), ("cat", "x")] * 3
    assert data.curated.groupby("group")["fname"].unique().map(list).to_dict() == {"0": ["r0.wav", "r1.wav"],
                                                                                   "1": ["r2.wav"]}
    prepare(source, tmp_path / "made", *columns, "--group", "nonsense", status=1)
    (source / "all.csv").unlink()
    for name, numbers in (("train", (0, 1, 2)), ("test", (3, 4))):
        (source / f"{name}.tsv").write_text("filename\tonset\toffset\tevent_label\n" + "".join(
            f"r{number}.wav\t1\t3\tdog\n" for number in numbers))
    data = prepare(source, tmp_path / "made", "--background", "no")
    assert set(data.test["fname"]) == {"r3.wav", "r4.wav"} and len(data.curated) == 3


def test_cuts_and_recordings_together_leave_no_background_where_a_cut_is(tmp_path):
    recording(tmp_path / "in/sub/a.wav", 20)
    recording(tmp_path / "in/b.wav", 20)
    track(tmp_path / "in/sub/a.txt", (2, 4, "dog"))
    track(tmp_path / "in/b.txt", (2, 4, "dog"))
    recording(tmp_path / "cuts/bird/0.500_a.wav_6.000-19.000.flac", 1)
    recording(tmp_path / "cuts/bird/0.500_a.wav_2.000-4.000.flac", 1)
    arguments = ("--test", "0", "--sounds", str(tmp_path / "in"), "--with", str(tmp_path / "cuts"))
    table = prepare(tmp_path / "in", tmp_path / "made", *arguments).curated
    own = table[(table["fname"] == "a.wav")]
    labelled = own[~own["background"]]
    assert [*zip(labelled["start"], labelled["labels"])] == [(2, ("dog", "bird")), (6, ("bird",))]
    assert not (own["background"] & (own["end"] > 6) & (own["start"] < 19)).any()
    alone = prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--with", str(tmp_path / "cuts")).curated
    groups = alone.drop_duplicates("fname").set_index("fname")["group"]
    assert groups["0.500_a.wav_6.000-19.000.flac"] == groups["a.wav"] != groups["b.wav"]


def test_what_lies_between_sorted_cuts_is_none_of_them(tmp_path, capsys):
    recording(tmp_path / "night/a.wav", 20)
    recording(tmp_path / "store/0.500_a.wav_2.000-4.000.flac", 1)
    recording(tmp_path / "cuts/cat/0.500_a.wav_6.000-9.000.flac", 1)
    (tmp_path / "cuts/dog").mkdir()
    (tmp_path / "cuts/dog/0.500_a.wav_2.000-4.000.flac").symlink_to(tmp_path / "store/0.500_a.wav_2.000-4.000.flac")
    for name in ("dog/._0.500_a.wav_2.000-4.000.flac", "cat/._0.500_a.wav_6.000-9.000.flac", "cat/._.wav"):
        (tmp_path / "cuts" / name).write_bytes(b"of a file system without such things")
    arguments = ("--test", "0", "--sounds", str(tmp_path / "night"))
    expected = [("a.wav", ("dog",), 2, 4), ("a.wav", ("cat",), 6, 9)]
    for left_out in (False, True):
        table = prepare(tmp_path / "cuts", tmp_path / "made", *arguments).curated
        assert [*zip(table["fname"], table["labels"], table["start"], table["end"])] == expected
        said = f"1 sounds in {tmp_path / 'cuts'} are not named as cuts and are left out: cat/mine.flac"
        assert (said in capsys.readouterr().out) == left_out
        recording(tmp_path / "cuts/cat/mine.flac", 1)
    alone = prepare(tmp_path / "cuts", tmp_path / "made", "--test", "0").curated
    assert dict(zip(alone["fname"], alone["labels"])) == {"0.500_a.wav_2.000-4.000.flac": ("dog",),
                                                          "0.500_a.wav_6.000-9.000.flac": ("cat",)}
    assert "1 sounds are not used: cat/mine.flac" in capsys.readouterr().out


def test_a_changed_table_of_test_events_stays(night, tmp_path, capsys):
    prepare(night, tmp_path / "made", "--test", "0.5")
    path = tmp_path / "made/test_events.tsv"
    path.write_text(path.read_text() + "a.flac\t1\t2\tdog\n")
    prepare(night, tmp_path / "made", "--test", "0.5", status=1)
    assert "test_events.tsv has been changed since it was made" in capsys.readouterr().err


def test_calls_of_milliseconds_all_count_and_what_two_tables_say_counts_once(tmp_path):
    """A call every 15 ms; another table has the first hundred with times to the hundredth of a second."""
    recording(tmp_path / "in/a.wav", 30)
    calls = [(2 + n * 0.015, 2.004 + n * 0.015, "click") for n in range(1600)]
    track(tmp_path / "in/a.txt", *calls, calls[0])
    (tmp_path / "in/other.csv").write_text("filename,onset,offset,event_label\n" + "".join(
        f"a.wav,{start:.2f},{end:.2f},{label}\n" for start, end, label in calls[:100]))
    table = prepare(tmp_path / "in", tmp_path / "made", "--test", "0").curated
    labelled = table[~table["background"]]
    assert len(labelled) == 1600
    np.testing.assert_allclose(labelled["start"], [start for start, *_ in calls], atol=0.0051)
    assert all(one.end <= 2 - 0.1 or one.start >= 26 for one in table[table["background"]].itertuples())


def test_labels_whose_times_are_written_the_same_are_of_one_stretch(tmp_path):
    recording(tmp_path / "in/a.wav", 20)
    (tmp_path / "in/t.csv").write_text("file,start,end,label\na.wav,12.34,13.1,owl\n"
                                       "a.wav,12.340000000000002,13.1000004,fox\na.wav,12.340001,13.1,dog\n")
    table = prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--background", "no").curated
    assert [*zip(table["labels"], table["start"])] == [(("fox", "owl"), 12.34), (("dog",), 12.340001)]


def test_what_somebody_marked_and_did_not_name_is_no_background(tmp_path):
    for name in "ab":
        recording(tmp_path / f"in/{name}.wav", 30)
    track(tmp_path / "in/a.txt", (1, 3, "dog"), (5, 28, ""))
    track(tmp_path / "in/b.txt", (1, 9, "dog"), (9, 28, ""), (28, 29, "dog"))
    table = prepare(tmp_path / "in", tmp_path / "made", "--test", "0").curated
    assert table["labels"].tolist() == [("dog",)] * 3
    assert "background" not in table, "gaps of 0.9, 1.8 and 1.9 s have no room for an excerpt of two seconds"


def test_rows_of_whole_sounds_whose_labels_have_times_elsewhere_are_left_out(tmp_path, capsys):
    for n in range(6):
        recording(tmp_path / f"in/r{n}.wav", 10, n)
        track(tmp_path / f"in/r{n}.txt", (1, 3, "dog"), (5, 6, "rain"))
    (tmp_path / "weak").mkdir()
    (tmp_path / "weak/list.csv").write_text("file,label\n" + "".join(f"r{n}.wav,cat\n" for n in range(6)))
    data = prepare(tmp_path / "in", tmp_path / "made", "--test", "0", "--background", "no", "--with",
                   str(tmp_path / "weak/list.csv"), "--sounds", str(tmp_path / "in"))
    assert len(data.curated) == 12 and data.curated["start"].notna().all()
    assert "6 rows of whole sounds are left out, as other rows say what is to be heard in them when" in (
        capsys.readouterr().out)


def test_clips_with_times_of_where_they_were_cut_from_may_have_a_row_a_label(tmp_path, capsys):
    for n in range(3):
        recording(tmp_path / f"in/{n}.wav", 2, n)
    (tmp_path / "in/t.csv").write_text("filename,start,end,label\n" + "".join(
        f"{n}.wav,{100 + n},{102 + n},{label}\n" for n in range(3) for label in ("dog", "rain")))
    table = prepare(tmp_path / "in", tmp_path / "made", "--test", "0").curated
    assert table["labels"].tolist() == [("dog", "rain")] * 3
    assert "times are not of the files that they stand beside" in capsys.readouterr().out


def test_columns_count_where_rows_are_passed_over(tmp_path):
    """DCASE's rows without times, and Raven's second view of a selection."""
    for n in range(6):
        recording(tmp_path / f"in/r{n}.wav", 10, n)
    rows = [f"r{n}.wav\t1\t2\tdog\t{'test' if n > 3 else 'train'}\ts{n // 2}\n" for n in range(6)]
    (tmp_path / "in/t.tsv").write_text("filename\tonset\toffset\tevent_label\tsplit\tgroup\n"
                                       "r0.wav\t\t\t\ttrain\ts0\n" + "".join(rows))
    data = prepare(tmp_path / "in", tmp_path / "made", "--background", "no")
    assert sorted(data.test["fname"]) == ["r4.wav", "r5.wav"]
    assert dict(zip(data.curated["fname"], data.curated["group"])) == {
        "r0.wav": "s0", "r1.wav": "s0", "r2.wav": "s1", "r3.wav": "s1"}
    (tmp_path / "in/t.tsv").unlink()
    views = "".join(f"{n}\t{view} 1\t1\t2\tr{n}.wav\tdog\ts{n // 2}\n" for n in range(6)
                    for view in ("Waveform", "Spectrogram"))
    (tmp_path / "in/all.selections.txt").write_text(
        "Selection\tView\tBegin Time (s)\tEnd Time (s)\tWhat\tAnnotation\tGroup\n" + views)
    data = prepare(tmp_path / "in", tmp_path / "made", "--background", "no", "--file-column", "What", "--test", "0")
    assert data.curated["group"].tolist() == ["s0", "s0", "s1", "s1", "s2", "s2"]
