"""A data set of one's own, as the README says: a folder with two tables, any labels, any format; ESC-10 plays it."""

import pandas as pd
import soundfile as sf
from test_notebooks import execute, outputs

import freesound_tagging
from freesound_tagging.__main__ import main
from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.clips.dataset import main as dataset_command


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
