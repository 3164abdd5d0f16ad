"""Functions that a run is told to use: found by the name that a file has, and known again by what they compute."""

import ast
import difflib
import hashlib
import importlib
import inspect
import textwrap
from functools import partial

import torch

from .. import augment

AUGMENTATIONS = ("zoom_crop", "lighting", "mixup", "specmix", "spec_augment")


def augmentation_named(name, **settings):
    """An augmentation by its name.

    Parameters
    ----------
    name : str
        One of `AUGMENTATIONS`, which are functions of `augment`, or ``"module:function"`` for a function of one's own.
    **settings
        Its keyword arguments.

    Returns
    -------
    callable
        With settings, a `functools.partial`.

    Raises
    ------
    ValueError
        If there is no such function, or it does not take the settings.
    """
    if ":" in name:
        module, _, attribute = name.partition(":")
        try:
            function = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"augmentation {name!r} cannot be found ({error}); expected module:function, where Python "
                             "finds the module") from error
    elif name in AUGMENTATIONS:
        function = getattr(augment, name)
    else:
        near = difflib.get_close_matches(name, AUGMENTATIONS, 1)
        raise ValueError(f"augmentation {name!r}: expected one of {', '.join(AUGMENTATIONS)}, or module:function"
                         + (f"; perhaps {near[0]!r} is meant" if near else ""))
    settings = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    try:
        inspect.signature(function).bind(None, None, generator=None, **settings)
    except TypeError as error:
        raise ValueError(f"augmentation {name!r}: {error}; expected a function of (images, targets, generator=) with "
                         f"these settings, and it is {name.split(':')[-1]}{inspect.signature(function)}") from error
    return partial(function, **settings) if settings else function


def try_augmentation(name, step, mel):
    """Raise ValueError if an augmentation fails on a batch of two grey images, or makes of it what is no batch."""
    images, targets = torch.full((2, 1, mel.n_mels, mel.excerpt_frames), 0.5), torch.eye(2, 3)
    try:
        new_images, new_targets = step(images, targets, generator=torch.Generator().manual_seed(0))
        if new_images.shape != images.shape or new_targets.shape != targets.shape:
            raise ValueError(f"gave images {tuple(new_images.shape)} and targets {tuple(new_targets.shape)}, expected "
                             f"as they were, {tuple(images.shape)} and {tuple(targets.shape)}")
        if not (new_images.isfinite().all() and new_targets.isfinite().all()):
            raise ValueError("gave numbers that are not finite")
    except Exception as error:  # of any kind, out of code that may be anyone's
        said = " ".join(str(error).split())[:500] or type(error).__name__
        raise ValueError(f"augmentation {name!r}: {said}") from error


def code_of(step):
    """A digest of what a function that is not this package's computes: its source and its defaults; `""` for ours.

    Two functions of one name are told apart by it. What they call is not looked into.
    """
    function = inspect.unwrap(step.func if isinstance(step, partial) else step)
    if (getattr(function, "__module__", None) or "").startswith("freesound_tagging."):
        return ""
    try:
        text = ast.dump(ast.parse(textwrap.dedent(inspect.getsource(function))))
    except (OSError, TypeError, SyntaxError):  # typed into a prompt, or built in
        code = getattr(function, "__code__", None)
        text = repr((code.co_code, code.co_consts, code.co_names)) if code else ""
    given = (getattr(function, "__defaults__", None), getattr(function, "__kwdefaults__", None))
    return hashlib.sha256(f"{text}{given!r}".encode()).hexdigest()[:16]


def name_of(step):
    """An augmentation and its settings as text, the same in every process: ``"specmix(stripes=(1, 2))"``.

    Raises
    ------
    ValueError
        If it has no name that tells it from others: a lambda, a method, or a function that is given an object or a
        long array.
    """
    if isinstance(step, partial):
        given = [*map(_text_of, step.args), *(f"{name}={_text_of(value)}" for name, value in step.keywords.items())]
        text = f"{name_of(step.func).removesuffix('()')}({', '.join(given)})"
        is_known = " at 0x" not in text and "..." not in text  # the words for an object, and for a part of an array
    else:
        function = inspect.unwrap(step)
        made_with = inspect.getclosurevars(function).nonlocals if inspect.isfunction(function) else {}
        given = [f"{name}={_text_of(value)}" for name, value in sorted(made_with.items())
                 if isinstance(value, (int, float, str, tuple))]  # others may be what it remembers
        text = f"{getattr(function, '__name__', '<none>')}({', '.join(given)})"
        is_known = text[0] != "<" and not inspect.ismethod(function)
    if not is_known:
        raise ValueError(f"the augmentation {step!r} has no name by which a run would know it: give a function made by "
                         "def, its settings as numbers and texts by functools.partial")
    return text


def _text_of(value):
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_text_of, value))}{',' * (len(value) == 1)})"
    return name_of(value) if callable(value) else repr(value)
