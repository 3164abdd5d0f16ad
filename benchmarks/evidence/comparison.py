"""What came of the study: each question answered by a difference with its interval, as tables and as a picture."""

import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from freesound_tagging.prediction.submission import LEADERBOARD, TABLE_2

# Published, of CNN-model-1's models and their ensemble: lwlrap of noisy and curated clips held out, and of test clips.
PUBLISHED_ROWS = {model: [*(f"{value:.3f}" for value in cross_validated), LEADERBOARD.get(f"cnn-model-1, {model}", "")]
                  for model, *cross_validated in TABLE_2.itertuples()}
PUBLISHED_ROWS["ensemble"] = ["", "", LEADERBOARD["cnn-model-1, ensemble"]]
PIPELINE, VGG_16, REGNET = "d: pipeline", "g: VGG-16", "k: RegNetX"
LAST, ENSEMBLE = "last model", "ensemble"  # one network a fold; those of three stages


def arms(arm, other=PIPELINE):
    """An arm against another: its last model against the other's, and its ensemble."""
    return {which: ((arm, which), (other, which)) for which in (LAST, ENSEMBLE)}


def within(column, which, other):
    """A score of the pipeline against another of its own."""
    return {column: ((PIPELINE, which), (PIPELINE, other))}


# What is asked: under "last model" and "ensemble" an arm's score and the one that is taken from it.
QUESTIONS = {
    "augmentation, over none, on curated clips": arms("b: curated, augmented", "a: curated, no augmentation"),
    "all noisy clips too, over curated clips": arms("c: curated and all noisy, augmented", "b: curated, augmented"),
    "pipeline, over curated clips without augmentation": arms(PIPELINE, "a: curated, no augmentation"),
    "pipeline, over curated clips": arms(PIPELINE, "b: curated, augmented"),
    "pipeline, over curated and all noisy clips": arms(PIPELINE, "c: curated and all noisy, augmented"),
    "selected clips in stages 3 and 4, over curated clips alone": arms(PIPELINE, "j: stages 3 and 4 on curated clips"),
    "mixup and SpecMix, over neither": arms(PIPELINE, "e: neither"),
    "mixup, over neither": arms("e: mixup only", "e: neither"),
    "SpecMix, over neither": arms("e: SpecMix only", "e: neither"),
    "SpecMix, over mixup": arms("e: SpecMix only", "e: mixup only"),
    "mixup and SpecMix, over mixup": arms(PIPELINE, "e: mixup only"),
    "mixup and SpecMix, over SpecMix": arms(PIPELINE, "e: SpecMix only"),
    "model 2, over model 1": within(LAST, "model 2", "model 1"),
    "model 3, over model 2": within(LAST, "model 3", "model 2"),
    "model 4, over model 3": within(LAST, "model 4", "model 3"),
    "ensemble of 2, 3, 4, over model 4": within(ENSEMBLE, ENSEMBLE, "model 4"),
    "ensemble of 2, 3, 4, over the mean of 3 and 4": within(ENSEMBLE, ENSEMBLE, "models 3 and 4"),
    "mean of models 3 and 4, over model 4": within(ENSEMBLE, "models 3 and 4", "model 4"),
    "noisy clips held out: model 2, over model 1": within(LAST, "noisy, model 2", "noisy, model 1"),
    "VGG-16, over CNN-model-1": arms(VGG_16),
    "VGG-16 and CNN-model-1, over CNN-model-1": {ENSEMBLE: ((VGG_16, "both networks"), (PIPELINE, ENSEMBLE))},
    "RegNetX, over CNN-model-1": arms(REGNET),
    "RegNetX and CNN-model-1, over CNN-model-1": {ENSEMBLE: ((REGNET, "both networks"), (PIPELINE, ENSEMBLE))},
}


def interval(values):
    """Mean of one value a seed and rotation, with its 95 % t-interval.

    What is independent is the rotations' means over the seeds, as a rotation has its own clips in each set: with four,
    three degrees of freedom. The seeds of a rotation are taken as its repetitions: a seed mixes and mislabels other
    clips in each rotation (`seed_effects` looks whether that holds). Where there is one rotation only, as of the
    competition's data, the seeds are independent.

    Parameters
    ----------
    values : dict or pandas.Series
        From (seed, rotation), or (seed, rotation, precision), to a number; over precisions the mean is taken first.

    Returns
    -------
    dict
        mean, low and high, the latter None where a single value has no interval; n, the number of pairs of seed and
        rotation; freedom, the degrees of freedom.
    """
    grid = pd.Series(values, dtype=float).groupby(level=[0, 1]).mean()
    independent = grid.groupby(level=1).mean()
    if len(independent) == 1:
        independent = grid
    mean, freedom = independent.mean(), len(independent) - 1
    low = high = None
    if freedom:
        half = stats.t.ppf(0.975, freedom) * independent.sem()
        low, high = mean - half, mean + half
    return {"mean": mean, "low": low, "high": high, "n": len(grid), "freedom": freedom}


def seed_effects(differences):
    """In how many differences a seed has an effect in all rotations alike, which `interval` takes for none.

    By the F test of an analysis of variance over seeds and rotations, at 5 %: by chance, one in twenty.

    Parameters
    ----------
    differences : iterable of dict
        From units to differences. Those that are not of all seeds in all rotations are left out.

    Returns
    -------
    dict
        found, of: numbers of differences.
    """
    grids = (pd.Series(values).groupby(level=[0, 1]).mean().unstack() for values in differences)
    grids = [grid for grid in grids if min(grid.shape) > 1 and grid.notna().all(axis=None)]
    found = 0
    for grid in grids:
        by_seed, freedom = grid.mean(axis=1), (grid.shape[0] - 1, (grid.shape[0] - 1) * (grid.shape[1] - 1))
        left = (grid - grid.mean()).sub(by_seed - by_seed.mean(), axis=0)
        ratio = grid.shape[1] * by_seed.var() / ((left ** 2).sum().sum() / freedom[1])
        found += bool(stats.f.sf(ratio, *freedom) < 0.05)
    return {"found": found, "of": len(grids)}


def unit_of(record):
    """What has to be the same in two records that are compared: seed, rotation and precision."""
    return record["seed"], record["rotation"], record["precision"]


def scores_of(records):
    """All lwlraps: of each arm and score, from its units to numbers.

    Returns
    -------
    dict of (str, str) to dict
        Scores are those of the test clips, under their names in the records, and ``"noisy, model 1"``,
        ``"curated, model 1"`` and so on, cross-validated.
    """
    scores = {}
    for record in records:
        found = dict(record["test"])
        for model, row in record["cross-validated"].items():
            found |= {f"{which}, {model}": row[f"lwlrap {which}"] for which in ("noisy", "curated")}
        for which, score in found.items():
            scores.setdefault((record["arm"], which), {})[unit_of(record)] = score
    return scores


def differences_of(records):
    """Of each question and column that has been trained, from units to differences."""
    scores, found = scores_of(records), {}
    for question, columns in QUESTIONS.items():
        for column, (judged, other) in columns.items():
            both = scores.get(judged, {}).keys() & scores.get(other, {}).keys()
            if both:
                found.setdefault(question, {})[column] = {
                    unit: scores[judged][unit] - scores[other][unit] for unit in sorted(both)}
    return found


def sum_up(records):
    """All that the tables show.

    Returns
    -------
    dict
        ``"questions"``: `interval` of each question and column; ``"seeds"``: `seed_effects`; ``"arms"``: of each arm's
        last model and ensemble, and the least and most gradient steps of its networks; ``"models"``: of the pipeline's
        models, on noisy and curated clips held out and on test clips; ``"selected"``: of the clips that the
        pipeline's stages 3 and 4 select, their number and the share of them whose labels are right.
    """
    scores, differences = scores_of(records), differences_of(records)
    models = {}
    for model in PUBLISHED_ROWS:
        rows = {"noisy": f"noisy, {model}", "curated": f"curated, {model}", "test": model}
        models[model] = {column: interval(scores[PIPELINE, which]) for column, which in rows.items()
                         if (PIPELINE, which) in scores}
    by_arm = {arm: [record for record in records if record["arm"] == arm]
              for arm in sorted({record["arm"] for record in records})}
    steps = {arm: [n for record in each for n in record["steps"]] for arm, each in by_arm.items()}
    return {
        "questions": {question: {column: interval(units) for column, units in columns.items()}
                      for question, columns in differences.items()},
        "seeds": seed_effects(units for columns in differences.values() for units in columns.values()),
        "arms": {arm: {LAST: interval(scores[arm, LAST]), ENSEMBLE: interval(scores[arm, ENSEMBLE]),
                       "steps": [min(steps[arm]), max(steps[arm])]} for arm in by_arm},
        "models": models,
        "selected": {stage: _selected(by_arm[PIPELINE], stage) for stage in ("all", "3", "4")
                     if all("noisy labels right" in record for record in by_arm[PIPELINE])}}


def _selected(records, stage):
    """Clips and the share of them that is labelled rightly, each with its interval."""
    right = {unit_of(record): record["noisy labels right"][stage] for record in records}
    right = {unit: share for unit, share in right.items() if share is not None}  # of no clips there is none
    numbers = {} if stage == "all" else {unit_of(record): record["selected"][stage] for record in records}
    return {name: interval(values) for name, values in (("clips", numbers), ("right", right)) if values}


def answer(found):
    """What an interval says; that of two values says little."""
    if found["freedom"] < 2:
        return "too few units"
    return "more" if found["low"] > 0 else "less" if found["high"] < 0 else "cannot be told"


def questions_table(summary):
    """The differences, line by line."""
    yield "| what, over what | last model | | ensemble | | units |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for question, columns in summary["questions"].items():
        cells = [cell for column in (LAST, ENSEMBLE) for cell in (
            (spelled(columns[column], "+"), answer(columns[column])) if column in columns else ("", ""))]
        units = next(iter(columns.values()))["n"]
        yield f"| {' | '.join([question, *cells, str(units)])} |"


def seeds_line(summary):
    """Whether the intervals may take the seeds as repetitions."""
    if summary["seeds"]["of"]:  # of one seed there is nothing to say
        yield (f"A seed has an effect in all rotations alike (F test, 5 %) in {summary['seeds']['found']} of the "
               f"{summary['seeds']['of']} differences that are of all units.")


def arms_table(summary):
    """The arms' own scores, line by line."""
    yield "| trained | steps a network | last model | ensemble | units |"
    yield "| --- | --- | --- | --- | --- |"
    for arm, row in summary["arms"].items():
        least, most = row["steps"]
        steps = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        yield f"| {arm} | {steps} | {spelled(row[LAST])} | {spelled(row[ENSEMBLE])} | {row[LAST]['n']} |"


def models_table(summary):
    """The pipeline's models beside the published Table 2, line by line."""
    yield "| model | noisy (CV) | published | curated (CV) | published | test | published |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for model, published in PUBLISHED_ROWS.items():
        ours = [spelled(summary["models"][model].get(column)) for column in ("noisy", "curated", "test")]
        yield f"| {' | '.join(map(str, [model, *sum(zip(ours, published), ())]))} |"


def selection_line(summary):
    """What stages 3 and 4 select, where it is known which labels are right."""
    if selected := summary["selected"]:
        clips = [f"{selected[stage]['clips']['mean']:.0f}" for stage in "34"]
        right = [f"{selected[stage]['right']['mean']:.0%}" if "right" in selected[stage] else "-"
                 for stage in ("all", "3", "4")]
        yield (f"Of the noisy clips {right[0]} carry their right labels. Stage 3 selects {clips[0]} of them, "
               f"{right[1]} right, and stage 4 {clips[1]}, {right[2]} right.")


TABLES = (questions_table, seeds_line, arms_table, models_table, selection_line)


def spelled(value, sign=""):
    """A mean with its interval, if it has one; nothing where there is no value."""
    if not value:
        return ""
    mean, *ends = (f"{value[end]:{sign}z.3f}" for end in ("mean", "low", "high") if value[end] is not None)
    return f"{mean} ({' to '.join(ends)})" if ends else mean


def figure(records, path):
    """Each question's differences: mean and interval, and a dot for each unit."""
    found = differences_of(records)
    drawn = Figure(figsize=(9, 1 + 0.38 * len(found)), layout="constrained")
    axis = drawn.subplots()
    for column, color, shift in ((LAST, "tab:blue", -0.17), (ENSEMBLE, "tab:orange", 0.17)):
        label = {LAST: "last model: one network a fold", ENSEMBLE: "ensemble of three stages"}[column]
        for row, columns in enumerate(found.values()):
            if column in columns:
                units, place = list(columns[column].values()), row + shift
                what = interval(columns[column])
                axis.plot(units, [place] * len(units), "o", color=color, alpha=0.25, markersize=4, markeredgewidth=0)
                half = what["mean"] - what["low"] if what["freedom"] else 0
                axis.errorbar(what["mean"], place, xerr=half, fmt="D", color=color, capsize=3, markersize=5,
                              label=label)
                label = None
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(yticks=range(len(found)), yticklabels=found, ylim=(len(found) - 0.5, -0.5),
             xlabel="difference of lwlrap on the test clips:\nmean and 95 % interval; a dot is a unit")
    axis.grid(axis="x", alpha=0.3)
    if found:
        axis.legend(loc="lower right")
    drawn.savefig(path, dpi=110)
