"""What tests of the page share: a small network that has learnt nothing, and the command that serves the page."""

import contextlib
import os
import re
import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    import torch

    from freesound_tagging.images.mel import MelConfig
    from freesound_tagging.networks.tagger import NetworkSpec, Tagger
    from freesound_tagging.networks.weights import save_tagger

    labels = ("Bark", "Hiss & <b>hum</b>", "Meow", "Purr", "Sigh", "Tap")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tagger = Tagger(NetworkSpec("cnn-model-1", {"width": 2}, labels, MelConfig(), (0.5,) * 3, (0.2,) * 3, stage=2,
                                    fold=0, voting=(2,)))
    path = tmp_path_factory.mktemp("weights") / "stage-2_fold-0.safetensors"
    save_tagger(tagger.eval(), path)
    return path.parent


@pytest.fixture(scope="session")
def serve(weights):
    """A context in which the page is served, by a process whose temporary folder is given; gives its address."""
    pytest.importorskip("gradio")

    @contextlib.contextmanager
    def serve(folder, *arguments):
        server = subprocess.Popen([sys.executable, "-m", "freesound_tagging.app", "--weights", weights, *arguments],
                                  stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(folder)})
        try:
            yield re.search(r"http://[^ ]+", server.stdout.readline())[0]
        finally:
            server.terminate()
            server.communicate(timeout=60)
    return serve
