"""Settings that people give, checked at the door."""

import math


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
