"""A data set of one's own, as the README says: a folder with two tables, any labels, any format; ESC-10 plays it."""

import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from helpers import execute, outputs
from papermill.exceptions import PapermillExecutionError

import freesound_tagging
from freesound_tagging.__main__ import main
from freesound_tagging.clips.__main__ import main as dataset_command
from freesound_tagging.clips.dataset import FSDKaggle2019


def own_name(label):
    """The labels as nobody else calls them: with spaces, other letters and marks."""
    return f"Geräusch: {label.replace('_', ' ')}"


def test_from_two_tables_to_tagged_sounds(esc10, tmp_path, capsys):
    root = tmp_path / "sounds"
    for name, each in (("curated", 3), ("noisy", 4)):
        table = getattr(esc10, name)
        first = table["labels"].str[0]
        table = table[first.groupby(first).cumcount() < each]
        (root / f"train_{name}").mkdir(parents=True)
        rows = {}
        for clip in table.itertuples():
            signal, rate = sf.read(clip.path)
            fname = f"{clip.path.stem}.flac"
            sf.write(root / f"train_{name}" / fname, signal[::2], rate // 2)  # another format, another rate
            rows[fname] = ",".join(own_name(label) for label in clip.labels)
        pd.Series(rows, name="labels").to_csv(root / f"train_{name}.csv", index_label="fname")

    assert dataset_command(["check", str(root)]) == 0
    assert "nothing here would stop training" in capsys.readouterr().out
    labels = sorted(own_name(label) for label in esc10.vocabulary)
    assert FSDKaggle2019(root).vocabulary == labels
    notebook = execute("training-cnn-model1", tmp_path, {
        "input_folder": str(root), "weights_folder": str(tmp_path / "weights"),
        "work_folder": str(tmp_path / "work"), "profile": "tiny"})
    assert len(outputs(notebook, "image/jpeg")) == 13
    assert len(list((tmp_path / "weights").glob("**/*.safetensors"))) == 8

    sound = esc10.test["path"][0]
    table = freesound_tagging.tag([sound], tmp_path / "weights")
    assert list(table.columns) == labels
    assert main([str(sound), "--weights", str(tmp_path / "weights"), "--top", "1"]) == 0
    assert table.iloc[0].idxmax() in capsys.readouterr().out


def test_two_labels_few_clips_and_odd_names_go_through_all_three_notebooks(tmp_path):
    """Labels and files with dollar signs, `.WAV` for `.wav`, and sounds of one's own among what is none."""
    root, rng = tmp_path / "My Sounds $", np.random.default_rng(0)
    rows = {"train_curated": 5, "train_noisy": 6, "test": 4}
    tables = {}
    for folder, count in rows.items():
        (root / folder).mkdir(parents=True)
        names = [f"Ba$${folder}{clip}.wav" for clip in range(count)]
        for clip, name in enumerate(names):
            tone = np.sin(2 * np.pi * (400 + 800 * (clip % 2)) * np.arange(44_100) / 44_100) + 0.1 * rng.random(44_100)
            sf.write(root / folder / name.replace(".wav", ".WAV" if folder == "test" else ".wav"), tone / 2, 44_100)
        labels = [("Ba$$", "$x_1$")[clip % 2] for clip in range(count)]
        tables[folder] = pd.DataFrame({"fname": names, "labels": labels})
        table = "test_post_competition" if folder == "test" else folder
        tables[folder].to_csv(root / f"{table}.csv", index=False)
    own = tmp_path / "own"
    (own / "more").mkdir(parents=True)
    shutil.copy(root / "test/Ba$$test0.WAV", own / "a$$b$.wav")
    for name in (".DS_Store", "notes.txt", "broken.wav"):
        (own / name).write_text("no sound")
    folders = {"input_folder": str(root), "weights_folder": str(tmp_path / "weights"),
               "work_folder": str(tmp_path / "work")}
    for name, changes in (("training-cnn-model1", {"profile": "tiny"}), ("training-vgg16", {"profile": "tiny"}),
                          ("inference-kernel", {"submission_file": str(tmp_path / "s.csv"), "own_sounds": str(own)})):
        notebook = execute(name, tmp_path, folders | changes)
    submission = pd.read_csv(tmp_path / "s.csv")
    assert list(submission.columns) == ["fname", "$x_1$", "Ba$$"]
    assert submission["fname"].tolist() == tables["test"]["fname"].tolist()
    said = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "no sounds, passed over: .DS_Store, more, notes.txt" in said
    assert "1 of 2 sounds cannot be read" in said


def test_demo_data_is_not_written_into_a_folder_that_is_misspelt(tmp_path):
    with pytest.raises(PapermillExecutionError, match="suonds is not a folder"):
        execute("training-cnn-model1", tmp_path, {
            "input_folder": str(tmp_path / "suonds"), "weights_folder": str(tmp_path / "weights"),
            "work_folder": str(tmp_path / "work"), "profile": "demo"})
    assert not (tmp_path / "suonds").exists()
