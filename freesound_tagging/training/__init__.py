"""The warm-up pipeline: batches, one training, the four stages, and their folds wherever there is room for them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "batches": ["ClipPool", "MiddleExcerpts", "RandomExcerpts"],
    "learner": ["AugmentBatch", "fit", "fit_one_cycle", "make_learner"],
    "stages": ["PROFILES", "Profile", "StageConfig", "published_stages", "select_noisy"],
    "warmup": ["WarmupPipeline", "run_together"],
})
