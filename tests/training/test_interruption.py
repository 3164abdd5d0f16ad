import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What `interrupted_runs.py` found; it asserts itself that each run ended with the bytes of one left alone."""
    done = subprocess.run([sys.executable, HERE / "interrupted_runs.py", tmp_path_factory.mktemp("runs")],
                          capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_run_killed_at_random_moments_ends_the_same_and_repeats_no_finished_fold(found):
    killed = found["killed_at_random"]
    assert killed["kills"] == 20
    assert killed["folds begun again though finished"] == 0


def test_a_run_killed_at_each_write_ends_the_same(found):
    # 2 files a fold and stage, of 2 folds and 4 stages, 2 stores' pixels and the submission; each killed 3 times, but
    # for those of the prediction, which are written once all is trained.
    assert found["killed_at_each_write"]["files"] == 2 * 2 * 4 + 2 + 1
    assert found["killed_at_each_write"]["kills"] >= 3 * 2 * 2 * 4


def test_a_killed_build_of_a_store_goes_on_where_it_stopped(found):
    build = found["killed_while_building"]
    assert build["kills"] > 0
    assert build["clips computed"] <= build["clips"] + 4 * build["kills"], "at most the batch in hand is computed again"


def test_an_interrupt_in_a_notebook_leaves_no_process_and_no_file_open(found):
    assert found["interrupted"]["interrupts"] > 0
    assert found["interrupted"]["children left"] == 0
    assert found["interrupted"]["file handles left"] <= 0


def test_an_interrupt_while_a_table_is_read_is_not_taken_for_a_broken_file(found):
    assert found["interrupted_while_reading"]["interrupt"] > 100
    assert found["interrupted_while_reading"]["error"] == 0


def test_a_full_disk_is_said_with_the_file_and_loses_nothing(found):
    store, weights = found["without_room"]
    assert "no room to write" in store and ".u8" in store
    assert "no room to write" in weights and "stage-1_fold-0.safetensors" in weights


def test_two_processes_share_a_run_fold_by_fold(found):
    """The second trains what the first has not begun, waits for the rest, and takes it up when the first is killed."""
    assert found["two_at_once"] == {"the second waits": True, "for a fold that it leaves alone": True, "ended": 0}


def workers_of(pid):
    """The processes that compute; joblib's tracker of shared memory ends with its process."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in children if "resource_tracker" not in Path(f"/proc/{child}/cmdline").read_text()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are counted in Linux's /proc")
@pytest.mark.parametrize("signal", ["SIGKILL", "SIGINT"])
def test_the_workers_of_a_stopped_build_end(demo, tmp_path, signal):
    """Of a process that is killed, or whose notebook cell is interrupted while it lives on."""
    code = f"""
import sys, time
from pathlib import Path
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.machine import processes
processes.MANY = 0
paths = sorted(Path({str(demo.folder("noisy"))!r}).glob("*.wav")) * 12
try:
    SpectrogramStore.build(paths, {str(tmp_path)!r}, n_jobs=2, progress=False)
except KeyboardInterrupt:
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        while not any(path.stat().st_size for path in tmp_path.rglob("*.jsonl")):
            time.sleep(0.1)
        workers = workers_of(process.pid)
        assert len(workers) == 2
        process.send_signal(getattr(__import__("signal"), signal))
        if signal == "SIGKILL":
            process.wait()
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (left := [pid for pid in workers if is_running(pid)]):
            time.sleep(0.2)
        assert not left
    finally:
        process.kill()
        process.wait()


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
