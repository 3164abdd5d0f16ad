"""One training: a fastai Learner around batches and their augmentation."""

import tempfile
import warnings
from functools import partial

import numpy as np
import torch
import torch._dynamo  # its optimizers import it when the first is made, where an interrupt would leave half of it

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # fastai uses what newer torch and pandas call deprecated
    import fastai.callback.schedule  # noqa: F401  (gives Learner its fit_one_cycle)
    from fastai.callback.core import Callback, CancelFitException, TrainEvalCallback
    from fastai.callback.fp16 import MixedPrecision
    from fastai.callback.tracker import TerminateOnNaNCallback
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner, Recorder
    from fastai.optimizer import OptimWrapper

from ..clips.tables import few
from ..lwlrap import lwlrap
from ..machine.device import enough_memory, prepare_device


class AugmentBatch(Callback):
    """Apply a function of `augment`, or several with `augment.compose`, to each training batch.

    Parameters
    ----------
    augmentation : callable
        ``(images, targets, generator=)`` to new images and targets.
    generator : torch.Generator, optional
        On the batches' device.
    """

    run_valid = False

    def __init__(self, augmentation, generator=None):
        self.augmentation, self.generator = augmentation, generator

    def before_batch(self):
        images, targets = self.augmentation(*self.xb, *self.yb, generator=self.generator)
        self.learn.xb, self.learn.yb = (images,), (targets,)


class LossScaling(Callback):
    """Loss scaling for float16: a step whose gradients overflow is skipped, without the host ever waiting to know.

    torch's scaler tells a fused optimizer on the device. fastai's `MixedPrecision` puts itself between the two, and
    fetches at each step whether there was an overflow. Gradients are scaled back where it does that: callbacks that
    gather them come before, those that clip them behind.
    """

    order = MixedPrecision.order

    def before_fit(self):
        self.learn.loss_scaler = torch.amp.GradScaler(self.learn.dls.device.type)

    def before_backward(self):
        self.learn.loss_grad = self.learn.loss_scaler.scale(self.learn.loss_grad)

    def before_step(self):
        self.learn.loss_scaler.unscale_(self.learn.inmost_optimizer())

    def after_step(self):
        self.learn.loss_scaler.update()


class History(Callback):
    """The training loss of every step and the validation's lwlrap of every epoch.

    fastai's own recorder fetches the loss from the device after each step, which makes host and device wait for each
    other; this one keeps it there and fetches it once an epoch.

    Parameters
    ----------
    on_step : callable, optional
        Called without arguments after each step.
    on_epoch : callable, optional
        Called with (mean loss of the epoch, lwlrap) after each epoch.

    Attributes
    ----------
    losses : list of float
    lwlraps : list of float
        NaN where the validation has no clips.
    broken : int or None
        The step of the last epoch whose loss, or else its validation, was not finite; training ends with that epoch.
    """

    order = TerminateOnNaNCallback.order - 1  # which ends a training at once: the loss is noted before

    def __init__(self, on_step=None, on_epoch=None):
        self.on_step, self.on_epoch, self.broken = on_step, on_epoch, None

    def before_fit(self):
        self.losses, self.lwlraps, self.pending, self.outputs, self.broken = [], [], [], [], None

    def after_batch(self):
        if self.training:
            self.pending.append(self.loss.detach())
            if self.on_step:
                self.on_step()
        else:
            self.outputs.append((self.yb[0], self.pred))

    def _fetch(self):
        """Fetch the losses of the epoch, and what its validation has said: (losses, truth, scores)."""
        losses = torch.stack(self.pending).float().cpu().tolist() if self.pending else []
        truth, scores = (torch.cat(parts).cpu().numpy() for parts in zip(*self.outputs)) if self.outputs else ([], [])
        finite = np.append(np.isfinite(losses), np.isfinite(scores).all())
        if not finite.all():
            self.broken = min(int(finite.argmin()), len(losses) - 1)
        self.pending, self.outputs = [], []
        return losses, truth, scores

    def after_cancel_fit(self):
        self._fetch()  # of an epoch that another callback has ended: whether it was finite

    def after_epoch(self):
        losses, truth, scores = self._fetch()
        self.losses += losses
        if self.broken is not None:
            raise CancelFitException
        self.lwlraps.append(lwlrap(truth, scores) if len(truth) else float("nan"))
        if self.on_epoch:
            self.on_epoch(float(np.mean(losses)), self.lwlraps[-1])


class TaggerLearner(Learner):
    """A fastai Learner over batches that are cut on their device, and not over items."""

    loss_scaler = None  # a torch.amp.GradScaler in float16 (`LossScaling`)

    def inmost_optimizer(self):
        """torch's optimizer that fastai's wraps, or one of fastai's own."""
        return self.opt.opt if isinstance(self.opt, OptimWrapper) else self.opt

    def _step(self):
        if self.loss_scaler is None:
            super()._step()
        else:
            self.loss_scaler.step(self.inmost_optimizer())

    def export(self, *_, **__):
        """Raises, and says how a trained network is kept."""
        raise NotImplementedError("batches without items cannot be exported: networks.save_tagger(learn.model, path) "
                                  "keeps the network with all that has to be known of it, and load_tagger reads it")

    def show_results(self, *_, **__):
        """Raises, and says how results are shown."""
        raise NotImplementedError("batches without items cannot be shown: notebook.predictions_figure shows what a "
                                  "network says of a store's clips, learn.get_preds() has the numbers")


def make_learner(tagger, train, valid, augmentation=None, generator=None, weight_decay=0.01, cbs=(), recorder=True):
    """A fastai Learner: binary cross-entropy with logits, AdamW, the batch augmented on the device.

    The optimizer is fastai 1.0.51's default, by which the published system was trained: betas (momentum, 0.99),
    epsilon 1e-8, and decoupled weight decay of all parameters, those of batch normalization and biases too.

    Parameters
    ----------
    tagger : Tagger
        Its `precision` decides what is computed in; float16 adds loss scaling.
    train, valid : iterable with a length
        Batches of (images, targets), such as `RandomExcerpts` and `MiddleExcerpts`.
    augmentation : callable, optional
        See `AugmentBatch`.
    generator : torch.Generator, optional
        For the augmentation.
    weight_decay : float
    cbs : sequence of fastai.callback.core.Callback
    recorder : bool
        With fastai's recorder, which `lr_find` and `learn.recorder` need; it waits for the device at each step.

    Returns
    -------
    fastai.learner.Learner
        `fit_one_cycle`, `lr_find`, `get_preds` (probabilities), `validate`, `save` and `load` are fastai's own.
    """
    # One fused kernel for all parameters, where fastai's own optimizers loop over them in Python.
    optimizer = partial(OptimWrapper, opt=torch.optim.AdamW, betas=(0.95, 0.99), eps=1e-8, fused=True)
    cbs = [TrainEvalCallback(), *cbs]
    if augmentation is not None:
        cbs.append(AugmentBatch(augmentation, generator))
    if tagger.precision == torch.float16:
        cbs.append(LossScaling())
    if recorder:
        cbs.append(Recorder(valid_metrics=len(valid) > 0))
    loss = torch.nn.BCEWithLogitsLoss()
    loss.activation = torch.sigmoid  # by which fastai makes probabilities of logits
    return TaggerLearner(DataLoaders(train, valid, device=train.device), tagger, loss, optimizer, cbs=cbs,
                         default_cbs=False, wd=weight_decay)


def fit_one_cycle(learner, epochs, lr):
    """`Learner.fit_one_cycle` with the cycle of fastai 1.0.51.

    The first 30 % of the steps rise from lr/25 to lr, the others fall to lr/250,000; momentum goes from 0.95 to 0.85
    and back; all by cosine.

    Parameters
    ----------
    learner : fastai.learner.Learner
    epochs : int
    lr : float
        The greatest learning rate of the cycle.
    """
    steps = epochs * len(learner.dls.train)
    rising = int(0.3 * steps) / steps  # fastai 1 counts whole steps
    learner.fit_one_cycle(epochs, lr, div=25, div_final=25e4, pct_start=rising, moms=(0.95, 0.85, 0.95))


def _change(learner, change, tagger):
    """Have somebody's function change a Learner, and refuse what would be lost."""
    callbacks, parameters = [*learner.cbs], {*tagger.parameters()}
    given = change(learner)
    if isinstance(given, Learner) and given is not learner:
        raise ValueError("change returned another Learner, which would not be trained: change the one that it is given")
    if learner.model is not tagger:
        raise ValueError("change gave the Learner another model, which would be trained and not kept: change its "
                         "layers, or name a network of your own in the profile")
    optimizer = learner.opt or (isinstance(learner.opt_func, OptimWrapper) and learner.opt_func)
    if optimizer and (lost := {*tagger.parameters()} - parameters - {*optimizer.all_params().itemgot(0)}):
        names = [name for name, parameter in tagger.named_parameters() if parameter in lost]
        raise ValueError(f"change made an optimizer that does not have {few(names)}, which would not be trained: "
                         "replace layers first, and leave the optimizer to fastai or make it of all parameters")
    if {*learner.cbs} - {*callbacks} and not any(isinstance(callback, Recorder) for callback in learner.cbs):
        learner.add_cb(Recorder(valid_metrics=len(learner.dls.valid) > 0))


def fit(tagger, train, valid, epochs, lr, augmentation=None, generator=None, on_step=None, on_epoch=None,
        weight_decay=0.01, change=None):
    """Train a network as fastai 1.0.51 does by default: `make_learner`, then `fit_one_cycle`.

    Parameters
    ----------
    tagger : Tagger
        Trained in place; in evaluation mode afterwards.
    train, valid, augmentation, generator
        As for `make_learner`.
    epochs : int
    lr : float
        The greatest learning rate of the cycle.
    on_step, on_epoch : callable, optional
        As for `History`.
    weight_decay : float
    change : callable, optional
        Given the Learner before it trains; changes it in place. With callbacks of its own it has fastai's recorder,
        which these may read.

    Returns
    -------
    History

    Raises
    ------
    FloatingPointError
        If a loss is not finite. The message names the clips of its batch.
    OutOfMemory
        If a batch does not fit on the GPU.
    """
    prepare_device(train.device)
    history = History(on_step, on_epoch)
    learner = make_learner(tagger, train, valid, augmentation, generator, weight_decay, [history], recorder=False)
    failed = None
    with tempfile.TemporaryDirectory() as learner.model_dir:  # SaveModelCallback would take up another fold's file
        if change is not None:
            _change(learner, change, tagger)
        try:
            with enough_memory(train.batch_size, train.device), learner.no_logging():
                fit_one_cycle(learner, epochs, lr)
        except Exception as error:
            if history.broken is None:
                raise
            failed = error  # of a callback that had nothing to go on with, as SaveModelCallback in a first epoch
    if history.broken is not None:
        epoch = len(history.lwlraps) + 1
        raise FloatingPointError(
            f"the loss is not finite in step {history.broken + 1} of epoch {epoch} of {epochs}. Its batch: "
            f"{few(train.fnames(history.broken), 16)}. Listen to these clips, or lower the learning rate of {lr:g}"
            ) from failed
    tagger.eval()
    return history
