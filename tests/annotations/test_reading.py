"""Labels with times, in files as the programs of this field write them."""

import re
import subprocess
import sys

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freesound_tagging.annotations.names import names_of, stem_of
from freesound_tagging.annotations.reading import HEAD, is_events, read_all_events, read_events

RAVEN = ("Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tBegin File\t"
         "File Offset (s)\tSpecies\n"
         "1\tWaveform 1\t1\t1.5\t2.25\t19.7\t43.3\ta.wav\t1.5\tEATO\n"
         "1\tSpectrogram 1\t1\t1.5\t2.25\t19.7\t43.3\ta.wav\t1.5\tEATO\n"
         "2\tWaveform 1\t1\t601\t604\t19.7\t43.3\tb.wav\t1\tBAWW\n"
         "2\tSpectrogram 1\t1\t601\t604\t19.7\t43.3\tb.wav\t1\tBAWW\n")
BIRDNET = ("Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tCommon Name\t"
           "Species Code\tConfidence\tBegin Path\tFile Offset (s)\n"
           "1\tSpectrogram 1\t1\t0.0\t3.0\t0\t15000\tEurasian Blackbird\teurbla1\t0.87\t/data/audio/rec.wav\t0.0\n"
           "2\tSpectrogram 1\t1\t3.0\t6.0\t0\t15000\tCommon Chaffinch\tcomcha\t0.42\t/data/audio/rec.wav\t3.0\n")


def rows(path, **options):
    return [tuple(row) for row in read_events(path, **options).itertuples(index=False)]


def written(folder, text, name="x.txt", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def test_a_label_track_of_audacity_with_frequencies_points_and_decimal_commas(tmp_path):
    text = ("0,500000\t1,250000\tBark\n\\\t312,000000\t4000,000000\n2,000000\t2,000000\ta point, \"quoted\"\n"
            "3,000000\t4,000000\t\n")
    expected = [("", 0.5, 1.25, "Bark"), ("", 2.0, 2.0, 'a point, "quoted"'), ("", 3.0, 4.0, "")]
    for number, encoding in enumerate(("utf-8", "utf-8-sig", "utf-16")):
        assert rows(written(tmp_path, text, f"{number}.txt", encoding)) == expected
    assert rows(written(tmp_path, text.replace("\n", "\r\n").replace(",0", ".0").replace(",2", ".2")
                        .replace(",5", ".5"))) == expected


def test_a_selection_of_raven_counts_once_and_is_where_its_file_has_it(tmp_path):
    path = written(tmp_path, RAVEN, "a.Table.1.selections.txt")
    assert rows(path) == [("a.wav", 1.5, 2.25, "EATO"), ("b.wav", 1.0, 4.0, "BAWW")]
    assert rows(path, label_column="Channel")[0] == ("a.wav", 1.5, 2.25, "1")
    without = written(tmp_path, RAVEN.replace("Begin File", "Notes"), "without.txt")
    assert rows(without)[1] == ("", 601.0, 604.0, "BAWW"), "where no file is named, times are those of the whole"
    with pytest.raises(ValueError, match=r"labels of .*a\.Table.*: there is no column 'Bird'; there are Selection, V"):
        read_events(path, label_column="Bird")


SEQUENCE = ("Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tSpecies\n"  # of a.wav, 20 s, and b.wav behind it
            "1\t2\t3\ta.wav\tEATO\n2\t25\t26\tb.wav\tBAWW\n")


def test_times_in_a_sequence_of_ravens_files_are_not_taken_for_those_in_each(tmp_path):
    """25 to 26 s of the sequence are 5 to 6 s of b.wav, which the table cannot tell without its File Offset (s)."""
    path = written(tmp_path, SEQUENCE)
    with pytest.raises(ValueError, match=r"x\.txt, line 2: Raven counts times from the first of several files on, not "
                                         r"from where a\.wav begins; add the column File Offset \(s\) in Raven"):
        read_events(path)
    one = [("a.wav", 2.0, 3.0, "EATO"), ("a.wav", 25.0, 26.0, "BAWW")]
    assert rows(written(tmp_path, SEQUENCE.replace("b.wav", "a.wav"))) == one, "of one file there is but one beginning"
    renamed = [one[0], ("b.wav", 25.0, 26.0, "BAWW")]
    assert rows(written(tmp_path, SEQUENCE.replace("Begin File", "File"))) == renamed
    lines = [line + end for line, end in zip(SEQUENCE.splitlines(), ("\tFile Offset (s)\n", "\t2\n", "\t5\n"))]
    assert rows(written(tmp_path, "".join(lines))) == [one[0], ("b.wav", 5.0, 6.0, "BAWW")]
    with pytest.raises(ValueError, match=r"line 3: Raven counts .* where b\.wav begins"):
        read_events(written(tmp_path, "".join(lines).replace("\t5\n", "\t\n")))


def test_two_selections_of_the_same_times_are_two(tmp_path):
    twice = RAVEN + RAVEN.splitlines()[1].replace("1\tW", "3\tW") + "\n"
    assert len(read_events(written(tmp_path, twice))) == 3


def test_birdnets_results_keep_their_confidence(tmp_path):
    blackbird = ("/data/audio/rec.wav", 0.0, 3.0, "Eurasian Blackbird", 0.87)
    assert rows(written(tmp_path, BIRDNET)) == [blackbird, ("/data/audio/rec.wav", 3.0, 6.0, "Common Chaffinch", 0.42)]
    table = ("Start (s),End (s),Scientific name,Common name,Confidence,File\n"
             "0.0,3.0,Turdus merula,Eurasian Blackbird,0.87,/data/audio/rec.wav\n")
    assert rows(written(tmp_path, table, "x.csv")) == [blackbird]


def test_dcases_tables_and_files_without_events_in_them(tmp_path):
    text = "filename\tonset\toffset\tevent_label\na.wav\t0.163\t0.665\tDog\nquiet.wav\t\t\t\nb.wav\t1.0\t10.0\tRain\n"
    assert rows(written(tmp_path, text, "x.tsv")) == [("a.wav", 0.163, 0.665, "Dog"), ("b.wav", 1.0, 10.0, "Rain")]


@pytest.mark.parametrize("text", [
    "Start Time;Duration;Tag\n0:01:23,5;1,5;Hund\n",
    "sep=;\nTag;begin;end\nHund;83,5;85\n",
    "start|end|label\n\n1:23.5|1:25|Hund\n",
])
def test_tables_of_ones_own(tmp_path, text):
    assert rows(written(tmp_path, text, "x.csv", "cp1252")) == [("", 83.5, 85.0, "Hund")]


DITTO = ["1\t2\tdog\ta.wav", '3\t4\t"\tb.wav', "5\t6\tcat\tc.wav", "7\t8\train\td.wav"]


@pytest.mark.parametrize(("lines", "labels"), [
    (DITTO, ["dog", '"', "cat", "rain"]),
    ([DITTO[0], DITTO[1], DITTO[2], DITTO[3].replace("rain", '"')], ["dog", '"', "cat", '"']),
    ([DITTO[0], DITTO[1], DITTO[2].replace("cat", '"high" call'), DITTO[3]], ["dog", '"', '"high" call', "rain"]),
    ([DITTO[0].replace("dog", '"x'), DITTO[1], DITTO[2].replace("cat", '5" of rain')], ['"x', '"', '5" of rain']),
    ([DITTO[0].replace("a.wav", '"'), '"\t4\tdog\tb.wav'], None),
    (['1\t2\t"dog ""Rex"""\t"a.wav"', '3\t4\t"big\ncat"\t"b.wav"', '5\t6\t"a\tb"\t""'],
     ['dog "Rex"', "big\ncat", "a\tb"]),
])
def test_a_quotation_mark_between_tabs_is_a_letter_unless_all_are_about_cells(tmp_path, lines, labels):
    path = written(tmp_path, "\n".join(["start\tend\tlabel\tfile", *lines]) + "\n", "x.tsv")
    if labels is None:  # a ditto in the last column, and one in the first
        with pytest.raises(ValueError, match="line 3: '\"' is no time"):
            read_events(path)
        return
    table = read_events(path)
    assert list(table["label"]) == labels
    assert list(table["start"]) == [1, 3, 5, 7][:len(lines)] and list(table["end"]) == [2, 4, 6, 8][:len(lines)]


@pytest.mark.parametrize("mark", [",", ";", "|"])
def test_rows_that_a_quotation_mark_makes_one_cell_of_are_an_error(tmp_path, mark):
    path = written(tmp_path, "\n".join(["", "start\tend\tlabel\tfile", *DITTO]).replace("\t", mark), "x.csv")
    with pytest.raises(ValueError, match=r"x\.csv, line 4: a quotation mark makes one cell of this line and"):
        read_events(path)  # an empty line, that of the names, and 1 to 2 s are before it
    text = 'start,end,label,remark\n1,2,dog,"in Bonn, at night,\nby the river, 3 m off"\n3,4,5" of rain,\n'
    assert rows(written(tmp_path, text, "x.csv")) == [("", 1.0, 2.0, "dog"), ("", 3.0, 4.0, '5" of rain')]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
@pytest.mark.parametrize("before", ["", "\n", "\n\n\n", ",,,\n \n", "sep=,\n"])
def test_lines_end_in_any_way_and_may_be_empty_before_the_first(tmp_path, end, before):
    text = before + "start,end,label\n1,2,dog\n3,x,cat\n"
    path = written(tmp_path, text.replace("\n", end), "x.csv")
    assert is_events(path)
    with pytest.raises(ValueError, match=f"line {before.count(chr(10)) + 3}: 'x' is no time"):
        read_events(path)
    assert rows(written(tmp_path, text.replace("x", "4").replace("\n", end), "x.csv")) == [
        ("", 1.0, 2.0, "dog"), ("", 3.0, 4.0, "cat")]


@pytest.mark.parametrize("column", ["clip", "Clip Name", "name", "recording_id"])
def test_the_column_of_files_has_any_usual_name_and_is_not_that_of_labels(tmp_path, column):
    path = written(tmp_path, f"{column},start,end,label\na.wav,1,2,dog\n", "x.csv")
    assert rows(path) == [("a.wav", 1.0, 2.0, "dog")]
    assert rows(path, label_column=column) == [("", 1.0, 2.0, "a.wav")]


@pytest.mark.parametrize(("text", "said"), [
    ("start,end,label\n1,2,a\n\n3,x,b\n", "x.csv, line 4: 'x' is no time; expected seconds from 0 on, such as 83.5"),
    ("start,end,label\n1,nan,a\n", "line 2: 'nan' is no time"),
    ("start,end,label\n-1,2,a\n", "line 2: '-1' is no time"),
    ("start,end,label\n1:-1,2:00,a\n", "line 2: '1:-1' is no time"),
    ("start,end,label\n1:75,2:00,a\n", "line 2: '1:75' is no time"),
    ("start,end,label\n1,inf,a\n", "line 2: 'inf' is no time"),
    ("start,end,label\n1,,a\n", "line 2: '' is no time"),
    ("start,end,label\n2,1,a\n", "line 2: ends at 1 s, before it starts at 2 s; mend the times"),
    ("start,end,label\n1,2,a,b\n", "line 2: there are more cells than columns; put what has the separator in it"),
    ("start,end,start\n1,2,3\n", "more than one column start; delete one or rename it"),
    ("start,end,confidence\n1,2,high\n", "line 2: 'high' is no probability"),
    ("fname,labels\na.wav,Bark\n", "has the columns fname, labels; expected start and end of labels"),
    ("1.0\t2.0\ta\n3.0\ttwo\tb\n", "line 2: 'two' is no time"),
    ("\1\2\0\0", "is no text; save it as CSV"),
])
def test_what_is_wrong_is_one_line_with_the_file_and_its_line(tmp_path, text, said):
    path = written(tmp_path, text, "x.csv")
    with pytest.raises(ValueError, match=re.escape(said)) as raised:
        read_events(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.sampled_from(["", "1\t2\t", "start,end,label\n", RAVEN[:200]]),
       st.one_of(st.binary(max_size=60), st.text("01.,:;|\t\n\r\"\\-einfasd \0é", max_size=60).map(str.encode)))
def test_whatever_is_in_a_file_it_is_a_table_or_an_error_that_names_it(tmp_path, head, rest):
    path = tmp_path / "x.csv"
    path.write_bytes(head.encode() + rest)
    assert is_events(path) in (True, False)
    try:
        table = read_events(path)
    except ValueError as error:
        assert "x.csv" in str(error)
    else:
        assert (table["end"] >= table["start"]).all() and (table["start"] >= 0).all()


def test_an_empty_track_has_no_label(tmp_path):
    table = read_events(written(tmp_path, ""))
    assert list(table.columns) == ["file", "start", "end", "label"] and not len(table)
    assert table["start"].dtype == float


@pytest.mark.parametrize(("name", "text", "expected"), [
    ("x.txt", "0,5\t1,5\tBark\n", True), ("x.txt", RAVEN, True), ("x.csv", "start,end,label\n", True),
    ("x.tsv", "filename\tonset\toffset\tevent_label\n", True), ("x.md", RAVEN, False), ("x.txt", "", False),
    ("x.tab", "filename\tonset\toffset\tevent_label\n", True), ("x.TAB", RAVEN, True),
    ("x.txt", "Recorded on 3 May\n", False), ("x.csv", "fname,labels\na.wav,Bark\n", False), ("x.csv", "\0" * 9, False),
    ("UrbanSound8K.csv", "slice_file_name,fsID,start,end,salience,fold,classID,class\n", False),
    ("x.csv", '"' + "a" * 200_000, False), ("x.txt", "1\t2\t3\t4\t5\n", False)])
def test_a_table_with_times_is_known_by_its_first_lines(tmp_path, name, text, expected):
    assert is_events(written(tmp_path, text, name)) is expected
    assert not is_events(tmp_path / "missing.txt") and not is_events(tmp_path)


@pytest.mark.parametrize("place", range(HEAD - 3, HEAD + 1))
def test_a_letter_that_the_first_bytes_end_in_changes_none_of_the_others(tmp_path, place):
    """é is two bytes, before the border, across it (at HEAD - 1), and behind it; the mark of UTF-8 is before Start."""
    head = "\ufeffStart (s),End (s),Species\n1,2,".encode()
    path = tmp_path / "x.csv"
    path.write_bytes(head + b"x" * (place - len(head)) + "é\n".encode() + b"3,4,x\n")
    assert is_events(path)
    path.write_bytes("start,end,größe".encode("cp1252") + b"x" * HEAD)
    assert is_events(path), "and what is no UTF-8 is still read"


@pytest.mark.parametrize(("table", "expected"), [
    ("x.txt", ["x"]), ("x_labels.txt", ["x_labels", "x"]), ("x.wav.txt", ["x.wav", "x"]), ("x.csv", ["x"]),
    ("x.Table.1.selections.txt", ["x.Table.1.selections", "x"]), ("x.selections.txt", ["x.selections", "x"]),
    ("x.BirdNET.selection.table.txt", ["x.BirdNET.selection.table", "x"]),
    ("x.BirdNET.results.csv", ["x.BirdNET.results", "x"]), ("labels.txt", ["labels"]),
    ("2026.03.01_labels.txt", ["2026.03.01_labels", "2026.03.01"])])
def test_the_sound_that_a_table_is_about_is_named_by_it(table, expected):
    assert names_of(table) == expected


def test_names_of_one_sound_are_told_to_be():
    names = ("Night.wav", "night", "C:\\rec\\NIGHT.WAV", "a/b/night.flac")
    assert {stem_of(name) for name in names} == {"night"}
    assert stem_of("2026.03") == "2026.03"


@pytest.mark.slow
def test_the_three_forms_of_a_recording_are_the_same_events(shared, tmp_path):
    subprocess.run([sys.executable, shared / "freesound40/make_recordings.py", tmp_path, "--folds", "4"], check=True,
                   stdout=subprocess.DEVNULL)
    dcase = read_events(tmp_path / "labels.tsv")
    assert len(dcase) > 200 and dcase["label"].nunique() == 40
    for sound in sorted(tmp_path.glob("*.flac")):
        audacity, raven = (read_events(sound.with_suffix(ending)) for ending in (".txt", ".selections.txt"))
        lines = sound.with_suffix(".txt").read_text().splitlines()
        assert [f"{row.start:.6f}\t{row.end:.6f}\t{row.label}" for row in audacity.itertuples()] == lines
        pd.testing.assert_frame_equal(raven, audacity, rtol=0, atol=1e-6)
        named = dcase[dcase["file"] == sound.name].assign(file="").reset_index(drop=True)
        pd.testing.assert_frame_equal(named, audacity, rtol=0, atol=6e-4)
    with pytest.raises(ValueError, match=r"00\.selections\.txt and .*00\.txt both have labels of 00; leave one"):
        read_all_events(tmp_path)


def test_the_tables_of_a_folder_name_its_sounds(tmp_path):
    (tmp_path / "night").mkdir()
    written(tmp_path, "0.5\t1.5\tBark\n", "a_labels.txt")
    written(tmp_path / "night", RAVEN.replace("a.wav", "c.wav"), "two.selections.txt")
    written(tmp_path, "Recorded on 3 May\n", "notes.txt")
    table = read_all_events(tmp_path)
    assert list(table["file"]) == ["a", "c.wav", "b.wav"]
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="nothing has no labels with times; expected tables as Audacity or Raven"):
        read_all_events(tmp_path / "nothing")
