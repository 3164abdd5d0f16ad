"""From sound files to labels: the submission beside the author's kernel, and recordings of hours."""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed import published
from benchmarks.speed.audio import librosa_image
from benchmarks.speed.common import DEVICE, ROOT, SPEC, WIDTH, matrix_rate, network_flops, seconds
from freesound_tagging.images.excerpts import count_windows
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.machine.device import inference_precision
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.networks.weights import load_tagger, save_tagger
from freesound_tagging.prediction import Ensemble, ensemble_mean, tag, write_submission

MINUTES = (1, 10, 60, 180)


def some_networks(folder, count, width):
    """Files of new networks, half of each kind."""
    paths = []
    for number in range(count):
        torch.manual_seed(number)
        spec = NetworkSpec(("cnn-model-1", "vgg16")[number % 2], **SPEC | {"options": {"width": width}}, stage=2,
                           fold=number)
        paths.append(Path(folder) / f"stage-2_fold-{number}.safetensors")
        save_tagger(Tagger(spec), paths[-1])
    return paths


def kernel(root, clips=80, networks=6):
    """5b. From test clips to submission.csv, with networks of full width, beside the way of the author's kernel."""
    from freesound_tagging.clips.dataset import FSDKaggle2019

    data = FSDKaggle2019(root, needed=("test",))
    sounds, fnames = data.test["path"][:clips], data.test["fname"][:clips]
    labels = SPEC["vocabulary"]
    with tempfile.TemporaryDirectory() as folder:
        paths, parts, precision = some_networks(folder, networks, 64), {}, inference_precision(DEVICE)

        def clock(name, work):
            start = time.perf_counter()
            result = work()
            parts[name] = time.perf_counter() - start
            return result

        store = clock("images", lambda: SpectrogramStore.build(sounds, Path(folder) / "store", progress=False))
        ensemble = clock("networks read", lambda: Ensemble.load(paths, DEVICE, precision))
        probabilities = clock("prediction", lambda: ensemble.predict(store, progress=False))
        write_submission(Path(folder) / "ours.csv", fnames, labels, ensemble_mean(probabilities))
        ours, parts_of_ours = sum(parts.values()), dict(parts)
        parts.clear()

        images = clock("images", lambda: list(map(librosa_image, sounds)))
        taggers = clock("networks read", lambda: [load_tagger(path, DEVICE) for path in paths])
        outputs = clock("prediction", lambda: [published.predict(tagger.network.to(
            memory_format=torch.contiguous_format).eval(), images, DEVICE) for tagger in taggers])
        write_submission(Path(folder) / "theirs.csv", fnames, labels, ensemble_mean(np.stack(outputs)))
        theirs = sum(parts.values())
        windows = count_windows(store.lengths)
        operations = sum(map(network_flops, ensemble.taggers)) * windows
        rate = matrix_rate(precision)
        return {"clips": len(sounds), "networks": networks, "precision": str(precision), "windows": windows,
                "ours, s": ours, "the author's way, s": theirs, "ratio": theirs / ours,
                "parts of ours, s": parts_of_ours,
                "parts of the author's way, s": dict(parts), "TFLOP": operations / 1e12,
                "matrix rate, TFLOP/s": rate / 1e12, "s at the matrix rate": operations / rate,
                "share of the matrix rate while predicting": operations / rate / parts_of_ours["prediction"],
                "mean difference of probabilities": float(np.abs(probabilities - np.stack(outputs)).mean())}


LISTEN = """
import json, sys, time
from freesound_tagging import Ensemble
from freesound_tagging.machine import peak_memory, prepare_device
networks = Ensemble.load(sys.argv[1])
prepare_device(networks.device)
networks.timeline(sys.argv[2])
start = time.perf_counter()
windows = len(networks.timeline(sys.argv[3]))
print(json.dumps({"seconds": time.perf_counter() - start, "windows": windows,
                  "peak memory, MB": peak_memory() / 2**20}))
"""


def hours():
    """5c. Recordings of minutes and hours: time and memory against length, beside a loop over pieces of a minute."""
    import soundfile as sf

    rng = np.random.default_rng(0)
    minute = (0.1 * rng.standard_normal(60 * 44_100)).astype(np.float32)
    minute *= np.repeat(rng.random(60), 44_100)  # louder and quieter, second by second
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        weights.mkdir()
        some_networks(weights, 2, WIDTH)
        by_length = {}
        for minutes in MINUTES:
            path = Path(folder) / f"{minutes}.wav"
            with sf.SoundFile(path, "w", 44_100, 1, subtype="PCM_16") as file:
                for _ in range(minutes):
                    file.write(minute)
            done = subprocess.run([sys.executable, "-c", LISTEN, weights, Path(folder) / "1.wav", path], check=True,
                                  capture_output=True, text=True, cwd=ROOT)
            by_length[f"{minutes} min"] = json.loads(done.stdout)
            if minutes > 10:
                path.unlink()
        pieces = [Path(folder) / f"piece {number}.wav" for number in range(5)]
        for piece in pieces:
            piece.write_bytes((Path(folder) / "1.wav").read_bytes())
        loop = len(pieces) / seconds(lambda: [tag(piece, weights, DEVICE) for piece in pieces], 1)
    longest = by_length[f"{MINUTES[-1]} min"]
    rate = MINUTES[-1] / longest["seconds"]
    more = longest["peak memory, MB"] - by_length["1 min"]["peak memory, MB"]
    return {"networks": 2, "width": WIDTH, "by length": by_length, "ours, min/s": rate, "a loop over tag, min/s": loop,
            "ratio": rate / loop, f"MB more for {MINUTES[-1]} min than for 1": more}
