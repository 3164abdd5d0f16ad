"""Training in sessions: each takes up what the one before has left, and ends in time."""

import contextlib
import time

import pytest

from freesound_tagging.machine.cluster import RayExecutor
from freesound_tagging.machine.executors import InProcess
from freesound_tagging.notebook.runs import purity_table, show_selection, show_table, train_stage
from freesound_tagging.training.fold import train_fold
from freesound_tagging.training.queue import SessionBudget, train_runs
from freesound_tagging.training.sessions import earlier_runs, how_far, how_to_go_on
from freesound_tagging.training.warmup import run_together

FOLD = 0.4  # seconds that a fold takes at least


class Trained(list):
    """The folds that `slowly` has begun, and the seconds that the last of them took."""

    seconds = 0


@pytest.fixture
def trained():
    return Trained()


@pytest.fixture
def slowly(trained):
    def slowly(training, clips, report, threads=None):
        trained.append((training.spec.stage, training.spec.fold))
        begun = time.monotonic()
        time.sleep(FOLD)
        result = train_fold(training, clips, report, threads)
        trained.seconds = time.monotonic() - begun
        return result
    return slowly


def as_output(pipeline):
    return pipeline.work, pipeline.weights


def test_three_sessions_end_with_the_bytes_of_one_undisturbed_run(make_pipeline, finished_run, tmp_path, slowly,
                                                                  trained):
    """Of the first the time is up, the second is interrupted, each begins with no more than the last one's output."""
    first = make_pipeline(tmp_path / "1")
    begun = time.monotonic()
    run_together(first, hours=1.5 * FOLD / 3600, train=slowly)
    took = time.monotonic() - begun
    assert trained == [(1, 0)], "a second fold would not have been finished in time"
    assert took < 1.5 * FOLD + trained.seconds, "over by less than a fold"

    def interrupted(training, *rest):
        if len(trained) == 4:
            raise KeyboardInterrupt
        return slowly(training, *rest)
    second = make_pipeline(tmp_path / "2", earlier=[as_output(first)])
    with pytest.raises(KeyboardInterrupt):
        run_together(second, train=interrupted)
    third = make_pipeline(tmp_path / "3", earlier=[as_output(second)])
    assert how_far(third.profile, *as_output(third)).startswith("cnn-model-1: 4 of 12 folds are finished (stage 1: 3 ")
    run_together(third, train=slowly)
    assert sorted(trained) == [(stage, fold) for stage in (1, 2, 3, 4) for fold in range(3)], "each fold once"
    for ours, theirs in zip(as_output(third), as_output(finished_run)):
        expected = {path.name: path.read_bytes() for path in theirs.glob("stage-*")}
        assert len(expected) == 12
        assert {path.name: path.read_bytes() for path in ours.glob("stage-*")} == expected


def test_a_session_that_has_nothing_left_trains_nothing_and_says_so(make_pipeline, finished_run, tmp_path):
    earlier = [as_output(finished_run)]
    said = "cnn-model-1: all 12 folds are finished, nothing is left to train."
    assert how_far(finished_run.profile, tmp_path / "work", tmp_path / "weights", earlier) == said
    assert not list(tmp_path.iterdir()), "before anything is opened"
    again = make_pipeline(tmp_path, earlier=earlier)
    run_together(again, hours=0, train=None)
    assert how_to_go_on(again).splitlines()[:2] == [said, f"The networks are in {again.weights}."]
    assert again.table().equals(finished_run.table())


def test_another_runs_output_is_refused_with_what_differs(make_pipeline, finished_run, tmp_path):
    with pytest.raises(ValueError, match=rf"^{finished_run.work} holds a run .*; seed was 0 and is 1\. Take"):
        make_pipeline(tmp_path / "seed", seed=1, earlier=[as_output(finished_run)])
    assert not list(tmp_path.glob("seed/*/*.*")), "and nothing of it is taken"
    same = make_pipeline(tmp_path / "same")  # begun anew, as its input was forgotten
    with pytest.raises(ValueError, match=rf"^{finished_run.work} holds another run of the .* than {same.work}, and"):
        make_pipeline(tmp_path / "same", earlier=[as_output(finished_run)])
    with pytest.raises(ValueError, match=rf"^{same.work} holds another run of the same settings"):
        make_pipeline(tmp_path / "both", earlier=[as_output(finished_run), as_output(same)])


def test_half_a_fold_of_an_input_is_not_taken(make_pipeline, finished_run, tmp_path):
    """Of a session that was killed between the two files of a fold, or whose output lacks one."""
    given = tmp_path / "input"
    given.mkdir()
    for path in (*finished_run.work.glob("*.json"), finished_run.work / "stage-1_fold-0.npz",
                 finished_run.weights / "stage-1_fold-1.safetensors"):
        (given / path.name).write_bytes(path.read_bytes())
    taken = make_pipeline(tmp_path / "new", earlier=[(given, given)])
    assert len(taken.unfinished()) == 12
    assert not list(taken.work.glob("*.npz")) and not list(taken.weights.glob("*.safetensors"))


@pytest.mark.parametrize("mount", ["freesound-tagging-training", "notebooks/somebody/freesound-tagging-training"])
def test_what_earlier_sessions_left_is_found_where_kaggle_mounts_it(tmp_path, mount):
    for name in ("cnn-model-1", "vgg16"):
        (tmp_path / mount / "work" / name).mkdir(parents=True)
        (tmp_path / mount / "work" / name / "run.json").touch()
    assert earlier_runs(tmp_path, "vgg16") == [(tmp_path / mount / "work/vgg16", tmp_path / mount / "weights/vgg16")]
    assert earlier_runs(None, "vgg16") == earlier_runs(tmp_path / "nothing", "vgg16") == []


def test_a_stage_is_not_begun_if_folds_before_took_longer_than_is_left(make_pipeline, tmp_path, slowly, trained):
    pipeline, budget = make_pipeline(tmp_path), SessionBudget(1)
    assert train_runs({pipeline: [1]}, budget, slowly)
    budget.end_at = time.monotonic() + FOLD * min(pipeline.n_steps(2)) / max(pipeline.n_steps(1))
    assert not train_runs({pipeline: [2]}, budget, slowly)
    assert {stage for stage, _ in trained} == {1}
    with pytest.raises(ValueError, match="hours=-1: expected a number, at least 0"):
        SessionBudget(-1)


def test_a_session_whose_time_is_up_does_not_wait_for_another_process(make_pipeline, tmp_path):
    pipeline, budget = make_pipeline(tmp_path), SessionBudget(1)
    with contextlib.ExitStack() as stack:
        for fold in range(3):  # as another process has them
            stack.enter_context(pipeline.folder.claim(1, fold))
        budget.end_at = time.monotonic()
        assert not train_runs({pipeline: [1]}, budget)


def test_with_a_budget_no_fold_waits_for_a_machine(make_pipeline, tmp_path, slowly, trained):
    asked = []

    class Spy(InProcess):
        def room(self, ahead=True):
            asked.append(ahead)
            return super().room(ahead)
    for hours in (1, None):
        pipeline = make_pipeline(tmp_path / str(hours))
        pipeline.executor = Spy()
        assert train_runs({pipeline: [1]}, SessionBudget(hours), slowly)
        assert set(asked) == {hours is None}
        asked.clear()
    cluster = object.__new__(RayExecutor)
    cluster._running, cluster._capacity = {"a": None}, lambda: 3
    assert (cluster.room(), cluster.room(ahead=False)) == (4, 2)


def test_a_notebook_says_what_is_not_finished_and_goes_on(make_pipeline, demo, tmp_path, capsys):
    pipeline, budget = make_pipeline(tmp_path), SessionBudget(0)
    show_table(pipeline)
    assert "No stage is finished yet." in capsys.readouterr().out
    pipeline.run_stage(1)
    for stage in (2, 3, 4):
        assert show_selection(pipeline, stage) is None
        train_stage(pipeline, stage, budget)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "step" not in line] == [
        "The time is up: of stage 2 0 of 3 folds are finished.",
        "Stage 3 selects noisy clips once stage 2 is finished.",
        "The time is up: of stage 3 0 of 3 folds are finished.",
        "Stage 4 selects noisy clips once stage 3 is finished.",
        "The time is up: of stage 4 0 of 3 folds are finished."]
    assert list(purity_table(pipeline, demo.rightly_labelled()).index) == ["the whole noisy set"]
    assert list(pipeline.table().index) == ["model 1"]
    assert "9 are left, from fold 0 of stage 2 on. Run this notebook again" in how_to_go_on(pipeline)
