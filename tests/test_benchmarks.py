import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_a_benchmark_runs_and_writes_its_figures(tmp_path):
    done = subprocess.run([sys.executable, "-W", "ignore", ROOT / "benchmarks/run.py", "step", "--out", tmp_path],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*.json")
    step = json.loads(path.read_text())["step"]
    assert sum(step["share"].values()) == pytest.approx(1)
    assert 0 < step["all but forward and backward"] < 1


def test_what_makes_training_fast_leaves_its_result_alone(esc10, tmp_path):
    """Real recordings, over seeds: bfloat16, channels last and fused against float32 by hand, schedule included."""
    subprocess.run([sys.executable, "-W", "ignore", ROOT / "benchmarks/run.py", "numerics", "--input", esc10.root,
                    "--seeds", "3", "--steps", "80", "--out", tmp_path], check=True)
    (path,) = tmp_path.glob("*.json")
    numerics = json.loads(path.read_text())["numerics"]
    assert min(numerics["lwlrap"]["fast"] + numerics["lwlrap"]["exact"]) > 0.4  # by chance about 0.3
    assert abs(numerics["difference of the means"]) < 4 * numerics["its standard error by the spread of seeds"]


def test_the_readmes_table_is_that_of_the_committed_results():
    results = json.loads((ROOT / "benchmarks/results/2-cpu-cores.json").read_text())
    readme = (ROOT / "README.md").read_text()
    for architecture in ("cnn-model-1", "vgg16"):
        for part in ("training", "inference"):
            assert f"{results[part][architecture]['ratio']:.2f} |" in readme
    assert f"{results['preprocessing']['ratio']:.2f} |" in readme
    assert f"{results['loop']['ratio']:.2f} |" in readme
