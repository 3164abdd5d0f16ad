"""The stages of a run in a notebook: which clips they select, how they train, what came of it."""

import numpy as np
import pandas as pd
from IPython.display import display

from ..clips.dataset import is_competitions
from ..lwlrap import clip_lwlrap
from ..prediction.submission import TABLE_2
from .byhand import show
from .reliability import reliability_figure
from .reports import selection_figure, selection_table, training_figure


def train_stage(pipeline, stage, budget=None):
    """Train a stage, as far as it is not finished, and draw how it went.

    Parameters
    ----------
    pipeline : WarmupPipeline
    stage : int
        Of one that the profile does not have it is only said.
    budget : training.SessionBudget, optional
        If the time is up before, that is said.
    """
    if stage not in pipeline.stages:
        print(f"this profile has no stage {stage}")
    elif history := pipeline.run_stage(stage, budget):
        training_figure(history, stage)
    else:
        left, folds = len(pipeline.unfinished([stage])), pipeline.profile.n_folds
        print(f"The time is up: of stage {stage} {folds - left} of {folds} folds are finished.")


def show_selection(pipeline, stage, most=4):
    """The clips that a stage selects: how many of each label, and the surest and least trusted of them to listen to.

    Parameters
    ----------
    pipeline : WarmupPipeline
    stage : int
        If it selects none, nothing is shown; if what selects for it is not finished, that is said.
    most : int
        Clips of either kind in the table.

    Returns
    -------
    IPython.display.HTML or None
        The table.
    """
    config = pipeline.stages.get(stage)
    if config is None or not config.selects_from:
        return None
    if waited_for := [f"stage {earlier}" for earlier in config.scored_by if earlier not in pipeline.finished()]:
        print(f"Stage {stage} selects {config.selects_from} clips once {' and '.join(waited_for)} is finished.")
        return None
    name, clips = config.selects_from, pipeline.clips
    of = clips.is_of(name)
    selected, targets = pipeline.selected(stage)[of], pipeline.targets[of]
    print(f"stage {stage} trains on {selected.sum()} of {len(selected)} {name} clips beside the "
          f"{' and '.join(config.trains_on)} ones")
    show(selection_figure(selected, targets, clips.vocabulary, f"{name} clips selected for stage {stage}, by label"))
    scores = {f"model {earlier}": clip_lwlrap(targets, pipeline.out_of_fold(earlier)[of])
              for earlier in config.scored_by}
    return selection_table(clips.table[of].reset_index(drop=True), scores, selected, pipeline.profile.mel, most)


def purity_table(pipeline, right, name="noisy"):
    """How many of the clips that each stage selects carry their right labels.

    Parameters
    ----------
    pipeline : WarmupPipeline
    right : array of bool (clips of the set,)
        Whether they do, where that is known.
    name : str
        The set.

    Returns
    -------
    pandas.DataFrame
        Rows the whole set and each stage that selects of it and knows which; columns ``clips`` and ``right labels``, a
        share.
    """
    of, right = pipeline.clips.is_of(name), np.asarray(right)
    finished = set(pipeline.finished())
    chosen = {f"the whole {name} set": np.full(len(right), True)} | {
        f"selected for stage {stage}": pipeline.selected(stage)[of] for stage, config in pipeline.stages.items()
        if config.selects_from == name and finished.issuperset(config.scored_by)}
    return pd.DataFrame({"clips": {row: int(mask.sum()) for row, mask in chosen.items()},
                         "right labels": {row: right[mask].mean() if mask.any() else np.nan
                                          for row, mask in chosen.items()}})


def show_reliability(pipeline):
    """Draw how often the ensemble's most probable label is right on clips held out, raw and calibrated.

    Parameters
    ----------
    pipeline : WarmupPipeline
        If it is not finished, or knows too little to be calibrated, that is said.
    """
    if left := pipeline.unfinished():
        print(f"{len(left)} folds are to be trained before probabilities can be calibrated.")
        return
    mine, name = pipeline.trusted_clips(), pipeline.profile.trusted
    try:
        reliability_figure(pipeline.ensemble_out_of_fold()[mine], pipeline.targets[mine], pipeline.folds[mine],
                           f"{mine.sum()} {name} clips held out")
    except ValueError as error:
        print(f"Probabilities cannot be calibrated: {error}.")


def show_table(pipeline):
    """Cross-validated lwlrap of each model and of the ensemble, kept in the run's folder as ``table.txt``.

    Of the competition's labels the published Table 2 stands beside it. Where another choice of stages to vote is better
    by more than chance, that is said. Of a finished run the model card and the calibration are written beside its
    networks.

    Parameters
    ----------
    pipeline : WarmupPipeline
    """
    table = pipeline.table()
    if table.empty:
        print("No stage is finished yet.")
        return
    (pipeline.work / "table.txt").write_text(pipeline.report() + "\n")
    pipeline.write_card()
    if is_competitions(pipeline.clips.vocabulary):
        table = table.join(TABLE_2)
    display(table.style.format("{:.5f}", na_rep=""))
    if better := pipeline.who_votes():
        print(better)
