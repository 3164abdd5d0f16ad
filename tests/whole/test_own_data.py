"""A data set of one's own, as the README says: a folder with two tables, any labels, any format; ESC-10 plays it."""

import shutil

import pandas as pd
import pytest
import soundfile as sf
from helpers import execute, outputs, papermill

import freesound_tagging
from freesound_tagging.__main__ import main
from freesound_tagging.clips.__main__ import main as dataset_command
from freesound_tagging.clips.dataset import FSDKaggle2019

# As nobody else calls them: spaces, other letters and marks.
LABELS = {"Dog_bark": "Geräusch: Hund", "Rain": "$x_1$"}


def test_from_two_tables_through_all_three_notebooks_to_tagged_sounds(esc10, tmp_path, capsys):
    """Few recordings of two labels; another format and rate, names with dollar signs, `.FLAC` for `.flac`."""
    root, tables = tmp_path / "My Sounds $", {}
    for name, folder, table_name, count in (("curated", "train_curated", "train_curated", 5),
                                            ("noisy", "train_noisy", "train_noisy", 6),
                                            ("test", "test", "test_post_competition", 4)):
        table = getattr(esc10, name)
        (root / folder).mkdir(parents=True)
        of_label = [table[table["labels"].map(lambda own, label=label: own == (label,))] for label in LABELS]
        rows = {}
        for number in range(count):
            clip = of_label[number % 2].iloc[number // 2]
            signal, rate = sf.read(clip["path"])
            fname = f"Ba$${folder}{number}.flac"
            sf.write(root / folder / (fname.replace(".flac", ".FLAC") if name == "test" else fname), signal[::2],
                     rate // 2)
            rows[fname] = LABELS[clip["labels"][0]] if number < 5 else ",".join(LABELS.values())  # one of the noisy
        tables[name] = pd.Series(rows, name="labels")
        tables[name].to_csv(root / f"{table_name}.csv", index_label="fname")
    own = tmp_path / "own"
    (own / "more").mkdir(parents=True)
    shutil.copy(root / "test/Ba$$test0.FLAC", own / "a$$b$.wav")
    for name in (".DS_Store", "notes.txt", "broken.wav"):
        (own / name).write_text("no sound")

    assert dataset_command(["check", str(root)]) == 0
    assert "nothing here would stop training" in capsys.readouterr().out
    labels = sorted(LABELS.values())
    with pytest.warns(UserWarning, match="4 test clips have files of nearly the listed name"):
        assert FSDKaggle2019(root).vocabulary == labels
    folders = {"input_folder": str(root), "weights_folder": str(tmp_path / "weights"),
               "work_folder": str(tmp_path / "work")}
    here = {"executor": "in-process"}
    for name, changes, figures in (
            ("training-cnn-model1", {"profile": "tiny"} | here, 17),
            ("training-vgg16", {"profile": "tiny"} | here, 7),
            ("inference-kernel", {"submission_file": str(tmp_path / "s.csv"), "own_sounds": str(own)}, None)):
        notebook = execute(name, tmp_path, folders | changes)
        # One more where a calibration fits, which of networks that know little is chance.
        assert figures is None or len(outputs(notebook, "image/jpeg")) - figures in (0, 1)
    assert len(list((tmp_path / "weights").glob("**/*.safetensors"))) == 16
    submission = pd.read_csv(tmp_path / "s.csv")
    assert list(submission.columns) == ["fname", *labels]
    assert submission["fname"].tolist() == tables["test"].index.tolist()
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "no sounds, passed over: .DS_Store, more, notes.txt" in said
    assert "1 of 2 sounds cannot be read" in said

    sound = own / "a$$b$.wav"
    table = freesound_tagging.tag([sound], tmp_path / "weights")
    assert list(table.columns) == labels
    assert main([str(sound), "--weights", str(tmp_path / "weights"), "--top", "1"]) == 0
    assert table.iloc[0].idxmax() in capsys.readouterr().out


def test_demo_data_is_not_written_into_a_folder_that_is_misspelt(tmp_path):
    with pytest.raises(papermill.PapermillExecutionError, match="suonds is not a folder"):
        execute("training-cnn-model1", tmp_path, {
            "input_folder": str(tmp_path / "suonds"), "weights_folder": str(tmp_path / "weights"),
            "work_folder": str(tmp_path / "work"), "profile": "demo"})
    assert not (tmp_path / "suonds").exists()
