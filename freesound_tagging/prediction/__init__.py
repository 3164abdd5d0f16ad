"""From networks and clips to probabilities, and from those to a submission, its score, and tags of any sound."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "calibration": ["Calibration", "calibration_error", "cross_fitted", "fit_calibration", "reliability"],
    "inference": ["Budget", "ensemble_mean", "predict"],
    "ensemble": ["Ensemble"],
    "listening": ["Heard"],
    "members": ["count_members", "members_of", "score_members"],
    "submission": ["LEADERBOARD", "TABLE_2", "leaderboards", "score_submission", "write_submission"],
    "paths": ["sounds_in", "sounds_of"],
    "tagging": ["best_labels", "events", "spoken_for", "tag", "timeline"],
    "cutting": ["Cuts", "write_stretches"],
    "timed": ["read_timelines", "score_timed"],
})
