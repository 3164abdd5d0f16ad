"""A page in the browser: what is heard in a sound, and in what a microphone hears."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "page": ["open_page"],
    "turns": ["Turns"],
})
