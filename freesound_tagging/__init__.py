"""Freesound Audio Tagging 2019: SpecMix and the warm-up pipeline, rebuilt.

The modules are the steps of the pipeline, and each imports only earlier ones; the README lists them. `tag` and
`timeline` tag sounds with trained networks; all else is imported from its module.
"""

__version__ = "0.1.0"
__all__ = ["tag", "timeline"]


def __getattr__(name):
    if name in __all__:  # imported when asked for, as they bring torch
        from . import tagging

        return getattr(tagging, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
