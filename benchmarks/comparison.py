"""What came of the study: its arms compared, as figures with intervals, as the README's tables and as a picture."""

from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

# The published system's Table 2, and the score of its ensemble of CNN-model-1.
TABLE_2 = {"model 1": (0.651, 0.411, ""), "model 2": (0.381, 0.862, 0.723), "model 3": (0.567, 0.879, 0.724),
           "model 4": (0.576, 0.877, 0.724), "ensemble of 2, 3, 4": ("", "", 0.733)}
PIPELINE, VGG_16, BOTH = "d: pipeline", "g: VGG-16, pipeline", "g: both networks"


def interval(values, draws=10_000):
    """Mean of one value a seed and rotation, with a 95 % bootstrap interval over both.

    Seeds and rotations are drawn apart from each other, as units that share one are not independent: the pigeonhole
    bootstrap (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics, 2007). It is wider than an interval
    over the units.

    Parameters
    ----------
    values : dict or pandas.Series
        From (seed, rotation), or (seed, rotation, precision), to a number; over precisions the mean is taken first.
    draws : int

    Returns
    -------
    dict
        mean, low, high, and n, the number of pairs of seed and rotation.
    """
    grid = pd.Series(values, dtype=float).groupby(level=[0, 1]).mean().unstack().to_numpy()
    random = np.random.default_rng(0)
    seeds, rotations = (random.integers(n, size=(draws, n)) for n in grid.shape)
    drawn = grid[seeds[:, :, None], rotations[:, None, :]].reshape(draws, -1)
    drawn = drawn[np.isfinite(drawn).any(1)]  # where not all is trained yet, a draw may hit nothing
    low, high = np.quantile(np.nanmean(drawn, 1), (0.025, 0.975))
    return {"mean": np.nanmean(grid), "low": low, "high": high, "n": int(np.isfinite(grid).sum())}


def intervals(table):
    """`interval` of each column of a table with one row a unit."""
    return {column: interval(table[column]) for column in table}


def unit_of(record):
    """What has to be the same in two records that are compared: seed, rotation and precision."""
    return record["seed"], record["rotation"], record["precision"]


def by_arm(rows):
    """From (arm, unit, score) in any order: of each arm, from its units to scores."""
    scores = {}
    for arm, unit, score in rows:
        scores.setdefault(arm, {})[unit] = score
    return dict(sorted(scores.items()))


def scores_of(records):
    """Of each arm, from its units to the test lwlrap of its ensemble; of both networks' ensemble too."""
    return by_arm([*((r["arm"], unit_of(r), r["test"]["ensemble"]) for r in records),
                   *((BOTH, unit_of(r), r["test"]["both networks"]) for r in records if r["arm"] == VGG_16)])


def last_models_scores_of(records):
    """Of each arm, from its units to the test lwlrap of its last model alone: one network a fold in every arm."""
    return by_arm((r["arm"], unit_of(r), r["test"].get("model 4", r["test"]["ensemble"])) for r in records)


def leads_of(scores):
    """Of each other arm, from its units to how much greater the pipeline's score of the same unit is."""
    return {arm: {unit: scores[PIPELINE][unit] - score for unit, score in units.items()}
            for arm, units in scores.items() if arm != PIPELINE}


def sum_up(records):
    """Tables of mean and interval: each arm on the test set, and the pipeline's lead of each arm, in pairs."""
    scores = scores_of(records)
    pipelines = {unit_of(r): r for r in records if r["arm"] == PIPELINE}
    models = {f"model {stage}": pd.DataFrame({unit: {
        "test": r["test"][f"model {stage}"],
        **{f"{name}, cross-validated": r["cross-validated"][f"model {stage}"][f"lwlrap {name}"]
           for name in ("noisy", "curated")}} for unit, r in pipelines.items()}).T for stage in (1, 2, 3, 4)}
    clean = {}
    for which in ("all", "3", "4"):
        right = {unit: r["noisy labels right"][which] for unit, r in pipelines.items() if "noisy labels right" in r}
        if right and None not in right.values():
            clean[which] = interval(right)
    steps = {arm: [n for r in records if r["arm"] == arm for n in r["steps"]] for arm in scores}
    return {
        "arms": {arm: interval(units) for arm, units in scores.items()},
        "gradient steps a network, least and most": {
            arm: (min(each), max(each)) for arm, each in steps.items() if each},
        "the pipeline's lead": {arm: interval(units) for arm, units in leads_of(scores).items()},
        "its last model's lead": {arm: interval(units)
                                  for arm, units in leads_of(last_models_scores_of(records)).items()},
        "pipeline, by model": {model: intervals(table) for model, table in models.items()},
        "pipeline, gain on the model before": {after: intervals(models[after] - models[before])
                                               for before, after in pairwise(models)},
        "pipeline, the ensemble's lead": {which: interval(
            {unit: r["test"]["ensemble"] - r["test"][which] for unit, r in pipelines.items()})
            for which in (*models, "models 3 and 4")},
        "noisy labels right, of all and of those selected": clean,
    }


def arms_table(summary):
    """The README's table of the arms, line by line."""
    yield "| trained | steps a network | lwlrap on the test clips | the pipeline's lead | its last model's | units |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for arm, test in summary["arms"].items():
        lead, last = (summary[f"{which} lead"].get(arm) for which in ("the pipeline's", "its last model's"))
        least, most = summary["gradient steps a network, least and most"].get(arm, (0, 0))
        steps = "" if not most else f"{least:,}" if least == most else f"{least:,} to {most:,}"
        yield f"| {arm} | {steps} | {spelled(test)} | {spelled(lead, '+')} | {spelled(last, '+')} | {test['n']} |"


def models_table(summary):
    """The README's table of the pipeline's models beside the published Table 2, line by line."""
    yield "| model | noisy (CV) | published | curated (CV) | published | test | published | selected labels right |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    right = summary["noisy labels right, of all and of those selected"]
    for model, published in TABLE_2.items():
        scores = summary["pipeline, by model"].get(model, {"test": summary["arms"][PIPELINE]})
        ours = [spelled(scores.get(what)) for what in ("noisy, cross-validated", "curated, cross-validated", "test")]
        clean = right.get(model.removeprefix("model "))
        cells = [model, *sum(zip(ours, published), ()), f"{clean['mean']:.0%}" if clean else ""]
        yield f"| {' | '.join(map(str, cells))} |"


def spelled(value, sign=""):
    """A mean with its interval; nothing where there is none."""
    return f"{value['mean']:{sign}.3f} ({value['low']:{sign}.3f} to {value['high']:{sign}.3f})" if value else ""


def figure(records, path):
    """The pipeline's lead of each arm: mean and interval, and a dot for each unit."""
    leads = leads_of(scores_of(records))
    drawn = Figure(figsize=(8, 0.8 + 0.42 * len(leads)), layout="constrained")
    axis = drawn.subplots()
    for row, units in enumerate(leads.values()):
        lead = interval(units)
        axis.plot(list(units.values()), [row] * len(units), "o", color="tab:blue", alpha=0.3, markeredgewidth=0)
        axis.errorbar(lead["mean"], row, xerr=[[lead["mean"] - lead["low"]], [lead["high"] - lead["mean"]]], fmt="D",
                      color="tab:blue", capsize=4)
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set(yticks=range(len(leads)), yticklabels=leads, ylim=(len(leads) - 0.5, -0.5),
             xlabel="lwlrap of the pipeline's ensemble less the arm's")
    drawn.savefig(path, dpi=110)
