import csv
import shutil
import tempfile

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from freesound_tagging.clips.dataset import FAULTY_CLIPS, FSDKaggle2019, main, stratified_folds
from freesound_tagging.clips.tables import label_matrix, read_table


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


def to_zenodo(kaggle, root):
    """The same clips in Zenodo's layout, with its extra columns and without the sample submission."""
    meta = root / "FSDKaggle2019.meta"
    meta.mkdir(parents=True)
    for name, extra in (("train_curated", "freesound_id"), ("train_noisy", "flickr_video_URL")):
        shutil.copytree(kaggle / name, root / f"FSDKaggle2019.audio_{name}")
        table = pd.read_csv(kaggle / f"{name}.csv")
        table.assign(**{extra: "7", "license": "CC0"}).to_csv(meta / f"{name}_post_competition.csv", index=False)
    shutil.copytree(kaggle / "test", root / "FSDKaggle2019.audio_test")
    shutil.copy(kaggle / "FSDKaggle2019.meta/test_post_competition.csv", meta)
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


def test_zenodo_layout_gives_the_same_clips_and_labels(esc10, tmp_path):
    zenodo = FSDKaggle2019(to_zenodo(esc10.root, tmp_path / "zenodo"))
    assert zenodo.layout == "Zenodo"
    assert zenodo.vocabulary == esc10.vocabulary
    for name in ("curated", "noisy", "test"):
        theirs, ours = getattr(zenodo, name).set_index("fname"), getattr(esc10, name).set_index("fname")
        assert theirs["labels"].to_dict() == ours["labels"].to_dict()
        assert all(path.exists() for path in theirs["path"])
    assert zenodo.test["usage"].value_counts().to_dict() == {"Private": 60, "Public": 20}


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
    ("fname,labels\na.wav,Woof\n", "a.wav carries the label 'Woof'"),
])
def test_bad_tables_are_refused_by_name(tmp_path, text, message):
    root = write_set(tmp_path)
    (root / "train_curated.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message) as caught:
        FSDKaggle2019(root)
    assert "train_curated.csv" in str(caught.value) or "curated:" in str(caught.value)


def test_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    (tmp_path / "t.csv").write_bytes('\ufefffname,labels\r\na.wav,"Bark,Meow"\r\n'.encode())
    assert read_table(tmp_path / "t.csv", ["fname", "labels"])["labels"].tolist() == [("Bark", "Meow")]


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


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 2**31), st.data())
def test_folds_partition_any_clips_and_spread_each_label(n_folds, n_labels, seed, data):
    n_clips = data.draw(st.integers(n_folds, 40))
    rng = np.random.default_rng(seed)
    targets = rng.random((n_clips, n_labels)) < rng.random()
    folds = stratified_folds(targets, n_folds, seed)
    assert set(folds) <= set(range(n_folds))
    assert len(folds) == n_clips
    np.testing.assert_array_equal(folds, stratified_folds(targets, n_folds, seed))
    assert np.bincount(folds, minlength=n_folds).max() < n_clips, "every fold leaves clips to train on"


def test_a_label_of_fewer_clips_than_folds_is_in_as_many_folds_as_clips():
    targets = np.zeros((30, 2), int)
    targets[:, 0] = 1
    targets[:3, 1] = 1
    folds = stratified_folds(targets, 10)
    assert len(set(folds[:3])) == 3
    assert np.bincount(folds, minlength=10).min() >= 1


def test_a_folder_that_is_no_data_set_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither Kaggle's"):
        FSDKaggle2019(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        FSDKaggle2019(tmp_path / "nowhere")


def test_folds_spread_each_label_evenly_and_follow_the_seed(esc10):
    targets = esc10.targets(esc10.noisy)
    folds = stratified_folds(targets, 4, seed=3)
    counts = np.stack([targets[folds == fold].sum(0) for fold in range(4)])
    assert (np.ptp(counts, axis=0) <= 3).all(), counts
    assert np.ptp(np.bincount(folds, minlength=4)) <= 6
    np.testing.assert_array_equal(folds, stratified_folds(targets, 4, seed=3))
    assert (folds != stratified_folds(targets, 4, seed=4)).any()


def test_folds_of_a_single_label_and_their_limits():
    assert sorted(stratified_folds(np.ones((4, 1)), 2)) == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="n_folds=5: expected 2 to 4"):
        stratified_folds(np.ones((4, 1)), 5)


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


def test_folders_nested_by_an_unzip_tool_are_found(esc10, tmp_path):
    root = to_zenodo(esc10.root, tmp_path / "zenodo")
    for folder in list(root.iterdir()):
        folder.rename(root / "inner")
        folder.mkdir()
        (root / "inner").rename(folder / folder.name)
    nested = FSDKaggle2019(root)
    assert (len(nested.curated), len(nested.noisy), len(nested.test)) == (80, 160, 80)
    assert nested.truth.exists()


def test_files_that_no_table_lists_are_named_and_ignored(tmp_path):
    root = write_set(tmp_path)
    (root / "test/extra.wav").touch()
    with pytest.warns(UserWarning, match=r"1 files in .*test are in no table: extra\.wav"):
        data = FSDKaggle2019(root)
    assert data.test["fname"].tolist() == ["t.wav"]
    (root / "test/t.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of the 1 test clips are missing .*t\.wav.*in no table: extra\.wav"):
        FSDKaggle2019(root)


def test_the_doctor_passes_real_recordings(esc10, capsys):
    assert main(["check", str(esc10.root)]) == 0
    said = capsys.readouterr().out
    assert "nothing here would stop training" in said
    assert "44100:80" in said
    assert "5.0 to 5.0" in said


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
                 "curated, not in the table: extra.wav", "1 missing clips would stop training",
                 "1 unreadable clips would be left out", "not mono"):
        assert line in said, line
    assert "Kaggle's layout, 6 curated" in said


def test_the_doctor_says_what_is_wrong_with_a_table(tmp_path, capsys):
    root = write_set(tmp_path)
    (root / "train_noisy.csv").write_text("fname,labels\nn.wav,Woof\n")
    assert main(["check", str(root)]) == 1
    assert "n.wav carries the label 'Woof'" in capsys.readouterr().out
