"""Freesound Audio Tagging 2019: SpecMix and the warm-up pipeline, rebuilt.

The folders are the rooms on the way that a clip takes, and each imports only earlier ones: `machine`, `annotations`,
`clips`, `demo`, `images`, `networks`, `prediction`, `training`, `notebook`, `app`. The two ideas that people come for
stand in the hall: `augment` (SpecMix) and `lwlrap` (the metric). `tag`, `timeline` and `events` tag sounds with trained
networks, of which an `Ensemble` is kept in memory.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "prediction": ["Ensemble", "events", "tag", "timeline"]})
