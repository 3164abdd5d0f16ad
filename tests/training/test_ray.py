import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import freesound_tagging
from freesound_tagging.machine.cluster import _check
from freesound_tagging.machine.executors import executor_of

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What `ray_runs.py` found on its cluster of two machines."""
    pytest.importorskip("ray", reason="needs Ray: pip install ray")
    folder = tmp_path_factory.mktemp("ray")
    done = subprocess.run([sys.executable, HERE / "ray_runs.py", folder], capture_output=True, text=True, timeout=600,
                          check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return json.loads((folder / "found.json").read_text())


def test_both_networks_train_side_by_side_to_the_same_bits(found):
    both = found["both networks"]
    assert both["same as in-process"] == [True, True]
    assert both["rows of the tables"] == [5, 5], "four models and the ensemble"
    assert both["trainings"] == 2 * 4 * 3
    assert both["machines"] == 2
    assert both["threads"] == ["1"]
    assert both["logs"] == 2 * 4 * 3


def test_the_driver_shares_no_disk_and_sends_its_clips_once(found):
    if found["both networks"]["seen"] != ["False"]:
        pytest.skip("needs the right to make namespaces (root)")
    assert found["both networks"]["objects sent"] == 1


def test_a_store_that_the_workers_see_is_not_sent(found):
    assert found["by path"] == {"objects sent": 0, "same": True}


def test_images_computed_on_the_cluster_are_the_same(found):
    assert found["stores are the same"]
    (problem,) = found["the broken clip"]
    assert "broken.wav cannot be read as audio" in problem


def test_the_fold_of_a_killed_worker_is_trained_again(found):
    assert found["killed worker"] == {"died": True, "same": True}


def test_the_folds_of_a_machine_that_goes_away_are_trained_on_another(found):
    assert found["machine gone"] == {"gone": True, "same": True, "machines left": 1}


def test_a_fold_that_fails_stops_the_stage_and_keeps_the_finished_ones(found):
    failed = found["failed"]
    assert failed["message"].startswith("stage 2, fold 1: the loss is not finite")
    assert failed["tries"] == 1
    assert "stage-2_fold-0.npz" in failed["kept"] and "stage-2_fold-1.npz" not in failed["kept"]
    assert failed["same after all"]


def test_an_interrupt_cancels_what_runs_on_the_cluster(found):
    interrupted = found["interrupted"]
    assert interrupted["seconds until all cores are free"] < 15
    assert interrupted["kept"] == ["stage-1_fold-0.npz", "stage-1_fold-1.npz", "stage-1_fold-2.npz"]
    assert interrupted["same after all"]


def test_one_display_has_the_news_of_all_folds(found):
    assert "fold 0: loss 0.500, lwlrap 0.250; fold 1: loss 0.500, lwlrap 1.250" in found["interrupted"]["shown"]


def test_more_than_any_machine_has_is_said(found):
    assert found["greedy"] and "no machine of the Ray cluster has 64 CPU cores and 0 GPUs" in found["greedy"][0]


def test_clips_are_pickled_as_the_way_to_them_or_without_a_copy_of_their_images(finished_run, demo_stores, tmp_path):
    clips = finished_run.shared
    way = pickle.dumps(clips)
    assert len(way) < 50_000
    there = pickle.loads(way)
    assert there.is_here() and there.identity == clips.identity
    np.testing.assert_array_equal(there.store.pixels, clips.store.pixels)
    there.folder = tmp_path
    assert not there.is_here(), "no store in that folder"
    there.folder = demo_stores["curated"].folder
    assert not there.is_here(), "a store of other clips"
    buffers = []
    pickled = pickle.dumps(clips.whole(), protocol=5, buffer_callback=buffers.append)
    assert len(pickled) < 100_000
    sent = pickle.loads(pickled, buffers=buffers)
    assert sent.identity == clips.identity
    assert np.shares_memory(clips.store.pixels, sent.store.pixels)


def test_another_version_on_a_machine_is_refused():
    _check(freesound_tagging.__version__)
    with pytest.raises(RuntimeError, match=r"what gives it work has 0\.0\.1: install the same"):
        _check("0.0.1")


def test_an_executor_that_there_is_not(make_pipeline, tmp_path):
    with pytest.raises(ValueError, match="executor 'dask': expected one of auto, in-process, proc"):
        make_pipeline(tmp_path, executor="dask")


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match="pip install ray"):
        executor_of("ray")
