"""From recordings and their labels to networks, and back: by the commands, both ways to better labels."""

import contextlib
import io
import shutil

import numpy as np
import pytest
import soundfile as sf

from freesound_tagging.__main__ import main as tag
from freesound_tagging.annotations import cut_of, read_events
from freesound_tagging.clips.__main__ import main as clips
from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.prediction.__main__ import main as score
from freesound_tagging.training.__main__ import main as train

RATE = 8000
PROFILE = """
network = "cnn-model-1"
options = {width = 4}
n_folds = 2
batch_size = 16
augmentation = ["mixup"]


[[stage]]
trains_on = ["curated"]
passes = 1
lr = 0.005
least_steps = 150

[mel]
sample_rate = 8000
f_max = 4000
n_fft = 512
hop_length = 126
n_mels = 32
excerpt_frames = 64
min_seconds = 1.1
"""


def night(path, seed):
    """40 s of noise with some whistles and hums: what is to be heard when."""
    rng, rows, place = np.random.default_rng(seed), [], 2.0
    signal = 0.003 * rng.standard_normal(40 * RATE)
    for event in range(6):
        length = rng.uniform(1.5, 2.5)
        first, last = round(place * RATE), round((place + length) * RATE)
        pitch = (2000 if event % 2 else 300) * rng.uniform(0.9, 1.1)
        signal[first:last] += 0.3 * np.sin(2 * np.pi * pitch * np.arange(last - first) / RATE)
        rows.append((place, place + length, "whistle" if event % 2 else "hum"))
        place += length + rng.uniform(2.5, 4)
    sf.write(path, signal, RATE)
    return rows


def write_track(path, rows):
    path.write_text("".join(f"{start:.6f}\t{end:.6f}\t{label}\n" for start, end, label in rows))


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Six recordings with labels, laid out, trained on, two of them for testing; and two more without labels."""
    root = tmp_path_factory.mktemp("loops")
    (root / "recordings").mkdir()
    (root / "new").mkdir()
    for number in range(6):
        write_track(root / f"recordings/{number}.txt", night(root / f"recordings/{number}.flac", number))
    truth = {f"new {number}.flac": night(root / f"new/new {number}.flac", 100 + number) for number in range(2)}
    (root / "own.toml").write_text(PROFILE)
    assert clips(["prepare", str(root / "recordings"), str(root / "sounds"), "--test", "0.34"]) == 0
    with contextlib.redirect_stdout(io.StringIO()) as said:
        assert train([str(root / "sounds"), "--output", str(root / "run"), "--profile", str(root / "own.toml"),
                      "--executor", "in-process"]) == 0
    assert f"--timeline found.tsv {root}/sounds/test, then make score SUBMISSION=found.tsv" in said.getvalue()
    return root, truth


def weights(root, run="run"):
    return ["--weights", str(root / run / "weights")]


def test_from_labels_with_times_to_events_and_their_score(first, capsys):
    root, _ = first
    assert tag([*weights(root), str(root / "sounds/test"), "--timeline", str(root / "found.tsv")]) == 0
    assert read_events(root / "found.tsv")["file"].nunique() == 2
    capsys.readouterr()
    assert score([str(root / "found.tsv"), str(root / "sounds/test_events.tsv")]) == 0
    said = capsys.readouterr().out
    f1 = float(next(line for line in said.splitlines() if line.startswith("segment F1")).split()[-1])
    assert f1 > 0.6, said
    assert {"hum", "whistle"} <= set(said.split())


def test_what_was_cut_out_and_sorted_is_trained_on_from_the_last_networks(first, tmp_path):
    root, truth = first
    new = sorted(map(str, (root / "new").iterdir()))
    assert tag([*weights(root), *new, "--cut", str(tmp_path / "sorted"), "--threshold", "0.2"]) == 0
    cuts = {path: cut_of(path) for path in (tmp_path / "sorted").rglob("*.flac")}
    assert {cut.recording for cut in cuts.values()} == {f"new+{name}" for name in truth}
    for path, cut in cuts.items():  # as somebody would who listens to each
        known = truth[cut.recording.removeprefix("new+")]
        overlaps = {label: min(end, cut.end) - max(start, cut.start) for start, end, label in known
                    if min(end, cut.end) - max(start, cut.start) > 0.3}
        right = max(overlaps, key=overlaps.get) if overlaps else "nocall"
        (tmp_path / "sorted" / right).mkdir(exist_ok=True)
        shutil.move(path, tmp_path / "sorted" / right / path.name)
    assert clips(["prepare", str(tmp_path / "sorted"), str(tmp_path / "sounds"), "--background", "--test", "0",
                  "--sounds", str(root / "new"), "--with", str(root / "sounds original")]) == 1, "which is not there"
    assert clips(["prepare", str(tmp_path / "sorted"), str(tmp_path / "sounds"), "--background", "--test", "0",
                  "--sounds", str(root / "new")]) == 0
    (tmp_path / "next.toml").write_text(f'start = "{root}/run/weights/cnn-model-1"\n' + PROFILE)
    assert train([str(tmp_path / "sounds"), "--output", str(tmp_path / "run"), "--profile",
                  str(tmp_path / "next.toml"), "--executor", "in-process"]) == 0
    assert tag([*weights(tmp_path), *new]) == 0


def test_labels_corrected_in_audacity_are_trained_on(first, tmp_path):
    root, truth = first
    shutil.copytree(root / "new", tmp_path / "new")
    new = sorted(map(str, (tmp_path / "new").glob("*.flac")))
    assert tag([*weights(root), *new, "--timeline", str(tmp_path / "new")]) == 0
    tracks = sorted((tmp_path / "new").glob("*.txt"))
    assert [path.name for path in tracks] == ["new 0.flac.txt", "new 1.flac.txt"]
    events = read_events(tracks[0])
    assert len(events) and set(events["label"]) <= {"hum", "whistle"}
    write_track(tracks[0], truth["new 0.flac"])  # as somebody has corrected it
    assert clips(["prepare", str(tmp_path / "new"), str(tmp_path / "sounds"), "--test", "0"]) == 0
    table = FSDKaggle2019(tmp_path / "sounds").curated
    corrected = table[(table["fname"] == "new 0.flac") & ~table["background"]]
    assert [*corrected["labels"]] == [(label,) for _, _, label in truth["new 0.flac"]]
    np.testing.assert_allclose(corrected[["start", "end"]], [row[:2] for row in truth["new 0.flac"]], atol=1e-5)
    assert train([str(tmp_path / "sounds"), "--output", str(tmp_path / "run"), "--profile", str(root / "own.toml"),
                  "--executor", "in-process"]) == 0
