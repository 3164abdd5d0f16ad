"""Where the work is done: in this process, in several of this machine, or over the machines of a Ray cluster."""

import functools
from collections import deque


class InProcess:
    """Tasks in this process, one after the other, in the order in which they were submitted.

    An executor is what has `room`, `submit`, `completed` and `device`.
    """

    def __init__(self):
        self._waiting = deque()

    def __repr__(self):
        return "in this process"

    def device(self):
        """The type of device that a task gets: None, as it may choose."""

    def room(self, ahead=True):
        """How many more tasks it would work on now; if `ahead`, on a cluster those too that would wait for a moment."""
        return int(not self._waiting)

    def submit(self, key, function, task, shared):
        """Have ``function(task, shared, report)`` called.

        Parameters
        ----------
        key : hashable
            Names the task.
        function : callable
            Given `task`, `shared`, and ``report(*news)``, which it may call at any time.
        task : object
        shared : object
            What many tasks use.
        """
        self._waiting.append((key, function, task, shared))

    def completed(self, show):
        """Yield ``(key, result)`` of each task once it is done; tasks may be submitted meanwhile.

        Tasks that are not done are dropped when one raises, on an interrupt, and when this generator is closed.

        Parameters
        ----------
        show : callable
            Called with ``(key, *news)`` as tasks report.

        Raises
        ------
        Exception
            What a task has raised, once the results of all that are done have been yielded.
        """
        try:
            while self._waiting:
                key, function, task, shared = self._waiting.popleft()
                yield key, function(task, shared, functools.partial(show, key))
        finally:
            self._waiting.clear()


EXECUTORS = ("auto", "in-process", "processes", "ray")


def executor_of(executor, side_by_side=1, device=None):
    """An executor by its name.

    Parameters
    ----------
    executor : {"auto", "in-process", "processes", "ray"} or executor
        "auto" is "processes" on a CPU where there are several tasks and cores, a process a GPU where there are several
        of those, else "in-process".
    side_by_side : int
        How many tasks there are at a time, among which "processes" divides the cores.
    device : torch.device, optional
        What tasks compute on, for "auto": ``cuda`` is all GPUs, ``cuda:1`` that one.

    Returns
    -------
    executor

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    if not isinstance(executor, str):
        return executor
    if executor not in EXECUTORS:
        raise ValueError(f"executor {executor!r}: expected one of {', '.join(EXECUTORS)}, or a RayExecutor")
    if executor == "ray":
        from .cluster import RayExecutor

        return RayExecutor()
    from .processes import Processes, cores

    if executor == "auto" and device is not None and device.type == "cuda" and device.index is None:
        from .device import gpus

        here = gpus()[:side_by_side]
        return Processes(gpus=here) if len(here) > 1 else InProcess()
    workers = min(side_by_side, cores())
    if executor == "processes" or (executor == "auto" and workers > 1 and device is not None and device.type == "cpu"):
        return Processes(workers)
    return InProcess()
