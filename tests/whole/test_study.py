"""The study: what its arms change, that they are compared as they should be, and that its page is what it found."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def comparison(benchmark):
    return benchmark("evidence.comparison")


ARRANGE = """
import pathlib, shutil, sys
import pandas as pd
root = pathlib.Path(sys.argv[1])
shutil.copytree({demo!r}, root)
for path in root.rglob("*.csv"):
    table = pd.read_csv(path, dtype=str)
    table[table.fname.map(lambda name: int(name[:6], 16) % 3 == 0)].to_csv(path, index=False)
pathlib.Path({asked!r}).write_text(" ".join(sys.argv[2:]))
"""


@pytest.fixture
def recordings(demo, tmp_path):
    """A folder that arranges itself anew, as recordings do; here a third of the tiny demo set, and how it was asked."""
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings/make_input.py").write_text(
        ARRANGE.format(demo=str(demo.root), asked=str(tmp_path / "asked")))
    return tmp_path / "recordings"


def test_all_arms_are_trained_in_equal_steps_and_not_again(benchmark, recordings, tmp_path, capsys):
    arms, comparison = map(benchmark, ("evidence.arms", "evidence.comparison"))

    def run(*arguments):
        benchmark("evidence.study", recordings, "--rotations", 2, "--steps", 2, "--batch", 16, "--width", 2,
                  "--image", 32, "--name", "tiny", "--work", tmp_path / "work", "--out", tmp_path, *arguments)
        return capsys.readouterr().out, json.loads((tmp_path / "study-tiny.json").read_text())
    run("--seeds", 3)
    assert (tmp_path / "asked").read_text() == "--seed 3 --curated-fold 3 --noisy-folds 4 1 --test-fold 2"
    printed, found = run("--seeds", 3, 4, "--arms", "a")
    trained, *tables = printed.split("\n| ")
    assert [line.split(": ")[0] for line in trained.splitlines()] == ["seed 4, rotation 2, d", "seed 4, rotation 2, a"]
    assert "\n| ".join(["", *tables]).startswith("\n" + "\n".join(comparison.questions_table(found)))
    assert (tmp_path / "study-tiny.png").stat().st_size > 5000
    records = {record["arm"]: record for record in found["records"] if record["seed"] == 3}
    assert set(records) == set(arms.ARMS)
    assert set(found["questions"]) == set(comparison.QUESTIONS)
    pipeline = records[comparison.PIPELINE]
    for name, record in records.items():
        assert record["steps"] == pipeline["steps"], name
        for stage in arms.ARMS[name].shared:
            assert record["test"][f"model {stage}"] == pipeline["test"][f"model {stage}"], name
        assert name[0] in "dj" or record["test"]["last model"] != pipeline["test"]["last model"], name
    assert pipeline["test"]["last model"] == pipeline["test"]["model 4"]
    assert records["j: stages 3 and 4 on curated clips"]["selected"] == {}

    for arguments, said in ((["--arms", "SpecMix"], "--arms 'SpecMix': no arm begins so; there are d: pipeline;"),
                            (["--part", "3/2"], "'3/2': expected two numbers as 1/2, the first not above the second"),
                            (["--width", 3], "not of {'folds': 2, 'width': 3,")):
        with pytest.raises(SystemExit):
            run(*arguments)
        assert said in capsys.readouterr().err
    (tmp_path / "study-tiny.json").rename(tmp_path / "kept.json")
    with pytest.raises(SystemExit):  # also what has no results yet
        run("--seeds", 3, "--steps", 3)
    assert f"{tmp_path / 'work/tiny/settings.json'} is of" in capsys.readouterr().err
    (tmp_path / "kept.json").rename(tmp_path / "study-tiny.json")
    printed, left = run("--seeds", 4, "--arms", "g", "b", "--work", tmp_path / "another machine")
    assert printed.startswith("seed 4, rotation 2: left out g: VGG-16, which go on from the pipeline's networks: these")
    assert [arm for arm in left["arms"] if arm[0] in "bg" and left["arms"][arm]["last model"]["n"] == 2] == [
        "b: curated, augmented"]
    with pytest.raises(SystemExit):
        benchmark("evidence.study", tmp_path / "nowhere")
    assert f"{tmp_path / 'nowhere'} is no folder" in capsys.readouterr().err


def record(arm, seed=0, rotation=0, precision="float32", noisy=0.5, **test):
    """What the study writes of an arm."""
    return {"arm": arm, "seed": seed, "rotation": rotation, "precision": precision, "steps": [12, 12 + seed],
            "test": test, "cross-validated": {f"model {stage}": {"lwlrap noisy": noisy, "lwlrap curated": 0.9}
                                              for stage in (1, 2)}}


def test_an_interval_is_over_seeds_and_rotations(comparison):
    """By hand, with Student's t of a printed table: 3.182 and 4.303 for three and two degrees of freedom."""
    interval = comparison.interval
    by_rotation = interval({(seed, rotation): rotation for seed in range(10) for rotation in range(4)})
    half = 3.182 * (5 / 3) ** 0.5 / 2  # as uncertain with ten seeds as with one: 0, 1, 2, 3 have the variance 5/3
    assert by_rotation == {"mean": 1.5, "low": pytest.approx(1.5 - half, abs=1e-3),
                           "high": pytest.approx(1.5 + half, abs=1e-3), "n": 40, "freedom": 3}
    by_seed = interval({(seed, 2): seed for seed in (1, 2, 3)})
    assert by_seed == {"mean": 2, "low": pytest.approx(2 - 4.303 / 3 ** 0.5, abs=1e-3),
                       "high": pytest.approx(2 + 4.303 / 3 ** 0.5, abs=1e-3), "n": 3, "freedom": 2}
    assert interval({(2, 0): 0.3}) == {"mean": 0.3, "low": None, "high": None, "n": 1, "freedom": 0}
    unfinished = interval({(0, 0): 1, (1, 0): 3, (0, 1): 3, (0, 2): 3, (0, 3): 3, (0, 3, "other"): 3})
    assert (unfinished["mean"], unfinished["n"], unfinished["freedom"]) == (2.75, 5, 3), "each rotation counts alike"


def test_an_interval_holds_the_truth_as_often_as_it_says(comparison):
    """Three seeds, four rotations that differ by as much as their seeds do: 95 % of 400 draws, by 3 more or less."""
    random = np.random.default_rng(0)
    units, held = [(seed, rotation) for seed in range(3) for rotation in range(4)], 0
    for draw in random.normal(size=(400, 1, 4)) + random.normal(size=(400, 3, 4)):
        found = comparison.interval({unit: draw[unit] for unit in units})
        held += found["low"] < 0 < found["high"]
    assert 0.92 < held / 400 < 0.98


def test_an_effect_of_the_seed_is_found(comparison):
    """By hand: F is 6 of 1 and 3 degrees of freedom, then 24; Fisher's table has 10.13 for 5 %."""
    rest = np.array([1, -1, 1, -1])  # of the first seed, and the contrary of the second: 8 in squares

    def grid(effect):
        values = np.stack([10 * np.arange(4) + effect + rest, 10 * np.arange(4) - effect - rest])
        return {(seed, rotation): value for (seed, rotation), value in np.ndenumerate(values)}
    lacking = grid(8)
    del lacking[1, 3]
    for effect, ratio in ((2 ** 0.5, 6), (8 ** 0.5, 24)):  # 8 effect^2 over 8 / 3
        assert 8 * effect ** 2 / (8 / 3) == pytest.approx(ratio)
        assert comparison.seed_effects([grid(effect), lacking]) == {"found": ratio > 10.13, "of": 1}


def test_the_comparison_adds_up(comparison, tmp_path):
    """By hand, over two seeds: the pipeline, a single training, VGG-16 with the ensemble of both networks."""
    records, curated = [], "a: curated, no augmentation"
    for seed, more in ((0, 0), (1, 0.1)):
        scores = {"model 1": 0.5, "model 2": 0.6, "model 3": 0.62, "model 4": 0.65, "last model": 0.65,
                  "models 3 and 4": 0.69, "ensemble": 0.7}
        pipeline = record(comparison.PIPELINE, seed, noisy=0.4 + more, **{k: v + more for k, v in scores.items()})
        pipeline["cross-validated"]["model 2"]["lwlrap noisy"] -= 0.03
        pipeline |= {"selected": {"3": 40 + seed * 20, "4": 10},
                     "noisy labels right": {"all": 0.6, "3": 0.9, "4": None}}
        records += [pipeline,
                    record(curated, seed, **{"last model": 0.5 + 2 * more, "ensemble": 0.5 + 2 * more}),
                    record(comparison.VGG_16, seed, **{"last model": 0.72, "ensemble": 0.6 + more,
                                                       "both networks": 0.75 + more})]
    summary = comparison.sum_up(records)
    found = {question: {column: (value["mean"], value["high"] - value["low"]) for column, value in columns.items()}
             for question, columns in summary["questions"].items()}
    t = 12.706  # Student's for one degree of freedom: of two values x and y the interval is t |x - y| wide
    for question, columns in {
            "pipeline, over curated clips without augmentation": {"last model": (0.1, 0.1 * t),
                                                                  "ensemble": (0.15, 0.1 * t)},
            "VGG-16 and CNN-model-1, over CNN-model-1": {"ensemble": (0.05, 0)},
            "VGG-16, over CNN-model-1": {"last model": (0.02, 0.1 * t), "ensemble": (-0.1, 0)},
            "model 4, over model 3": {"last model": (0.03, 0)},
            "ensemble of 2, 3, 4, over the mean of 3 and 4": {"ensemble": (0.01, 0)},
            "noisy clips held out: model 2, over model 1": {"last model": (-0.03, 0)}}.items():
        assert found[question] == {column: pytest.approx(value, abs=1e-4) for column, value in columns.items()}
    assert "SpecMix, over mixup" not in found
    tables = ["\n".join(table(summary)) for table in comparison.TABLES]
    assert ("| VGG-16, over CNN-model-1 | +0.020 (-0.615 to +0.655) | too few units "
            "| -0.100 (-0.100 to -0.100) | too few units | 2 |") in tables[0]
    assert "| model 4, over model 3 | +0.030 (+0.030 to +0.030) | too few units |  |  | 2 |" in tables[0]
    assert f"| {curated} | 12 to 13 | 0.600 (-0.671 to 1.871) | 0.600 (-0.671 to 1.871) | 2 |" in tables[2]
    assert "| model 1 | 0.450 (-0.185 to 1.085) | 0.651 | 0.900 (0.900 to 0.900) | 0.411 | 0.550 (-0.0" in tables[3]
    assert "| ensemble |  |  |  |  | 0.750 (0.115 to 1.385) | 0.733 |" in tables[3]
    assert tables[4] == ("Of the noisy clips 60% carry their right labels. Stage 3 selects 50 of them, 90% right, and "
                         "stage 4 10, - right.")
    for answer, low, high in (("more", 0.1, 0.2), ("less", -0.2, -0.1), ("cannot be told", -1, 1)):
        assert comparison.answer({"low": low, "high": high, "freedom": 2}) == answer
    assert comparison.spelled({"mean": -0.0004, "low": None, "high": None}, "+") == "+0.000"
    comparison.figure(records, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 5000


def test_what_is_compared_is_of_the_same_precision(comparison):
    """By hand: two machines, one of which has trained all of seed 0 and the other, 0.1 better, a part of it again."""
    curated, mixed = "b: curated, augmented", "e: neither"
    records = [record(arm, seed, precision=precision, **{"last model": score, "ensemble": score})
               for seed, precision, arm, score in (
                   (0, "bfloat16", comparison.PIPELINE, 0.7), (0, "bfloat16", curated, 0.5),
                   (0, "float32", comparison.PIPELINE, 0.8), (0, "float32", mixed, 0.7),
                   (1, "float32", comparison.PIPELINE, 0.6), (1, "float32", curated, 0.7))]
    found = comparison.differences_of(records)
    assert found["mixup and SpecMix, over neither"]["ensemble"] == {(0, 0, "float32"): pytest.approx(0.1)}
    assert found["pipeline, over curated clips"]["ensemble"] == {
        (0, 0, "bfloat16"): pytest.approx(0.2), (1, 0, "float32"): pytest.approx(-0.1)}
    pipeline = comparison.sum_up(records)["arms"][comparison.PIPELINE]["ensemble"]
    assert (pipeline["mean"], pipeline["n"]) == (pytest.approx((0.75 + 0.6) / 2), 2), "a seed and rotation counts once"


def test_the_evidence_page_is_that_of_the_committed_results(comparison):
    page = (ROOT / "docs/evidence.md").read_text()
    results = json.loads((ROOT / "benchmarks/results/study-freesound40.json").read_text())
    summary = {key: value for key, value in results.items() if key not in ("settings", "records")}
    assert summary == json.loads(json.dumps(comparison.sum_up(results["records"])))
    tables = ["\n".join(table(summary)) for table in comparison.TABLES]
    for table in tables:
        assert table in page
    answers = re.findall(r"[+-]0\.\d{3} \([^)]*\)", " ".join(page.split()))
    assert len(answers) > 20 and [answer for answer in answers if answer not in tables[0]] == []
