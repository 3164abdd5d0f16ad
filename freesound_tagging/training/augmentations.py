"""Augmentations by the names that a profile has for them, and tried before anything is trained."""

import difflib
import importlib
import inspect
from functools import partial

import torch

from ..augment import AUGMENTATIONS

OURS = {function.__name__: function for function in AUGMENTATIONS}


def augmentation_named(name, **settings):
    """An augmentation by its name.

    Parameters
    ----------
    name : str
        Of one of `augment.AUGMENTATIONS`, or ``"module:function"`` for a function of one's own.
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
    elif name in OURS:
        function = OURS[name]
    else:
        near = difflib.get_close_matches(name, OURS, 1)
        raise ValueError(f"augmentation {name!r}: expected one of {', '.join(OURS)}, or module:function"
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
        if not (new_images.is_floating_point() and new_images.dtype != torch.float64
                and new_targets.is_floating_point()):
            raise ValueError(f"gave images of {new_images.dtype} and targets of {new_targets.dtype}, expected torch."
                             "float32, as they were")
        if not (new_images.isfinite().all() and new_targets.isfinite().all()):
            raise ValueError("gave numbers that are not finite")
    except Exception as error:  # of any kind, out of code that may be anyone's
        said = " ".join(str(error).split())[:500] or type(error).__name__
        raise ValueError(f"augmentation {name!r}: {said}") from error
