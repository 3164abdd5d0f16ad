"""The folds of one pipeline or several on an executor, and the progress of all in one bar."""

import contextlib
import dataclasses
import sys
from collections import deque
from pathlib import Path

from tqdm import tqdm

from .fold import train_fold, train_fold_away
from .plan import trainings


def train_stages(stages):
    """Train stages of pipelines, every fold that is not finished yet.

    A pipeline's stage waits for all folds of its stage before, and for no other pipeline's.

    Parameters
    ----------
    stages : dict of WarmupPipeline to list of int
        The stages of each, in order. The first pipeline's executor trains all.

    Raises
    ------
    RuntimeError
        If a stage that another builds on is not finished, or another process trains in a run's folder.
    Exception
        What a training has raised; the folds that were finished before are kept.
    """
    executor = next(iter(stages)).executor
    # One copy on the device for all.
    shared = {pipeline.sets.clips.identity: pipeline.sets.clips for pipeline in stages}
    begun, left = {}, {pipeline: deque(numbers) for pipeline, numbers in stages.items()}

    def go_on(pipeline):
        """Submit the folds of a pipeline's next stage that has any to train."""
        while left[pipeline] and not any(pipeline is other for other, _ in begun.values()):
            stage = left[pipeline].popleft()
            for fold, (steps, training) in enumerate(trainings(pipeline, stage)):
                key = _Key(pipeline.work, stage, fold)
                display.begin(key, steps, finished=training is None)
                if training is not None:
                    begun[key] = pipeline, training
                    executor.submit(key, train_fold_away if executor.remote else train_fold, training,
                                    shared[pipeline.sets.clips.identity])

    with contextlib.ExitStack() as stack:
        for pipeline in stages:
            stack.enter_context(pipeline.folder.only_trainer())
        display = stack.enter_context(_Display(any(pipeline.progress for pipeline in stages)))
        for pipeline in stages:
            go_on(pipeline)
        for key, result in stack.enter_context(contextlib.closing(executor.completed(display.show))):
            pipeline, training = begun[key]
            _keep(pipeline, training, *result)
            del begun[key]
            display.end(key, training.epochs * training.steps)
            go_on(pipeline)


def _keep(pipeline, training, tagger, record, logs=()):
    """Write what came of a training: the fold is then finished."""
    for name in logs:
        training.tensorboard.mkdir(parents=True, exist_ok=True)
        (training.tensorboard / name).write_bytes(logs[name])
    pipeline.folder.save(tagger, **record)


@dataclasses.dataclass(frozen=True)
class _Key:
    """Names a training."""

    run: Path
    stage: int
    fold: int

    def __str__(self):
        return f"{self.run.name}, stage {self.stage}, fold {self.fold}"


class _Display:
    """One progress bar over the steps of all folds that have been begun, and the news of those that are at work."""

    def __init__(self, shown):
        self.bar = tqdm(total=0, unit="step", file=sys.stdout, mininterval=1, disable=not shown)
        self.done, self.news = {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def begin(self, key, steps, finished):
        """Take in a fold, which may be finished."""
        self.bar.total += steps
        if finished:
            self.bar.update(steps)
            return
        self.done[key] = 0
        stages = dict.fromkeys((key.run, key.stage) for key in self.done)
        several = len({run for run, _ in stages}) > 1
        names = [f"{f'{run.name} ' * several}stage {stage}" for run, stage in stages]
        self.bar.set_description_str(", ".join(names), refresh=False)

    def show(self, key, step, loss=None, score=None):
        """A fold has come to a step, and its last epoch to a loss and lwlrap. One that is tried again goes back."""
        self.bar.update(step - self.done[key])
        self.done[key] = step
        if loss is not None and self.news.get(key) != (loss, score):
            self.news[key] = loss, score
            self.bar.set_postfix_str("; ".join(
                f"fold {key.fold}: loss {loss:.3f}, lwlrap {score:.3f}" for key, (loss, score) in self.news.items()))

    def end(self, key, steps):
        """A fold is finished."""
        self.bar.update(steps - self.done.pop(key))
        self.news.pop(key, None)
