"""Networks by name: `create`, and the two published ones in plain torch."""

import functools
import importlib
import inspect
import reprlib
import sys
from itertools import pairwise

from torch import nn

from ..machine.checks import of_python
from .head import with_head

# How they begin, for runs to be told apart: torch 1.0.1 starts the weights of every batch normalization from U(0, 1),
# and only those of the bodies are set to 1 afterwards, by the author's ConvBlock and by torchvision 0.2.2.
FIRST_WEIGHTS = "Kaiming-normal; batch normalizations of bodies 1, of heads U(0, 1)"
VGG16 = [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"]
WIDTH_AT_MOST = 4096  # 64 times what is published
VALUES = (bool, int, float, str, type(None))  # that an option may have: what a file can say


class UntrustedCode(ImportError):
    """A file's network is code that this program has not asked for itself."""


def cnn_model_1(n_classes, width=64):
    """CNN-model-1: four blocks of two convolutions, then the head (the published system's Table 1).

    Parameters
    ----------
    n_classes : int
        Labels.
    width : int
        Channels of the first block; 64 as published. The other blocks have 2, 4 and 8 times as many.

    Returns
    -------
    BodyAndHead
        Takes normalized images (batch, 3, 128, 128), gives logits (batch, n_classes).

    Raises
    ------
    ValueError
        If the width is not 1 to 4096.
    """
    _check_width(width)
    channels = [3, width, 2 * width, 4 * width, 8 * width]
    body = nn.Sequential(*[layer for block in pairwise(channels) for layer in _block(*block)])
    return with_head(body, channels[-1], n_classes, fan="fan_in")


def vgg16_bn(n_classes, width=64, body_pool=7):
    """VGG-16 with batch normalization: torchvision's body, untrained, with the head of CNN-model-1.

    fastai 1.0.51 cuts torchvision's network before its classifier and not before the pool that stands there, so that
    a body of 4 x 4 is spread to 7 x 7 before the head looks at it: the head's maximum is the same, its mean a weighted
    one.

    Parameters
    ----------
    n_classes : int
        Labels.
    width : int
        Channels of the first block; 64 as in torchvision. All other layers keep their proportion to it.
    body_pool : {7, 0}
        The size that the adaptive average pool between body and head gives; 0 for no such pool.

    Returns
    -------
    BodyAndHead
        Takes normalized images (batch, 3, 128, 128), gives logits (batch, n_classes).

    Raises
    ------
    ValueError
        If the width is not 1 to 4096, or the pool another one.

    References
    ----------
    Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015,
    configuration D.
    """
    _check_width(width)
    if type(body_pool) is not int or body_pool not in (0, 7):
        raise ValueError(f"body_pool={reprlib.repr(body_pool)}: expected 7, or 0 for none")
    body, n_in = nn.Sequential(), 3
    for layer in VGG16:
        if layer == "M":
            body.append(nn.MaxPool2d(2))
        else:
            n_out = layer * width // 64
            body.extend(_convolution(n_in, n_out))
            n_in = n_out
    if body_pool:
        body.append(nn.AdaptiveAvgPool2d(body_pool))
    return with_head(body, n_in, n_classes, fan="fan_out")


NETWORKS = {"cnn-model-1": cnn_model_1, "vgg16": vgg16_bn}  # what a file may ask for, beside timm's; `register` adds
# The names of the two networks of the published system.
PUBLISHED_NETWORKS = tuple(NETWORKS)


def create(name, n_classes, /, **options):
    """A network with new weights.

    Parameters
    ----------
    name : str
        ``"cnn-model-1"`` or ``"vgg16"``; ``"timm:NAME"``, a body of timm with the head of the published networks; or
        ``"package.module:function"``, a function of one's own, which is imported: it takes `n_classes` and the options
        and gives a torch.nn.Module from images, float32 (batch, 3, mel bands, frames), to logits (batch, n_classes).
    n_classes : int
        Labels.
    **options
        Those of the function; of the published networks ``width``, of VGG-16 ``body_pool``, of timm's ``pretrained``.
        One that is called ``pretrained`` says how weights begin, and is False where they come from a file.

    Returns
    -------
    torch.nn.Module

    Raises
    ------
    ImportError
        If a library is missing, or there is no such module or function.
    ValueError
        If there is no network of this name, or its options are others.
    """
    return find(name)(n_classes, **dict(complete(name, options)))


def register(name):
    """Import a network of one's own, and let weight files ask for it; no file has anything imported by itself.

    `create` and `NetworkSpec` do the same.

    Parameters
    ----------
    name : str
        ``"package.module:function"``.

    Returns
    -------
    callable
        The function.

    Raises
    ------
    ImportError
        If there is no such module or function.
    """
    module, _, function = name.partition(":")
    if name in NETWORKS and not hasattr(sys.modules.get(module), function):  # a published one, or a program's own
        return NETWORKS[name]
    try:  # each time, as a module may have been read again
        found = getattr(importlib.import_module(module), function)
        if not callable(found):
            raise TypeError(f"{function} is {reprlib.repr(found)}, and no function")
        NETWORKS[name] = found
    except (AttributeError, ImportError, TypeError, ValueError) as error:
        raise ImportError(f"network {reprlib.repr(name)} cannot be imported ({error}); expected "
                          "package.module:function") from error
    return found


_the_partial = functools.cache(functools.partial)  # the same for the same body


def find(name):
    """The function of a network; imports it if it is one's own."""
    if isinstance(name, str) and name.startswith("timm:"):
        from .timm_bodies import check_body, with_timm_body  # timm takes seconds to import

        body = name.removeprefix("timm:")
        check_body(body)
        return _the_partial(with_timm_body, body)
    if isinstance(name, str) and (name in NETWORKS or all(name.partition(":"))):
        return register(name)
    raise ValueError(f"network {reprlib.repr(name)}: expected one of {', '.join(PUBLISHED_NETWORKS)}, timm:NAME or "
                     "package.module:function")


def check_trusted(name):
    """Raise an `UntrustedCode` if a network that a file asks for is code which this program has not asked for."""
    if isinstance(name, str) and ":" in name and name not in NETWORKS and not name.startswith("timm:"):
        raise UntrustedCode(f"its network is {reprlib.repr(name)}, and no code is imported because a file names it; if "
                            "you trust it, give the profile by which it was trained (--profile FILE, PROFILE=FILE), or "
                            "call freesound_tagging.networks.register with that name first", name=name)


def complete(name, options):
    """The options of a network as sorted pairs, its defaults among them; its values are for the network to judge."""
    n_classes, *parameters = inspect.signature(find(name)).parameters.values() or [None]
    if n_classes is None:
        raise ValueError(f"{name} takes no arguments: expected a function of the number of labels and its options")
    known = {p.name: p.default for p in parameters if p.kind is not p.VAR_KEYWORD}
    options = {option: of_python(value) for option, value in options.items()}
    for option, value in options.items():
        if option not in known and len(known) == len(parameters):
            raise ValueError(f"{name} has no option {reprlib.repr(option)}: expected one of {', '.join(known)}")
        if not isinstance(option, str) or not isinstance(value, VALUES):
            raise ValueError(f"option {reprlib.repr(option)}={reprlib.repr(value)}: expected a text, a number, True, "
                             "False or None, by its name")
    if missing := [option for option in known if known[option] is inspect.Parameter.empty and option not in options]:
        raise ValueError(f"{name} needs the option {missing[0]}")
    return tuple(sorted({**known, **options}.items()))


def _check_width(width):
    if type(width) is not int or not 1 <= width <= WIDTH_AT_MOST:  # not isinstance: True is no count
        raise ValueError(f"width={reprlib.repr(width)}: expected a whole number from 1 to {WIDTH_AT_MOST}")


def _block(n_in, n_out):
    return [*_convolution(n_in, n_out), *_convolution(n_out, n_out), nn.AvgPool2d(2)]


def _convolution(n_in, n_out):
    return [nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(inplace=True)]
