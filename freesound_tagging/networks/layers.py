"""Which of our networks an exported one is.

A file holds what its layers are called, their settings and their numbers, but not their code: so each is compared with
the layer of our network that stands in its place, and the first that differs refuses the file.
"""

import functools
import inspect
import itertools
import reprlib
from typing import NamedTuple

from torch import nn

from .head import ConcatPool
from .pickles import Thing
from .tagger import NetworkSpec

NETWORKS = (("cnn-model-1", {}), ("vgg16", {"body_pool": 7}), ("vgg16", {"body_pool": 0}))
NOT_COMPARED = {"training", "inplace", "momentum", "p"}  # they change nothing in evaluation mode
MODULES_AT_MOST = 1000


class Layer(NamedTuple):
    """A layer of an exported network."""

    name: str  # where it stands, such as "0.0.3.conv1.0"
    kind: str  # its class, as `_kind` has it
    state: dict  # its attributes


def exported_layers(model):
    """The layers of an exported network, in the order in which it computes them.

    fastai's pool of maximum and mean with its Flatten is one, our `ConcatPool`. Layers that cannot be told from the
    file, as code of its own stands between them or they are nested without end, are a ValueError.
    """
    layers = []
    for layer in _layers(model, iter(range(MODULES_AT_MOST))):
        if layers and _flattens(layer) and _pools_maximum_and_mean(layers[-1]):
            layers[-1] = layers[-1]._replace(kind=_kind_of(ConcatPool()))
        else:
            layers.append(layer)
    return layers


def matching_network(layers, **described):
    """Which of our networks some layers are: its spec, which gets `described`, and what it calls each of them.

    If they are none, the ValueError has the first layer that differs from the network that is nearest, and how.
    """
    width = next((layer.state.get("out_channels") for layer in layers if layer.kind == "torch.nn.Conv2d"), 64)
    specs = [NetworkSpec(network, {"width": width, **options}, **described) for network, options in NETWORKS]

    def likeness(ours):
        return sum(layer.kind == _kind_of(our) for layer, our in zip(layers, ours.values())) - abs(
            len(layers) - len(ours))
    spec, ours = max(((spec, _own_layers(spec)) for spec in specs), key=lambda found: likeness(found[1]))
    for layer, (name, our) in itertools.zip_longest(layers, ours.items(), fillvalue=(None, None)):
        if layer == (None, None):
            raise ValueError(f"it holds another network than {spec.network}: it ends where "
                             f"{_kind_of(our)} is expected, at {name}")
        if difference := _difference(layer, our):
            raise ValueError(f"it holds another network than {spec.network}, the nearest: {layer.name[:80]} "
                             f"{difference}")
    return spec, list(ours)


def exported_tensors(layer):
    """The parameters and buffers of a layer, by name."""
    return {name: tensor for group in ("_parameters", "_buffers")
            for name, tensor in (layer.state.get(group) or {}).items() if tensor is not None}


def _kind(name):
    """A class by its name; torch's are the same in whichever module of torch.nn they are."""
    return f"torch.nn.{name.split('.')[-1]}" if name.startswith("torch.nn.modules.") else name


def _kind_of(module):
    return _kind(f"{type(module).__module__}.{type(module).__name__}")


def _own_layers(spec):
    """The layers of our network by name; without weights."""
    return {name: layer for name, layer in spec.outline().named_modules() if not list(layer.children())}


def _layers(module, budget, name=""):
    if next(budget, None) is None or name.count(".") > 20:
        raise ValueError(f"its modules are nested without end, or more than {MODULES_AT_MOST}")
    kind, children = _kind(module.name), module.state.get("_modules") or {}
    is_block = kind.split(".")[-1] == "ConvBlock" and list(children) == ["conv1", "conv2"]
    if not is_block and kind != "torch.nn.Sequential":
        yield Layer(name, kind, module.state)
        return
    if own := _own_code(module.state, nn.Sequential):
        raise ValueError(f"it cannot be told what it computes: {name or 'its model'} {own}")
    for key, child in children.items():
        yield from _layers(child, budget, f"{name}.{key[:80]}".lstrip("."))
    if is_block:  # the author's class, whose code is not in the file: conv1, conv2, then F.avg_pool2d(x, 2)
        yield Layer(f"{name}.pool", _kind_of(nn.AvgPool2d(2)), vars(nn.AvgPool2d(2)))


def _pools_maximum_and_mean(layer):
    children = layer.state.get("_modules") or {}
    return layer.kind == "fastai.layers.AdaptiveConcatPool2d" and not _own_code(layer.state, nn.Module) and all(
        name in children and not _difference(Layer(name, _kind(children[name].name), children[name].state), pool)
        for name, pool in (("ap", nn.AdaptiveAvgPool2d(1)), ("mp", nn.AdaptiveMaxPool2d(1))))


def _flattens(layer):
    if layer.kind == "fastai.layers.Lambda":  # of early versions
        function = layer.state.get("func")
        flat = isinstance(function, Thing) and function.name.lower().endswith("flatten")
    else:
        flat = layer.kind == "fastai.layers.Flatten" and not layer.state.get("full")
    return (flat and not _own_code(layer.state, nn.Module)) or not _difference(layer, nn.Flatten())


def _own_code(state, kind):
    """What in the state of a module makes it compute something else than its class does, in words."""
    hooks = [name for name in ("_forward_hooks", "_forward_pre_hooks") if state.get(name)]
    methods = [name for name in state if callable(getattr(kind, name, None))]
    return f"has code of its own in {', '.join([*hooks, *methods])[:200]}" if hooks or methods else None


def _difference(layer, ours):
    """How an exported layer differs from one of ours in what it computes, in words; None if it does not."""
    if ours is None or layer.kind != _kind_of(ours):
        return f"is {layer.kind[:80]}, expected {'no more layers' if ours is None else _kind_of(ours)}"
    if own := _own_code(layer.state, type(ours)):
        return own
    settings = {name: value for name, value in vars(ours).items()
                if not name.startswith("_") and name not in NOT_COMPARED}
    if isinstance(ours, nn.ReLU):
        settings |= {"threshold": 0, "value": 0}  # torch 1.0 kept them
    if isinstance(ours, ConcatPool):
        settings = {}
    for name, value in settings.items():
        theirs = layer.state.get(name, _defaults(type(ours)).get(name, value))  # what its torch did not have yet
        if not _same(theirs, value):
            return f"has {name} {reprlib.repr(theirs)}, expected {value!r}"
    return None


@functools.cache
def _defaults(kind):
    return {name: parameter.default for name, parameter in inspect.signature(kind).parameters.items()}


def _same(a, b):
    """Whether two settings are the same, a number for both sides being as good as a pair."""
    a, b = (tuple(x) if isinstance(x, (list, tuple)) else (x,) for x in (a, b))
    return a == b or (len(a) == 1 and a * len(b) == b) or (len(b) == 1 and a == b * len(a))
