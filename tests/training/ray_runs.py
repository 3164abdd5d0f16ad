"""Train on a Ray cluster of two machines that lose workers, fail and go away: run by test_ray.py.

Two raylets of one core each, on this machine's loopback, are the cluster. The driver is a process whose data, stores
and run folder lie on a file system that only it sees, where namespaces may be made. Writes its findings as JSON.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

SEES_ALONE = 'mount -t tmpfs none "$1" && shift && exec "$@"'


def start(folder):
    """The cluster, then the driver."""
    import ray
    from ray.cluster_utils import Cluster

    health = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
    cluster = Cluster(initialize_head=True, head_node_args={
        "num_cpus": 1, "include_dashboard": False, "_system_config": health, "object_store_memory": 200 << 20})
    cluster.add_node(num_cpus=1, object_store_memory=200 << 20)
    alone = folder / "alone"
    alone.mkdir()
    command = [sys.executable, __file__, "driver", str(alone), str(folder)]
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0:
        command = ["unshare", "--mount", "sh", "-ec", SEES_ALONE, "sh", str(alone), *command]
    try:
        return subprocess.run(command, check=False, env=os.environ | {"RAY_ADDRESS": cluster.address}).returncode
    finally:
        ray.shutdown()
        cluster.shutdown()


def drive(here, outside):
    """All scenarios; `here` is the driver's own disk, `outside` what the whole machine sees."""
    import ray
    import torch

    from freesound_tagging.clips.dataset import FSDKaggle2019
    from freesound_tagging.demo.data import write_demo
    from freesound_tagging.images.mel import MelConfig
    from freesound_tagging.images.store import SpectrogramStore
    from freesound_tagging.machine.cluster import RayExecutor
    from freesound_tagging.training.fold import train_fold
    from freesound_tagging.training.profile import Profile, published_stages
    from freesound_tagging.training.warmup import WarmupPipeline, run_together

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    mel = MelConfig(n_mels=32, hop_length=2776, excerpt_frames=32)  # so that a run takes seconds
    profile = Profile(3, published_stages((1,) * 4, (3e-3, 1e-3, 1e-3, 1e-3), least_steps=1), options={"width": 2},
                      batch_size=16, mel=mel)
    data = FSDKaggle2019(write_demo(here / "input", curated=2, noisy=4, test=1, progress=False))
    executor, found = RayExecutor(num_cpus=1), {}
    began = time.monotonic()

    def noted(scenario):
        print(f"{scenario}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)

    # Preprocessing, with a clip that is none.
    (here / "broken.wav").write_bytes(b"RIFF and no more")
    built = {}
    for name, where in (("here", "in-process"), ("away", executor)):
        store = SpectrogramStore.build([*data.noisy["path"], here / "broken.wav"], here / name, mel, n_jobs=1,
                                       progress=False, executor=where)
        built[name] = {path.name: path.read_bytes() for path in store.folder.glob("*.*") if path.name[0] != "."}
    found["stores are the same"] = built["here"] == built["away"] and len(built["here"]) == 2
    found["the broken clip"] = list(store.problems.values())
    noted("preprocessing")

    clips = data.clips()
    store = SpectrogramStore.build(clips.paths, here / "stores", mel, n_jobs=1, progress=False)

    def pipeline(name, network="cnn-model-1", where=executor, **more):
        settings = {"clips": clips, "store": store, "profile": dataclasses.replace(profile, network=network),
                    "device": "cpu", "progress": False, "executor": where}
        return WarmupPipeline(work=here / name / "work", weights=here / name / "weights", **settings | more)

    def result(name):
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for suffix in ("safetensors", "npz")
                for path in sorted((here / name).rglob(f"*.{suffix}"))}

    for network in ("cnn-model-1", "vgg16"):
        pipeline(f"alone-{network}", network, "in-process").run()
    expected = result("alone-cnn-model-1")
    noted("in this process")

    # Both networks at once, with logs; where each fold was trained, and whether the driver's disk was seen there.
    def tells(training, clips, report, threads):
        result = train_fold(training, clips, report, threads)
        seen = f"{ray.get_runtime_context().get_node_id()} {(here / 'input').exists()} {torch.get_num_threads()}"
        spec = training.spec
        (outside / f"where-{spec.network}-{spec.stage}-{spec.fold}.txt").write_text(seen)
        return result
    both = [pipeline(f"away-{network}", network, tensorboard=here / f"logs-{network}")
            for network in ("cnn-model-1", "vgg16")]
    tables = run_together(*both, train=tells)
    where = [path.read_text().split() for path in outside.glob("where-*.txt")]
    found["both networks"] = {
        "same as in-process": [result(f"away-{network}") == result(f"alone-{network}")
                               for network in ("cnn-model-1", "vgg16")],
        "rows of the tables": [len(table) for table in tables], "trainings": len(where),
        "machines": len({node for node, *_ in where}), "seen": sorted({seen for _, seen, _ in where}),
        "threads": sorted({threads for *_, threads in where}), "objects sent": len(executor._sent),
        "logs": len(list(here.glob("logs-*/*/events*")))}
    noted("both networks")

    # Stores that the workers see by their paths are opened there; other labels, so that nothing is at hand already.
    seen = SpectrogramStore.build(clips.paths, outside / "stores", mel, n_jobs=1, progress=False)
    by_path = RayExecutor(num_cpus=1)
    first = dataclasses.replace(profile, stages=[dataclasses.replace(profile.stages[0], votes=True)])
    for name, where in (("seen-alone", "in-process"), ("seen-away", by_path)):
        pipeline(name, where=where, store=seen, profile=first, trained_targets=clips.targets[::-1]).run()
    found["by path"] = {"objects sent": len(by_path._sent), "same": result("seen-away") == result("seen-alone")}
    noted("by path")

    # A worker killed in the middle of a fold.
    def dies(training, clips, report, threads):
        def deadly(*news):
            report(*news)
            if training.spec.stage == 2 and not (outside / "died").exists():
                (outside / "died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return train_fold(training, clips, deadly, threads)
    run_together(pipeline("killed"), train=dies)
    found["killed worker"] = {"died": (outside / "died").exists(), "same": result("killed") == expected}
    noted("killed worker")

    # A fold that no retry can mend, after another has finished; then it is mended.
    def fails(training, clips, report, threads):
        stage_and_fold = training.spec.stage, training.spec.fold
        if stage_and_fold == (2, 1):
            while not (outside / "trained").exists():
                time.sleep(0.1)
            time.sleep(4)  # until it is kept
            with open(outside / "failures", "a") as file:
                file.write(".")
            object.__setattr__(training, "lr", float("inf"))
        trained = train_fold(training, clips, report, threads)
        if stage_and_fold == (2, 0):
            (outside / "trained").touch()
        return trained
    try:
        run_together(pipeline("failed"), train=fails)
    except FloatingPointError as error:
        found["failed"] = {"message": str(error), "tries": len((outside / "failures").read_text()),
                           "kept": sorted(name for name in result("failed") if name.startswith("stage-2"))}
    pipeline("failed").run()
    found["failed"]["same after all"] = result("failed") == expected
    noted("failed")

    # News of two folds at a time in one display; then an interrupt.
    def slow(training, clips, report, threads):
        report(0, 0.5, 0.25 + training.spec.fold)
        for _ in range(600 if training.spec.stage == 2 else 30):
            time.sleep(0.1)
        return train_fold(training, clips, report, threads)

    def interrupt_at(stage_or_seconds):
        def wait():
            if isinstance(stage_or_seconds, Path):
                while not stage_or_seconds.exists():
                    time.sleep(0.1)
                time.sleep(3)
            else:
                time.sleep(stage_or_seconds)
            os.kill(os.getpid(), signal.SIGINT)
        threading.Thread(target=wait, daemon=True).start()
    interrupt_at(here / "interrupted/work/stage-1_fold-2.npz")
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(KeyboardInterrupt):
        run_together(pipeline("interrupted", progress=True), train=slow)
    asked = time.monotonic()
    while ray.available_resources().get("CPU", 0) < 2 and time.monotonic() - asked < 30:
        time.sleep(0.1)
    found["interrupted"] = {"shown": shown.getvalue(), "seconds until all cores are free": time.monotonic() - asked,
                            "kept": sorted(name for name in result("interrupted") if name.endswith("npz"))}
    pipeline("interrupted").run()
    found["interrupted"]["same after all"] = result("interrupted") == expected
    noted("interrupted")

    # More than any machine has.
    interrupt_at(3)
    with warnings.catch_warnings(record=True) as caught, contextlib.suppress(KeyboardInterrupt):
        warnings.simplefilter("always")
        pipeline("greedy", where=RayExecutor(num_cpus=64)).run()
    found["greedy"] = [str(warning.message) for warning in caught if "Ray cluster" in str(warning.message)]

    # A whole machine goes away in the middle of a fold: the raylet is a worker's parent.
    drivers = ray.get_runtime_context().get_node_id()

    def takes_all(training, clips, report, threads):
        if training.spec.stage == 3 and ray.get_runtime_context().get_node_id() != drivers:
            (outside / "gone").touch()
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        while training.spec.stage == 3 and not (outside / "gone").exists():
            time.sleep(0.1)  # else this machine might train all folds before the other has begun
        return train_fold(training, clips, report, threads)
    run_together(pipeline("machine"), train=takes_all)
    asked = time.monotonic()
    while (alive := sum(node["Alive"] for node in ray.nodes())) > 1 and time.monotonic() - asked < 30:
        time.sleep(0.1)  # the cluster notices later than the driver
    found["machine gone"] = {"gone": (outside / "gone").exists(), "same": result("machine") == expected,
                             "machines left": alive}
    noted("machine gone")
    (outside / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1] == "driver":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored, where the tests run in the background
        drive(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(start(Path(sys.argv[1])))
