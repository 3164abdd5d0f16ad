"""Functions that a run is told to use: found by the name that a file has, and known again by what they compute."""

import ast
import difflib
import filecmp
import hashlib
import importlib
import inspect
import os
import sys
import sysconfig
import textwrap
import types
from functools import partial
from pathlib import Path

import numpy as np
import torch

from .. import augment

# Of modules that profiles name: how each was imported, and a digest of its file when a profile named it first.
READ = {}
INSTALLED = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(augment.__file__).parent)}
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
        if not (new_images.is_floating_point() and new_images.dtype != torch.float64
                and new_targets.is_floating_point()):
            raise ValueError(f"gave images of {new_images.dtype} and targets of {new_targets.dtype}, expected torch."
                             "float32, as they were")
        if not (new_images.isfinite().all() and new_targets.isfinite().all()):
            raise ValueError("gave numbers that are not finite")
    except Exception as error:  # of any kind, out of code that may be anyone's
        said = " ".join(str(error).split())[:500] or type(error).__name__
        raise ValueError(f"augmentation {name!r}: {said}") from error


def code_of(step):
    """A digest of what a function that is not this package's computes; `""` for ours.

    Two functions of one name are told apart by it: by their source, their defaults, and what they refer to that is not
    of an installed package: functions and classes likewise, and numbers, texts, tuples and arrays. Lists and other
    objects are left out, as they may be what it remembers.
    """
    function, texts = step.func if isinstance(step, partial) else step, []
    wrapped = inspect.unwrap(function, stop=_is_own)  # the first of one's own, else what is inmost
    if not _is_own(wrapped) and _module_of(wrapped).startswith("freesound_tagging."):
        given = (*step.args, *step.keywords.values()) if isinstance(step, partial) else ()  # as of `compose`
        steps = [one for value in given for one in (value if isinstance(value, (tuple, list)) else [value])]
        texts = [code for one in steps if callable(one) and (code := code_of(one))]
        if not texts:
            return ""
    else:
        _describe(step, texts, set())
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def _describe(thing, texts, seen):
    """Add what a function, a class or a value is to `texts`; of what is installed its name."""
    if isinstance(thing, partial):
        thing = (*thing.args, *sorted(thing.keywords.items()), thing.func)
    if isinstance(thing, torch.Tensor):
        thing = thing.detach().cpu().numpy()
    if isinstance(thing, tuple):
        for value in thing:
            _describe(value, texts, seen)
    elif isinstance(thing, np.ndarray) and thing.dtype != object:
        texts.append(hashlib.sha256(np.ascontiguousarray(thing)).hexdigest())
    elif isinstance(thing, (int, float, complex, str, bytes, type(None))):
        texts.append(repr(thing))
    elif (inspect.isroutine(thing) or inspect.isclass(thing)) and id(thing) not in seen:
        seen.add(id(thing))
        texts.append(_source_of(thing) if _is_own(thing) else f"{_module_of(thing)}.{thing.__qualname__}")
        for name, value in _referred_to(thing) if _is_own(thing) else [("", getattr(thing, "__wrapped__", None))]:
            texts.append(name)
            _describe(value, texts, seen)


def _module_of(thing):
    return getattr(thing, "__module__", None) or ""


def _is_own(thing):
    """Whether a function or a class comes neither with Python nor with this package nor with one that is installed."""
    code, module = getattr(thing, "__code__", None), sys.modules.get(_module_of(thing))
    file = code.co_filename if code else getattr(module, "__file__", None)
    return _is_own_file(file) or (file is None and _module_of(thing) == "__main__")  # typed into a prompt


def _is_own_file(file):
    return bool(file) and not file.startswith("<frozen") and not (
        INSTALLED & {*map(str, Path(file).parents)} or {"site-packages", "dist-packages"} & {*Path(file).parts})


def _source_of(thing):
    try:
        return ast.dump(ast.parse(textwrap.dedent(inspect.getsource(getattr(thing, "__code__", thing)))))
    except (OSError, TypeError, SyntaxError):  # typed into a prompt
        code = getattr(thing, "__code__", None)
        return repr((code.co_code, [one for one in code.co_consts if not inspect.iscode(one)],
                     code.co_names)) if code else ""


def _referred_to(thing):
    """Names and values of a function's defaults, closure and globals, of what it wraps, and of a class's methods."""
    if inspect.isclass(thing):
        members = ((name, getattr(value, "__func__", value)) for name, value in sorted(vars(thing).items()))
        yield from ((name, value) for name, value in members if inspect.isfunction(value))
        yield from (("", base) for base in thing.__bases__)
        return
    code = thing.__code__
    yield from (("", value) for value in (thing.__defaults__ or (), *sorted((thing.__kwdefaults__ or {}).items())))
    yield "", getattr(thing, "__wrapped__", None)
    for name, cell in zip(code.co_freevars, thing.__closure__ or ()):
        if cell != types.CellType():  # one that has no value yet
            yield name, cell.cell_contents
    names = sorted(_names_in(code))
    for name in filter(thing.__globals__.__contains__, names):
        value = thing.__globals__[name]
        yield name, value
        if inspect.ismodule(value) and _is_own_file(getattr(value, "__file__", None)):  # such as `helpers.gain(images)`
            yield from ((one, getattr(value, one)) for one in names if hasattr(value, one))


def _names_in(code):
    """The names of globals, and of attributes, in a function's code and in the functions that it makes."""
    return set(code.co_names).union(*(_names_in(one) for one in code.co_consts if inspect.iscode(one)))


def check_modules(functions, folder):
    """Raise an ImportError if functions are not of the files that a profile in a folder means.

    Parameters
    ----------
    functions : iterable of callable
    folder : str
        Where modules may stand; ``""`` for a profile of the package's.
    """
    for function in functions:
        name = _module_of(inspect.unwrap(function.func if isinstance(function, partial) else function))
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if not file or name.startswith("freesound_tagging.") or not os.path.isfile(file):
            continue
        beside = os.path.join(folder, *name.split(".")) + ".py"
        if folder and os.path.isfile(beside) and not filecmp.cmp(beside, file, shallow=False):
            raise ImportError(f"{name} is {file} in this program, and not {beside}: give one of them another name")
        content = hashlib.sha256(Path(file).read_bytes()).hexdigest()
        spec, known = READ.setdefault(name, (module.__spec__, content))
        if module.__spec__ is not spec:  # read again since, by importlib.reload
            READ[name] = module.__spec__, content
        elif content != known:
            raise ImportError(f"{file} has been changed since it was imported, and what was imported would be trained: "
                              "restart this program, or the notebook's kernel")


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
