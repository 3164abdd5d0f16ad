"""Are calibrated probabilities what they say? ``python -m benchmarks.evidence.calibrated INPUT WEIGHTS...``.

INPUT is a data set with known test labels, each WEIGHTS a finished run's networks, which say what their probabilities
are worth by the clips that were held out; here they are held to the test clips. Of several runs their mean too.
"""

import argparse
import json
import tempfile
from pathlib import Path

from sklearn.metrics import f1_score, log_loss

from benchmarks.speed.common import ROOT
from freesound_tagging.clips.dataset import FSDKaggle2019
from freesound_tagging.images.store import SpectrogramStore
from freesound_tagging.lwlrap import lwlrap
from freesound_tagging.prediction import Ensemble, ensemble_mean
from freesound_tagging.prediction.calibration import calibration_error

COLUMNS = ("lwlrap", "error, raw", "calibrated", "log loss, raw", "calibrated", "F1 at 0.5, raw", "calibrated")


def main():
    """Print the table of docs/profiles.md, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("input", type=Path)
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/calibrated.json")
    options = parser.parse_args()
    data = FSDKaggle2019(options.input, needed=("test",))
    truth, raw, own, rows = data.targets(data.test), [], [], {}
    with tempfile.TemporaryDirectory() as folder:
        for weights in options.weights:
            networks = Ensemble.load(weights, vocabulary=data.vocabulary)
            store = SpectrogramStore.build(data.test["path"], Path(folder) / "test", networks.mel, progress=False)
            raw.append(ensemble_mean(networks.predict(store, progress=False)))
            own.append(networks.calibration(raw[-1]))
            rows[networks.taggers[0].spec.network] = row(truth, raw[-1], own[-1])
    if len(raw) > 1:
        together, mean = Ensemble.load(options.weights).calibration, ensemble_mean(raw)
        rows["together"] = row(truth, mean, together(mean))
        rows["together, each by its own line"] = row(truth, mean, ensemble_mean(own))
    print("| | " + " | ".join(COLUMNS) + " |\n|" + " --- |" * (1 + len(COLUMNS)))
    for name, numbers in rows.items():
        print(f"| {name} | " + " | ".join(f"{number:.{digits}f}" for number, digits in zip(
            numbers, (3, 3, 3, 4, 4, 2, 2))) + " |")
    options.out.write_text(json.dumps({"test clips": len(truth), "labels": truth.shape[1], "columns": COLUMNS,
                                       "rows": rows}, indent=1) + "\n")


def row(truth, raw, calibrated):
    """lwlrap, and before and after: the top label's calibration error, log loss, and F1 of all labels at 0.5."""
    both = (raw, calibrated)
    return [lwlrap(truth, raw), *(calibration_error(one, truth) for one in both),
            *(log_loss(truth.ravel(), one.ravel()) for one in both),
            *(f1_score(truth, one >= 0.5, average="micro", zero_division=0) for one in both)]


if __name__ == "__main__":
    main()
