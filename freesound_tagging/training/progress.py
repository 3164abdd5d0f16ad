"""What is seen of trainings while they go on: one progress bar for all, and TensorBoard's logs."""

import sys

import numpy as np
from tqdm import tqdm


class Progress:
    """One progress bar over the steps of all folds that have been begun, and the news of those that are at work.

    Parameters
    ----------
    shown : bool
    """

    def __init__(self, shown):
        self.bar = tqdm(total=0, unit="step", file=sys.stdout, mininterval=1, disable=not shown)
        self.bar.initial = 0  # which a bar that is not shown has not
        self.stages, self.steps, self.done, self.news, self.logs = {}, {}, {}, {}, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()
        for logs in self.logs.values():
            logs.close()

    def add(self, key, steps, finished):
        """Take in a fold; what was finished before counts as done, and not for the speed."""
        self.steps[key] = steps
        self.bar.total += steps
        if finished:
            self.bar.initial += steps
            self.bar.n += steps

    def begin(self, key, logs=None):
        """A fold is at work."""
        self.done[key] = 0
        if logs is not None:
            self.logs[key] = logs
        folds = {}  # at work, by run and stage
        for one in self.done:
            folds.setdefault((one.run, one.stage), []).append(str(one.fold))
        several = len({run for run, _ in folds}) > 1
        names = [f"{f'{run.name} ' * several}stage {stage}, fold {' and '.join(mine)}"
                 for (run, stage), mine in folds.items()]
        self.bar.set_description_str(", ".join(names), refresh=False)

    def show(self, key, step, loss=None, score=None):
        """A fold has come to a step, and its last epoch to a loss and lwlrap. One that is tried again goes back."""
        self.bar.update(step - self.done[key])
        self.done[key] = step
        if loss is not None and self.news.get(key) != (loss, score):
            self.news[key] = loss, score
            if key in self.logs:
                self.logs[key].epoch(step, loss, score)
            self.bar.set_postfix_str("; ".join(
                f"fold {key.fold}: loss {loss:.3f}, lwlrap {score:.3f}" for key, (loss, score) in self.news.items()))

    def end(self, key, record):
        """A fold is finished, with a history."""
        if key in self.logs:
            self.logs.pop(key).whole(record)
        self.bar.update(self.steps[key] - self.done.pop(key))
        self.news.pop(key, None)

    def waiting(self, who):
        """Nothing is at work here, as other processes have what is left."""
        self.bar.set_postfix_str(f"waiting for {who}")


class EpochLogs:
    """TensorBoard's logs of a training: the mean loss of each epoch, and its lwlrap.

    Parameters
    ----------
    folder : path

    Raises
    ------
    ImportError
        If TensorBoard is not installed. The message says how to.
    """

    def __init__(self, folder):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(f"logs for TensorBoard need it ({error}): pip install tensorboard") from error
        # A fold that is taken up again begins anew: what was logged of it before is hidden.
        self.writer, self.logged = SummaryWriter(folder, purge_step=0), set()

    def epoch(self, step, loss, score):
        """Log an epoch that has ended after so many steps."""
        self.logged.add(step)
        self.writer.add_scalar("loss", loss, step)
        if not np.isnan(score):
            self.writer.add_scalar("lwlrap", score, step)
        self.writer.flush()

    def whole(self, record):
        """Log the epochs of a finished history of which there was no news."""
        steps = len(record["loss"]) // max(1, len(record["lwlrap"]))  # a callback may end the first epoch
        for number, score in enumerate(record["lwlrap"]):
            end = (number + 1) * steps
            if end not in self.logged:
                self.epoch(end, float(np.mean(record["loss"][end - steps:end])), float(score))
        self.close()

    def close(self):
        """End the log's file."""
        self.writer.close()
