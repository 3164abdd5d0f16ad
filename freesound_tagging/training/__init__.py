"""The warm-up pipeline: batches, one training, the stages of a profile, and their folds wherever there is room."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "batches": ["MiddleExcerpts", "RandomExcerpts"],
    "learner": ["AugmentBatch", "fit", "fit_one_cycle", "make_learner"],
    "pool": ["ClipPool"],
    "profile": ["Profile", "load_profile", "published_stages"],
    "queue": ["SessionBudget"],
    "sessions": ["earlier_runs", "how_far", "how_to_go_on"],
    "stages": ["StageConfig", "select_noisy"],
    "trials": ["run_beside", "trial"],
    "warmup": ["WarmupPipeline", "run_together"],
})
