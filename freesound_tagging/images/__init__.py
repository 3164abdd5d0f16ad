"""From audio to what a network sees: mel spectrograms, the stores that keep them, the excerpts cut out of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "excerpts": ["gather", "pixels_on", "to_images", "window_starts", "windows_of"],
    "mel": ["MelConfig", "load_clip", "log_mel", "to_image"],
    "store": ["SpectrogramStore"],
})
