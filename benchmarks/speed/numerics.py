"""Whether what makes training and predicting fast leaves their results alone."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.common import DEVICE, SPEC
from freesound_tagging.augment import compose
from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.images.excerpts import pixels_on
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.lwlrap import lwlrap
from freesound_tagging.machine.device import inference_precision, prepare_device, training_precision
from freesound_tagging.networks.tagger import NetworkSpec, Tagger
from freesound_tagging.prediction.ensemble import Ensemble
from freesound_tagging.prediction.inference import ensemble_mean, predict
from freesound_tagging.training.batches import MiddleExcerpts, RandomExcerpts
from freesound_tagging.training.learner import fit
from freesound_tagging.training.pool import ClipPool


def numerics(root, seeds=5, steps=300, width=8, batch=32, mel=SPEC["mel"]):
    """1c. Whether all that makes training fast leaves its result alone: test lwlrap over seeds, fast and exact.

    Fast is `training.fit` in the device's precision, compiled on a GPU; exact is a bare loop in float32 with
    torch's unfused optimizer and its own one-cycle schedule.
    """
    data = FSDKaggle2019(root)
    with tempfile.TemporaryDirectory() as folder:
        clips, truth = data.clips(), data.targets(data.test)
        training, test_store = (SpectrogramStore.build(paths, Path(folder) / name, mel, progress=False)
                                for name, paths in (("training", clips.paths), ("test", data.test["path"])))
        pool, test = ClipPool.of(training, clips.targets, DEVICE), pixels_on(DEVICE, test_store)
        spec = NetworkSpec("cnn-model-1", **SPEC | {"options": {"width": width}, "vocabulary": tuple(data.vocabulary),
                                                    "mel": mel})
        scores = {"fast": [], "exact": []}
        for seed, name in [(seed, name) for seed in range(seeds) for name in scores]:
            torch.manual_seed(seed)
            generator = torch.Generator(DEVICE).manual_seed(seed)
            train = RandomExcerpts(pool, np.arange(len(pool.starts)), batch, steps, generator)
            if name == "fast":
                tagger = Tagger(spec, training_precision(DEVICE), compiled=DEVICE.type == "cuda").to(DEVICE)
                fit(tagger, train, MiddleExcerpts(pool, []), 1, 1e-2, compose(), generator)
            else:
                tagger = Tagger(spec).to(DEVICE, memory_format=torch.contiguous_format).train()
                exact_training(tagger.network, train, steps, 1e-2, generator, tagger.mean[:, :1], tagger.std[:, :1])
            tagger.precision = torch.float32
            scores[name].append(lwlrap(truth, predict(tagger, test, test_store.starts, test_store.lengths)))
        fast, exact = (np.array(scores[name]) for name in ("fast", "exact"))
    return {"data": Path(root).name, "steps": steps, "width": width, "batch": batch, "lwlrap": scores,
            "difference of the means": fast.mean() - exact.mean(),
            "its standard error by the spread of seeds": np.sqrt((fast.var(ddof=1) + exact.var(ddof=1)) / seeds)}


def exact_training(network, train, steps, lr, generator, mean, std):
    """The same training as `fit` does, by hand in float32."""
    optimizer = torch.optim.AdamW(network.parameters(), betas=(0.95, 0.99), weight_decay=0.01, foreach=False)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, steps, pct_start=0.3, final_div_factor=1e4)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for x, y in train:
        x, y = compose()(x, y, generator=generator)
        x = ((x - mean) / std).expand(-1, 3, -1, -1).contiguous()
        torch.nn.functional.binary_cross_entropy_with_logits(network(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    prepare_device(DEVICE)


def half_precision(root, weights):
    """5a. Predicting in half precision beside float32: time, probabilities and lwlrap of trained networks.

    In bfloat16 as well on a CPU that is not made for it, where it is slow: what it changes is nearly the same.
    """
    quick = inference_precision(DEVICE)
    half = torch.bfloat16 if quick == torch.float32 else quick
    data, outputs, spent = FSDKaggle2019(root), {}, {}
    with tempfile.TemporaryDirectory() as folder:
        networks = Ensemble.load(weights, DEVICE, vocabulary=data.vocabulary)
        store = SpectrogramStore.build(data.test["path"], Path(folder) / "test", networks.mel, progress=False)
        networks.predict(store, progress=False)
        chosen = [str(tagger.precision) for tagger in networks.quick or networks.taggers]
        for precision in (torch.float32, half):
            networks = Ensemble.load(weights, DEVICE, precision)
            start = time.perf_counter()
            outputs[precision] = networks.predict(store, progress=False)
            spent[str(precision)] = time.perf_counter() - start
    truth = data.targets(data.test)
    exact, quickly = outputs.values()
    of_ensemble = np.abs(ensemble_mean(quickly) - ensemble_mean(exact))
    return {"data": Path(root).name, "networks": len(exact), "half precision": str(half),
            "made for it": quick == half, "chosen by the rule": {name: chosen.count(name) for name in set(chosen)},
            "seconds": spent, "ratio": spent[str(torch.float32)] / spent[str(half)],
            "changed in the mean, of each network": np.abs(quickly - exact).mean((1, 2)).tolist(),
            "changed in the mean, of the ensemble": float(of_ensemble.mean()),
            "changed at most, of the ensemble": float(of_ensemble.max()),
            "lwlrap": {str(name): lwlrap(truth, ensemble_mean(output)) for name, output in outputs.items()}}
