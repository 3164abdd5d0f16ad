"""A small data set of synthesized sounds, to try everything on before fetching 25 GB."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "data": ["write_demo"],
    "sounds": ["SOUNDS"],
})
