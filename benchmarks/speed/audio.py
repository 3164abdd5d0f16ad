"""From audio files to the store, and what grows with the number of clips."""

import json
import multiprocessing
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import joblib
import numpy as np

from benchmarks.speed.common import ROOT, STEPS, excerpts, seconds, synthetic_pool, tagger_of
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.training.batches import MiddleExcerpts
from freesound_tagging.training.learner import fit


def write_audio(folder, clips, length):
    """Noise clips: a few files under many names."""
    import soundfile as sf

    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(clips):
        path = folder / f"{i:05}.wav"
        if i < 16:
            sf.write(path, 0.1 * rng.standard_normal(int(length * 44_100)), 44_100, subtype="PCM_16")
        else:
            path.hardlink_to(folder / f"{i % 16:05}.wav")
    return sorted(folder.iterdir())


def librosa_image(path):
    """The image of the published preprocessing by today's librosa as it comes."""
    import librosa

    signal, _ = librosa.load(path, sr=44_100)
    signal, _ = librosa.effects.trim(signal, top_db=60)
    padding = max(0, 2 * 44_100 - len(signal))
    signal = np.pad(signal, (padding // 2, padding - padding // 2))
    mel = librosa.feature.melspectrogram(y=signal, sr=44_100, n_mels=128, hop_length=694, n_fft=2560, fmin=20,
                                         fmax=22_050)
    x = librosa.power_to_db(mel).astype(np.float32)
    x = (x - x.mean()) / (x.std() + 1e-6)
    return (255 * (x - x.min()) / (x.max() - x.min())).astype(np.uint8)


def librosa_images(paths, processes):
    """How long the images of clips take in processes that have begun; in this one where one is asked for."""
    each = joblib.Parallel(processes)
    each(joblib.delayed(librosa_image)(path) for path in paths[:16])
    return seconds(lambda: each(joblib.delayed(librosa_image)(path) for path in paths), 1, warm=0)


BUILD_APART = """
import contextlib, json, sys, threading, time
from pathlib import Path
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.machine import peak_memory
paths, folder = sorted(Path(sys.argv[1]).iterdir())[:int(sys.argv[3])], sys.argv[2]
largest, done = 0, threading.Event()
def look():
    global largest
    while not done.wait(0.1):  # workers end with the build
        for children in Path("/proc/self/task").glob("*/children"):
            with contextlib.suppress(OSError, IndexError):
                largest = max([largest, *map(peak_memory, children.read_text().split())])
watch = threading.Thread(target=look)
watch.start()
start = time.perf_counter()
SpectrogramStore.build(paths, folder, progress=False)
took = time.perf_counter() - start
done.set()
watch.join()
print(json.dumps({"seconds": took, "process, MB": peak_memory() / 2**20, "largest worker, MB": largest / 2**20}))
"""


def build_apart(audio, folder, clips):
    """Build in a fresh process: seconds, and peak memory of it and of its largest worker."""
    command = [sys.executable, "-c", BUILD_APART, audio, folder, str(clips)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])


def preprocessing():
    """4. Clips a second of the store's building against sequential librosa, and memory at 1 and 10 times the clips."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        paths = write_audio(folder / "audio", 2000, 5)
        cores = multiprocessing.cpu_count()
        theirs, side_by_side = (400 / librosa_images(paths[:400], processes) for processes in (1, cores))
        SpectrogramStore.build(paths[:200], folder / "warm", progress=False)
        ours = 2000 / seconds(lambda: SpectrogramStore.build(paths, folder / "store", progress=False), 1, warm=0)
        memory = {f"{count} clips": build_apart(folder / "audio", folder / f"apart{count}", count)
                  for count in (200, 2000)}
    return {"ours, clips/s": ours, "librosa one by one, clips/s": theirs, "ratio": ours / theirs,
            "librosa in as many processes, clips/s": side_by_side, "ratio to that": ours / side_by_side,
            "cores": cores, "seconds a clip": 5, "peak memory": memory}


def growth():
    """6. Step time and build time at 1,000, 5,000 and 20,000 clips."""
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = write_audio(Path(folder) / "audio", 20_000, 0.3)
        for clips in (1_000, 5_000, 20_000):
            tagger, pool = tagger_of("cnn-model-1"), synthetic_pool(clips)
            work = partial(fit, tagger, excerpts(pool), MiddleExcerpts(pool, []), 1, 1e-3)
            build = partial(SpectrogramStore.build, paths[:clips], Path(folder) / f"{clips}", progress=False)
            result[f"{clips} clips"] = {"ms a step": 1e3 * seconds(work) / STEPS,
                                        "build, ms a clip": 1e3 * seconds(build, 1, warm=0) / clips}
            del pool, work
    return result
