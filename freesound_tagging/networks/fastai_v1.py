"""Learners that fastai 1 exported: what they hold, without fastai 1 and without running anything of it."""

import re
import reprlib
import warnings

import numpy as np
import torch

from ..images.mel import MelConfig
from .layers import exported_layers, exported_tensors, matching_network
from .pickles import Pickles, Thing
from .tensors import Place, check_fit, network_file, read_tensors

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of torch.save before version 1.6
STORAGES = {"FloatStorage": torch.float32, "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
            "DoubleStorage": torch.float64, "LongStorage": torch.int64, "IntStorage": torch.int32,
            "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
            "BoolStorage": torch.bool}
# Whose names are usual in such files. Others do no harm either, but are told.
LIBRARIES = {"__main__", "fastai", "fastprogress", "torch", "torchvision", "numpy", "PIL", "pathlib", "functools",
             "collections"}
USUAL = {"_codecs.encode", *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in (
    "set", "frozenset", "list", "dict", "tuple", "object", "slice", "unicode", "str", "bytes", "int", "float", "bool"))}


class UnknownNames(UserWarning):
    """A file names what exported learners do not usually name. Nothing of it was looked up or run."""


def read_export(path, stage=None, fold=None):
    """Which network a learner is that fastai 1's ``Learner.export`` wrote, and where its numbers are.

    Gives the spec, with `stage` and `fold` as the file does not say them and the `MelConfig` of today, and the places
    of the tensors by their names in the network that the spec builds. A file that is truncated, no such export, or
    holds another network than the published ones is a ValueError that names it, and the first layer that differs.
    """
    with network_file(path, "cannot be imported") as file:
        pickles = Pickles(file)
        try:
            if pickles.load() != MAGIC or pickles.load() != PROTOCOL:
                raise ValueError("it is not in the format that torch wrote before version 1.6")
            if not pickles.load().get("little_endian", True):
                raise ValueError("its numbers are big-endian")
            export = pickles.load()
            _tell_unknown(path, pickles.names)
            if not isinstance(export, dict) or not isinstance(export.get("model"), Thing):
                raise ValueError("it holds no model; expected what Learner.export writes")
            layers, storages = exported_layers(export["model"]), _find_storages(file, pickles)
            mean, std = _normalization(file, export.get("data"), storages)
            spec, names = matching_network(layers, vocabulary=_classes(export["data"], pickles.size), mel=MelConfig(),
                                           mean=mean, std=std, stage=stage, fold=fold)
            places = {f"{name}.{tensor}": _place(thing, storages) for name, layer in zip(names, layers)
                      for tensor, thing in exported_tensors(layer).items()}
            check_fit(spec, places)
            return spec, places
        finally:
            pickles.forget()


def _tell_unknown(path, names):
    unknown = sorted(ascii(name)[1:-1][:80] for name in names - USUAL if name.split(".")[0] not in LIBRARIES)
    if unknown:
        warnings.warn(f"{path} names {', '.join(unknown[:10])}{', ...' * (len(unknown) > 10)}, which exported learners "
                      "do not usually name; nothing of it was looked up or run", UnknownNames, stacklevel=5)


def _find_storages(file, pickles):
    """Where the numbers behind the pickles are: for each key a count, then as many numbers of the key's type."""
    storages = {}
    for key in pickles.load():
        if key not in pickles.storages or pickles.storages[key] not in STORAGES:
            raise ValueError(f"it has numbers of an unknown type, {reprlib.repr(pickles.storages.get(key))}")
        count = int.from_bytes(pickles.take(8), "little", signed=True)
        storages[key] = Place(STORAGES[pickles.storages[key]], (count,), file.tell())
        if count < 0 or storages[key].end > pickles.size:
            raise ValueError("it ends too early")
        file.seek(storages[key].end)
    return storages


def _place(tensor, storages):
    """Where the numbers of a tensor are in the file."""
    if tensor.name != "torch._utils._rebuild_tensor_v2":
        raise ValueError(f"it has {tensor} in place of a tensor")
    (_, _, key, _, _, view, *_), offset, shape, stride, *_ = tensor.arguments[0].arguments, *tensor.arguments[1:]
    dtype, (count,), start = storages[key]
    said = f"a tensor of size {reprlib.repr(shape)} and stride {reprlib.repr(stride)}"
    if view is not None or len(shape) != len(stride) or len(shape) > 4 or not all(
            type(n) is int and n >= 0 for n in (offset, *shape, *stride)):
        raise ValueError(f"{said} is stored in a way that torch 1.0 did not write")
    numbers = 1
    for n, step in zip(reversed(shape), reversed(stride)):
        if n != 1 and step != numbers:
            raise ValueError(f"{said} is not stored in order")
        numbers *= n
    if offset + numbers > count:
        raise ValueError(f"{said} lies outside of its {count} numbers")
    return Place(dtype, tuple(shape), start + offset * dtype.itemsize)


def _normalization(file, data, storages):
    normalize = data.get("normalize") if isinstance(data, dict) else None
    if not isinstance(normalize, dict) or not all(isinstance(normalize.get(k), Thing) for k in ("mean", "std")):
        raise ValueError("it holds no normalization of the input")
    places = {name: _place(normalize[name], storages) for name in ("mean", "std")}
    if any(place.shape != (3,) for place in places.values()):
        raise ValueError(f"its normalization is of {' and '.join(str(p.shape) for p in places.values())} channels; "
                         "expected 3")
    return [tuple(tensor.tolist()) for tensor in read_tensors(file, places).values()]


def _classes(data, size):
    """The labels; `size` is that of the file, more than which they cannot be."""
    steps = data.get("y_proc")
    found = [step.state["classes"] for step in (steps if isinstance(steps, list) else [steps])
             if isinstance(step, Thing) and isinstance(step.state, dict) and "classes" in step.state]
    if not found:
        raise ValueError("it holds no list of classes")
    classes, left = found[0], size
    if isinstance(classes, Thing) and classes.name.endswith("multiarray._reconstruct"):
        _, _, dtype, _, content = classes.state
        classes = content if isinstance(content, list) else _unicode(dtype, content)  # a list, where of objects
    labels = []
    for label in classes if isinstance(classes, list) else ():
        if isinstance(label, Thing) and label.name.endswith("multiarray.scalar"):
            left -= len(label.arguments[1].arguments[0])  # the same text could stand for many
            if left < 0:
                raise ValueError("its classes are longer than the file")
            (label,) = _unicode(*label.arguments)
        labels.append(label)
    return tuple(labels)


def _unicode(dtype, content):
    """Texts out of what numpy wrote: dtype("<U34") and the bytes, as ``_codecs.encode(text, "latin1")``."""
    kind, order = dtype.arguments[0], dtype.state[1]
    if not re.fullmatch(r"U[1-9]\d{0,5}", kind) or order not in ("<", ">"):
        raise ValueError(f"its classes are of type {reprlib.repr(kind)}; expected texts")
    return np.frombuffer(content.arguments[0].encode("latin1"), order + kind).tolist()
