import re

import pytest
import torch

from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.networks.weights import find_weights, load_tagger
from freesound_tagging.training.__main__ import main
from freesound_tagging.training.estimate import estimate, spoken, steps_left
from freesound_tagging.training.queue import SessionBudget


def test_the_command_trains_both_networks_and_goes_on(demo, tmp_path, capsys):
    command = [str(demo.root), "--output", str(tmp_path), "--profile", "tiny", "--seed", "3",
               "--executor", "in-process"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "cnn-model-1, cross-validated:" in shown and "vgg16, cross-validated:" in shown
    paths = find_weights(tmp_path / "weights")
    assert len(paths) == 2 * 3 * 2, "models 2, 3 and 4 of two folds of two networks"
    assert {load_tagger(path).spec.network for path in paths} == {"cnn-model-1", "vgg16"}
    table = (tmp_path / "work/cnn-model-1/table.txt").read_text()
    assert table.strip() in shown
    for network in ("cnn-model-1", "vgg16"):
        assert (tmp_path / f"weights/{network}/README.md").read_text().startswith(f"# {network}: ")
    written = [path.stat().st_mtime_ns for path in paths]
    assert main(command) == 0
    assert [path.stat().st_mtime_ns for path in paths] == written, "finished folds are not trained again"
    assert main([*command, "--folds", "3"]) == 1
    assert "n_folds was 2 and is 3" in capsys.readouterr().err


@pytest.mark.parametrize("compiled", [False, True])
def test_the_command_has_networks_compiled_if_it_is_told_to(demo, tmp_path, monkeypatch, compiled):
    seen = []
    monkeypatch.setattr("freesound_tagging.training.fold.training_precision", lambda device: torch.float32)
    monkeypatch.setattr("freesound_tagging.training.__main__.run_together",
                        lambda *runs, budget: seen.extend(run.training(1, 0).compiled for run in runs))
    assert main([str(demo.root), "--output", str(tmp_path), "--profile", "tiny", *["--compiled"] * compiled]) == 0
    assert seen == [compiled] * 2


def test_hours_are_those_of_the_whole_command(demo, tmp_path, monkeypatch, capsys):
    """Images that take as long as there is time leave none for a fold."""
    made, build = [], SpectrogramStore.build

    def slowly(*arguments, **settings):
        store = build(*arguments, **settings)
        made[0].end_at -= 3600
        return store

    class Budget(SessionBudget):
        def __init__(self, hours):
            super().__init__(hours)
            made.append(self)
    monkeypatch.setattr("freesound_tagging.training.__main__.SessionBudget", Budget)
    monkeypatch.setattr(SpectrogramStore, "build", slowly)
    assert main([str(demo.root), "--output", str(tmp_path), "--profile", "tiny", "--hours", "1", "--executor",
                 "in-process"]) == 0
    assert len(made) == 1 and "The time is up: 16 folds are left" in capsys.readouterr().out


def test_runs_of_the_same_clips_share_them(make_pipeline, tmp_path):
    runs = [make_pipeline(tmp_path / name) for name in "ab"]
    assert runs[0].shared is not runs[1].shared
    list(estimate(runs))
    assert runs[0].shared is runs[1].shared


def test_no_data_is_said(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_folds_and_seeds_that_cannot_be_are_said_before_anything_is_computed(demo, tmp_path, capsys):
    command = [str(demo.root), "--output", str(tmp_path / "run"), "--profile", "tiny"]
    assert main([*command, "--folds", "1000"]) == 1
    assert "n_folds=1000: expected at most 36, the number of curated clips" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "--seed", "-1"])
    assert "--seed -1: expected 0 to 4294967295" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_without_noisy_clips_one_stage_is_trained_with_a_word(esc10, tmp_path, capsys):
    """Curated clips in a table, with an empty one of noisy clips."""
    root = tmp_path / "My sounds"
    root.mkdir()
    esc10.curated.assign(labels=esc10.curated["labels"].map(",".join))[["fname", "labels"]].to_csv(
        root / "train_curated.csv", index=False)
    (root / "train_noisy.csv").write_text("fname,labels\n")
    (root / "train_curated").symlink_to(esc10.folder("curated"))
    command = [str(root), "--output", str(tmp_path / "run"), "--profile", "tiny", "--networks", "cnn-model-1",
               "--executor", "in-process"]
    assert main(command) == 0
    said, errors = capsys.readouterr()
    assert "train_noisy.csv lists none" in errors
    assert "the profile's 4 stages become one" in errors
    # 80 curated clips by the tiny profile: 2 folds of 40 clips, batches of 32, 2 + 2 + 2 passes of 2 batches.
    assert "cnn-model-1: 1 stage of 2 folds, about 24 steps of 32 excerpts: about" in said
    assert re.search(r"lwlrap curated\nmodel 1 +0\.\d+\n", said)
    assert "lwlrap noisy" not in said
    assert f"The networks are in {tmp_path / 'run/weights'}." in said
    assert "next: .venv/bin/python -m freesound_tagging --weights" in said
    assert len(find_weights(tmp_path / "run/weights")) == 2


def test_a_mistake_is_one_line(demo, tmp_path, capsys):
    for arguments, said in ((["--networks", "vgg"], "network 'vgg': expected one of cnn-model-1, vgg16"),
                            (["--profile", "laptopp"], "perhaps 'laptop' is meant")):
        assert main([str(demo.root), "--output", str(tmp_path), *arguments]) == 1
        error = capsys.readouterr().err
        assert said in error and error.count("\n") == 1, error


def test_times_are_spoken_as_people_say_them():
    assert [spoken(seconds) for seconds in (0.2, 40, 1500, 25_560, 3 * 86_400)] == [
        "1 seconds", "40 seconds", "25 minutes", "7.1 hours", "3 days"]


def test_the_steps_that_are_left_are_those_of_the_folds_that_are_not_finished(make_pipeline, finished_run, tmp_path):
    assert steps_left(finished_run) == 0
    assert list(estimate([finished_run])) == []
    pipeline = make_pipeline(tmp_path)
    # 36 curated and 72 noisy clips, 3 folds, batches of 16, one pass. Stage 1: 48 clips, 3 steps. 2: 24 clips, 2 steps.
    # 3 and 4: half of the noisy clips more, as 5 of 3 folds and 12 labels are 180: 72 / 3 * 2 = 48 clips, 3 steps.
    assert steps_left(pipeline) == 3 * (3 + 2 + 3 + 3)
    state = torch.random.get_rng_state()
    line, = estimate([pipeline])
    assert re.fullmatch(r"cnn-model-1: 4 stages of 3 folds, about 33 steps of 16 excerpts: about \d+ seconds on this "
                        r"(CPU|GPU), [\d.e-]+ s a step", line)
    assert torch.equal(torch.random.get_rng_state(), state), "what is trained afterwards does not depend on it"
