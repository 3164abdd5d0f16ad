"""How long a run will take, before it begins: its steps, and the time of some of them on this device."""

import time

import numpy as np
import torch

from ..augment import compose
from ..machine.device import training_precision
from ..networks.tagger import Tagger
from .batches import RandomExcerpts
from .pool import share

MOST_STEPS, MOST_SECONDS = 6, 10  # of the measurement; one step is taken whatever it takes


def steps_left(pipeline):
    """Gradient steps of the folds that are not finished.

    Parameters
    ----------
    pipeline : WarmupPipeline

    Returns
    -------
    int
        Of a stage that selects clips, before that can be known, as for half of the set, or as many as its cap allows.
    """
    profile, total = pipeline.profile, 0
    for stage, _ in pipeline.unfinished():
        config = pipeline.stages[stage]
        clips = sum(int(pipeline.clips.is_of(name).sum()) for name in config.trains_on)
        if config.selects_from:
            selected = int(pipeline.clips.is_of(config.selects_from).sum()) // 2
            if config.cap:
                selected = min(selected, config.cap * profile.n_folds * len(pipeline.clips.vocabulary))
            clips += selected
        epochs, steps = config.schedule(clips * (profile.n_folds - 1) // profile.n_folds, profile.batch_size)
        total += epochs * steps
    return total


def seconds_a_step(pipeline, threads=None):
    """How long a gradient step takes on this process's device.

    Parameters
    ----------
    pipeline : WarmupPipeline
        Nothing of it is changed.
    threads : int, optional
        Of torch, for this measurement, on a CPU.

    Returns
    -------
    float
        The middle of `MOST_STEPS` steps, or of as many as `MOST_SECONDS` allow; the first one does not count if there
        are others.
    """
    stage, fold = pipeline.unfinished()[0]
    first = next(iter(pipeline.stages))  # what it trains on is known whatever is finished
    training, before = pipeline.training(first, fold), torch.get_num_threads()
    device = training.device
    try:
        torch.set_num_threads(threads or before)
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            return _measured(training, pipeline.shared.on(device), pipeline.stages[stage].lr)
    finally:
        torch.set_num_threads(before)


def _measured(training, pool, lr):
    device, times = training.device, []
    generator = torch.Generator(device).manual_seed(0)
    tagger = Tagger(training.spec, training_precision(device)).to(device).train()
    optimizer = torch.optim.AdamW(tagger.parameters(), lr=lr, fused=True)
    augment, loss_of = compose(training.augmentation), torch.nn.BCEWithLogitsLoss()
    excerpts = RandomExcerpts(pool, training.trained, training.batch_size, MOST_STEPS, generator)
    begun = last = time.monotonic()
    for images, targets in excerpts:
        images, targets = augment(images, targets, generator=generator)
        loss_of(tagger(images), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.monotonic() - last)
        last = time.monotonic()
        if last - begun > MOST_SECONDS:
            break
    return float(np.median(times[1:] or times))


def estimate(pipelines):
    """What a run is and how long it will take, in lines to read.

    Parameters
    ----------
    pipelines : sequence of WarmupPipeline
        Of one executor.

    Yields
    ------
    str
        A line for each that is not finished, another one for what it begins with, if it does; and for several one for
        all.
    """
    seconds = 0
    share(pipelines)
    for pipeline in pipelines:
        steps, profile = steps_left(pipeline), pipeline.profile
        if not steps:
            continue
        executor = pipeline.executor
        at_once = min(getattr(executor, "workers", 1), profile.n_folds)
        stages = f"{len(profile.stages)} stage{'s'[:len(profile.stages) > 1]}"
        text = (f"{profile.network}: {stages} of {profile.n_folds} folds, about {steps:,} steps of "
                f"{profile.batch_size} excerpts")
        if executor.device() is None or hasattr(executor, "workers"):  # on a cluster other machines may do it
            step = seconds_a_step(pipeline, getattr(executor, "threads", None))
            if hasattr(executor, "workers"):  # in which the clips are, and not here
                pipeline.shared.pool = None
            mine = steps * step / at_once
            seconds += mine
            device = "GPU" if pipeline.device.type == "cuda" else "CPU"
            text += f": about {spoken(mine)} on this {device}, {step:.2g} s a step"
            text += f", {at_once} folds at a time" if at_once > 1 else ""
        yield text
        if pipeline.start:
            yield f"{profile.network} {pipeline.start.taken(pipeline.clips.vocabulary)}"
    if len(pipelines) > 1 and seconds:
        yield f"together about {spoken(seconds)}"


def spoken(seconds):
    """A time in words: ``"40 seconds"``, ``"25 minutes"``, ``"7.1 hours"``, ``"11 days"``."""
    for size, name, most in ((1, "seconds", 90), (60, "minutes", 5400), (3600, "hours", 172_800)):
        if seconds < most:
            return f"{seconds / size:.1f} {name}" if name == "hours" else f"{max(1, round(seconds / size))} {name}"
    return f"{round(seconds / 86_400)} days"
