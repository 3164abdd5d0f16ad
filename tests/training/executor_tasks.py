"""What the executors' tests have done, in a module that a worker imports at once."""

import os
import resource
import signal
import time


class Nothing:
    """What tasks share: on this machine, and of no use."""

    identity = "nothing"

    def is_here(self):
        return True


def count(task, shared, report, threads):
    """A task: what it was told, its torch threads, and its process."""
    if isinstance(task, Exception):
        raise task
    if isinstance(task, float):
        time.sleep(task)
        return task, threads, os.getpid()
    if task == "full disk":  # no file can be written that has anything in it
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    if task == "device":
        time.sleep(0.5)
        return os.environ.get("CUDA_VISIBLE_DEVICES"), threads, os.getpid()
    if task == "quick":
        for step in range(1000):
            report(step, task, os.getpid())
        return task, threads, os.getpid()
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    report(0, task, os.getpid())
    if task == "wait":
        time.sleep(600)
    for step in range(3):
        report(step, task, os.getpid())
        time.sleep(0.6)
    return task, threads, os.getpid()
