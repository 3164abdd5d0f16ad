"""Kill, interrupt and starve a tiny run, over and over, and compare what it ends with: run by test_interruption.py.

One process imports everything and forks a child a run, so that a run takes a second. Prints its findings as JSON.
"""

import contextlib
import faulthandler
import gc
import hashlib
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import torch

from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.clips.tables import read_table
from freesound_tagging.demo.data import write_demo
from freesound_tagging.images import reading as images_reading
from freesound_tagging.images import store as images_store
from freesound_tagging.images.mel import MelConfig
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.prediction.ensemble import Ensemble
from freesound_tagging.prediction.inference import ensemble_mean
from freesound_tagging.prediction.submission import write_submission
from freesound_tagging.training import learner
from freesound_tagging.training.fold import train_fold
from freesound_tagging.training.profile import Profile, published_stages
from freesound_tagging.training.warmup import WarmupPipeline, run_together

MEL = MelConfig(n_mels=32, hop_length=2776, excerpt_frames=32)  # so that a run takes a second
PROFILE = Profile(2, published_stages((1, 1, 1, 1), (3e-3, 1e-3, 1e-3, 1e-3), least_steps=1), options={"width": 2},
                  batch_size=16, mel=MEL)


def whole_run(root, folder):
    """What the notebooks do: stores, all stages, prediction, submission."""
    data = FSDKaggle2019(root)
    clips = data.clips()
    store, test = (SpectrogramStore.build(paths, folder / name, MEL, n_jobs=1, progress=False)
                   for name, paths in (("training", clips.paths), ("test", data.test["path"])))
    pipeline = WarmupPipeline(clips, store, PROFILE, folder / "work", folder / "weights", device="cpu", progress=False,
                              executor="in-process")  # this process is a fork
    run = pipeline.folder  # and not the pipeline, which holds files open

    def logged(training, *rest):
        stage, fold = training.spec.stage, training.spec.fold
        with open(folder / "begun.txt", "a") as begun:
            begun.write(f"{stage} {fold} {run.is_finished(stage, fold)}\n")
        return train_fold(training, *rest)
    run_together(pipeline, train=logged)
    probabilities = Ensemble.load(folder / "weights", "cpu").predict(test, progress=False)
    write_submission(folder / "submission.csv", test.fnames, data.vocabulary, ensemble_mean(probabilities))


def fork(work, *arguments):
    """Start `work` in a child process; its exit status is 0, or 1 after an exception, which `folder` then holds."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        faulthandler.register(signal.SIGUSR1, file=os.open(arguments[1] / "where.txt", os.O_CREAT | os.O_WRONLY))
        work(*arguments)
        status = 0
    except BaseException:
        (arguments[1] / "error.txt").write_text(traceback.format_exc())
    finally:
        os._exit(status)


def status(pid):
    """How a child ended: its exit status, or less than 0 for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def finish(root, folder):
    """Run to the end, alone."""
    ended = status(fork(whole_run, root, folder))
    if ended:
        raise RuntimeError((folder / "error.txt").read_text())


def fingerprint(folder):
    """The bytes of all that a run leaves."""
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in (".u8", ".npz", ".safetensors", ".csv")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def leftovers(folder):
    """Files that are not whole."""
    return [path.name for path in folder.rglob("*") if path.suffix in (".part", ".jsonl")]


def killed_at_random(root, folder, reference, duration, kills=20):
    """SIGKILL at random moments; a run that gets through is followed by another from the start."""
    rng, done, runs = random.Random(0), 0, 0
    while done < kills:
        runs += 1
        here = folder / str(runs)
        here.mkdir(parents=True)
        while done < kills:
            pid = fork(whole_run, root, here)
            time.sleep(rng.uniform(0.01, duration / 3))
            if os.waitpid(pid, os.WNOHANG)[0]:
                break
            os.kill(pid, signal.SIGKILL)
            status(pid)
            done += 1
        finish(root, here)
        assert fingerprint(here) == reference, f"run {runs} ended otherwise"
        assert not leftovers(here)
    lines = [line.split() for path in folder.glob("*/begun.txt") for line in path.read_text().splitlines()]
    return {"kills": done, "runs": runs, "folds begun again though finished": sum(line[2] == "True" for line in lines)}


def dies(at, number):
    """A whole run that kills itself at its first or second fsync, before such a rename, or after it."""
    def run(root, folder):
        left = [number]

        def deadly(real, first):
            def call(*arguments):
                left[0] -= 1
                if not first:
                    real(*arguments)
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                if first:
                    real(*arguments)
            return call
        if at == "fsync":
            os.fsync = deadly(os.fsync, True)
        else:
            os.replace = deadly(os.replace, at == "before rename")
        whole_run(root, folder)
    return run


def killed_at_each_write(root, folder, reference):
    """Each file in turn: killed before it is safe on the disk, before it gets its name, and right after.

    A fold is finished with its second file, so that the second write or rename of a run always gets it further.
    """
    folder.mkdir(parents=True)
    kills = 0
    while True:
        for number in (1, 2):
            for at in ("fsync", "before rename", "after rename"):
                ended = status(fork(dies(at, number), root, folder))
                if ended == 0:
                    finish(root, folder)
                    assert fingerprint(folder) == reference
                    assert not leftovers(folder), leftovers(folder)
                    return {"kills": kills, "files": len(reference)}
                assert ended == -signal.SIGKILL, (folder / "error.txt").read_text()
                kills += 1


def killed_while_building(root, folder, reference):
    """A store whose every clip is a checkpoint, killed after a few; counts how often a clip was computed."""
    images_store.CHECKPOINT_SECONDS = 0
    folder.mkdir(parents=True)
    paths = FSDKaggle2019(root).clips().paths
    real = images_reading._image_of

    def build(_, folder):
        def counted(*arguments):
            with open(folder / "computed.txt", "a") as file:
                file.write(".")
            return real(*arguments)
        images_reading._image_of = counted
        SpectrogramStore.build(paths, folder, MEL, n_jobs=1, progress=False)
    rng, kills, computed = random.Random(0), 0, folder / "computed.txt"
    computed.touch()
    while True:
        pid, until = fork(build, None, folder), computed.stat().st_size + rng.randint(1, 6)
        while not (ended := os.waitpid(pid, os.WNOHANG)[0]) and computed.stat().st_size < until:
            time.sleep(0.001)
        if ended:
            break
        time.sleep(rng.uniform(0, 0.02))
        os.kill(pid, signal.SIGKILL)
        status(pid)
        kills += 1
    images_store.CHECKPOINT_SECONDS = 2
    (pixels,) = folder.rglob("*.u8")
    assert hashlib.sha256(pixels.read_bytes()).hexdigest() in reference.values()
    assert not leftovers(folder)
    return {"kills": kills, "clips": len(paths), "clips computed": len((folder / "computed.txt").read_text())}


def interrupted(root, folder, reference, duration, interrupts=10):
    """Jupyter's interrupt (SIGINT) at random moments; the same process runs on, as the same notebook would."""
    folder.mkdir(parents=True)

    def stubborn(root, folder):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        (folder / "ready").touch()
        caught, done, before = 0, False, len(os.listdir("/proc/self/fd"))
        while not done:
            with contextlib.suppress(KeyboardInterrupt):  # one that comes between two runs
                while not done:
                    try:
                        whole_run(root, folder)
                        done = True
                    except KeyboardInterrupt:
                        caught += 1
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        gc.collect()  # stores hold their files until then
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        (folder / "end.json").write_text(json.dumps({
            "interrupts": caught, "children left": len(children),
            "file handles left": len(os.listdir("/proc/self/fd")) - before}))
    rng, pid = random.Random(0), fork(stubborn, root, folder)
    while not (folder / "ready").exists():
        time.sleep(0.01)
    for _ in range(interrupts):
        time.sleep(rng.uniform(0.05, duration / 4))
        if (folder / "end.json").exists():
            break
        os.kill(pid, signal.SIGINT)
    ended = status(pid)
    assert ended == 0, (folder / "error.txt").read_text()
    assert fingerprint(folder) == reference
    assert not leftovers(folder)
    return json.loads((folder / "end.json").read_text())


def interrupted_while_reading(root, folder, reference, times=400):
    """An interrupt at random moments of reading a table, which pandas' own parser takes for a broken file."""
    folder.mkdir(parents=True)
    table = folder / "table.csv"
    table.write_text("fname,labels\n" + "".join(f"{clip}.wav,Bark\n" for clip in range(100)))
    rng, came = random.Random(0), dict.fromkeys(("interrupt", "error"), 0)
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    for _ in range(times):
        try:
            signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-6, 2e-3))
            try:
                read_table(table, ["fname", "labels"])
            except ValueError:
                came["error"] += 1
            time.sleep(0.01)  # for an interrupt that is still to come
        except KeyboardInterrupt:
            came["interrupt"] += 1
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    return came


def without_room(root, folder, reference):
    """A limit on the size of files, as a full disk is: an error that names the file, and nothing else lost."""
    folder.mkdir(parents=True)

    def starved(limit):
        def run(root, folder):
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                whole_run(root, folder)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return run
    messages = []
    for limit in (50_000, 20_000):  # the pixels do not fit; then, the stores being there, the weights do not
        assert status(fork(starved(limit), root, folder)) == 1
        messages.append((folder / "error.txt").read_text().strip().splitlines()[-1])
        if limit == 50_000:
            data = FSDKaggle2019(root)
            for name, paths in (("training", data.clips().paths), ("test", data.test["path"])):
                SpectrogramStore.build(paths, folder / name, MEL, n_jobs=1, progress=False)
    finish(root, folder)
    assert fingerprint(folder) == reference
    return messages


def two_at_once(root, folder, reference):
    """A second process on the run of a first, which has a fold and never ends it; then the first is killed."""
    folder.mkdir(parents=True)

    def stuck(root, folder):
        learner.fit = lambda *_, **__: ((folder / "training").touch(), time.sleep(600))
        whole_run(root, folder)
    first = fork(stuck, root, folder)
    while not (folder / "training").exists():
        time.sleep(0.01)
    second, trained = fork(whole_run, root, folder), folder / "work/stage-1_fold-1.npz"
    deadline = time.monotonic() + 100
    while not trained.exists():
        if time.monotonic() > deadline:
            os.kill(first, signal.SIGKILL)
            os.kill(second, signal.SIGUSR1)
            time.sleep(1)
            os.kill(second, signal.SIGKILL)
            raise RuntimeError(f"the second does not train; begun: {(folder / 'begun.txt').read_text()!r}, there: "
                               f"{sorted(path.name for path in trained.parent.iterdir())}; it is here: "
                               f"{(folder / 'where.txt').read_text()}")
        time.sleep(0.01)
    time.sleep(1)
    waits = not os.waitpid(second, os.WNOHANG)[0]
    theirs = (folder / "work/stage-1_fold-0.npz").exists()
    os.kill(first, signal.SIGKILL)
    status(first)
    ended = status(second)
    assert fingerprint(folder) == reference
    return {"the second waits": waits, "for a fold that it leaves alone": not theirs, "ended": ended}


def main(folder):
    """All of it."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    root = write_demo(folder / "input", curated=1, noisy=2, test=1, progress=False)
    clip = FSDKaggle2019(root).noisy["path"][0]
    images_reading._image_of(clip, MEL)  # imports what librosa needs
    start = time.monotonic()
    (folder / "alone").mkdir()
    finish(root, folder / "alone")
    duration, reference = time.monotonic() - start, fingerprint(folder / "alone")
    found = {"seconds": duration, "files": len(reference)}
    for scenario, *more in ((killed_at_random, duration), (killed_at_each_write,), (killed_while_building,),
                            (interrupted, duration), (interrupted_while_reading,), (without_room,), (two_at_once,)):
        begun = time.monotonic()
        found[scenario.__name__] = scenario(root, folder / scenario.__name__, reference, *more)
        print(f"{scenario.__name__}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
