"""What the study compares: the published pipeline, single trainings, and what differs from it in one thing each."""

import dataclasses

import numpy as np
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from benchmarks.evidence.comparison import PIPELINE, REGNET, VGG_16
from freesound_tagging.augment import PUBLISHED, lighting, mixup, specmix, zoom_crop
from freesound_tagging.lwlrap import clip_lwlrap
from freesound_tagging.training.learner import Callback, OptimWrapper
from freesound_tagging.training.stages import StageConfig

ALONE = (zoom_crop, lighting)  # what changes each image alone


@dataclasses.dataclass(frozen=True)
class Arm:
    """What is trained: the pipeline but for what is given here, or a single training."""

    augmentation: tuple = PUBLISHED
    single: str | None = None  # "curated" or "all": one training on these clips in place of four stages
    stages: object = None  # changes the published stages
    shared: tuple = ()  # stages that are taken from the pipeline of the same unit
    network: str = "cnn-model-1"
    padding: str = "reflect"  # of a signal's ends
    change: object = None  # of the fastai Learner of each training
    trained_targets: object = None  # makes other labels to train on, of the pipeline's run
    both: bool = False  # scores its ensemble with the pipeline's too
    every_unit: bool = True  # or only those of the first seed


def changed(*which, **settings):
    """The published stages with other settings of some."""
    return lambda stages: tuple(dataclasses.replace(config, **settings) if config.stage in which else config
                                for config in stages)


def with_fifth(**settings):
    """The published stages and a fifth, which goes on from the fourth for as many steps."""
    return lambda stages: (*stages, StageConfig(5, **{
        "starts_from": 4, "trains_on": ("curated",), "passes": stages[-1].passes, "lr": stages[-1].lr,
        "least_steps": stages[-1].least_steps, "votes": False} | settings))  # the files of earlier stages are shared


def torchs_optimizer(learner):
    """Adam's second beta 0.999, and no weight decay of biases and of batch normalization, in place of fastai 1's."""
    groups = [{"params": [p for p in learner.model.parameters() if (p.ndim > 1) == decayed],
               "weight_decay": learner.wd * decayed} for decayed in (True, False)]
    learner.opt_func, learner.wd = OptimWrapper(opt=torch.optim.AdamW(groups, fused=True)), None


def averaged_weights(learner):
    """As `AveragedWeights`."""
    learner.add_cb(AveragedWeights())


class AveragedWeights(Callback):
    """Leaves the exponential moving average of weights and of batch normalization's statistics behind."""

    decay = 0.98  # over about the last 50 steps

    def before_fit(self):
        self.average = AveragedModel(self.learn.model, multi_avg_fn=get_ema_multi_avg_fn(self.decay), use_buffers=True)

    def after_batch(self):
        if self.training:
            self.average.update_parameters(self.learn.model)

    def after_fit(self):
        self.learn.model.load_state_dict(self.average.module.state_dict())


def soft_targets(run):
    """Of the noisy clips: their labels as far as models 3 and 4 trust them, for the rest what these models say.

    Trust is the geometric mean of the clip's lwlrap under its labels, as stage 3 selects by.
    """
    noisy = run.clips.is_of("noisy")
    given, predictions = run.targets[noisy], [run.out_of_fold(stage)[noisy] for stage in (3, 4)]
    trust = np.sqrt(np.prod([clip_lwlrap(given, scores) for scores in predictions], axis=0))[:, None]
    targets = run.targets.copy()
    targets[noisy] = trust * given + (1 - trust) * np.mean(predictions, axis=0)
    return targets


ARMS = {
    PIPELINE: Arm(),
    "a: curated, no augmentation": Arm((), "curated"),
    "b: curated, augmented": Arm(single="curated"),
    "c: curated and all noisy, augmented": Arm(single="all"),
    "e: mixup only": Arm((*ALONE, mixup)),
    "e: SpecMix only": Arm((*ALONE, specmix)),
    "e: neither": Arm(ALONE),
    "j: stages 3 and 4 on curated clips": Arm(stages=changed(3, 4, selects_from=None, scored_by=()), shared=(1, 2)),
    "h: a fifth stage like the fourth": Arm(
        stages=with_fifth(selects_from="noisy", scored_by=(4,), threshold=1.0), shared=(1, 2, 3, 4)),
    "h: a fifth stage on soft labels": Arm(
        stages=with_fifth(trains_on=("curated", "noisy")), shared=(1, 2, 3, 4), trained_targets=soft_targets),
    "h: averaged weights in stage 4": Arm(shared=(1, 2, 3), change=averaged_weights),
    "h: stage 4 without mixing": Arm(ALONE, shared=(1, 2, 3)),
    "f: no cap": Arm(stages=changed(3, cap=None), shared=(1, 2), every_unit=False),
    "f: cap 2": Arm(stages=changed(3, cap=2), shared=(1, 2), every_unit=False),
    VGG_16: Arm(network="vgg16", both=True),
    REGNET: Arm(network="timm:regnetx_002", both=True, every_unit=False),  # of 8 channels' arithmetic, on 64 x 64
    "i: padded with zeros": Arm(padding="constant", every_unit=False),
    "i: torch's optimizer": Arm(change=torchs_optimizer, every_unit=False),
}
