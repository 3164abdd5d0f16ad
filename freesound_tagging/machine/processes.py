"""Tasks, or many items of one kind, side by side in processes of this machine, each with its share of the cores."""

import contextlib
import itertools
import json
import os
import signal
import tempfile
import time
from collections import deque
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path

from .workers import REPORT_SECONDS, end_with, now_and_then, opened

IDLE_SECONDS = 300  # after which a process that has nothing to do ends
SECONDS_TO_START = 2.0  # that processes take, with all that they import
SECONDS_TO_TRY = 0.5  # after which it is known how long an item takes
MANY = 500  # items that are worth processes without a try: clips of 5 s take 2 s less in two of them
AT_ONCE = 4  # items that a worker gets together, at most


class Processes:
    """Tasks in a few processes of this machine, as many at a time as there are processes; on GPUs one a GPU.

    Two processes of one thread each make more of a narrow network than one with two, as the threads wait for each other
    at each step; beside a busy program many times as much.

    Parameters
    ----------
    workers : int, optional
        Processes; the cores are divided among them. On a CPU, results are the same, bit for bit, for the same number
        of threads. As many as there are GPUs, or else cores, if not given.
    gpus : sequence of int
        The GPUs, by torch's numbers: each gets a process that sees it alone, as ``cuda``. None for a CPU.
    """

    def __init__(self, workers=None, gpus=()):
        self.gpus = _as_a_child_names_them(gpus)
        self.workers = len(self.gpus) or workers or cores()
        self.threads = max(1, cores() // self.workers)
        # A pool of one for each process, so that a GPU's is always the same, which keeps its clips there.
        self._waiting, self._open, self._pools = deque(), set(), [None] * self.workers

    def __repr__(self):
        if self.gpus:
            return f"on {self.workers} GPUs, a process each"
        return f"in {self.workers} processes of {self.threads} threads"

    def device(self):
        """The type of device that a task gets: ``"cuda"`` if there are `gpus`, else ``"cpu"``."""
        return "cuda" if self.gpus else "cpu"

    def room(self, ahead=True):
        """As `InProcess.room`."""
        return self.workers - len(self._open)

    def submit(self, key, function, task, shared):
        """As `InProcess.submit`, all of it sent by pickle; `function` also gets ``threads=``.

        Parameters
        ----------
        key : hashable
        function : callable
        task : object
        shared : object
            As for `RayExecutor.submit`; what it knows has to be on this machine's disk.
        """
        self._open.add(key)
        self._waiting.append((key, function, task, shared))

    def completed(self, show):
        """As `InProcess.completed`; tasks that are not done end with their processes.

        Parameters
        ----------
        show : callable

        Raises
        ------
        Exception
            What a task has raised, as if it had been raised here, once the results of all that are done have been
            yielded.
        RuntimeError
            If a process died, as one does that the system has no memory for.
        """
        running, failed, names = {}, [], itertools.count()
        with _folder_for_news() as folder:
            try:
                while self._waiting or running:
                    free = sorted(set(range(self.workers)) - {number for _, _, number in running.values()})
                    for number in free[:len(self._waiting)]:
                        key, *task = self._waiting.popleft()
                        news = folder / f"{next(names)}.news"
                        running[self._start(number, *task, news)] = key, news, number
                    done, _ = wait(running, REPORT_SECONDS / 2, FIRST_COMPLETED)
                    for key, news, _ in running.values():  # those of what is done are its last
                        try:
                            content = news.read_text()
                        except OSError:  # there are none
                            continue
                        show(key, *json.loads(content))
                    while done:
                        for future in done:
                            key, _, number = running.pop(future)
                            self._open.discard(key)
                            if error := future.exception():
                                failed.append((key, error, number))
                            else:
                                yield key, future.result()
                        done = [future for future in running if future.done()] if failed else ()
                    if failed:
                        self._raise(failed)
            finally:
                self._waiting.clear()
                self._open.clear()
                self.end(number for _, _, number in running.values())

    def end(self, numbers=None):
        """End processes, all if not given, with whatever they work on; the next task that one gets begins it anew.

        Parameters
        ----------
        numbers : iterable of int, optional
        """
        for number in range(self.workers) if numbers is None else list(numbers):
            if (pool := self._pools[number]) is not None:
                self._pools[number] = None
                pool.shutdown(kill_workers=True)

    def _start(self, number, function, task, shared, news):
        from joblib.externals.loky import ProcessPoolExecutor

        if self._pools[number] is None:
            seen = {"CUDA_VISIBLE_DEVICES": self.gpus[number]} if self.gpus else {}
            self._pools[number] = ProcessPoolExecutor(1, timeout=IDLE_SECONDS, env=seen | {
                "OMP_NUM_THREADS": str(self.threads), "OMP_WAIT_POLICY": "PASSIVE"})
        return self._pools[number].submit(_run, function, task, shared, news, self.threads, os.getpid())

    def _raise(self, failed):
        from joblib.externals.loky import BrokenProcessPool

        died = [(str(key), number) for key, error, number in failed if isinstance(error, BrokenProcessPool)]
        self.end(number for _, number in died)
        for _, error, _ in failed:
            if not isinstance(error, BrokenProcessPool):
                raise error
        raise RuntimeError(f"{' or '.join(sorted(key for key, _ in died))}: its process died, perhaps for lack of "
                           'memory. What was finished before is kept; run again, or one fold after the other by '
                           'executor="in-process"') from failed[0][1]


def _as_a_child_names_them(gpus):
    """What CUDA_VISIBLE_DEVICES is of a process that is to see one of the GPUs that this one sees by these numbers."""
    seen = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return [seen[number] if seen else str(number) for number in gpus]


def in_order(function, items, n_jobs=-1):
    """What a function makes of each of many items, in order.

    In processes of this call's own if the items are `MANY`; of less in this one, until it is known that what is left
    would be done sooner in others, with the time that these take to start. Nothing is shared with other calls, such as
    those of other threads: whoever stops asking ends only these processes.

    Parameters
    ----------
    function : callable
    items : sequence of tuple
        Its arguments. A few at a time are sent ahead, by pickle.
    n_jobs : int
        Processes at most, as joblib counts them: -1 for one a core.

    Yields
    ------
    object

    Raises
    ------
    RuntimeError
        If a process died, as one does that the system has no memory for.
    """
    import joblib

    most, seconds = joblib.effective_n_jobs(n_jobs), 0.0
    for done, item in enumerate(items):
        workers = min(most, len(items) - done)
        saved = seconds / max(1, done - 1) * (len(items) - done) * (1 - 1 / workers)
        tried = done > 1 and seconds >= SECONDS_TO_TRY and saved >= SECONDS_TO_START
        if workers > 1 and (tried or len(items) >= MANY):
            yield from _side_by_side(function, items[done:], workers)
            return
        start = time.perf_counter()
        result = function(*item)
        seconds += (time.perf_counter() - start) * (done > 0)  # the first item also waits for what is imported
        yield result


def _side_by_side(function, items, workers):
    """What a function makes of each item, in order, in so many processes."""
    from joblib.externals.loky import BrokenProcessPool, ProcessPoolExecutor

    threads = str(max(1, cores() // workers))
    pool = ProcessPoolExecutor(workers, initializer=_begin, initargs=(os.getpid(),), env={
        name: threads for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")})
    together = max(1, min(AT_ONCE, len(items) // (4 * workers)))
    waiting, items = deque(), iter(items)
    try:
        while True:
            while len(waiting) < 2 * workers and (some := list(itertools.islice(items, together))):
                waiting.append(pool.submit(_each, function, some))
            if not waiting:
                return
            yield from waiting.popleft().result()
    except BrokenProcessPool as error:
        raise RuntimeError("a worker process died, perhaps for lack of memory; close other programs, or give n_jobs=1"
                           ) from error
    finally:
        # loky's thread ends in a traceback if what it has not passed on is taken from it; so few it passes on soon.
        while not all(future.running() or future.done() for future in waiting):
            time.sleep(0.001)
        pool.shutdown(kill_workers=True)


def _begin(parent):
    end_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is interrupted, and ends this process


def _each(function, items):
    return list(itertools.starmap(function, items))


def cores():
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory(process="self"):
    """The most memory that a process has had. (`ru_maxrss` begins with what its parent had, where a child was started.)

    Parameters
    ----------
    process : "self" or int
        A process id.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    OSError
        If there is no such process, or no ``/proc``, which Linux has.
    """
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@contextlib.contextmanager
def _folder_for_news():
    """A folder that is there for the block; on a disk that is full none is, as news are worth no fold."""
    with contextlib.ExitStack() as stack:
        folder = os.devnull
        with contextlib.suppress(OSError):
            folder = stack.enter_context(tempfile.TemporaryDirectory())
        yield Path(folder)


def _run(function, task, shared, news, threads, parent):
    _begin(parent)

    def tell(*what):
        part = news.with_suffix(".part")
        with contextlib.suppress(OSError):  # such as of a full disk: news are no reason to lose a fold
            part.write_text(json.dumps(what))
            part.replace(news)
    if (here := opened(shared)) is None:
        raise FileNotFoundError("the images that are trained on are not on the disk any more, or are others; build the "
                                "stores again")
    with now_and_then(tell) as report:
        return function(task, here, report, threads=threads)
