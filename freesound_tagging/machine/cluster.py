"""Tasks over the machines and GPUs of a Ray cluster."""

import dataclasses
import itertools
import socket
import warnings
from collections import deque

from .. import __version__
from .workers import REPORT_SECONDS, kept, now_and_then, opened

NOT_HERE = "the clips are not on this machine"
AT_ONCE = 4  # items of a task that `RayExecutor.map` sends


class RayExecutor:
    """Tasks on a Ray cluster, as many at a time as it has room for.

    The cluster is the one that the environment variable ``RAY_ADDRESS`` names, else one that ``ray start`` began on
    this machine, else one of this machine alone, which is started for this process and ends with it. All machines need
    the same version of this package. What tasks share is opened on each machine by its path, and where that machine
    does not see it, sent there once through Ray's object store. The task of a worker that died is done again on
    another; one that raised is not.

    Parameters
    ----------
    num_gpus : float, optional
        GPUs of a task. If not given, 1 where the cluster has any, else 0.
    num_cpus : int, optional
        CPU cores of a task, and without a GPU its torch threads. If not given, 1 with a GPU, and without as many as
        torch has threads in this process. On a CPU, results are the same, bit for bit, for the same number of threads,
        wherever they are computed.
    retries : int
        How often a task is done again whose worker dies.

    Raises
    ------
    ImportError
        If Ray is not installed.
    """

    def __init__(self, num_gpus=None, num_cpus=None, retries=3):
        try:
            import ray
        except ImportError as error:
            raise ImportError(f'executor "ray" needs Ray ({error}): pip install ray') from error
        self.ray, self.retries = ray, retries
        if not ray.is_initialized():
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="WARNING")
        if num_gpus is None:
            num_gpus = int(ray.cluster_resources().get("GPU", 0) > 0)
        if num_cpus is None and not num_gpus:
            import torch
            num_cpus = torch.get_num_threads()
        self.num_gpus, self.num_cpus = num_gpus, num_cpus or 1
        self._running, self._sent, self._board = {}, {}, None

    def __repr__(self):
        return "over Ray"

    def device(self):
        """The type of device that a task gets: ``"cuda"`` or ``"cpu"``."""
        return "cuda" if self.num_gpus else "cpu"

    def room(self, ahead=True):
        """How many more tasks the cluster has room for, and if `ahead` two that wait for what becomes free or joins."""
        return self._capacity() + 2 * ahead - len(self._running)

    def _capacity(self):
        """How many tasks its machines can work on at a time."""
        machines = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        return sum(int(min(node.get(kind, 0) // each for kind, each in (("CPU", self.num_cpus), ("GPU", self.num_gpus))
                           if each)) for node in machines)

    def submit(self, key, function, task, shared):
        """As `InProcess.submit`, all of it sent by pickle; `function` also gets ``threads=``.

        Parameters
        ----------
        key : hashable
        function : callable
        task : object
        shared : object
            Pickled, it is small and knows where the data is; ``is_here()`` says whether that can be opened on this
            machine, ``whole()`` gives an object with the data in it, and ``identity`` is the data's fingerprint.
        """
        if self._board is None:
            self._board = self.ray.remote(num_cpus=0)(_Board).remote()
        self._start(_Task(key, function, task, shared))

    def completed(self, show):
        """As `InProcess.completed`; tasks that are not done are cancelled on the cluster.

        Parameters
        ----------
        show : callable

        Raises
        ------
        Exception
            What a task has raised, as if it had been raised here.
        RuntimeError
            If the workers of a task died more often than it is tried again.
        """
        asked = None
        try:
            while self._running:
                done, _ = self.ray.wait(list(self._running), num_returns=len(self._running), timeout=0.05)
                if not done:
                    done, _ = self.ray.wait(list(self._running), timeout=REPORT_SECONDS)
                asked = self._news(asked, show)
                if done:  # their last news
                    asked = self._news(asked, show, REPORT_SECONDS)
                failure = None
                for ref in done:
                    task = self._running.pop(ref)
                    try:
                        result = self.ray.get(ref)
                    except self.ray.exceptions.RayError as error:
                        failure = failure or (task, error)
                        continue
                    if isinstance(result, str) and result == NOT_HERE:
                        self._send(task.shared)
                        self._start(task)
                    else:
                        yield task.key, result
                if failure:
                    self._raise(*failure)
        finally:
            self._cancel(list(self._running))
            self._running.clear()

    def map(self, function, items):
        """Call a function for each item on the cluster's CPU cores, one core each.

        Parameters
        ----------
        function : callable
        items : iterable of tuple
            Its arguments; only as many are taken ahead as keep the cluster busy.

        Yields
        ------
        object
            The results, in the items' order.
        """
        each = self.ray.remote(num_cpus=1, max_retries=self.retries)(_each)
        ahead = 3 * int(self.ray.cluster_resources().get("CPU", 1))
        items, waiting = iter(items), deque()
        try:
            while True:
                while len(waiting) < ahead and (some := list(itertools.islice(items, AT_ONCE))):
                    waiting.append(each.remote(function, some, __version__))
                if not waiting:
                    return
                try:
                    yield from self.ray.get(waiting[0])
                except self.ray.exceptions.RayError as error:
                    self._raise(_Task(f"a task of {function.__name__}"), error)
                waiting.popleft()
        finally:
            self._cancel(list(waiting))

    def _start(self, task):
        cpus, gpus = self.num_cpus, self.num_gpus
        if not self._capacity():
            warnings.warn(f"no machine of the Ray cluster has {cpus} CPU cores and {gpus} GPUs, which {task.key} is to "
                          "have: it waits for one. Interrupt, and ask for less by RayExecutor(num_gpus=, num_cpus=)",
                          stacklevel=2)
        remote = self.ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=self.retries)(_run)
        sent = [self._sent[task.shared.identity]] if task.shared.identity in self._sent else []
        self._running[remote.remote(task, sent, self._board, None if gpus else cpus, __version__)] = task

    def _send(self, shared):
        """Put what tasks share into the object store: Ray copies it once to each machine that asks."""
        if shared.identity not in self._sent:
            self._sent[shared.identity] = self.ray.put(shared.whole())

    def _news(self, asked, show, patience=0):
        """Show what the board has gathered, if it has answered; what is asked of it next."""
        if asked is not None:
            if not self.ray.wait([asked], timeout=patience)[0]:
                return asked
            try:
                news = self.ray.get(asked)
                for task in self._running.values():
                    if (key := repr(task.key)) in news:
                        show(task.key, *news[key])
            except self.ray.exceptions.RayError:  # its machine is gone: only the display suffers
                self._board = self.ray.remote(num_cpus=0)(_Board).remote()
        return self._board.take.remote()

    def _raise(self, task, error):
        cause = getattr(error, "cause", None)
        if isinstance(error, self.ray.exceptions.RayTaskError) and isinstance(cause, Exception):
            raise cause from error
        raise RuntimeError(f"{task.key}: its worker died and so did {self.retries} more, or it could not be started "
                           f"({str(error).strip().splitlines()[0]}). What was finished before is kept; mend the "
                           "cluster and run again") from error

    def _cancel(self, refs):
        for ref in refs:
            self.ray.cancel(ref, force=False)
        _, deaf = self.ray.wait(refs, num_returns=len(refs), timeout=5) if refs else ((), ())
        for ref in deaf:
            self.ray.cancel(ref, force=True)


@dataclasses.dataclass(frozen=True)
class _Task:
    key: object
    function: object = None
    task: object = None
    shared: object = None


class _Board:
    """On the cluster: the latest news of each task, until they are taken.

    A task is known by its key's `repr` there, so that this process imports nothing of what a key is made of.
    """

    def __init__(self):
        self.news = {}

    def put(self, key, news):
        self.news[key] = news

    def take(self):
        news, self.news = self.news, {}
        return news


def _run(task, sent, board, threads, version):
    import ray

    _check(version)
    if opened(task.shared) is None:
        if not sent:
            return NOT_HERE
        kept(task.shared.identity).append(ray.get(sent[0]))
    told = []

    def tell(*news):
        told[:] = [board.put.remote(repr(task.key), news)]
    with now_and_then(tell) as report:
        result = task.function(task.task, opened(task.shared), report, threads=threads)
    if told:  # the last news are to be there before the result
        ray.wait(told, timeout=REPORT_SECONDS)
    return result


def _each(function, items, version):
    _check(version)
    return [function(*item) for item in items]


def _check(version):
    if version != __version__:
        raise RuntimeError(f"{socket.gethostname()} has version {__version__} of freesound-tagging, and what gives it "
                           f"work has {version}: install the same on all machines")
