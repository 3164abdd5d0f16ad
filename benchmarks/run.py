"""Speed, each figure beside the alternative in the same process and run: ``python benchmarks/run.py``.

On a CUDA GPU with full sizes, else on the CPU with small ones. Writes ``benchmarks/results/<device>.json`` and prints
the table for the README. Needs torch and torchvision; fastai and librosa for the parts that are about them, which are
left out with a word where they are missing.
"""

import argparse
import json
import multiprocessing
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import published  # noqa: E402

from freesound_tagging.augment import PUBLISHED, compose, lighting, mixup, specmix, zoom_crop  # noqa: E402
from freesound_tagging.inference import fold_batchnorm, inference_precision, predict, windows_of  # noqa: E402
from freesound_tagging.models import (  # noqa: E402
    NetworkSpec,
    Tagger,
    default_device,
    prepare_device,
    training_precision,
)
from freesound_tagging.spectrogram import MelConfig, SpectrogramStore  # noqa: E402
from freesound_tagging.training import ClipPool, MiddleExcerpts, RandomExcerpts, fit, make_learner  # noqa: E402
from freesound_tagging.warmup import full_profile  # noqa: E402

CUDA = torch.cuda.is_available()
DEVICE = default_device()
WIDTH, BATCH, STEPS, REPEATS = (64, 128, 40, 5) if CUDA else (16, 32, 8, 3)
LABELS, CLIP_FRAMES = 80, 600  # a noisy clip of the competition is most often 15 s, some 950 frames; a curated one 480
SPEC = {"width": WIDTH, "vocabulary": tuple(map(str, range(LABELS))), "mel": MelConfig(), "mean": (0.4,) * 3,
        "std": (0.2,) * 3}
# FSDKaggle2019: clips of a fold's training, of stages 1 to 4. Stages 3 and 4 add selected noisy clips: at most 5 a fold
# and label in stage 3; for stage 4, which has no cap, as many again are assumed.
CLIPS_A_STAGE = (17_834, 4_473, 4_473 + 9 * 5 * LABELS, 4_473 + 18 * 5 * LABELS)


def wait():
    """Until the device has finished."""
    if CUDA:
        torch.cuda.synchronize()


def seconds(work, repeats=REPEATS, warm=1):
    """Median of repeats, after warming up."""
    for _ in range(warm):
        work()
    times = []
    for _ in range(repeats):
        wait()
        start = time.perf_counter()
        work()
        wait()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def tagger_of(architecture):
    """A network as it is trained."""
    torch.manual_seed(0)
    return Tagger(NetworkSpec(architecture, **SPEC), training_precision(DEVICE)).to(DEVICE)


def synthetic_pool(clips, frames=CLIP_FRAMES):
    """Random pixels in place of images, on the device."""
    pixels = torch.randint(0, 256, (clips * frames, 128), dtype=torch.uint8, device=DEVICE)
    starts = torch.arange(clips, device=DEVICE) * frames
    return ClipPool(pixels, starts, torch.full_like(starts, frames),
                    torch.nn.functional.one_hot(torch.arange(clips, device=DEVICE) % LABELS, LABELS).float(), 128)


def excerpts(pool, steps=STEPS, batch=BATCH):
    """Training batches without augmentation."""
    return RandomExcerpts(pool, np.arange(len(pool.starts)), batch, steps, torch.Generator(DEVICE).manual_seed(0))


def network_flops(tagger):
    """Floating-point operations of one image forward: two a multiplication in convolutions and linear layers."""
    total = []

    def count(layer, _, output):
        per_output = layer.weight.shape[1:].numel()
        total.append(2 * per_output * output[0].numel())
    hooks = [layer.register_forward_hook(count) for layer in tagger.modules()
             if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear))]
    with torch.no_grad():
        tagger.eval()(torch.zeros(1, 1, 128, 128, device=DEVICE))
    for hook in hooks:
        hook.remove()
    return sum(total)


def matrix_rate(dtype):
    """Operations a second of a large matrix product."""
    n = 8192 if CUDA else 1024
    a, b = (torch.randn(n, n, device=DEVICE, dtype=dtype) for _ in range(2))
    return 2 * n ** 3 * 10 / seconds(lambda: [a @ b for _ in range(10)])


def published_training(architecture, pool):
    """Images a second of the published way, over one epoch of `STEPS` batches after a first one."""
    images = [pool.pixels[start:start + CLIP_FRAMES].T.cpu().numpy() for start in pool.starts[:BATCH * (STEPS + 1)]]
    targets = pool.targets.cpu().numpy()
    tagger = Tagger(NetworkSpec(architecture, **SPEC)).to(DEVICE)
    network = tagger.network.to(memory_format=torch.contiguous_format).train()
    optimizer = torch.optim.AdamW(network.parameters(), foreach=False)
    loss_of = torch.nn.BCEWithLogitsLoss()
    mean, std = (torch.tensor([number] * 3, device=DEVICE).view(3, 1, 1) for number in (0.4, 0.2))
    workers = multiprocessing.cpu_count()
    batches = published.loader(images, targets, BATCH, workers)

    def epoch():
        for x, y in batches:
            x, y = published.mixup((x.to(DEVICE) - mean) / std, y.to(DEVICE))
            x, y = published.specmix(x, y)
            loss_of(network(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
    return len(batches) * BATCH / seconds(epoch, 1, warm=1)


def our_training(architecture, pool):
    """Images a second through `training.fit`: the same augmentations, with fastai's Learner around it."""
    tagger = tagger_of(architecture)
    train, valid = excerpts(pool), MiddleExcerpts(pool, [])
    generator = torch.Generator(DEVICE).manual_seed(0)
    return STEPS * BATCH / seconds(lambda: fit(tagger, train, valid, 1, 1e-3, compose(), generator))


def training():
    """1. Training throughput, beside the published way and the device's matrix rate."""
    pool, result = synthetic_pool(max(1000, BATCH * (STEPS + 1))), {}
    dtype = training_precision(DEVICE)
    rate = matrix_rate(dtype)
    for architecture in ("cnn-model-1", "vgg16"):
        theirs, ours = published_training(architecture, pool), our_training(architecture, pool)
        flops = 3 * network_flops(tagger_of(architecture))  # backward costs twice forward
        result[architecture] = {
            "ours, images/s": ours, "published way, images/s": theirs, "ratio": ours / theirs,
            "GFLOP an image": flops / 1e9, "TFLOP/s": ours * flops / 1e12,
            "share of the matrix rate": ours * flops / rate}
    return {"matrix rate, TFLOP/s": rate / 1e12, "precision": str(dtype), "width": WIDTH, "batch": BATCH, **result}


def step():
    """2. Where the time of a step goes."""
    pool, tagger = synthetic_pool(1000), tagger_of("cnn-model-1").train()
    generator = torch.Generator(DEVICE).manual_seed(0)
    optimizer = torch.optim.AdamW(tagger.parameters(), fused=True)
    loss_of, batches = torch.nn.BCEWithLogitsLoss(), iter(excerpts(pool, 10_000))
    spent = {name: [] for name in ("gather", "augmentation", "forward", "backward", "optimizer")}
    for _ in range(REPEATS * 4):
        marks = [time.perf_counter()]

        def mark(marks=marks):
            wait()
            marks.append(time.perf_counter())
        x, y = next(batches)
        mark()
        x, y = compose(PUBLISHED)(x, y, generator=generator)
        mark()
        loss = loss_of(tagger(x), y)
        mark()
        loss.backward()
        mark()
        optimizer.step()
        optimizer.zero_grad()
        mark()
        for name, start, end in zip(spent, marks, marks[1:]):
            spent[name].append(end - start)
    medians = {name: statistics.median(times[REPEATS:]) for name, times in spent.items()}
    total = sum(medians.values())
    each = {}
    x, y = next(batches)
    for function in (zoom_crop, lighting, mixup, specmix):
        each[function.__name__] = 1e3 * seconds(lambda f=function: f(x, y, generator=generator))
    return {"ms": {name: 1e3 * value for name, value in medians.items()},
            "share": {name: value / total for name, value in medians.items()}, "augmentations, ms": each,
            "all but forward and backward": 1 - (medians["forward"] + medians["backward"]) / total}


def loop():
    """3. fastai's loop against a bare one over the same batches."""
    pool = synthetic_pool(1000)
    ours, bare = tagger_of("cnn-model-1"), tagger_of("cnn-model-1").train()
    generator = torch.Generator(DEVICE).manual_seed(0)
    optimizer = torch.optim.AdamW(bare.parameters(), fused=True)
    loss_of, train, valid = torch.nn.BCEWithLogitsLoss(), excerpts(pool), MiddleExcerpts(pool, [])
    learner = make_learner(ours, train, valid, compose(), generator)

    def by_hand():
        for x, y in train:
            x, y = compose()(x, y, generator=generator)
            loss_of(bare(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()

    times = [(seconds(lambda: learner.fit_one_cycle(1, 1e-3), 1), seconds(by_hand, 1)) for _ in range(REPEATS)]
    fastai, bare_time = (statistics.median(column) for column in zip(*times))
    return {"fastai, ms a step": 1e3 * fastai / STEPS, "bare, ms a step": 1e3 * bare_time / STEPS,
            "ratio": fastai / bare_time}


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


def librosa_sequential(paths):
    """The published preprocessing, one clip after the other."""
    import librosa

    for path in paths:
        signal, _ = librosa.load(path, sr=44_100)
        signal, _ = librosa.effects.trim(signal, top_db=60)
        mel = librosa.feature.melspectrogram(y=signal, sr=44_100, n_mels=128, hop_length=694, n_fft=2560, fmin=20,
                                             fmax=22_050)
        x = librosa.power_to_db(mel).astype(np.float32)
        x = (x - x.mean()) / (x.std() + 1e-6)
        (255 * (x - x.min()) / (x.max() - x.min())).astype(np.uint8)


BUILD_APART = """
import json, resource, sys, time
from pathlib import Path
from freesound_tagging.spectrogram import SpectrogramStore
paths, folder = sorted(Path(sys.argv[1]).iterdir())[:int(sys.argv[3])], sys.argv[2]
start = time.perf_counter()
SpectrogramStore.build(paths, folder, progress=False)
took = time.perf_counter() - start
from joblib.externals.loky import get_reusable_executor
get_reusable_executor().shutdown()
own = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps({"seconds": took, "process, MB": own / 1024, "largest worker, MB": worker / 1024}))
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
        librosa_sequential(paths[:16])
        theirs = 400 / seconds(lambda: librosa_sequential(paths[:400]), 1, warm=0)
        SpectrogramStore.build(paths[:200], folder / "warm", progress=False)
        ours = 2000 / seconds(lambda: SpectrogramStore.build(paths, folder / "store", progress=False), 1, warm=0)
        memory = {f"{count} clips": build_apart(folder / "audio", folder / f"apart{count}", count)
                  for count in (200, 2000)}
    return {"ours, clips/s": ours, "librosa one by one, clips/s": theirs, "ratio": ours / theirs,
            "cores": multiprocessing.cpu_count(), "seconds a clip": 5, "peak memory": memory}


def inference():
    """5. Windows a second, against one pass a network over a DataLoader of windows."""
    clips = 400 if CUDA else 20
    pool = synthetic_pool(clips)
    starts, lengths = pool.starts.cpu().numpy(), pool.lengths.cpu().numpy()
    first, _ = windows_of(starts, lengths)
    images = [pool.pixels[f:f + 128].T.cpu().numpy() for f in first]
    result = {}
    for architecture in ("cnn-model-1", "vgg16"):
        tagger = tagger_of(architecture).eval()
        tagger.precision = torch.float32

        def by_loader(tagger=tagger):
            batches = published.loader(images, np.zeros((len(images), 1), np.float32), 64, multiprocessing.cpu_count())
            with torch.no_grad():
                for x, _ in batches:
                    torch.sigmoid(tagger.network((x.to(DEVICE) - 0.4) / 0.2)).cpu()
        theirs = len(first) // 64 * 64 / seconds(by_loader, 1)
        fold_batchnorm(tagger)
        tagger.precision = inference_precision(DEVICE)
        ours = len(first) / seconds(lambda tagger=tagger: predict(tagger, pool.pixels, starts, lengths))
        flops = network_flops(tagger)
        result[architecture] = {"ours, windows/s": ours, "published way, windows/s": theirs, "ratio": ours / theirs,
                                "GFLOP a window": flops / 1e9, "TFLOP/s": ours * flops / 1e12}
    return {"precision": str(inference_precision(DEVICE)), "width": WIDTH, **result}


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


def projection(measured):
    """7. The whole reproduction in hours, from the measured images a second."""
    profile = full_profile()
    excerpts_a_fold = {f"stage {config.stage}": config.epochs * clips
                       for config, clips in zip(profile.stages, CLIPS_A_STAGE)}
    every = sum(excerpts_a_fold.values()) * profile.n_folds
    hours = {architecture: every / measured[architecture]["ours, images/s"] / 3600
             for architecture in ("cnn-model-1", "vgg16")}
    return {"excerpts a fold": excerpts_a_fold, "folds": profile.n_folds, "excerpts a network": every, "hours": hours,
            "hours of both": sum(hours.values()), "width": WIDTH,
            "note": "" if CUDA else f"at width {WIDTH}, which is not the published size: only the GPU's figure counts"}


PARTS = {part.__name__: part for part in (training, step, loop, preprocessing, inference, growth)}


def rows(results):
    """The table for the README."""
    for architecture in ("cnn-model-1", "vgg16"):
        if "training" in results:
            r = results["training"][architecture]
            yield f"training {architecture}, images/s", r["ours, images/s"], r["published way, images/s"], r["ratio"]
        if "inference" in results:
            r = results["inference"][architecture]
            theirs = r["published way, windows/s"]
            yield f"inference {architecture}, windows/s", r["ours, windows/s"], theirs, r["ratio"]
    if "preprocessing" in results:
        r = results["preprocessing"]
        yield "preprocessing, clips/s", r["ours, clips/s"], r["librosa one by one, clips/s"], r["ratio"]
    if "loop" in results:
        r = results["loop"]
        yield "fastai's loop against a bare one, ms a step", r["fastai, ms a step"], r["bare, ms a step"], r["ratio"]


def main():
    """Run all parts or some."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[], help="all if none is given")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    options = parser.parse_args()
    prepare_device(DEVICE)
    name = torch.cuda.get_device_name() if CUDA else f"{multiprocessing.cpu_count()} CPU cores"
    results = {"device": name, "torch": torch.__version__, "python": platform.python_version()}
    print(f"{name}, torch {torch.__version__}", flush=True)
    for part in options.parts or PARTS:
        start = time.perf_counter()
        results[part] = PARTS[part]()
        print(f"{part} ({time.perf_counter() - start:.0f} s): {json.dumps(results[part], indent=1)}", flush=True)
    if "training" in results:
        results["projection"] = projection(results["training"])
        print("projection:", json.dumps(results["projection"], indent=1))
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{name.lower().replace(' ', '-')}.json"
    earlier = json.loads(path.read_text()) if options.parts and path.exists() else {}
    path.write_text(json.dumps(earlier | results, indent=1) + "\n")
    print(f"\n| {name} | ours | alternative | ratio |\n| --- | --- | --- | --- |")
    for what, ours, theirs, ratio in rows(results):
        print(f"| {what} | {ours:.4g} | {theirs:.4g} | {ratio:.2f} |")
    print(f"\nwritten to {path}")


if __name__ == "__main__":
    main()
