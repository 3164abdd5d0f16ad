"""What the study compares: the published pipeline, single trainings, and what differs from it in one thing each."""

import dataclasses

from benchmarks.evidence.comparison import PIPELINE, REGNET, VGG_16
from freesound_tagging.augment import PUBLISHED, lighting, mixup, specmix, zoom_crop

ALONE = (zoom_crop, lighting)  # what changes each image alone


@dataclasses.dataclass(frozen=True)
class Arm:
    """What is trained: the pipeline but for what is given here, or a single training."""

    augmentation: tuple = PUBLISHED
    single: str | None = None  # "curated" or "all": one training on these clips in place of four stages
    stages: object = None  # changes the published stages
    shared: tuple = ()  # stages that are taken from the pipeline of the same unit
    network: str = "cnn-model-1"
    both: bool = False  # scores its ensemble with the pipeline's too
    every_unit: bool = True  # or only those of the first seed


def selecting_nothing(stages):
    """The published stages with stages 3 and 4 on curated clips alone."""
    return tuple(dataclasses.replace(config, selects_from=None, scored_by=()) if config.selects_from else config
                 for config in stages)


ARMS = {
    PIPELINE: Arm(),
    "a: curated, no augmentation": Arm((), "curated"),
    "b: curated, augmented": Arm(single="curated"),
    "c: curated and all noisy, augmented": Arm(single="all"),
    "e: mixup only": Arm((*ALONE, mixup)),
    "e: SpecMix only": Arm((*ALONE, specmix)),
    "e: neither": Arm(ALONE),
    "j: stages 3 and 4 on curated clips": Arm(stages=selecting_nothing, shared=(1, 2)),
    VGG_16: Arm(network="vgg16", both=True),
    REGNET: Arm(network="timm:regnetx_002", both=True, every_unit=False),  # of 8 channels' arithmetic, on 64 x 64
}
