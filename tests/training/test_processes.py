"""Folds side by side in processes of this machine: the same bytes, and nothing left behind."""

import importlib
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from executor_tasks import Nothing, count

from freesound_tagging.machine.executors import InProcess, executor_of
from freesound_tagging.machine.processes import Processes, cores
from freesound_tagging.training.profile import Profile, published_stages


@pytest.fixture
def two():
    executor = Processes(2)
    yield executor
    executor.end()


def test_a_run_side_by_side_gives_the_same_bytes_as_one_after_the_other(make_pipeline, tmp_path, two):
    before = torch.get_num_threads()
    torch.set_num_threads(two.threads)
    try:
        alone = make_pipeline(tmp_path / "alone", executor="in-process")
        alone.run_stage(1)
    finally:
        torch.set_num_threads(before)
    beside = make_pipeline(tmp_path / "beside", executor=two, tensorboard=tmp_path / "logs")
    beside.run_stage(1)
    files = sorted(path.name for path in alone.weights.glob("*.safetensors"))
    assert len(files) == 3
    for name in files:
        assert (beside.weights / name).read_bytes() == (alone.weights / name).read_bytes(), name
    for ours, theirs in zip(beside.history(1), alone.history(1)):
        np.testing.assert_array_equal(ours["loss"], theirs["loss"])
    np.testing.assert_array_equal(beside.out_of_fold(1), alone.out_of_fold(1))
    assert len(list((tmp_path / "logs").glob("*/events*"))) == 3


def test_other_code_in_the_processes_that_train_is_refused(make_pipeline, tmp_path, monkeypatch):
    """As of a module that was edited after the run began, or is given another value there."""
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "edited_meanwhile.py"
    file.write_text("BY = 0.5\ndef step(images, targets, generator=None):\n    return images * BY, targets\n")
    step = importlib.import_module("edited_meanwhile").step
    profile = Profile(3, published_stages((1,) * 4, least_steps=1), options={"width": 2}, batch_size=16,
                      augmentation=(step,))
    pipeline = make_pipeline(tmp_path, profile=profile, executor=Processes(2))
    file.write_text(file.read_text().replace("0.5", "0.25"))
    try:
        with pytest.raises(ImportError, match=r"stage 1, fold [01]: the code of the network, an augmentation or change "
                           "is not what it was where the run began"):
            pipeline.run_stage(1)
        file.write_text(file.read_text().replace("0.25", "0.5"))
        pipeline.executor.end()  # as with the program: its workers have imported the other code
        pipeline.run_stage(1)
    finally:
        pipeline.executor.end()
        del sys.modules["edited_meanwhile"]
    assert pipeline.finished() == [1]


def test_tasks_run_side_by_side_report_and_may_be_joined_by_others(two):
    shown, done = [], {}
    for key in "ab":
        two.submit(key, count, key, Nothing())
    for key, result in two.completed(lambda *news: shown.append(news)):
        if not done:
            two.submit("c", count, "c", Nothing())
        done[key] = result
    assert {key: task for key, (task, _, _) in done.items()} == {"a": "a", "b": "b", "c": "c"}
    assert {threads for _, threads, _ in done.values()} == {max(1, cores() // 2)}
    assert len({process for *_, process in done.values()}) == 2
    assert os.getpid() not in {process for *_, process in done.values()}
    assert {key for key, *_ in shown} == {"a", "b", "c"}
    assert all(task == key and step in (0, 1, 2) for key, step, task, _ in shown)


def test_the_last_that_is_shown_of_a_task_is_the_last_that_it_told(two):
    """Whose steps come quicker than they are reported."""
    shown = []
    two.submit("a", count, "quick", Nothing())
    assert [key for key, _ in two.completed(lambda *news: shown.append(news))] == ["a"]
    assert shown[-1][:2] == ("a", 999)


def test_a_full_disk_for_news_loses_no_task(two, monkeypatch):
    two.submit("a", count, "full disk", Nothing())
    assert [key for key, _ in two.completed(lambda *_: None)] == ["a"]
    monkeypatch.setattr(tempfile, "tempdir", "/nothing/is/here")
    two.submit("b", count, "b", Nothing())
    assert [key for key, _ in two.completed(lambda *_: None)] == ["b"]


def test_what_a_task_raises_is_raised_here_and_the_others_end(two):
    two.submit("a", count, ValueError("no clips"), Nothing())
    two.submit("b", count, "wait", Nothing())
    begun = time.monotonic()
    with pytest.raises(ValueError, match="no clips"):
        list(two.completed(lambda *_: None))
    assert time.monotonic() - begun < 60
    two.submit("c", count, "c", Nothing())
    assert [key for key, _ in two.completed(lambda *_: None)] == ["c"]


def test_a_process_that_died_is_said(two):
    two.submit("stage 1, fold 0", count, "die", Nothing())
    with pytest.raises(RuntimeError, match="stage 1, fold 0: its process died"):
        list(two.completed(lambda *_: None))


def test_of_several_one_whose_process_died_is_said_and_others_may_follow(two):
    for number, task in enumerate(("wait", "die", "wait", "wait", "wait", "wait")):
        two.submit(f"fold {number}", count, task, Nothing())
    with pytest.raises(RuntimeError, match=r"^fold 1: its process died"):
        list(two.completed(lambda *_: None))
    two.submit("c", count, "c", Nothing())
    assert [key for key, _ in two.completed(lambda *_: None)] == ["c"]


def test_what_is_done_when_another_fails_is_not_lost(two):
    for key in "xy":  # both processes are there from now on
        two.submit(key, count, 1.0, Nothing())
    assert len(list(two.completed(lambda *_: None))) == 2
    # b ends while a is kept, and d while b is.
    for key, task in (("a", 0.5), ("d", 8.0), ("b", 0.5), ("c", ValueError("no clips"))):
        two.submit(key, count, task, Nothing())
    done = []
    with pytest.raises(ValueError, match="no clips"):
        for key, _ in two.completed(lambda *_: None):
            done.append(key)
            time.sleep(5)
    assert done == ["a", "b", "d"]


def test_a_process_that_dies_while_another_fails_does_not_spoil_what_follows(two):
    for key, task in (("a", 0.5), ("b", ValueError("no clips")), ("c", "die")):
        two.submit(key, count, task, Nothing())
    with pytest.raises((ValueError, RuntimeError)):
        for _ in two.completed(lambda *_: None):
            time.sleep(5)
    two.submit("d", count, 0.1, Nothing())
    assert [key for key, _ in two.completed(lambda *_: None)] == ["d"]


def test_an_interrupt_ends_the_processes(two):
    begun = []

    def interrupted(key, step, task, process):
        begun.append(process)
        raise KeyboardInterrupt
    for key in "ab":
        two.submit(key, count, key, Nothing())
    with pytest.raises(KeyboardInterrupt):
        for _ in two.completed(interrupted):
            pass
    end = time.monotonic() + 20
    while Path(f"/proc/{begun[0]}").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not Path(f"/proc/{begun[0]}").exists()


def test_the_processes_of_a_killed_run_end(tmp_path):
    script = tmp_path / "run.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
                      "from executor_tasks import Nothing, count\n"
                      "from freesound_tagging.machine.processes import Processes\n"
                      "two = Processes(2)\n"
                      "two.submit('a', count, 'wait', Nothing())\n"
                      "list(two.completed(lambda *news: print(news[-1], flush=True)))\n")
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=os.environ | {
            "PYTHONPATH": os.pathsep.join(sys.path)}) as run:
        worker = run.stdout.readline().strip()
        assert Path(f"/proc/{worker}").exists()
        run.kill()
    end = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists()


def test_each_gpu_has_a_process_that_sees_it_alone_and_stays(monkeypatch):
    """Two that are not there: of them a process is told by the environment, before it imports anything."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-a, GPU-b,GPU-c")  # this process's own, in its order
    executor = Processes(gpus=[0, 2])
    assert executor.device() == "cuda" and executor.room() == 2
    try:
        places = []
        for keys in ("abc", "de"):
            for key in keys:
                executor.submit(key, count, "device", Nothing())
            places += [result for _, result in executor.completed(lambda *_: None)]
    finally:
        executor.end()
    assert {seen for seen, *_ in places} == {"GPU-a", "GPU-c"}
    assert len({process for *_, process in places}) == 2, "in which the clips have to be put on the GPU once"
    assert len({(seen, process) for seen, _, process in places}) == 2
    assert {threads for _, threads, _ in places} == {max(1, cores() // 2)}
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert Processes(gpus=[0, 2]).gpus == ["0", "2"]


def test_folds_are_for_gpus_where_processes_are(make_pipeline, tmp_path):
    pipeline = make_pipeline(tmp_path, executor=Processes(gpus=[0, 1]), device=None)
    assert "on cuda, on 2 GPUs, a process each" in repr(pipeline)
    assert pipeline.training(1, 0).device == torch.device("cuda"), "the one that its process sees"
    with pytest.raises(ValueError, match="'cpu', and the executor's folds get 'cuda'"):
        make_pipeline(tmp_path, executor=Processes(gpus=[0, 1]), device="cpu")


@pytest.mark.skipif(torch.cuda.device_count() > 1, reason="there are several GPUs")
def test_on_one_gpu_folds_go_one_after_the_other():
    assert isinstance(executor_of("auto", 2, torch.device("cuda")), InProcess)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two GPUs")
def test_on_several_gpus_folds_go_side_by_side_unless_one_is_named():
    assert executor_of("auto", 10, torch.device("cuda")).gpus
    assert isinstance(executor_of("auto", 10, torch.device("cuda:1")), InProcess)


def test_on_a_cpu_folds_go_side_by_side_unless_told_otherwise():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert isinstance(executor_of("auto", 1, cpu), InProcess)
    assert isinstance(executor_of("in-process", 2, cpu), InProcess)
    assert isinstance(executor_of("processes", 2, gpu), Processes)
    several = executor_of("auto", 10, cpu)
    assert isinstance(several, Processes) == (cores() > 1)
    if cores() > 1:
        assert several.workers * several.threads <= cores()
