"""Labels with times: read as people's programs write them, written as these read them, and scored."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "cuts": ["Cut", "cut_of"],
    "names": ["names_of", "stem_of"],
    "reading": ["is_empty_track", "is_events", "read_all_events", "read_events"],
    "scoring": ["SCENARIOS", "psds", "score_events"],
    "writing": ["write_dcase", "write_labels", "write_selections"],
})
