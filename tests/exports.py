"""Files as fastai 1's Learner.export wrote them, made without fastai 1."""

import sys
import types
import warnings

import torch
from torch import nn

fastai = types.ModuleType("fastai.layers")  # only while a file is written: pickle looks classes up


class AdaptiveConcatPool2d(nn.Module):
    """fastai's, by its name and its children."""

    def __init__(self, size=1):
        super().__init__()
        self.ap, self.mp = nn.AdaptiveAvgPool2d(size), nn.AdaptiveMaxPool2d(size)


class Flatten(nn.Module):
    """fastai's, by its name."""

    def __init__(self, full=False):
        super().__init__()
        self.full = full


for layer in (AdaptiveConcatPool2d, Flatten):
    layer.__module__ = "fastai.layers"
    setattr(fastai, layer.__name__, layer)


def as_fastai(network):
    """Our network as fastai builds it: a list of layers in which two stand for our one pool."""
    return nn.Sequential(network[0], nn.Sequential(AdaptiveConcatPool2d(), Flatten(), *list(network[1])[1:]))


def save_like_torch_1_0(path, model, classes=("Bark", "Meow"), mean=(0.5, 0.4, 0.3), **more):
    """A file as Learner.export wrote it; `classes` as they are, a tuple as a list."""
    processor = nn.Identity()
    processor.classes = list(classes) if isinstance(classes, tuple) else classes
    export = {"wd": 0.01, "model": model, "data": {"y_proc": [processor], "normalize": {
        "mean": torch.tensor(mean), "std": torch.tensor([0.2] * 3), "do_x": True}}, **more}
    known = {name: sys.modules.get(name) for name in ("fastai", "fastai.layers")}
    sys.modules |= {"fastai": fastai, "fastai.layers": fastai}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Couldn't retrieve source code")
            torch.save(export, path, _use_new_zipfile_serialization=False)
    finally:
        for name, module in known.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    return path
