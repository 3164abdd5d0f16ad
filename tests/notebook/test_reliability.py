"""The reliability diagram: what is drawn is what scikit-learn counts, and after is not measured where it was fitted."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from freesound_tagging.notebook import reliability_figure
from freesound_tagging.notebook.runs import show_reliability
from freesound_tagging.prediction import calibration_error, cross_fitted


@pytest.fixture
def clips():
    rng = np.random.default_rng(1)
    log_odds = rng.normal(-1, 1.5, (200, 5))
    targets = rng.random((200, 5)) < 1 / (1 + np.exp(-2 * log_odds))
    return 1 / (1 + np.exp(-log_odds)), targets, np.arange(200) % 4


def test_the_diagram_draws_what_is_right_before_and_after(clips):
    probabilities, targets, _ = clips
    diagram, counts = reliability_figure(*clips, title="200 clips").axes
    _, before, after = diagram.get_lines()
    for line, values, name in ((before, probabilities, "raw"), (after, cross_fitted(*clips), "calibrated")):
        top = values.argmax(1)
        right, mean = calibration_curve(targets[np.arange(200), top], values.max(1), n_bins=10)
        np.testing.assert_allclose(line.get_xydata(), np.c_[mean, right], rtol=1e-6)
        assert line.get_label() == f"{name}: error {calibration_error(values, targets):.3f}"
    heights = [bar.get_height() for bar in counts.patches]
    assert sum(heights[:10]) == sum(heights[10:]) == 200
    np.testing.assert_array_equal(heights[:10], np.histogram(probabilities.max(1), 10, (0, 1))[0])


def test_a_run_is_drawn_on_its_curated_clips_held_out(finished_run):
    import matplotlib.pyplot as plt

    plt.close("all")
    show_reliability(finished_run)
    assert plt.gcf().axes[0].get_title() == "36 curated clips held out"


def test_a_run_that_is_not_finished_is_said(make_pipeline, tmp_path, capsys):
    show_reliability(make_pipeline(tmp_path))
    assert capsys.readouterr().out == "12 folds are to be trained before probabilities can be calibrated.\n"
