"""What a finished run says beside its networks."""

import copy
import json

import pytest
from sklearn.metrics import label_ranking_average_precision_score

from freesound_tagging.notebook import show_table
from freesound_tagging.training.card import card


@pytest.fixture
def text(finished_run):
    return (finished_run.weights / "README.md").read_text()


def row(text, head):
    """The cells of the row that begins with `head`."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {head} |"))
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_a_finished_run_says_what_its_networks_are(text, finished_run):
    """12 labels with 3 curated and 6 noisy clips each; 4 stages of 3 folds, of which stages 2, 3 and 4 vote."""
    assert text.startswith("# cnn-model-1: 12 labels\n\n12 networks, 3 folds of 4 stages,")
    assert "mean of the 9 that vote, those of stage 2, 3, 4." in text
    assert ", ".join(finished_run.clips.vocabulary) in text
    assert (row(text, "curated"), row(text, "noisy")) == (["36", "0"], ["72", "0"])
    assert "Batches of 16," in text and "`specmix(" in text and "(width=2)" in text
    assert "2.01 s of sound at 44100 Hz" in text, "128 frames of 694 samples"


def test_its_stages_are_told_with_the_clips_that_they_trained_on(text, finished_run):
    noisy = finished_run.clips.is_of("noisy")
    steps = sorted({-(-int((noisy & (finished_run.folds != fold)).sum()) // 16) for fold in range(3)})  # batches of 16
    assert row(text, "1") == ["a new network", "noisy", "72", " to ".join(map(str, steps)), "0.003", "no"]
    assert row(text, "2")[:3] == ["model 1", "curated", "36"]
    for stage in (3, 4):
        chosen = int(finished_run.selected(stage)[noisy].sum())
        assert row(text, stage)[:3] == [f"model {stage - 1}", "curated, noisy selected", str(36 + chosen)]


def test_its_scores_are_of_clips_held_out(text, finished_run):
    for stage in (1, 4):
        predicted = finished_run.out_of_fold(stage)
        for column, name in enumerate(("noisy", "curated")):
            of = finished_run.clips.is_of(name)
            truth = finished_run.targets[of]
            score = label_ranking_average_precision_score(truth, predicted[of], sample_weight=truth.sum(1))
            assert row(text, f"model {stage}")[column] == f"{score:.3f}"


@pytest.mark.parametrize("limit", ["are calibrated", "A threshold", "Silence", "Short sounds", "silence to 2 s"])
def test_its_limits_are_named(text, limit):
    assert limit in text.partition("## Limits")[2]


def test_its_probabilities_are_calibrated_or_said_to_be_raw(text, finished_run):
    kept = json.loads((finished_run.weights / "calibration.json").read_text())
    limits = " ".join(text.partition("## Limits")[2].split())
    assert "fitted on the predictions of 36 curated clips that were held out" in limits
    assert f"is off by {kept['error_after']:.3f} in the mean" in limits
    assert f"without it by {kept['error_before']:.3f}." in limits
    assert "**Probabilities are not calibrated.**" in card(finished_run)


def test_a_clip_that_could_not_be_read_is_counted(finished_run):
    run = copy.copy(finished_run)
    run.known = run.known.copy()
    run.known[run.clips.is_of("noisy").argmax()] = False
    assert row(card(run), "noisy") == ["72", "1"]
    assert row(card(run), "1")[2] == "71"


def test_a_run_that_is_not_finished_has_no_card(make_pipeline, tmp_path):
    run = make_pipeline(tmp_path)
    run.write_card()
    assert not (run.weights / "README.md").exists()
    with pytest.raises(RuntimeError, match="fold 0 of stage 1 is not finished"):
        card(run)


def test_a_notebook_writes_it_with_its_table_and_leaves_one_that_is_right(text, finished_run):
    path = finished_run.weights / "README.md"
    before = path.stat().st_mtime_ns
    show_table(finished_run)
    assert path.stat().st_mtime_ns == before
    path.unlink()
    show_table(finished_run)
    assert path.read_text() == text
