"""The folds of runs, one after the other or side by side: each is claimed, trained where there is room, and kept.

A run's folder is the queue: what is not finished is there to be trained as soon as what it builds on is. Several
processes may train one run; a fold that another has claimed is left to it.
"""

import contextlib
import dataclasses
import time
from pathlib import Path

from ..machine.checks import check_number
from .fold import train_fold
from .pool import share
from .progress import EpochLogs, Progress

WAIT_SECONDS = 1  # between two looks at what other processes have finished


@dataclasses.dataclass(frozen=True)
class Key:
    """Names a training."""

    run: Path
    stage: int
    fold: int

    def __str__(self):
        return f"{self.run.name}, stage {self.stage}, fold {self.fold}"


def train_runs(stages, budget=None, train=train_fold):
    """Train stages of runs, every fold that is not finished yet.

    Parameters
    ----------
    stages : dict of WarmupPipeline to list of int
        The stages of each, in order. The first run's executor trains all.
    budget : SessionBudget, optional
    train : callable
        What trains a fold, as `train_fold`.

    Returns
    -------
    bool
        Whether all is finished; without a budget it is.

    Raises
    ------
    RuntimeError
        If a stage that another builds on is not finished.
    Exception
        What a training has raised; the folds that were finished before are kept.
    """
    for run, numbers in stages.items():
        before = [str(stage) for stage in numbers if not run.unfinished([stage])]
        if before and run.progress:
            print(f"{run.work.name}, stage {', '.join(before)}: finished before")
    if not any(run.unfinished(numbers) for run, numbers in stages.items()):
        return True
    executor = next(iter(stages)).executor
    share(stages)
    budget, begun, seen = budget or SessionBudget(None), {}, set()
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(Progress(any(run.progress for run in stages)))

        def begin():
            """Give the executor what it has room for."""
            for run, numbers in stages.items():
                for stage, fold in run.todo(numbers):
                    key = Key(run.work, stage, fold)
                    if key in begun or not executor.room(ahead=budget.end_at is None):
                        continue
                    if (claim := run.folder.claim(stage, fold)) is None:
                        continue
                    stack.enter_context(claim)
                    if (run.work, stage) not in seen:
                        seen.add((run.work, stage))
                        for other, steps in enumerate(run.n_steps(stage)):
                            progress.add(Key(run.work, stage, other), steps, run.folder.is_finished(stage, other))
                    if not budget.allows(key, progress.steps[key]):
                        claim.close()
                        continue
                    progress.begin(key, EpochLogs(Path(run.tensorboard) / f"stage-{stage}_fold-{fold}")
                                   if run.tensorboard else None)
                    budget.begin(key)
                    begun[key] = run, claim
                    executor.submit(key, train, run.training(stage, fold), run.shared)

        while True:
            begin()
            worked = bool(begun)
            with contextlib.closing(executor.completed(progress.show)) as completed:
                for key, (tagger, record) in completed:
                    run, claim = begun.pop(key)
                    run.folder.save(tagger, **record)
                    claim.close()
                    budget.end(key, progress.steps[key])
                    progress.end(key, record)
                    begin()
            left = [(run, stage, fold) for run, numbers in stages.items() for stage, fold in run.unfinished(numbers)]
            if not left or budget.is_over:
                return not left
            if not worked:
                run, stage, fold = left[0]
                run.check_ready(stage, fold)  # if it is, another process has it
                if not budget.allows(Key(run.work, stage, fold), 0):
                    return False
                progress.waiting(f"another process, which has {Key(run.work, stage, fold)}")
                time.sleep(WAIT_SECONDS)


class SessionBudget:
    """No fold is begun that, by those before, would not be finished in time.

    Parameters
    ----------
    hours : float or None
        From now on; None for no end.

    Raises
    ------
    ValueError
        If that is no time.
    """

    def __init__(self, hours=None):
        if hours is not None:
            check_number("hours", hours, 0)
        self.end_at = None if hours is None else time.monotonic() + 3600 * hours
        self.begun, self.seconds_a_step, self.is_over = {}, {}, False

    def allows(self, key, steps):
        """Whether a fold may be begun; of a run of which none is finished yet nothing is known, and it may."""
        if self.end_at is None:
            return True
        left = self.end_at - time.monotonic()
        if left <= 0 or steps * self.seconds_a_step.get(key.run, 0) > left:
            self.is_over = True
        return not self.is_over

    def begin(self, key):
        """A fold begins."""
        self.begun[key] = time.monotonic()

    def end(self, key, steps):
        """A fold is finished."""
        took = (time.monotonic() - self.begun.pop(key)) / steps
        self.seconds_a_step[key.run] = max(took, self.seconds_a_step.get(key.run, 0))
