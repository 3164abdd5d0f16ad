import csv
import os
import re
import shutil
import tempfile

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from helpers import to_zenodo
from hypothesis import given, settings
from hypothesis import strategies as st

from freesound_tagging.clips.__main__ import main
from freesound_tagging.clips.dataset import FAULTY_CLIPS, FSDKaggle2019, is_competitions
from freesound_tagging.clips.tables import label_matrix, odd_labels, read_table


def write_set(root, curated=(("a.wav", "Meow"), ("b.wav", '"Bark,Meow"')), noisy=(("n.wav", "Bark"),), test=("t.wav",)):
    """A Kaggle layout with empty audio files: the tables are what these tests are about."""
    for folder, clips in (("train_curated", curated), ("train_noisy", noisy), ("test", [(t, "") for t in test])):
        (root / folder).mkdir(parents=True)
        for fname, _ in clips:
            (root / folder / fname).touch()
    for name, clips in (("train_curated", curated), ("train_noisy", noisy)):
        (root / f"{name}.csv").write_text("fname,labels\n" + "".join(f"{f},{labels}\n" for f, labels in clips))
    (root / "sample_submission.csv").write_text("fname,Bark,Meow,Purr\n" + "".join(f"{t},0,0,0\n" for t in test))
    return root


def test_kaggle_layout_of_real_recordings(esc10):
    assert esc10.layout == "Kaggle"
    assert (len(esc10.curated), len(esc10.noisy), len(esc10.test)) == (80, 160, 80)
    assert list(esc10.curated.columns) == ["fname", "labels", "path"]
    assert list(esc10.test.columns) == ["fname", "labels", "path", "usage"]
    assert all(path.exists() for table in (esc10.curated, esc10.noisy, esc10.test) for path in table["path"])
    sample = pd.read_csv(esc10.root / "sample_submission.csv")
    assert esc10.vocabulary == list(sample.columns[1:])
    assert list(esc10.test["fname"]) == list(sample["fname"])


def test_zenodo_layout_gives_the_same_clips_and_labels(recordings, tmp_path):
    zenodo = FSDKaggle2019(to_zenodo(recordings.root, tmp_path / "zenodo"))
    assert zenodo.layout == "Zenodo"
    assert zenodo.vocabulary == recordings.vocabulary
    for name in ("curated", "noisy", "test"):
        theirs, ours = getattr(zenodo, name).set_index("fname"), getattr(recordings, name).set_index("fname")
        assert theirs["labels"].to_dict() == ours["labels"].to_dict()
        assert all(path.exists() for path in theirs["path"])
    assert zenodo.test["usage"].value_counts().to_dict() == recordings.test["usage"].value_counts().to_dict()


def test_a_data_set_in_the_home_folder_is_found(demo, monkeypatch):
    monkeypatch.setenv("HOME", str(demo.root.parent))
    assert FSDKaggle2019(f"~/{demo.root.name}").test["path"].tolist() == demo.test["path"].tolist()


def test_the_real_vocabulary_is_the_alphabetical_order_of_its_labels(shared, tmp_path):
    labels = (shared / "reference/vocabulary.txt").read_text().split("\n")[:80]
    zenodo = tmp_path / "FSDKaggle2019.meta"
    zenodo.mkdir()
    clips = [f"{i}.wav" for i in range(80)]
    pd.DataFrame({"fname": clips, "labels": labels[::-1]}).to_csv(
        zenodo / "train_curated_post_competition.csv", index=False)
    audio = tmp_path / "FSDKaggle2019.audio_train_curated"
    audio.mkdir()
    for clip in clips:
        (audio / clip).touch()
    assert FSDKaggle2019(tmp_path).vocabulary == labels
    assert is_competitions(labels[::-1])
    assert not is_competitions(labels[:-1])


def test_quoted_labels_become_several(tmp_path):
    data = FSDKaggle2019(write_set(tmp_path))
    assert data.curated["labels"].tolist() == [("Meow",), ("Bark", "Meow")]
    np.testing.assert_array_equal(data.targets(data.curated), [[0, 1, 0], [1, 1, 0]])


def test_known_faulty_clips_are_dropped_by_name_unless_wanted(tmp_path):
    faulty = list(FAULTY_CLIPS)
    root = write_set(tmp_path, curated=[("a.wav", "Meow"), *((fname, "Bark") for fname in faulty)])
    with pytest.warns(UserWarning, match=r"left out 6 curated clips.*1d44b0bd.wav \(no signal\)"):
        assert FSDKaggle2019(root).curated["fname"].tolist() == ["a.wav"]
    assert len(FSDKaggle2019(root, drop_faulty=False).curated) == 7


def test_missing_files_are_named_or_skipped(tmp_path):
    root = write_set(tmp_path)
    (root / "train_curated/b.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of the 2 curated clips are missing from .*train_curated: b\.wav"):
        FSDKaggle2019(root)
    with pytest.warns(UserWarning, match=r"missing from .*: b\.wav\. They are left out"):
        assert FSDKaggle2019(root, missing="skip").curated["fname"].tolist() == ["a.wav"]


@pytest.mark.parametrize(("here", "needed"), [("test", ("test",)), ("train", ("curated", "noisy"))])
def test_a_part_of_the_data_set_is_enough_for_what_needs_no_more(demo, tmp_path, capsys, recwarn, here, needed):
    """As after ``make download ONLY="meta test"``: all tables are there, and the clips of some sets."""
    root = to_zenodo(demo.root, tmp_path / "zenodo")
    whole = FSDKaggle2019(root)
    for folder in root.glob("FSDKaggle2019.audio_*"):
        if not folder.name.startswith(f"FSDKaggle2019.audio_{here}"):
            shutil.rmtree(folder)
    data = FSDKaggle2019(root, needed=needed)
    for name in ("curated", "noisy", "test"):
        pd.testing.assert_frame_equal(getattr(data, name), getattr(whole, name)[:None if name in needed else 0])
    assert data.vocabulary == whole.vocabulary
    assert data.truth == whole.truth
    assert not recwarn.list
    with pytest.raises(FileNotFoundError, match=r"of the \d+ (curated|test) clips are missing"):
        FSDKaggle2019(root)
    assert main(["check", str(root)]) == 1
    said = capsys.readouterr().out
    if here == "test":
        for name, clips in (("curated", 36), ("noisy", 72)):
            assert re.search(f"none of the {clips} {name} clips is in .*audio_train_{name}: training needs some", said)
        assert said.splitlines()[-1] == "this would stop training"
    else:
        assert re.search("spoils: none of the 36 test clips is in .*audio_test: there is no submission to make", said)
        assert said.splitlines()[-1] == "training would begin, with what is said above"


def test_of_a_set_that_is_not_needed_some_missing_clips_are_left_out_with_a_warning(tmp_path):
    root = write_set(tmp_path)
    (root / "train_curated/b.wav").unlink()
    with pytest.warns(UserWarning, match=r"1 of the 2 curated clips are missing from .*: b\.wav\. They are left out"):
        data = FSDKaggle2019(root, needed=("test",))
    assert data.curated["fname"].tolist() == ["a.wav"]


def test_test_clips_without_ground_truth_have_no_labels(tmp_path):
    data = FSDKaggle2019(write_set(tmp_path))
    assert list(data.test.columns) == ["fname", "path"]
    with pytest.raises(ValueError, match="no ground truth"):
        data.targets(data.test, "the test set")


def test_a_kernel_without_training_audio_has_empty_training_sets(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test/t.wav").touch()
    (tmp_path / "sample_submission.csv").write_text("fname,Bark\nt.wav,0\n")
    data = FSDKaggle2019(tmp_path)
    assert (len(data.curated), len(data.noisy), len(data.test)) == (0, 0, 1)


@pytest.mark.parametrize(("text", "message"), [
    ("", "is empty"),
    ("fname,label\na.wav,Meow\n", "has no column labels"),
    ("fname,labels\na.wav,Meow\na.wav,Bark\n", r"lists a\.wav more than once"),
    ("fname,labels\na.wav,Meow\nb.wav,\n", r"b\.wav without a label"),
    ("fname,labels\n../a.wav,Meow\n", r"'\.\./a\.wav' is not the name of a file"),
    ("fname,labels\n/etc/passwd,Meow\n", "'/etc/passwd' is not the name of a file"),
    ("fname,labels\n..,Meow\n", r"'\.\.' is not the name of a file"),
    ("fname,labels\nC:\\a.wav,Meow\n", "is not the name of a file"),
    ("fname,labels\na.wav,Bark,Meow\n", 'several labels in quotes: "Bark,Meow"'),
    ("fname,labels\na.wav,Bark\nb.wav,Bark,Meow\n", 'several labels in quotes: "Bark,Meow"'),
    ("fname,labels\na.wav,\" , \"\n", r"a\.wav without a label"),
    ("fname,labels\na.wav,Woof\n", r"a\.wav carries the label 'Woof'"),
    ("fname,labels\na.wav,bark\n", r"a\.wav carries the label 'bark'"),
    (b"fname,labels\na.wav,B\xe4r\n", "no CSV in UTF-8"),
    (b"\x00\x01\x02", "has no column"),
    ("fname;labels\na.wav;Bark\n", "has no column fname"),
    ("fname,labels\nC:a.wav,Meow\n", "'C:a.wav' is not the name of a file"),
    ("fname,labels\na.wav,Meow\n,Bark\n", r"a row without a file name \(Bark\)"),
    ("fname,labels\n", "no curated clips: .* lists none"),
    ("fname,labels, labels\na.wav,Bark,Meow\n", "has more than one column labels"),
    ("fname,labels,labels\na.wav,Bark,Meow\n", "has more than one column labels"),
    ("fname,fname,labels\na.wav,b.wav,Meow\n", "has more than one column fname"),
])
def test_bad_tables_are_refused_by_name(tmp_path, text, message):
    root = write_set(tmp_path)
    (root / "train_curated.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message) as caught:
        FSDKaggle2019(root, needed=("curated", "noisy"))
    assert "train_curated.csv" in str(caught.value) or "curated:" in str(caught.value)


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    (tmp_path / "t.csv").write_bytes('\ufefffname,labels\r\na.wav,"Bark,Meow"\r\n'.encode())
    assert read_table(tmp_path / "t.csv", ["fname", "labels"])["labels"].tolist() == [("Bark", "Meow")]


def test_the_empty_rows_of_a_spreadsheet_are_passed_over(tmp_path):
    (tmp_path / "t.csv").write_text(' fname,labels ,\na.wav,"Bark,Meow",\n,,\n\n,,\nb.wav,Bark,\n,,\n')
    assert read_table(tmp_path / "t.csv", ["fname", "labels"])["fname"].tolist() == ["a.wav", "b.wav"]


@pytest.mark.parametrize(("header", "cells", "wrong"), [
    (",fname,Bark,Meow,Purr", ["0,t.wav,0,0,0"], "'Unnamed: 0'"),
    ("fname,Bark,Meow,Purr,usage", ["t.wav,0,0,0,Public"], "'usage'"),
    ("fname,Bark,Meow,Purr,Usage,License", ["t.wav,0,0,0,,"], "'Usage', 'License'"),
    ("fname,labels,Bark,Meow", ["t.wav,Bark,0,0"], "'labels'"),
    ("fname,Bark,Meow,Bark", ["t.wav,0,0,0"], r"'Bark\.1'"),
    ("fname,n,Bark,Meow,Purr", ["t.wav,1,0,0,0", "u.wav,2,0,0,0"], "'n'"),
])
def test_columns_that_are_no_labels_are_refused_by_name(tmp_path, header, cells, wrong):
    root = write_set(tmp_path, test=("t.wav", "u.wav"))
    (root / "sample_submission.csv").write_text("\n".join([header, *cells]) + "\n")
    with pytest.raises(ValueError, match=rf"sample_submission\.csv has columns that are no labels: {wrong};"):
        FSDKaggle2019(root)


def test_a_sample_without_labels_is_named(tmp_path):
    root = write_set(tmp_path)
    (root / "sample_submission.csv").write_text("fname\nt.wav\n")
    with pytest.raises(ValueError, match=r"sample_submission\.csv has no column but fname"):
        FSDKaggle2019(root)


def test_labels_of_some_test_clips_alone_are_not_taken_and_the_others_named(tmp_path):
    root = write_set(tmp_path, test=("t.wav", "u.wav"))
    (root / "test_post_competition.csv").write_text("fname,labels\nu.wav,Bark\n")
    with pytest.warns(UserWarning, match=r"test_post_competition\.csv lacks 1 of the 2 clips of .*: t\.wav; the test"):
        data = FSDKaggle2019(root)
    assert data.truth is None
    assert "labels" not in data.test


def test_a_label_that_clips_carry_is_one_whatever_its_name(tmp_path):
    root = write_set(tmp_path, curated=[("a.wav", "Fold"), ("b.wav", "Bark")])
    (root / "sample_submission.csv").write_text("fname,Bark,Fold,Meow\nt.wav,0,7,0\n")
    assert FSDKaggle2019(root).vocabulary == ["Bark", "Fold", "Meow"]


def test_spaces_around_a_columns_name_are_not_part_of_the_label(tmp_path):
    root = write_set(tmp_path)
    (root / "sample_submission.csv").write_text("fname, Bark , Meow\nt.wav,0,0\n")
    assert FSDKaggle2019(root).vocabulary == ["Bark", "Meow"]


@pytest.mark.parametrize(("labels", "said"), [
    (["\"['Bark', 'Meow']\"", "Bark"], r"with brackets, quotes or separators: \"'Meow'\]\", \"\['Bark'\""),
    (["Bark;Meow", "Bark"], "'Bark;Meow'"),
    (["Bark|Meow", "Bark"], "several labels of a clip stand in quotes with commas between"),
    (["bark", "Bark"], "that differ in case, spaces or Unicode form alone: 'Bark' and 'bark'"),
    (["Race car", "Race_car"], "'Race car' and 'Race_car'"),
    (["Bark", "Bark\u200b"], r"'Bark' and 'Bark\\u200b'"),
    (["Ger\u00e4usch", "Gera\u0308usch"], r"'Gera\\u0308usch' and 'Ger\\xe4usch'"),
])
def test_labels_in_another_notation_are_named_when_read_and_by_the_doctor(tmp_path, capsys, labels, said):
    root = write_set(tmp_path, curated=[(f"{i}.wav", label) for i, label in enumerate(labels)])
    (root / "sample_submission.csv").unlink()
    with pytest.warns(UserWarning, match=said):
        FSDKaggle2019(root)
    main(["check", str(root)])
    assert re.search(said, capsys.readouterr().out)


def test_labels_of_many_kinds_are_not_odd():
    assert odd_labels(["Purr (cat)", "Don't", "Ba$$", "köter 犬", "Tearing/ripping", "a b", "C#"]) == []


def test_the_doctor_lists_the_labels_with_their_clips(tmp_path, capsys):
    main(["check", str(write_set(tmp_path, curated=[("a.wav", "Meow"), ("b.wav", "Meow")]))])
    said = capsys.readouterr().out
    assert re.search(r"curated +noisy\nBark +0 +1\nMeow +2 +0\nPurr +0 +0", said)
    for line in ("labels of no clip at all: Purr", "labels of curated clips only: Meow",
                 "labels of noisy clips only: Bark"):
        assert line in said


@pytest.mark.parametrize("table", [None, "fname,labels\n"], ids=["no table", "an empty one"])
def test_a_set_without_clips_is_named_with_its_table(tmp_path, capsys, table):
    root = write_set(tmp_path)
    (root / "train_noisy.csv").unlink()
    (root / "sample_submission.csv").unlink()
    if table:
        (root / "train_noisy.csv").write_text(table)
    says = (rf"no noisy clips: .*train_noisy\.csv {'lists none' if table else 'is missing'}, "
            "though .*train_noisy has files")
    assert main(["check", str(root)]) == 1, "a.wav and b.wav are no sounds"
    said = capsys.readouterr().out
    assert re.search(says + ": one stage is trained, on the curated clips alone", said)
    assert "nothing here would stop" not in said
    assert re.search(r"no test clips: .*sample_submission\.csv is missing, though .*test has files: there is", said)
    with pytest.raises(ValueError, match=says):
        FSDKaggle2019(root, needed=("curated", "noisy"))
    with pytest.warns(UserWarning, match=says):
        assert not len(FSDKaggle2019(root, needed=("curated", "noisy"), may_lack=["noisy"]).noisy)
    with pytest.raises(ValueError, match=r"no test clips: .*sample_submission\.csv is missing"):
        FSDKaggle2019(root, needed=("test",))
    assert len(FSDKaggle2019(root, needed=("curated",)).curated) == 2, "what is enough goes on"


def test_the_root_may_have_the_name_of_a_folder_in_it_or_be_the_parent(tmp_path, monkeypatch):
    root = write_set(tmp_path / "outer/test")
    (tmp_path / "outer/train_curated.csv").write_text("fname,labels\nother.wav,Woof\n")
    assert len(FSDKaggle2019(root).curated) == 2
    monkeypatch.chdir(root / "test")
    assert len(FSDKaggle2019("..").curated) == 2


def test_a_link_into_nothing_and_a_folder_are_missing_files(tmp_path):
    root = write_set(tmp_path)
    for fname in ("a.wav", "b.wav"):
        (root / "train_curated" / fname).unlink()
    (root / "train_curated/a.wav").symlink_to(tmp_path / "nothing")
    (root / "train_curated/b.wav").mkdir()
    with pytest.raises(FileNotFoundError, match=r"2 of the 2 curated clips are missing .*a\.wav, b\.wav"):
        FSDKaggle2019(root)
    with pytest.warns(UserWarning, match="left out"):
        assert len(FSDKaggle2019(root, missing="skip").curated) == 0


@pytest.mark.parametrize(("listed", "file"), [
    ("a.wav", "a.WAV"), ("K\u00f6ter.wav", "Ko\u0308ter.wav"), ("Ko\u0308ter.wav", "K\u00f6ter.wav"),
    ("a.wav ", "a.wav")])
def test_a_file_of_nearly_the_listed_name_is_taken_where_it_is_the_only_one(tmp_path, listed, file):
    root = write_set(tmp_path, curated=[(file, "Bark")])
    (root / "train_curated.csv").write_text(f'fname,labels\n"{listed}",Bark\n')
    with pytest.warns(UserWarning, match="1 curated clips have files of nearly the listed name .*, which are taken"):
        data = FSDKaggle2019(root)
    assert data.curated["fname"].tolist() == [listed]
    assert data.curated["path"].tolist() == [root / "train_curated" / file]
    (root / "train_curated" / ("A.wAv" if file.lower() == "a.wav" else "KÖTER.wav")).touch()
    with pytest.raises(FileNotFoundError, match="1 of the 1 curated clips are missing"):
        FSDKaggle2019(root)


def test_the_doctor_names_clips_that_are_there_more_than_once(tmp_path, capsys):
    root = write_set(tmp_path, curated=[("a.wav", "Bark"), ("b.wav", "Bark"), ("c.wav", "Meow")],
                     noisy=[("b.wav", "Bark"), ("n.wav", "Meow")])
    sounds = np.random.default_rng(0).uniform(-1, 1, (5, 44_100))
    for path, sound in (("train_curated/a", 0), ("train_curated/b", 1), ("train_curated/c", 2), ("train_noisy/b", 3),
                        ("train_noisy/n", 0), ("test/t", 0)):
        sf.write(root / f"{path}.wav", sounds[sound], 44_100)
    assert main(["check", str(root)]) == 0
    assert ("2 clips are there more than once, by their bytes or names: curated a.wav = noisy n.wav = test t.wav, "
            "curated b.wav = noisy b.wav") in capsys.readouterr().out


NAMES = st.text(st.characters(exclude_categories=["C"], exclude_characters="/\\"), min_size=1, max_size=12)
LABELS = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters=","), min_size=1, max_size=8)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, st.lists(LABELS, min_size=1, max_size=4), max_size=8), st.booleans(),
       st.sampled_from(["\n", "\r\n"]), st.integers(csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
def test_any_table_comes_back_as_it_was_written(clips, mark, ends, quoting):
    """Names and labels in any alphabet, with quotes and commas; written by Python's csv module."""
    with tempfile.NamedTemporaryFile("w", newline="", encoding="utf-8-sig" if mark else "utf-8") as file:
        writer = csv.writer(file, lineterminator=ends, quoting=quoting)
        writer.writerows([("fname", "labels"), *((fname, ",".join(labels)) for fname, labels in clips.items())])
        file.flush()
        table = read_table(file.name, ["fname", "labels"])
    assert dict(zip(table["fname"], table["labels"])) == {fname: tuple(labels) for fname, labels in clips.items()}


def test_a_folder_that_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither Kaggle's"):
        FSDKaggle2019(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        FSDKaggle2019(tmp_path / "nowhere")


def test_label_matrix_names_the_unknown_label():
    table = pd.DataFrame({"fname": ["a.wav"], "labels": [("Bark",)]})
    with pytest.raises(ValueError, match=r"truth\.csv: a\.wav carries the label 'Bark'"):
        label_matrix(table, ["Meow"], "truth.csv")


def test_which_noisy_clips_are_rightly_labelled_is_known_where_the_truth_is(tmp_path):
    root = write_set(tmp_path, noisy=[("m.wav", '"Purr,Meow"'), ("n.wav", "Bark"), ("o.wav", "Bark")])
    assert FSDKaggle2019(root).rightly_labelled() is None
    (root / "truth").mkdir()
    (root / "truth/train_noisy.csv").write_text('fname,labels\no.wav,Purr\nn.wav,"Bark,Meow"\nm.wav,"Meow,Purr"\n')
    assert FSDKaggle2019(root).rightly_labelled().tolist() == [True, False, False]
    (root / "truth/train_noisy.csv").write_text("fname,labels\nn.wav,Bark\n")
    with pytest.raises(ValueError, match=r"train_noisy\.csv lacks the noisy clips m\.wav, o\.wav"):
        FSDKaggle2019(root).rightly_labelled()


def test_folders_nested_by_an_unzip_tool_are_found(recordings, tmp_path):
    root = to_zenodo(recordings.root, tmp_path / "zenodo")
    for folder in list(root.iterdir()):
        folder.rename(root / "inner")
        folder.mkdir()
        (root / "inner").rename(folder / folder.name)
    nested = FSDKaggle2019(root)
    for name in ("curated", "noisy", "test"):
        assert set(getattr(nested, name)["fname"]) == set(getattr(recordings, name)["fname"])
    assert nested.truth.exists()


def test_files_that_no_table_lists_are_named_and_ignored(tmp_path):
    root = write_set(tmp_path)
    for extra in ("test/extra.FLAC", "test/notes.txt", "train_noisy/.DS_Store"):
        (root / extra).touch()
    with pytest.warns(UserWarning, match=r"1 files in .*test are in no table: extra\.FLAC"):
        data = FSDKaggle2019(root)
    assert data.test["fname"].tolist() == ["t.wav"]
    (root / "test/t.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of the 1 test clips are missing .*t\.wav.*: extra\.FLAC"):
        FSDKaggle2019(root)


def test_the_doctor_passes_recordings(recordings, capsys):
    assert main(["check", str(recordings.root)]) == 0
    said = capsys.readouterr().out
    assert "nothing here would stop training" in said
    assert f"44100:{len(recordings.test)}" in said
    seconds = [sf.info(path).duration for path in recordings.test["path"]]
    assert f"{min(seconds):.1f} to {max(seconds):.1f}" in said


def test_the_doctor_names_what_is_wrong(tmp_path, capsys):
    rng = np.random.default_rng(0)
    root = write_set(tmp_path / "input", curated=[(f"{name}.wav", "Bark") for name in (
        "good", "silent", "gone", "text", "short", "stereo")])
    audio = root / "train_curated"
    for folder, name in ((audio, "good"), (audio, "short"), (root / "train_noisy", "n"), (root / "test", "t")):
        sf.write(folder / f"{name}.wav", rng.uniform(-1, 1, 44_100), 44_100)
    sf.write(audio / "stereo.wav", rng.uniform(-1, 1, (22_050, 2)), 22_050)
    sf.write(audio / "silent.wav", np.zeros(44_100), 44_100)
    (audio / "gone.wav").unlink()
    (audio / "text.wav").write_text("no sound")
    (audio / "extra.wav").touch()
    assert main(["check", str(root)]) == 1
    said = capsys.readouterr().out
    for line in ("curated, missing: gone.wav", "curated, unreadable: text.wav", "curated, silent: silent.wav",
                 "curated, not in the table: extra.wav", "1 missing curated clips would stop training",
                 "1 unreadable clips would be left out", "not mono"):
        assert line in said, line
    assert "Kaggle's layout, 6 curated" in said
    assert "in all: 6 curated, 1 noisy, 1 test clips" in said
    again = said[said.index("in all:"):].splitlines()[1:]
    kinds = [line.split(":")[0] for line in again[:-1]]
    assert kinds == sorted(kinds, key=["stops", "spoils", "doubtful", "note"].index), "the worst first"
    assert again[0] == "stops: 1 missing curated clips would stop training"
    assert "spoils: curated, unreadable: text.wav" in again
    assert again[-1] == "this would stop training"


def test_the_doctor_says_what_is_wrong_with_a_table(tmp_path, capsys):
    root = write_set(tmp_path)
    (root / "train_noisy.csv").write_text("fname,labels\nn.wav,Woof\n")
    assert main(["check", str(root)]) == 1
    assert "n.wav carries the label 'Woof'" in capsys.readouterr().out


def test_a_folder_or_a_pipe_in_a_tables_place_is_said_and_not_waited_for(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for name in ("folder.csv", "pipe.csv"):
        with pytest.raises(ValueError, match=rf"{name} is no file; expected a CSV with the columns fname, labels"):
            read_table(tmp_path / name, ["fname", "labels"])
