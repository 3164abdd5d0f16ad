"""Figures and players for the notebooks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "augmented": ["augmentation_figure", "batch_figure", "explorer_figure"],
    "blocks": ["network_table"],
    "byhand": ["agreement_figure", "cycle_figure", "first_readable", "folds_figure", "longest_alone", "show",
               "told_apart", "trials_figure"],
    "explorer": ["augmentation_explorer"],
    "plots": ["clip_figure", "player", "players", "some_excerpts", "span_of"],
    "recordings": ["events_figure"],
    "reliability": ["reliability_figure"],
    "reports": ["confusion_figure", "labels_figure", "members_figure", "members_table", "per_class_figure",
                "pipeline_figure", "predictions_figure", "selection_figure", "selection_table", "training_figure"],
    "runs": ["purity_table", "show_reliability", "show_selection", "show_table", "train_stage"],
    "timelines": ["event_player", "timeline_figure"],
    "windows": ["occlusion_figure", "windows_figure"],
})
