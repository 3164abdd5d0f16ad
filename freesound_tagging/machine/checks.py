"""Settings that people give, checked at the door."""

import dataclasses
import math

import numpy as np


def check_number(name, value, least, most=math.inf, whole=False):
    """Refuse what is no number, or is out of its range; true and false are no numbers.

    Raises
    ------
    ValueError
        The message names the setting, its value, and what was expected.
    """
    kinds = (int,) if whole else (int, float)
    if type(value) not in kinds or not least <= value <= most:
        upto = "" if most == math.inf else f", at most {most:g}"
        raise ValueError(f"{name}={value!r}: expected a {'whole ' * whole}number, at least {least:g}{upto}")


def as_python(settings):
    """Have numbers of numpy's be Python's in a dataclass that is made: they are written into files.

    Parameters
    ----------
    settings : dataclass
        Frozen or not; changed in place.
    """
    for field in dataclasses.fields(settings):
        object.__setattr__(settings, field.name, of_python(getattr(settings, field.name)))


def of_python(value):
    """A number of numpy's as one of Python's, also in a tuple; all else as it is."""
    if type(value) is tuple:
        return tuple(map(of_python, value))
    return value.item() if isinstance(value, np.generic) else value
