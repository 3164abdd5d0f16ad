"""Are probabilities what they say: a reliability diagram, before and after two numbers are fitted."""

import matplotlib.pyplot as plt
import numpy as np

from ..prediction.calibration import BINS, calibration_error, cross_fitted, reliability
from .reports import CURATED, NOISY


def reliability_figure(probabilities, targets, folds, title=""):
    """How often the most probable label is right, by its probability: raw, and calibrated by what other folds say.

    Below, how many clips have such a probability. The legend has the expected calibration errors.

    Parameters
    ----------
    probabilities : array (clips, labels)
        Of clips that were held out, as `WarmupPipeline.ensemble_out_of_fold` gives them.
    targets : array (clips, labels)
        1 where a clip carries a label.
    folds : array of int (clips,)
        Each is calibrated by what was fitted on the others (`prediction.cross_fitted`).
    title : str

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is nothing to fit (`prediction.fit_calibration`).
    """
    shown = {"raw": (probabilities, NOISY), "calibrated": (cross_fitted(probabilities, targets, folds), CURATED)}
    figure, (diagram, counts) = plt.subplots(2, 1, figsize=(5, 5.6), sharex=True, layout="constrained",
                                             height_ratios=(3, 1))
    diagram.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--")
    for number, (name, (values, color)) in enumerate(shown.items()):
        table = reliability(values, targets)
        there = table[table["clips"] > 0]
        diagram.plot(there["probability"], there["right"], "o-", color=color, ms=5,
                     label=f"{name}: error {calibration_error(values, targets):.3f}")
        counts.bar((np.arange(BINS) + 0.3 + 0.4 * number) / BINS, table["clips"], 0.4 / BINS, color=color)
    diagram.set(title=title, ylabel="share of these that is right", xlim=(0, 1), ylim=(-0.02, 1.02))
    diagram.legend(fontsize=8, loc="upper left")
    counts.set(xlabel="probability of the most probable label", ylabel="clips")
    for axis in (diagram, counts):
        axis.grid(alpha=0.3)
    return figure
