import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def comparison(monkeypatch):
    """The module of that name in benchmarks/."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("comparison")


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


def test_the_study_compares_arms_of_equal_steps_and_goes_on_where_it_stopped(shared, tmp_path):
    command = [sys.executable, "-W", "ignore", ROOT / "benchmarks/study.py", shared / "esc10", "--seeds", "0",
               "--rotations", "1", "--steps", "3", "--width", "2", "--work", tmp_path / "work", "--out", tmp_path,
               "--arms"]
    subprocess.run([*command, "a"], check=True)  # what all is compared with, the pipeline, is trained with it
    executor = ["--executor", "ray"] if importlib.util.find_spec("ray") else []
    again = subprocess.run([*command, "a", "f: threshold 0.5, cap 2", *executor], check=True, capture_output=True,
                           text=True)
    assert "cap 2: model 1" in again.stdout
    trained, _, table = again.stdout.partition("| trained")
    assert "a: curated" not in trained, "what is there is not trained again"
    assert "| model 2 | 0." in table and " | 0.381 | 0." in table and "| ensemble of 2, 3, 4 |" in table
    assert (tmp_path / "study-esc10.png").stat().st_size > 5000
    study = json.loads((tmp_path / "study-esc10.json").read_text())
    assert set(study["arms"]) == {"d: pipeline", "a: curated, no augmentation", "f: threshold 0.5, cap 2"}
    assert study["the pipeline's lead"]["a: curated, no augmentation"]["n"] == 1
    by_arm = {record["arm"]: record for record in study["records"]}
    steps = [sum(by_arm[arm]["steps"]) for arm in ("d: pipeline", "a: curated, no augmentation")]
    assert steps[0] == pytest.approx(steps[1], abs=2)
    each = by_arm["a: curated, no augmentation"]["steps"]
    assert each[0] == each[1] and f"| a: curated, no augmentation | {each[0]} | 0." in table
    for stage in ("model 1", "model 2"):  # shared with the pipeline
        assert by_arm["f: threshold 0.5, cap 2"]["test"][stage] == by_arm["d: pipeline"]["test"][stage]


def test_the_studys_interval_is_over_seeds_and_rotations(comparison):
    """By hand: what differs between two rotations alone is as uncertain with ten seeds as with one."""
    interval = comparison.interval
    by_rotation = interval({(seed, rotation): rotation for seed in range(10) for rotation in (0, 1)})
    assert by_rotation == {"mean": 0.5, "low": 0, "high": 1, "n": 20}, "a quarter of the draws has one rotation only"
    by_seed = interval({(seed, rotation): seed for seed in range(10) for rotation in (0, 1)})
    assert by_seed["mean"] == 4.5
    assert by_seed["high"] - 4.5 == pytest.approx(1.96 * (99 / 12 / 10) ** 0.5, rel=0.05), "the mean of ten seeds"
    assert interval({(2, 0): 0.3}) == {"mean": 0.3, "low": 0.3, "high": 0.3, "n": 1}
    unfinished = interval({(0, 0): 1, (1, 1): 3})
    assert (unfinished["mean"], unfinished["low"], unfinished["high"], unfinished["n"]) == (2, 1, 3, 2)


def test_the_studys_comparison_adds_up(comparison, tmp_path):
    """By hand, over two seeds: the pipeline, single trainings, and VGG-16 with the ensemble of both networks."""

    def record(seed, arm, ensemble, **more):
        models = {f"model {stage}": ensemble + stage / 100 for stage in (1, 2, 3, 4)}
        return {"seed": seed, "rotation": 0, "precision": "float32", "arm": arm, "steps": [12, 12 + seed],
                "test": {"ensemble": ensemble, **models, "models 3 and 4": ensemble + 0.1, **more},
                "cross-validated": {name: {"lwlrap noisy": score / 2, "lwlrap curated": score}
                                    for name, score in models.items()},
                "noisy labels right": {"all": 0.6, "3": 0.9, "4": 1.0}}

    def single(seed, arm, ensemble):
        return {key: value for key, value in record(seed, arm, ensemble).items() if key != "noisy labels right"} | {
            "test": {"model 1": ensemble, "ensemble": ensemble}}
    records = [record(seed, arm, score + seed / 10, **more) for seed in (0, 1) for arm, score, more in (
        (comparison.PIPELINE, 0.7, {}), (comparison.VGG_16, 0.6, {"both networks": 0.75 + seed / 10}))]
    records += [single(0, "a: alone", 0.5), single(1, "a: alone", 0.7)]
    summary = comparison.sum_up(records)
    assert summary["arms"][comparison.PIPELINE]["mean"] == pytest.approx(0.75)
    lead = summary["the pipeline's lead"]
    assert {arm: round(value["mean"], 9) for arm, value in lead.items()} == {
        "a: alone": 0.15, comparison.VGG_16: 0.1, comparison.BOTH: -0.05}
    assert (lead["a: alone"]["low"], lead["a: alone"]["high"]) == pytest.approx((0.1, 0.2))
    last = {arm: round(value["mean"], 9) for arm, value in summary["its last model's lead"].items()}
    assert last == {"a: alone": 0.19, comparison.VGG_16: 0.1}
    assert summary["pipeline, gain on the model before"]["model 3"]["noisy, cross-validated"]["mean"] == (
        pytest.approx(0.005))
    assert summary["pipeline, the ensemble's lead"]["models 3 and 4"]["mean"] == pytest.approx(-0.1)
    table = "\n".join([*comparison.arms_table(summary), *comparison.models_table(summary)])
    assert ("| a: alone | 12 to 13 | 0.600 (0.500 to 0.700) | +0.150 (+0.100 to +0.200) "
            "| +0.190 (+0.140 to +0.240) | 2 |") in table
    assert "| g: both networks |  | 0.800 (0.750 to 0.850) | -0.050 (-0.050 to -0.050) |  | 2 |" in table
    assert "| 0.723 | 90% |" not in table and "| 0.724 | 90% |" in table, "model 3 trains on what stage 3 selects"
    comparison.figure(records, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_a_lead_is_that_over_a_pipeline_of_the_same_precision(comparison):
    """By hand: two machines, one of which has trained all of seed 0 and the other, 0.1 better, a part of it again."""
    records = [{"seed": seed, "rotation": 0, "precision": precision, "arm": arm, "test": {"ensemble": score}}
               for seed, precision, arm, score in (
                   (0, "bfloat16", comparison.PIPELINE, 0.7), (0, "bfloat16", "a: alone", 0.5),
                   (0, "float32", comparison.PIPELINE, 0.8), (0, "float32", "e: another", 0.7),
                   (1, "float32", comparison.PIPELINE, 0.6), (1, "float32", "a: alone", 0.7))]
    scores = comparison.scores_of(records)
    leads = comparison.leads_of(scores)
    assert leads["e: another"] == {(0, 0, "float32"): pytest.approx(0.1)}
    assert leads["a: alone"] == {(0, 0, "bfloat16"): pytest.approx(0.2), (1, 0, "float32"): pytest.approx(-0.1)}
    pipeline = comparison.interval(scores[comparison.PIPELINE])
    assert (pipeline["mean"], pipeline["n"]) == (pytest.approx((0.75 + 0.6) / 2), 2), "a seed and rotation counts once"


def test_the_plan_of_a_cluster_adds_up(monkeypatch):
    """By hand: two networks of two stages and ten folds."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    makespan = importlib.import_module("scaling").makespan
    both = [[1, 2], [3, 4]]
    assert makespan(1, both, 10, 1, 1) == 10 * (1 + 2 + 3 + 4)
    assert makespan(20, both, 10, 1, 1) == 3 + 4, "a worker a fold: the slower network's two stages"
    assert makespan(8, [[1, 1]], 10, 1, 1) == 4, "two rounds a stage"
    assert makespan(10, [[1, 2]], 10, 2, 1.5) == pytest.approx(2 * 1.5 * 3), "each stage waits for its slowest fold"


def test_the_speed_pages_table_is_that_of_the_committed_results():
    results = json.loads((ROOT / "benchmarks/results/2-cpu-cores.json").read_text())
    page = (ROOT / "docs/speed.md").read_text()
    for architecture in ("cnn-model-1", "vgg16"):
        for part in ("training", "inference"):
            assert f"{results[part][architecture]['ratio']:.2f} |" in page
    assert f"{results['preprocessing']['ratio']:.2f} |" in page
    assert f"{results['loop']['ratio']:.2f} |" in page
    text = " ".join(page.split())
    for architecture, words in (("cnn-model-1", "% over a whole fold of CNN-model-1"), ("vgg16", "% of VGG-16")):
        assert f"{100 * (results['compilation'][architecture]['ratio over a fold'] - 1):.0f} {words}" in text
    hour = results["Kaggle's hour"]
    assert f"{hour['windows']:,} windows" in page
    assert f"it is {hour['minutes of both, float32']:.0f} minutes in float32" in page
    assert f"and {hour['minutes of both, half precision']:.0f} in half" in page
    kernel, hours = results["kernel"], results["hours"]
    theirs = kernel["the author's way, s"]
    assert f"| {kernel['ours, s']:.1f} | {theirs:.1f} | {kernel['ratio']:.2f} |" in page
    assert f"{100 * kernel['share of the matrix rate while predicting']:.0f} % of the matrix rate" in page
    assert f"| {hours['ours, min/s']:.2f} | {hours['a loop over tag, min/s']:.2f} | {hours['ratio']:.2f} |" in page
    assert " | ".join(f"{row['peak memory, MB']:,.0f}" for row in hours["by length"].values()) in page
    rehearsal = json.loads((ROOT / "benchmarks/results/rehearsal.json").read_text())
    read = rehearsal["test side"]
    assert f"| {read['networks read, s']:.1f} | {read['peak memory, MB']:,.0f} |" in page
    for name, row in rehearsal["projection"].items():
        assert f"| {name} | {row['hours of arithmetic at 40 % of the matrix rate']:.1f} h | " \
               f"{100 * row['share that is not arithmetic']:.1f} % |" in page


def test_the_evidence_pages_study_is_that_of_the_committed_results(comparison):
    page = (ROOT / "docs/evidence.md").read_text()
    results = json.loads((ROOT / "benchmarks/results/study-esc10.json").read_text())
    summary = {key: value for key, value in results.items() if key not in ("settings", "records")}
    assert summary == json.loads(json.dumps(comparison.sum_up(results["records"])))
    for table in (comparison.arms_table, comparison.models_table):
        assert "\n".join(table(summary)) in page, table


def test_what_waits_for_a_gpu_runs_here_in_small_and_keeps_what_each_part_found(tmp_path):
    command = [sys.executable, "-W", "ignore", ROOT / "benchmarks/gpu.py", "--out", tmp_path]
    subprocess.run([*command, "run", "step"], check=True, timeout=400)
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert {name: part["ended"] for name, part in parts.items()} == {"run": "finished", "step": "finished"}
    run = json.loads(parts["run"]["last lines"][-1])
    assert run["killed"] and run["what was finished is kept"]
    (measured,) = set(tmp_path.glob("*.json")) - {tmp_path / "gpu.json"}
    assert json.loads(measured.read_text())["step"]["ms"]["forward"] > 0
    cut = subprocess.run([*command, "tests", "inference", "--limit", "6"], check=False, capture_output=True, text=True)
    assert cut.returncode == 1
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert parts["tests"]["ended"].startswith("cut after") and parts["inference"]["ended"] == "no time was left"
    assert measured.exists(), "what was measured before is kept"


def test_the_floor_of_a_step_by_hand(monkeypatch):
    """CNN-model-1's first layers and the sum of all its operations, by the published Table 1."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    floors = importlib.import_module("floors")
    found = floors.layers("cnn-model-1", batch=2)
    side, image = 128 * 128, 2 * 128 * 128
    assert [row[1:] for row in found[:4]] == [
        (3 * image, 64 * image, 2 * 27 * 64 * image), (64 * image, 64 * image, 0), (64 * image, 64 * image, 0),
        (64 * image, 64 * image, 2 * 64 * 9 * 64 * image)]
    convolutions = sum(2 * 9 * into * out * side // 4**block for into, out, block in (
        (3, 64, 0), (64, 64, 0), (64, 128, 1), (128, 128, 1), (128, 256, 2), (256, 256, 2), (256, 512, 3),
        (512, 512, 3)))
    head = 2 * (1024 * 512 + 512 * 80)
    assert floors.operations(found) == 2 * (3 * (convolutions + head) - 2 * 27 * 64 * side)
    one = [row for row in found if isinstance(row[0], torch.nn.ReLU)][:1]
    assert floors.numbers_moved(one, False) == 5 * 64 * image and floors.numbers_moved(one, True) == 0
    page = (ROOT / "docs/speed.md").read_text()
    for line in floors.table(floors.floors()):
        assert line in page


def test_the_rehearsal_goes_through_with_kills_in_small(tmp_path):
    subprocess.run([sys.executable, "-W", "ignore", ROOT / "benchmarks/rehearsal.py", "--size", "0.005", "--width", "2",
                    "--kills", "0", "--out", tmp_path / "r.json"], check=True)
    results = json.loads((tmp_path / "r.json").read_text())
    assert results["test side"]["networks"] == 60
    assert results["training"]["a run that is finished, s"] < results["training"]["in all, s"]
    assert results["training"]["most clips of a label in a fold less the fewest"] <= 3
