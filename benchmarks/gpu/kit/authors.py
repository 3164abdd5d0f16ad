"""The author's exports and clips on this device: the submission against his kernel's."""
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch

from freesound_tagging.clips import FSDKaggle2019
from freesound_tagging.images import SpectrogramStore
from freesound_tagging.networks import find_weights
from freesound_tagging.prediction import Ensemble, ensemble_mean

stack = Path(__file__).parent / "author-stack"
data, weights = FSDKaggle2019(stack / "input"), find_weights(stack / "weights")
author = pd.read_csv(stack / "submission.csv").set_index("fname")
for device in [*(["cuda"] if torch.cuda.is_available() else []), "cpu"]:
    start, networks = time.perf_counter(), Ensemble.load(weights, device)
    store = SpectrogramStore.build(data.test["path"], tempfile.mkdtemp(), networks.mel, progress=False)
    ours = pd.DataFrame(ensemble_mean(networks.predict(store, progress=False)), store.fnames, networks.vocabulary)
    off = (ours.loc[author.index, author.columns] - author).abs()
    print(f"{device}: {time.perf_counter() - start:.1f} s, at most {off.max().max():.1e}, mean {off.mean().mean():.1e},"
          f" {(off.max(axis=1) < 1e-3).sum()} of {len(off)} clips within 1e-3")
