"""Any data set into a folder to train on. Sounds are empty files here, as none is opened; trees as their pages say."""

import csv
import os
import re
import time
from pathlib import Path

import pandas as pd
import pytest

from freesound_tagging.clips.__main__ import main
from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.clips.finding import SoundsBelow
from freesound_tagging.clips.recordings import by_names
from freesound_tagging.clips.spreadsheets import read_spreadsheet, split_labels


def sounds(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(os.fsencode(name))
    return root


def write(path, text, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def state(root):
    """All below a folder, with what is in it."""
    return {path: (os.readlink(path) if path.is_symlink() else path.read_bytes(), path.lstat().st_mtime_ns)
            for path in root.rglob("*") if path.is_symlink() or path.is_file()}


def prepared(source, tmp_path, *arguments, status=0):
    """The sets that come of a source: labels by name of the sound."""
    before = state(source if source.is_dir() else source.parent)
    assert main(["prepare", str(source), str(tmp_path / "made"), *arguments]) == status
    assert state(source if source.is_dir() else source.parent) == before, "nothing in the source is changed"
    data = FSDKaggle2019(tmp_path / "made", drop_faulty=False)
    return {name: dict(zip(table["fname"], table["labels"])) for name in ("curated", "noisy", "test")
            if len(table := getattr(data, name))}


def test_class_folders_are_labels_and_what_systems_hide_between_them_is_none(tmp_path, capsys):
    root = sounds(tmp_path / "in", *(f"{label}/{n}.wav" for label in ("dog", "Miaou, cat") for n in range(10)),
                  "dog/._0.wav", "__MACOSX/dog/0.wav", "_background_noise_/hum.wav", "dog/Thumbs.db", "LICENSE")
    sets = prepared(root, tmp_path)
    assert {name: len(clips) for name, clips in sets.items()} == {"curated": 16, "test": 4}
    assert set(sets["curated"].values()) == {("dog",), ("Miaou and cat",)}
    assert sorted(sets["test"].values()) == [("Miaou and cat",)] * 2 + [("dog",)] * 2, "a fifth of each label"
    for clips in sets.values():
        for fname, (label,) in clips.items():
            link, = (tmp_path / "made").glob(f"*/{fname}")
            assert link.read_bytes().decode().startswith(label.replace(" and", ",") + "/"), "one name in two folders"
    said = capsys.readouterr().out
    assert "sounds that are in no class's folder are left out: _background_noise_" in said
    assert "next: make check INPUT=" in said


def test_a_table_that_is_not_understood_is_not_passed_over_for_the_names_of_folders(tmp_path, capsys):
    """A spreadsheet with columns of its own beside sounds in folders by day: the days are no labels."""
    root = sounds(tmp_path / "in", *(f"day{n % 2}/{n}.wav" for n in range(10)))
    rows = "".join(f"{n};{n}.wav;{'AB'[n // 5]}\n" for n in range(10))
    write(root / "my list.csv", f"Nr;Aufnahme;Geräusch\n{rows}", "cp1252")
    assert main(["prepare", str(root), str(tmp_path / "made")]) == 1
    said = capsys.readouterr().err
    assert "my list.csv" in said and "--file-column" in said and "--class-folders" in said and said.count("\n") == 1
    sets = prepared(root, tmp_path, "--file-column", "Aufnahme", "--label-column", "Geräusch")
    assert {label for clips in sets.values() for label in clips.values()} == {("A",), ("B",)}
    sets = prepared(root, tmp_path, "--class-folders")
    assert {label for clips in sets.values() for label in clips.values()} == {("day0",), ("day1",)}


def test_a_table_in_a_folder_without_sounds_is_not_passed_over_either(tmp_path, capsys):
    root = sounds(tmp_path / "in", "day1/a.wav", "day2/b.wav")
    path = write(root / "meta/list.csv", "Aufnahme;Art\na.wav;beach\nb.wav;bus\n")
    write(root / "day1/weather.csv", "hour;degrees\n1;12\n")
    assert main(["prepare", str(root), str(tmp_path / "made")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"no table in {root} can be used: {path} has no column of file names and one of labels that "
                           "are called as usual; it has Aufnahme, Art: name them by --file-column and --label-column; "
                           "or say by --class-folders") and said.count("\n") == 1
    path.rename(path := root / "meta/list.txt")
    assert main(["prepare", str(root), str(tmp_path / "made")]) == 1
    assert f"{path} has no column of file names" in capsys.readouterr().err
    expected = {"curated": {"a.wav": ("beach",), "b.wav": ("bus",)}}
    assert prepared(root, tmp_path, "--test", "0", "--file-column", "Aufnahme", "--label-column", "Art") == expected
    write(path, "file\tlabel\nday1/a.wav\tbeach\nday2/b.wav\tbus\n")
    assert prepared(root, tmp_path, "--test", "0") == expected
    write(path, "day1/a.wav\tbeach\tx\nday2/b.wav\tbus\tx\n")
    assert prepared(root, tmp_path, "--test", "0") == expected, "as TUT and DCASE write it"
    assert prepared(root, tmp_path, "--test", "0", "--class-folders") == {
        "curated": {"a.wav": ("day1",), "b.wav": ("day2",)}}


@pytest.mark.parametrize("text", [
    "dog/a.wav\ncat/b.wav\n", "Sounds, of dogs\nand cats.\n\nFor example a.wav, b.wav\nLicence: CC0\n", "",
    "0.000000\t1.000000\tdog\n2.500000\t2.500000\tcat\n", "name|class of the licence\n", "\0\1\2"])
def test_texts_that_are_no_tables_leave_class_folders_as_they_are(tmp_path, text):
    """Lists of files, as of Speech Commands, readmes, and tracks of labels of which the times are not asked for."""
    root = sounds(tmp_path / "in", "dog/a.wav", "cat/b.wav")
    for path in ("testing_list.txt", "more/list.txt"):
        write(root / path, text)
    assert prepared(root, tmp_path, "--test", "0", "--whole") == {"curated": {"a.wav": ("dog",), "b.wav": ("cat",)}}


def test_what_is_wrong_with_the_table_of_a_folder_is_said(tmp_path, capsys):
    root = sounds(tmp_path / "in", "a.wav", "b.wav")
    for text, arguments, said in (
            ("fname,labels\na.wav,dog\nb.wav,cat,dog\n", (),
             " has rows of more cells than columns, such as b.wav, cat, dog"),
            ("fname,labels,session\na.wav,dog,1\n", ("--group", "sesion"),
             ": there is no column 'sesion'; there are fname, labels, session"),
            ("fname,labels\nc.wav,dog\n", (), "none of the 1 sounds that")):
        path = write(root / "t.csv", text)
        assert main(["prepare", str(root), str(tmp_path / "made"), *arguments]) == 1
        error = capsys.readouterr().err
        assert str(path) in error and said in error and "is called as usual" not in error and error.count("\n") == 1


def test_a_table_of_which_most_sounds_are_missing_is_one(tmp_path):
    root = sounds(tmp_path / "in", "2000.wav", "2001.wav")
    path = write(root / "t.csv", "fname,label\n" + "".join(f"{n}.wav,{'AB'[n % 2]}\n" for n in range(2002)))
    for source in (root, path):
        assert prepared(source, tmp_path, "--test", "0") == {"curated": {"2000.wav": ("A",), "2001.wav": ("B",)}}


def test_folders_of_sets_or_folds_may_come_before_the_labels_and_recordings_after_them(tmp_path, capsys):
    root = sounds(tmp_path / "in", *(f"data/{which}/{label}/{which}{number}.wav" for which in ("train", "test")
                                     for label in ("dog", "train") for number in range(3)))
    sets = prepared(root, tmp_path)
    assert sets["test"] == {f"data_test_{label}_test{number}.wav": (label,) for label in ("dog", "train")
                            for number in range(3)}, "names that are there twice get their folders before them"
    assert {name: len(clips) for name, clips in sets.items()} == {"curated": 6, "test": 6}
    root = sounds(tmp_path / "folds", *(f"fold{fold}/{label}/{fold}{label}{number}.wav" for fold in range(1, 4)
                                        for label in ("a", "b") for number in range(2)))
    assert set(prepared(root, tmp_path)["test"]) == {"3a0.wav", "3a1.wav", "3b0.wav", "3b1.wav"}
    root = sounds(tmp_path / "sessions", *(f"{label}/{session}/{label}{session}{number}.wav" for label in "ab"
                                           for session in range(6) for number in range(2)))
    sets = prepared(root, tmp_path, "--test", "0.25")
    assert not {name[:2] for name in sets["test"]} & {name[:2] for name in sets["curated"]}, "a session is on one side"
    assert "folders below it count as recordings" in capsys.readouterr().out


def test_one_row_a_label_is_as_good_as_a_list(tmp_path, capsys):
    root = sounds(tmp_path / "in", "1.wav", "2.wav")
    write(root / "t.csv", 'path,tag\n"""1.wav""",A\n1.wav,B\n2.wav,A\n')
    assert prepared(root, tmp_path, "--test", "0") == {"curated": {"1.wav": ("A", "B"), "2.wav": ("A",)}}
    assert "1 rows are of a clip that another row is of; of 1 clips they have other labels, which were joined" in (
        capsys.readouterr().out)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize(("separator", "cell"), [(",", '"{}"'), (";", "{}"), ("\t", "{}"), ("|", "{}")])
def test_a_table_is_read_in_any_encoding_and_separator(tmp_path, encoding, separator, cell):
    text = separator.join(["File Name", "Größe", "Category"]) + "\r\n" + "".join(
        separator.join([f"é{number}.wav", "1,5" if separator != "," else "15", cell.format("Vögel,Hund")]) + "\r\n"
        for number in range(3))
    table = read_spreadsheet(write(tmp_path / "t.csv", text, encoding))
    assert table.columns.tolist() == ["File Name", "Größe", "Category"]
    assert table["File Name"].tolist() == ["é0.wav", "é1.wav", "é2.wav"]
    assert split_labels(table["Category"]) == [("Vögel", "Hund")] * 3


@pytest.mark.parametrize("text", ["fname,label\ra.wav,dog\rb.wav,cat\r", "\nfname,label\na.wav,dog\nb.wav,cat\n"])
def test_a_table_of_excel_for_mac_and_one_with_an_empty_first_line_are_read(tmp_path, text):
    assert read_spreadsheet(write(tmp_path / "t.csv", text)).to_numpy().tolist() == [["a.wav", "dog"], ["b.wav", "cat"]]


def test_a_ditto_does_not_swallow_the_clips_after_it(tmp_path):
    text = 'fname\tlabel\na.wav\tdog\nb.wav\t"\nc.wav\tcat\nd.wav\train\n'
    assert read_spreadsheet(write(tmp_path / "t.tsv", text))["label"].tolist() == ["dog", '"', "cat", "rain"]
    with pytest.raises(ValueError, match=r"t\.csv, line 3: a quotation mark makes one cell of this line and"):
        read_spreadsheet(write(tmp_path / "t.csv", text.replace("\t", ",")))


@pytest.mark.parametrize(("cells", "labels"), [
    (["a", "b"], [("a",), ("b",)]),
    (["a,b", "b"], [("a", "b"), ("b",)]),
    (["a; b", "b"], [("a", "b"), ("b",)]),
    (["Speech, male;Dog", "Speech, male"], [("Speech and male", "Dog"), ("Speech and male",)]),
    (["a|b|a", ""], [("a", "b"), ()]),
    (["['a', 'b']", "[]", '["c"]', "[d, e]"], [("a", "b"), (), ("c",), ("d", "e")]),
    (['"a,b"'], [("a", "b")]),
    (["Motor_vehicle_(road),Car"], [("Motor_vehicle_(road)", "Car")]),
    (['"a"', "'b' ", 'say "hi"', '"a" or "b', '""'], [("a",), ("b",), ('say "hi"',), ('"a" or "b',), ()]),
    (['Drum 12"', 'Snare;Drum 12"', "Boys'", "Girls;Boys'", "'70s;Boys"], [
        ('Drum 12"',), ("Snare", 'Drum 12"'), ("Boys'",), ("Girls", "Boys'"), ("'70s", "Boys")]),
    (['"a";"b"', "\"'a';b\""], [("a", "b"), ("a", "b")]),
    (["None", "nan", "3"], [("None",), ("nan",), ("3",)]),
    (["(None)", "(1)", "{'a': 1}", "{[1]}", "[1, None]", "{'a'}", "('a', 'b')", "('a')"], [
        ("(None)",), ("(1)",), ("{'a': 1}",), ("{[1]}",), ("1", "None"), ("a",), ("a", "b"), ("a",)]),
])
def test_lists_of_labels_are_read_in_any_notation(cells, labels):
    assert split_labels(cells) == labels


def test_sounds_are_found_by_names_without_ending_with_folders_or_of_another_case(tmp_path, capsys):
    root = sounds(tmp_path / "in", "a/b/one.wav", "a/two.x.flac", "c/Three.WAV", "c/four.ogg", "c/extra.wav")
    write(root / "t.tsv", "recording\tprimary_label\tsecondary_labels\n" + "\n".join([
        "one\tA\t['B']", "two.x\tA\t[]", "data/c/three.wav\tB\t[]", "four.wav\tB\t['A']", "gone.wav\tA\t[]",
        "1E+05\tA\t[]", "c\\extra.wav\t\t[]"]))
    sets = prepared(root, tmp_path, "--test", "0")
    assert sets["curated"] == {"one.wav": ("A", "B"), "two.x.flac": ("A",), "Three.WAV": ("B",), "four.ogg": ("B", "A")}
    said = capsys.readouterr().out
    assert "2 rows have no sound and are left out: gone.wav, 1E+05; a spreadsheet seems to have changed 1E+05" in said
    assert "1 clips have no label and are left out: c\\extra.wav" in said


def test_a_table_whose_columns_are_called_otherwise_is_read_by_options_and_one_without_header_by_its_sounds(
        tmp_path, capsys):
    root = sounds(tmp_path / "in", *(f"{number}.wav" for number in range(4)))
    path = write(root / "t.csv", "wo;was\n" + "".join(f"{number}.wav;X\n" for number in range(4)))
    assert main(["prepare", str(path), str(tmp_path / "made")]) == 1
    assert "it has wo, was: name them by --file-column and --label-column" in capsys.readouterr().err
    sets = prepared(path, tmp_path, "--file-column", "wo", "--label-column", "was", "--test", "0.5")
    assert {name: len(clips) for name, clips in sets.items()} == {"curated": 2, "test": 2}
    write(path, "0.wav,Y\n1.wav,Z\n2.wav,Y\n3.wav,Z\n")
    assert prepared(path, tmp_path, "--test", "0") == {
        "curated": {"0.wav": ("Y",), "1.wav": ("Z",), "2.wav": ("Y",), "3.wav": ("Z",)}}


@pytest.mark.parametrize(("text", "labels"), [
    ("0,a.wav,dog\n1,b.wav,cat\n", ["dog", "cat"]), ("1,dog,a.wav\n2,cat,b.wav\n", ["dog", "cat"]),
    ("a.wav,1\nb.wav,2\n", ["1", "2"]), ("2,a.wav,x\n3,b.wav,y\n", ["2", "3"]), ("0,a.wav,x\n0,b.wav,y\n", ["0", "0"]),
    ("1,a.wav,a.mp3,x\n2,b.wav,b.mp3\n", ["x", ""])])
def test_numbers_of_rows_are_no_labels_where_something_else_is(tmp_path, text, labels):
    table = read_spreadsheet(write(tmp_path / "t.csv", text))
    assert (table["fname"].tolist(), table["labels"].tolist()) == (["a.wav", "b.wav"], labels)


def test_files_of_one_name_are_told_apart_by_their_folder_and_label(tmp_path, capsys):
    root = sounds(tmp_path / "in", "dog/1.wav", "cat/1.wav", "x/2.wav", "y/2.wav")
    write(root / "t.csv", "file,label\n1.wav,dog\n1.wav,cat\n2.wav,dog\n")
    assert prepared(root, tmp_path, "--test", "0") == {"curated": {"dog_1.wav": ("dog",), "cat_1.wav": ("cat",)}}
    assert "1 rows may mean several sounds and are left out: 2.wav" in capsys.readouterr().out


@pytest.mark.parametrize(("files", "rows", "expected", "lost"), [
    # The row of a file that is not there does not take the one of its name that another row lists.
    ("cat/1.wav cat/2.wav dog/2.wav", "dog/1.wav,dog cat/1.wav,cat dog/2.wav,dog cat/2.wav,cat",
     {"1.wav": ("cat",), "cat_2.wav": ("cat",), "dog_2.wav": ("dog",)}, "dog/1.wav"),
    ("a/x/1.wav", "C:\\b\\x\\1.wav,dog C:\\a\\x\\1.wav,cat", {"1.wav": ("cat",)}, "C:\\b\\x\\1.wav"),
    # Nor one that no row lists, where the folders of others are there.
    ("site1/1.wav site1/2.wav", "site2/1.wav,owl site1/2.wav,fox", {"2.wav": ("fox",)}, "site2/1.wav"),
    ("dog/1.flac cat/1.wav", "dog/1.wav,dog", {"1.flac": ("dog",)}, ""),
    # Of bare names the label that is the folder's.
    ("cat/1.wav dog/2.wav", "1.wav,dog 1.wav,cat 2.wav,dog", {"1.wav": ("cat",), "2.wav": ("dog",)}, "1.wav"),
    # And labels that are no folders' beside it.
    ("cat/1.wav dog/2.wav", "1.wav,cat 1.wav,loud 2.wav,near 2.wav,dog", {"1.wav": ("cat", "loud"),
                                                                          "2.wav": ("near", "dog")}, ""),
    # Folders of another machine, or some of those that are there, and no folder at all.
    ("new/1.wav new/2.wav", "/home/a/old/1.wav,dog D:\\old\\2.wav,cat", {"1.wav": ("dog",), "2.wav": ("cat",)}, ""),
    ("1.wav dog/2.wav", "/home/a/1.wav,cat /home/a/dog/2.wav,dog", {"1.wav": ("cat",), "2.wav": ("dog",)}, ""),
    ("audio/more/1.wav audio/2.wav", "audio/1.wav,cat audio/2.wav,dog", {"1.wav": ("cat",), "2.wav": ("dog",)}, ""),
    ("audio/1.wav a/2.wav", "../1.wav,cat ../b/../a/2.wav,dog", {"1.wav": ("cat",), "2.wav": ("dog",)}, ""),
    ("in/x/1.wav in/2.wav", "in/x/1.wav,A x/1.wav,B 1.wav,C 2.wav,A", {"1.wav": ("A", "B", "C"), "2.wav": ("A",)}, ""),
])
def test_a_row_does_not_take_the_sound_of_another_folder(tmp_path, capsys, files, rows, expected, lost):
    root = sounds(tmp_path / "in", *files.split())
    write(root / "t.csv", "file,label\n" + rows.replace(" ", "\n"))
    assert prepared(root, tmp_path, "--test", "0") == {"curated": expected}
    said = capsys.readouterr().out
    assert (f"1 rows have no sound and are left out: {lost}\n" in said) == bool(lost) == ("no sound" in said)


def test_a_sound_that_is_named_with_all_its_folders_is_meant(tmp_path):
    root = sounds(tmp_path / "in", "dog/1.wav", "cat/dog/1.wav", "2.wav", "old/2.wav")
    write(root / "t.csv", "file,label\ndog/1.wav,dog\n2.wav,cat\n")
    for rows in ("dog/1.wav,A\n2.wav,B", "dog/1,A\n2,B", "/a/dog/1.wav,A\n./2.wav,B"):
        write(root / "t.csv", f"file,label\n{rows}\n")
        prepared(root, tmp_path, "--test", "0")
        links = {path.resolve().relative_to(root).as_posix() for path in (tmp_path / "made/train_curated").iterdir()}
        assert links == {"dog/1.wav", "2.wav"}
    made = prepared(sounds(tmp_path / "folders", "dog/1.wav", "cat/dog/1.wav"), tmp_path, "--test", "0")
    assert made == {"curated": {"dog_1.wav": ("dog",), "cat_dog_1.wav": ("cat",)}}


def test_thousands_of_sounds_of_one_name_are_found_at_once(tmp_path):
    """By their folders, all of them, the last one, or another one's that is not there; and by nothing but the name."""
    number = 3000
    below = SoundsBelow(sounds(tmp_path, *(f"a/{n}/audio.wav" for n in range(number))))
    began = time.perf_counter()
    for names, count in (([f"a/{n}/audio.wav" for n in range(number)], 1), ([f"{n}/audio" for n in range(number)], 1),
                         ([f"b{n}/audio.wav" for n in range(number)], number), (["audio.wav"] * number, number)):
        assert {len(found) for found in below.find_all(names, [("a", "x")] * number)} == {count}
    assert time.perf_counter() - began < 5, "each by comparing it with all others takes a minute"


def test_two_tables_are_the_good_and_the_noisy_set(tmp_path):
    root = sounds(tmp_path / "in", *(f"audio/{number}.wav" for number in range(8)))
    write(root / "curated.csv", "file,label\n" + "".join(f"{number}.wav,A\n" for number in range(4)))
    write(root / "noisy.csv", "file,label\n" + "".join(f"{number}.wav,B\n" for number in range(4, 8)))
    sets = prepared(root, tmp_path, "--test", "0.25")
    assert {name: len(clips) for name, clips in sets.items()} == {"curated": 3, "noisy": 4, "test": 1}


def test_two_tables_of_which_none_says_what_it_is_are_asked_about(tmp_path, capsys):
    root = sounds(tmp_path / "in", "1.wav")
    for name in ("labels.csv", "backup.csv"):
        write(root / name, "file,label\n1.wav,A\n")
    assert main(["prepare", str(root), str(tmp_path / "made")]) == 1
    assert re.search("2 tables that may be meant: .*backup.csv, .*labels.csv; give the one", capsys.readouterr().err)


def test_esc50_keeps_its_folds_and_its_recordings_together(tmp_path, capsys):
    rows = [(f"{fold}-{1000 + fold * 10 + take // 2}-{'AB'[take % 2]}-{target}.wav", fold, target,
             ("dog", "rain")[target], "True", 1000 + fold * 10 + take // 2, "AB"[take % 2])
            for fold in range(1, 6) for target in range(2) for take in range(4)]
    root = sounds(tmp_path / "ESC-50-master", *(f"audio/{row[0]}" for row in rows))
    text = "filename,fold,target,category,esc10,src_file,take\n" + "".join(
        ",".join(map(str, row)) + "\n" for row in rows)
    write(root / "meta/esc50.csv", text)
    sets = prepared(root, tmp_path)
    assert set(sets["test"]) == {row[0] for row in rows if row[1] == 5}
    assert sets["curated"] == {row[0]: (row[3],) for row in rows if row[1] < 5}
    table = pd.read_csv(tmp_path / "made/train_curated.csv", dtype=str)
    assert dict(zip(table["fname"], table["group"])) == {row[0]: str(row[5]) for row in rows if row[1] < 5}
    assert "ESC-50" in capsys.readouterr().out
    assert set(prepared(root, tmp_path, "--test-fold", "2")["test"]) == {row[0] for row in rows if row[1] == 2}
    dealt = prepared(root, tmp_path, "--test", "0.3")
    recordings = [{name.split("-")[1] for name in dealt[which]} for which in ("curated", "test")]
    assert not recordings[0] & recordings[1], "no recording is on both sides"
    assert main(["prepare", str(root), str(tmp_path / "made"), "--test-fold", "9"]) == 1
    assert "--test-fold 9: there are the folds 1, 2, 3, 4, 5" in capsys.readouterr().err


def test_fsdkaggle2018_by_its_real_tables(shared, tmp_path):
    """Every row is read, of every tenth the sound is there."""
    root, expected = tmp_path / "FSDKaggle2018", {}
    for part in ("train", "test"):
        path = shared / f"tables/fsdkaggle2018/{part}_post_competition.csv"
        with open(path) as file:
            rows = list(csv.DictReader(file))[::10]
        write(root / f"FSDKaggle2018.meta/{path.name}", path.read_text())
        sounds(root, *(f"FSDKaggle2018.audio_{part}/{row['fname']}" for row in rows))
        for row in rows:
            if row.get("usage") != "Ignored":
                which = "test" if part == "test" else ("noisy", "curated")[int(row["manually_verified"])]
                expected.setdefault(which, {})[row["fname"]] = (row["label"],)
    assert prepared(root, tmp_path) == expected


def test_fsdnoisy18k_has_a_small_noisy_part(tmp_path):
    root = sounds(tmp_path / "in/FSDnoisy18k", *(f"FSDnoisy18k.audio_train/{number}.wav" for number in range(6)),
                  "FSDnoisy18k.audio_test/9.wav")
    write(root / "FSDnoisy18k.meta/train.csv", "fname,label,aso_id,manually_verified,noisy_small\n" + "".join(
        f"{number}.wav,Rain,/m/1,{int(number < 2)},{int(number in (2, 3))}\n" for number in range(6)))
    write(root / "FSDnoisy18k.meta/test.csv", "fname,label,aso_id\n9.wav,Rain,/m/1\n")
    for arguments, noisy in (((), 4), (("--noisy-small",), 2)):
        sets = prepared(tmp_path / "in", tmp_path, *arguments)
        assert {name: len(clips) for name, clips in sets.items()} == {"curated": 2, "noisy": noisy, "test": 1}


def test_fsd50k_has_numbers_for_names_and_several_labels(tmp_path):
    root = sounds(tmp_path / "FSD50K", "FSD50K.dev_audio/64760.wav", "FSD50K.dev_audio/16399.wav",
                  "FSD50K.eval_audio/37199.wav")
    ground = root / "FSD50K.ground_truth"
    write(ground / "dev.csv", 'fname,labels,mids,split\n'
                              '64760,"Car,Motor_vehicle_(road),Vehicle","/m/1,/m/2,/m/3",train\n'
                              '16399,"Bark,Dog","/m/4,/m/5",val\n')
    write(ground / "eval.csv", 'fname,labels,mids\n37199,"Bark,Dog","/m/4,/m/5"\n')
    write(ground / "vocabulary.csv", "".join(f"{i},{label},/m/{i}\n" for i, label in enumerate(
        ["Bark", "Car", "Dog", "Motor_vehicle_(road)", "Vehicle"])))
    assert prepared(root, tmp_path) == {
        "curated": {"64760.wav": ("Car", "Motor_vehicle_(road)", "Vehicle"), "16399.wav": ("Bark", "Dog")},
        "test": {"37199.wav": ("Bark", "Dog")}}


def test_recordings_are_seen_from_names_where_that_makes_sense():
    assert by_names(["1-100-A", "1-100-B", "2-7-A", "3-8-A", "3-9-A", "4-9-B", "4-1-A", "5-2-A"])[:3] == [
        "1-100", "1-100", "2-7"]
    assert by_names([f"XC{n // 2 + 1000}_{n % 2}" for n in range(20)])[:3] == ["XC1000", "XC1000", "XC1001"]
    assert by_names([f"dog_{n}" for n in range(50)]) is None, "numbered clips of a label are no recording"
    assert by_names([f"bell{n:04d}" for n in range(50)]) is None


def test_a_second_call_replaces_only_what_the_first_one_made(tmp_path, capsys):
    root = sounds(tmp_path / "in", *(f"{label}/{label}{number}.wav" for label in "ab" for number in range(5)))
    first = prepared(root, tmp_path)
    assert len(first["test"]) == 2
    mine = write(tmp_path / "made/train_curated/notes.txt", "mine")
    assert prepared(root, tmp_path, "--test", "0", "--copy") == {"curated": first["curated"] | first["test"]}
    assert mine.read_text() == "mine"
    assert not (tmp_path / "made/test").exists()
    assert not any(path.is_symlink() for path in (tmp_path / "made").rglob("*"))
    write(tmp_path / "made/train_curated.csv", "fname,labels\na0.wav,mended\n")
    assert main(["prepare", str(root), str(tmp_path / "made")]) == 1
    assert "train_curated.csv has been changed since it was made; move it away" in capsys.readouterr().err
    assert "mended" in (tmp_path / "made/train_curated.csv").read_text()


def test_what_is_not_this_commands_is_not_written_over(tmp_path, capsys):
    root = sounds(tmp_path / "in", "a/1.wav", "b/2.wav")
    mine = write(tmp_path / "made/train_noisy.csv", "mine")
    assert main(["prepare", str(root), str(tmp_path / "made"), "--test", "0"]) == 1
    assert "train_noisy.csv is there already and was not made by this command" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert main(["prepare", str(root), str(root / "a")]) == 1
    assert "in which nothing is changed; give a folder elsewhere" in capsys.readouterr().err
    assert main(["prepare", str(root), str(tmp_path)]) == 1
    assert f"{root} is in {tmp_path}, the folder to make; give one elsewhere" in capsys.readouterr().err
    assert sorted(path.name for path in root.rglob("*.*")) == ["1.wav", "2.wav"]


def test_a_folder_whose_name_is_no_text_is_no_label(tmp_path, capsys):
    """As an old zip leaves it."""
    root = sounds(tmp_path / "in", "cat/1.wav", "cat/b/2.wav",
                  *(os.fsdecode(b"dog/M\xf6we/%d.wav" % number) for number in (3, 4)))
    assert set(prepared(root, tmp_path, "--test", "0")["curated"].values()) == {("cat",), ("dog",)}
    assert r"dog/M\udcf6we" in (tmp_path / "made/train_curated.csv").read_text(), "the recording"
    sounds(root, os.fsdecode(b"M\xf6we/1.wav"))
    assert main(["prepare", str(root), str(tmp_path / "made")]) == 1
    assert rf"{root}: the folder M\udcf6we is not named in UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("table", [False, True])
def test_a_link_into_nothing_is_left_out_and_said(tmp_path, capsys, table):
    root = sounds(tmp_path / "in", "cat/1.wav", "dog/2.wav")
    (root / "dog/3.wav").symlink_to(tmp_path / "nowhere.wav")
    if table:
        write(root / "t.csv", "file,label\n1.wav,cat\n2.wav,dog\n3.wav,dog\n")
    assert prepared(root, tmp_path, "--test", "0") == {"curated": {"1.wav": ("cat",), "2.wav": ("dog",)}}
    said = "1 links to sounds lead to nothing and are left out: dog/3.wav"
    assert said in capsys.readouterr().out
    for path in ("cat/1.wav", "dog/2.wav"):
        (root / path).unlink()
    assert main(["prepare", str(root), str(tmp_path / "made")]) == 1
    assert f"or the sounds' own by --sounds ({said})" in capsys.readouterr().err


def test_a_folder_that_cannot_be_read_is_said_once(tmp_path, capsys):
    """One whose path is too long, as an administrator may read all others."""
    root = sounds(tmp_path / "in", "cat/1.wav", "dog/2.wav")
    write(root / "t.csv", "file,label\n1.wav,cat\n2.wav,dog\n")
    folder = os.open(root, os.O_RDONLY)
    for _ in range(17):
        os.mkdir("d" * 250, dir_fd=folder)
        folder, above = os.open("d" * 250, os.O_RDONLY, dir_fd=folder), folder
        os.close(above)
    os.close(folder)
    assert main(["prepare", str(root), str(tmp_path / "made"), "--test", "0"]) == 0
    said = capsys.readouterr().err
    assert said.count("\n") == said.count("dd cannot be read (File name too long), and nothing in it is used") == 1


def test_where_links_cannot_be_there_are_copies(tmp_path, monkeypatch, capsys):
    def refused(*_):
        raise OSError("links are not supported")
    monkeypatch.setattr(Path, "symlink_to", refused)
    root = sounds(tmp_path / "in", "a/1.wav", "b/2.wav")
    assert main(["prepare", str(root), str(tmp_path / "made"), "--test", "0"]) == 0
    assert "2 curated clips, as copies" in capsys.readouterr().out
    assert (tmp_path / "made/train_curated/1.wav").read_bytes() == b"a/1.wav"


def test_labels_of_few_clips_are_named_and_can_be_left_out(tmp_path, capsys):
    root = sounds(tmp_path / "in", *(f"a/{number}a.wav" for number in range(12)), "rare/x.wav")
    prepared(root, tmp_path, "--test", "0")
    assert "labels of fewer than 10 clips to train on: rare (1)" in capsys.readouterr().out
    assert "x.wav" not in prepared(root, tmp_path, "--test", "0", "--least", "2")["curated"]
    assert "labels of fewer than 2 clips are left out: rare" in capsys.readouterr().out


def test_a_source_of_no_kind_is_said_in_one_line(tmp_path, capsys):
    for source, said in ((tmp_path / "gone", "is not there"),
                         (sounds(tmp_path / "flat", "1.wav"), "holds neither a table"),
                         (write(tmp_path / "none/t.csv", "a,b\n").parent, "there is no sound in")):
        assert main(["prepare", str(source), str(tmp_path / "made")]) == 1
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error
    assert not (tmp_path / "made").exists()


def grouped(tmp_path, header, rows, *names):
    """Sounds and a table of them."""
    root = sounds(tmp_path / "in", *names)
    write(root / "t.csv", "\n".join([header, *rows]) + "\n")
    return root


def test_a_fold_column_of_words_says_what_is_tested(tmp_path):
    rows = [f"{n}.wav,{'ab'[n % 2]},{'test' if n > 7 else 'train'}" for n in range(10)]
    root = grouped(tmp_path, "file,label,fold", rows, *(f"{n}.wav" for n in range(10)))
    assert prepared(root, tmp_path)["test"] == {"8.wav": ("a",), "9.wav": ("b",)}


def test_recordings_that_the_sets_own_test_clips_share_with_others_are_said(tmp_path, capsys):
    """Of each session of four clips one is tested: 24 of 32 are trained on."""
    rows = [f"{n}.wav,{'ab'[n % 2]},s{n // 4},{'test' if n % 4 == 3 else 'train'}" for n in range(32)]
    root = grouped(tmp_path, "file,label,session,split", rows, *(f"{n}.wav" for n in range(32)))
    assert {name: len(clips) for name, clips in prepared(root, tmp_path).items()} == {"curated": 24, "test": 8}
    assert ("24 clips that are trained on are of recordings that are tested with, so that scores will be too good"
            in capsys.readouterr().out)
    prepared(root, tmp_path, "--test", "0.25")
    assert "too good" not in capsys.readouterr().out


def test_a_column_of_recordings_is_found_beside_that_of_files_and_one_that_is_not_taken_is_said(tmp_path, capsys):
    rows = [f"{n}.wav,{'ab'[n % 2]},s{n // 3}" for n in range(30)]
    root = grouped(tmp_path, "recording,label,session", rows, *(f"{n}.wav" for n in range(30)))
    sets = prepared(root, tmp_path)
    assert "10 recordings, by the table" in capsys.readouterr().out
    sessions = [{int(name.removesuffix(".wav")) // 3 for name in sets[name]} for name in ("curated", "test")]
    assert not sessions[0] & sessions[1]
    write(root / "t.csv", "\n".join(["recording,label,session", *(
        f"{n}.wav,{'ab'[n % 2]},s{n // 10}" for n in range(30))]))
    prepared(root, tmp_path)
    assert ("t.csv: session is not taken for the recordings that clips are of, as 10 of 30 are of one (--group session"
            in capsys.readouterr().out)
    prepared(root, tmp_path, "--group", "session")
    assert "3 recordings, by the table" in capsys.readouterr().out


def test_names_of_each_source_say_its_recordings(tmp_path, capsys):
    """Half of all have such names: those of one source, and none of the other's."""
    cut = sounds(tmp_path / "cut", *(f"{'ab'[n // 2 % 2]}/XC{100000 + n // 2}_{n % 2}.wav" for n in range(20)))
    sounds(tmp_path / "others", *(f"{label}/{number}/{label}{number}{n}.wav" for label in "ab" for number in range(5)
                                  for n in range(5)))
    prepared(cut, tmp_path, "--with", str(tmp_path / "others"))
    assert "20 recordings, by their names, such as XC100000 and by the table or folder" in capsys.readouterr().out


def test_a_group_that_no_table_has_is_refused(tmp_path, capsys):
    root = sounds(tmp_path / "in", *(f"{label}/{n}.wav" for label in ("dog", "cat") for n in range(10)))
    assert main(["prepare", str(root), str(tmp_path / "made"), "--group", "session"]) == 1
    assert "--group session: no table with such a column" in capsys.readouterr().err


def test_clips_of_background_are_trained_on(tmp_path):
    """A fifth of the 20 that have a label is tested; no table of test clips has others."""
    root = sounds(tmp_path / "in", *(f"{name}/{name}{n}.wav" for name in ("dog", "cat", "nocall") for n in range(10)))
    sets = prepared(root, tmp_path, "--background", "nocall")
    assert len(sets["test"]) == 4 == len(list((tmp_path / "made/test").iterdir()))
    assert {f"nocall{n}.wav" for n in range(10)} <= set(sets["curated"])
    assert len(sets["curated"]) == 26
