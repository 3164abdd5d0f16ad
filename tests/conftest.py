"""Data that several tests share: real recordings where they are at hand, a tiny demo set, one tiny run."""

import contextlib
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import filelock
import pytest

# The package and the heavy libraries are imported where they are used: pytest's first process runs no test.
os.environ["MPLBACKEND"] = "Agg"  # kernels draw inline all the same
# Whole runs, other processes, a minute of mutated files: left out by make test-quick, and begun first, so that no core
# is without work at the end.
SLOW = ("test_benchmarks", "test_study", "test_ray", "test_notebooks", "test_interruption", "test_fuzz",
        "test_kaggle", "test_sessions", "test_own_data", "test_data_page",
        "test_author", "test_changes", "test_recording_loops", "test_recorded_clips", "test_train", "test_processes",
        "test_tagging", "test_bad_audio", "test_sections", "test_hostile_files", "test_warmup", "test_site")
ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
MUTATED = "MUTANT_UNDER_TEST" in os.environ  # by mutmut, which asks only whether some test fails


def pytest_configure():
    """Of a mutant hypothesis looks for no simpler example; what libraries import at first use is there before it."""
    if MUTATED:
        import librosa
        import numpy as np
        import torch
        from hypothesis import Phase, settings

        settings.register_profile("mutated", phases=(Phase.explicit, Phase.generate), derandomize=True, deadline=None)
        settings.load_profile("mutated")
        librosa.feature.rms(y=np.zeros(2048))
        torch.empty(1, device="meta").normal_()


def pytest_ignore_collect(collection_path, config):
    """Of files that are left out nothing is imported."""
    return True if config.option.markexpr == "not slow" and collection_path.stem in SLOW else None


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.stem in SLOW:
            item.add_marker("slow")
    items.sort(key=lambda item: SLOW.index(item.path.stem) if item.path.stem in SLOW else len(SLOW))
    if MUTATED and os.path.isfile("mutmut-stats.json"):  # the quickest first
        with open("mutmut-stats.json") as file:
            took = json.load(file)["duration_by_test"]
        items.sort(key=lambda item: took.get(item.nodeid, 0))


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a module of benchmarks, ``"speed.run"``, and runs its `main` if arguments are given."""
    def benchmark(name, *arguments):
        monkeypatch.syspath_prepend(str(ROOT))
        module = importlib.import_module(f"benchmarks.{name}")
        if arguments:
            monkeypatch.setattr(sys, "argv", [module.__file__, *map(str, arguments)])
            module.main()
        return module
    return benchmark


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Makes a folder once for all test processes: gives its path, whichever of them comes first."""
    def once(name, make):
        root = tmp_path_factory.getbasetemp()
        root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root  # each process has one of its own in it
        with filelock.FileLock(root / f"{name}.lock"):
            if not (root / f"{name}.made").exists():
                make(root / name)
                (root / f"{name}.made").touch()
        return root / name
    return once


@pytest.fixture(scope="session")
def shared():
    if not SHARED.is_dir():
        pytest.skip(f"the reference material is not at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def esc10(shared, once):
    """320 real Freesound recordings in the competition's layout."""
    from freesound_tagging.clips.dataset import FSDKaggle2019

    return FSDKaggle2019(once("esc10", lambda root: subprocess.run(
        [sys.executable, shared / "esc10/make_input.py", root], check=True)))


@pytest.fixture(scope="session")
def demo(once):
    from freesound_tagging.clips.dataset import FSDKaggle2019
    from freesound_tagging.demo.data import write_demo

    return FSDKaggle2019(once("demo", lambda root: write_demo(root, curated=3, noisy=6, test=3, progress=False)))


@pytest.fixture(scope="session", params=["demo", "esc10"])
def recordings(request):
    """A data set of synthesized sounds, and one of real recordings where they are at hand."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def demo_stores(demo, once):
    from freesound_tagging.images.store import SpectrogramStore

    def stores(folder):
        return {name: SpectrogramStore.build(getattr(demo, name)["path"], folder / name, n_jobs=1, progress=False)
                for name in ("curated", "noisy", "test")}
    return stores(once("stores", stores))


@pytest.fixture
def many_processes(monkeypatch):
    """What is done to items is done in other processes, however few there are."""
    from freesound_tagging.machine import processes

    monkeypatch.setattr(processes, "MANY", 0)


@pytest.fixture
def interrupted():
    """A context that ends in an interrupt, at the given one of the moments that `at(frame, event)` picks."""
    @contextlib.contextmanager
    def interrupted(at, moment):
        seen = []

        def interrupt(frame, event, _):
            if at(frame, event):
                seen.append(event)
                if len(seen) == moment:
                    raise KeyboardInterrupt
        sys.setprofile(interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                yield
        finally:
            sys.setprofile(None)
    return interrupted


@pytest.fixture(scope="session")
def training_store(demo, once):
    """The images of the demo set's curated and noisy clips."""
    from freesound_tagging.images.store import SpectrogramStore

    def store(folder):
        return SpectrogramStore.build(demo.clips().paths, folder, n_jobs=1, progress=False)
    return store(once("training", store))


@pytest.fixture(scope="session")
def make_pipeline(demo, training_store):
    """A pipeline over the tiny demo set, in the folder given; small enough for seconds."""
    from freesound_tagging.training.profile import Profile, published_stages
    from freesound_tagging.training.warmup import WarmupPipeline

    stages = published_stages((1, 1, 1, 1), (3e-3, 1e-3, 1e-3, 1e-3), least_steps=1)

    def make(folder, **changes):
        settings = {"clips": demo.clips(), "store": training_store,
                    "profile": Profile(3, stages, options={"width": 2}, batch_size=16),
                    "work": folder / "work", "weights": folder / "weights", "device": "cpu", "progress": False,
                    "executor": "in-process"}
        return WarmupPipeline(**settings | changes)
    return make


@pytest.fixture(scope="session")
def finished_run(make_pipeline, once):
    return make_pipeline(once("run", lambda folder: make_pipeline(folder).run()))
