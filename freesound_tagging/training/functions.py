"""Functions that a run is told to use, known again by their names and by what they compute."""

import filecmp
import hashlib
import inspect
import os
from functools import partial

from .description import Description, inmost, module_of


def code_of(step):
    """A digest of what a function that is not this package's computes; `""` for ours.

    Two functions of one name are told apart by it: by their source, their defaults, and what they refer to that is not
    of an installed package: functions, classes and modules likewise, and numbers, texts, tuples and arrays by their
    values. Lists, dictionaries and other objects may be what it remembers: they count by the statement of the module
    that makes them, or else, as of another cell of a notebook, lists and dictionaries by their values; in a closure
    lists and other objects do not count. What is installed counts by its name, but for the function itself.

    Raises
    ------
    ImportError
        If a file of one's own has been changed since it was imported: what was imported would be computed.
    """
    texts = Description(step).texts
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16] if texts else ""


def imported_code(functions):
    """One digest of those of some functions that another process imports, and does not get with its task."""
    return "".join(code_of(function) for function in functions if function is not None
                   and module_of(inmost(function)) != "__main__")


def check_modules(functions, folder):
    """Raise an ImportError if functions are not of the files that a profile in a folder means.

    Parameters
    ----------
    functions : iterable of callable
    folder : str
        Where modules may stand; ``""`` for a profile of the package's.
    """
    for name, module in [item for function in functions for item in Description(function).modules.items()]:
        parts = os.path.join(folder, *name.split("."))
        for beside in (f"{parts}.py", os.path.join(parts, "__init__.py")):
            if folder and os.path.isfile(beside) and not filecmp.cmp(beside, module.__file__, shallow=False):
                raise ImportError(f"{name} is {module.__file__} in this program, and not {beside}: give one of them "
                                  "another name")


def name_of(step):
    """A function and its settings as text, the same in every process: ``"specmix(stripes=(1, 2))"``.

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
        raise ValueError(f"the function {step!r} has no name by which a run would know it: give one made by def, its "
                         "settings as numbers and texts by functools.partial")
    return text


def _text_of(value):
    if isinstance(value, (tuple, list)):
        return f"({', '.join(map(_text_of, value))}{',' * (len(value) == 1)})"
    return name_of(value) if callable(value) else repr(value)
