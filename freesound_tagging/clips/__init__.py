"""Clips and their labels: tables, audio files, the data set as data frames, its state, its download."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "audio": ["read_audio"],
    "clips": ["Clips"],
    "dataset": ["FSDKaggle2019", "is_competitions"],
    "doctor": ["check", "examine"],
    "folds": ["stratified_folds"],
    "tables": ["label_matrix", "read_table"],
})
