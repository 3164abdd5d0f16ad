"""On a worker, a process of this machine or of another: what its tasks share, and what they tell."""

import contextlib
import functools
import os
import threading
import time

REPORT_SECONDS = 1  # between two reports of a running task


@functools.lru_cache(maxsize=1)
def kept(identity):
    """A list that holds what a worker's tasks share, once it was opened or sent, for its next task.

    Parameters
    ----------
    identity : str
        The data's fingerprint.

    Returns
    -------
    list
        Empty or of one object.
    """
    return []


def opened(shared):
    """What tasks share, opened once for all of a worker's.

    Parameters
    ----------
    shared : object
        As for `RayExecutor.submit`.

    Returns
    -------
    object or None
        None if it is not on this machine.
    """
    here = kept(shared.identity)
    if not here and shared.is_here():
        here.append(shared)
    return here[0] if here else None


@contextlib.contextmanager
def now_and_then(tell):
    """A task's ``report``, that may be called at each step: what it tells goes on once in `REPORT_SECONDS`.

    What it told last goes on at the end of the block.

    Parameters
    ----------
    tell : callable

    Yields
    ------
    callable
        With the arguments of `tell`.
    """
    told, left = 0.0, None

    def report(*news):
        nonlocal told, left
        left = news
        if time.monotonic() - told > REPORT_SECONDS:
            told, left = time.monotonic(), None
            tell(*news)
    yield report
    if left is not None:
        tell(*left)


@functools.cache
def end_with(parent):
    """Let this process end soon after its parent, which may have been killed and takes no results any more.

    Parameters
    ----------
    parent : int
        Its process id.
    """
    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()
