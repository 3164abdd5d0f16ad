"""Public data sets by the layouts that their pages describe; None of each for a folder that is none."""

import pandas as pd

from .listed import listed_clips
from .spreadsheets import read_spreadsheet
from .tables import few


def _inside(source, relative):
    """A file of a known layout in a folder or one folder further down; None if it is not there."""
    if not source.is_dir():
        return None
    return next(iter([*source.glob(relative), *sorted(source.glob(f"*/{relative}"))]), None)


def fsd50k(source, sounds, options, notes):
    """FSD50K: `fname` without ending, 200 labels with their parents, all good; a test set of its own."""
    dev = _inside(source, "FSD50K.ground_truth/dev.csv")
    if dev is None:
        return None
    tables = [listed_clips(dev, options, notes, file="fname", labels=["labels"], separator=",",
                           folder="FSD50K.dev_audio")]
    if (test := dev.with_name("eval.csv")).is_file():
        tables.append(listed_clips(test, options, notes, "test", file="fname", labels=["labels"], separator=",",
                                   folder="FSD50K.eval_audio"))
    rows = pd.concat(tables, ignore_index=True)
    if (vocabulary := dev.with_name("vocabulary.csv")).is_file():
        known = set(pd.read_csv(vocabulary, header=None, dtype=str, keep_default_na=False)[1])
        odd = sorted(set().union(*rows["labels"]) - known)
        if odd:
            notes.append(f"labels that {vocabulary} does not have: {few(odd)}")
    return rows


def _fsd(source, options, notes, name, train, test):
    """FSDKaggle2018 and FSDnoisy18k: one label a clip, `manually_verified` 0 is noisy, a test set of its own."""
    path = _inside(source, f"{name}.meta/{train}")
    if path is None:
        return None
    tables = [listed_clips(path, options, notes, file="fname", labels=["label"], separator="",
                           folder=f"{name}.audio_train")]
    if (other := path.with_name(test)).is_file():
        tables.append(listed_clips(other, options, notes, "test", file="fname", labels=["label"], separator="",
                                   folder=f"{name}.audio_test"))
    return pd.concat(tables, ignore_index=True)


def fsdkaggle2018(source, sounds, options, notes):
    """FSDKaggle2018: clips that are not verified are noisy."""
    return _fsd(source, options, notes, "FSDKaggle2018", "train_post_competition.csv", "test_post_competition.csv")


def fsdnoisy18k(source, sounds, options, notes):
    """FSDnoisy18k: its good clips and its noisy ones, of which a part is as large as these."""
    return _fsd(source, options, notes, "FSDnoisy18k", "train.csv", "test.csv")


def esc50(source, sounds, options, notes):
    """ESC-50: folds that keep the clips of one recording, `src_file`, together."""
    path = source if source.name == "esc50.csv" else _inside(source, "meta/esc50.csv") or _inside(source, "esc50.csv")
    if path is None:
        return None
    columns = read_spreadsheet(path).columns
    return listed_clips(path, options, notes, file="filename", labels=["category"], separator="",
                        group="src_file" if "src_file" in columns else None)
