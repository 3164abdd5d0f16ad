"""numpy's answers to rounding, whatever the calling program has set: what fades out underflows, and is no error."""

import numpy as np

USUAL = {"divide": "warn", "over": "warn", "under": "ignore", "invalid": "warn"}  # numpy's own


def as_usual(items):
    """Items of a generator, each computed under numpy's usual settings; between them the caller's hold.

    Parameters
    ----------
    items : generator

    Yields
    ------
    object
    """
    nothing = object()
    try:
        while True:
            with np.errstate(**USUAL):
                item = next(items, nothing)
            if item is nothing:
                return
            yield item
    finally:
        items.close()
