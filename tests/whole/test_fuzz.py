"""Mutated files for a bounded time, FUZZ_SECONDS each (5, and 20 in .ci/run): they end in a result or a named error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import soundfile as sf

from freesound_tagging.images.mel import MelConfig
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.networks.weights import save_tagger

SECONDS = os.environ.get("FUZZ_SECONDS", "5")


def fuzz(kind, folder, seeds):
    """Run the fuzzer in a process of its own, which may crash, hang or eat memory."""
    done = subprocess.run([sys.executable, Path(__file__).parents[1] / "fuzz_files.py", kind, SECONDS, folder, *seeds],
                          capture_output=True, text=True, timeout=float(SECONDS) + 300, check=False)
    assert done.returncode == 0, f"the file is {folder}/mutated.*; exit status {done.returncode}: {done.stderr[-3000:]}"
    found = json.loads(done.stdout)
    assert found["files"] > 100
    assert found["errors"] > 0
    assert found["results"] > 0
    return found


def test_mutated_audio_ends_in_an_image_or_a_named_error(tmp_path):
    rng, seeds = np.random.default_rng(0), []
    signal = 0.3 * rng.standard_normal(12_000)
    for kind, subtype, rate, channels in (
            ("WAV", "PCM_16", 44_100, 1), ("WAV", "PCM_24", 22_050, 2), ("WAV", "FLOAT", 44_100, 1),
            ("WAV", "IMA_ADPCM", 22_050, 1), ("AIFF", "PCM_16", 44_100, 1), ("FLAC", "PCM_16", 44_100, 1),
            ("OGG", "VORBIS", 44_100, 1), ("MP3", "MPEG_LAYER_III", 44_100, 1)):
        seeds.append(tmp_path / f"{len(seeds)}.{kind.lower()}")
        sf.write(seeds[-1], np.stack([signal] * channels, 1), rate, format=kind, subtype=subtype)
    fuzz("audio", tmp_path, seeds)


def test_mutated_exports_end_in_a_network_or_a_named_error(shared, tmp_path):
    seeds = [*(shared / "legacy-weights").glob("*_w4.pkl"), shared / "author-stack/vgg16_cut-2.pkl",
             *(shared / "author-stack/weights").glob("*/*/stage-2_fold-0.pkl")]
    found = fuzz("export", tmp_path, sorted(seeds))
    assert found["longest, s"] < 5
    assert found["more than the whole files, MiB"] < 64


def test_mutated_networks_end_in_a_network_or_a_named_error(tmp_path):
    seeds = []
    for network in ("cnn-model-1", "vgg16"):
        seeds.append(tmp_path / f"{network}.safetensors")
        spec = NetworkSpec(network, {"width": 2}, ("a", "b"), MelConfig(), (0.4,) * 3, (0.2,) * 3)
        save_tagger(Tagger(spec), seeds[-1])
    found = fuzz("network", tmp_path, seeds)
    assert found["longest, s"] < 5
    assert found["more than the whole files, MiB"] < 64
