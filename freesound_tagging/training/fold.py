"""The training of one fold of a stage: all that it needs in one description, so that any process can do it."""

import contextlib
import copy
import dataclasses
import uuid

import numpy as np
import torch

from ..augment import compose
from ..machine.device import OutOfMemory, autocast_as_before, enough_memory, training_precision
from ..networks.models import find
from ..networks.tagger import NetworkSpec, Tagger
from ..prediction.inference import for_prediction, predict
from .batches import MiddleExcerpts, RandomExcerpts
from .functions import imported_code
from .start import StartingWeights

PROCESS = uuid.uuid4().hex  # this one, among those of all machines
SAME = {""}  # code that is what it was where the run began


@dataclasses.dataclass(frozen=True)
class FoldTraining:
    """What is trained, from where, on what, and for how long."""

    spec: NetworkSpec  # says of which stage and fold the network is
    start: StartingWeights | None  # what it begins with; None: new weights
    trained: np.ndarray  # int64: the clips, by their numbers in `SharedClips`
    validated: np.ndarray  # int64: the clips of each epoch's validation
    held_out: tuple  # of int64 arrays: the clips whose predictions are kept, set by set
    batch_size: int
    epochs: int
    steps: int  # gradient steps of an epoch
    lr: float  # the greatest of the one-cycle policy
    weight_decay: float
    augmentation: tuple  # of callables, in order
    seed: int  # decides first weights, excerpts, augmentation and dropout
    device: torch.device
    compiled: bool  # train through torch.compile
    change: object = None  # a function that changes the fastai Learner before it trains
    code: str = ""  # `imported_code` of its functions where the run began
    process: str = PROCESS


# Autocast as it was before, gradients on whatever was before, and both as they were before whatever happens: an
# interrupt at the edge of one of torch's or fastai's `with` would leave them so for the rest of the process.
@autocast_as_before()
@torch.inference_mode(False)
def train_fold(training, clips, report, threads=None):
    """Train a network on the clips that its fold does not hold out.

    Parameters
    ----------
    training : FoldTraining
    clips : SharedClips
    report : callable
        Called after each step with the number of steps done, and the mean loss and the lwlrap of the last epoch
        (None during the first).
    threads : int, optional
        Of torch, on a CPU. On one kind of CPU they decide the result's last bits.

    Returns
    -------
    tagger : Tagger
        On the CPU.
    record : dict of str to numpy.ndarray
        `loss` of each step, `lwlrap` of each epoch, and `held_out`, the predictions of the clips held out, float32
        (clips, labels), in the order of `training.held_out`; they are what `Ensemble.predict` makes of them.

    Raises
    ------
    FloatingPointError, OutOfMemory
        If a loss is not finite or the GPU has too little memory. The message says of which stage and fold.
    """
    from . import learner  # brings fastai, which takes seconds: not before training begins

    if threads is not None:
        torch.set_num_threads(threads)
    with _named(training):
        if training.process != PROCESS and training.code not in SAME:
            _check_code(training)
        if training.compiled:
            check_compiled(training.device)  # here too, as a cluster's machines differ
        pool = clips.on(training.device)
    news = [0, None, None]

    def on_step():
        news[0] += 1
        report(*news)

    def on_epoch(loss, score):
        news[1:] = loss, score
        report(*news)
    for_network, for_batches = (int(stream.generate_state(1)[0])
                                for stream in np.random.SeedSequence(training.seed).spawn(2))
    generator = torch.Generator(training.device).manual_seed(for_batches)
    with _named(training), torch.random.fork_rng([training.device] if training.device.type == "cuda" else []):
        _seed(training.device, for_network)  # for first weights and dropout, which take no generator
        tagger = Tagger(training.spec, training_precision(training.device), training.compiled)
        if training.start is not None:
            training.start.fill(tagger)
        tagger.to(training.device)
        excerpts = RandomExcerpts(pool, training.trained, training.batch_size, training.steps, generator)
        history = learner.fit(tagger, excerpts, MiddleExcerpts(pool, training.validated), training.epochs, training.lr,
                              compose(training.augmentation), generator, on_step, on_epoch,
                              weight_decay=training.weight_decay, change=training.change)
    with _named(training):
        starts, lengths = pool.starts.cpu().numpy(), pool.lengths.cpu().numpy()
        predicting = for_prediction(copy.deepcopy(tagger), pool.pixels, starts, lengths)
        predictions = [predict(predicting, pool.pixels, starts[numbers], lengths[numbers])
                       for numbers in training.held_out]
    return tagger.cpu(), {"loss": history.losses, "lwlrap": history.lwlraps, "held_out": np.concatenate(predictions)}


def _check_code(training):
    """Raise an ImportError if functions are other code in this process, which has imported them itself."""
    if training.code != imported_code([*training.augmentation, training.change, find(training.spec.network)]):
        raise ImportError(
            f"stage {training.spec.stage}, fold {training.spec.fold}: the code of the network, an augmentation or "
            "change is not what it was where the run began: a module was edited, or given another value, since that "
            "program imported it, or is another one on this machine; begin the program again")
    SAME.add(training.code)


def check_compiled(device):
    """Raise a ValueError where training cannot be compiled."""
    if device.type == "cpu" and training_precision(device) != torch.float32:
        raise ValueError("compiled=True: expected False on a CPU that trains in bfloat16, as this one, where that "
                         "gives NaN when it is compiled (torch 2.15)")


def _seed(device, seed):
    """As `torch.manual_seed`, but for the other GPUs, which are not ours."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextlib.contextmanager
def _named(training):
    """Say of which stage and fold an error is that is no mistake of the program's."""
    try:
        with enough_memory(training.batch_size, training.device):
            yield
    except (FloatingPointError, OutOfMemory) as error:
        raise type(error)(f"stage {training.spec.stage}, fold {training.spec.fold}: {error}. What was finished "
                          "before is kept; running again takes this fold up from its start") from error
