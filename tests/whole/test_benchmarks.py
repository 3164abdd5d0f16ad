import json
from pathlib import Path

import numpy as np
import pytest
import torch

from freesound_tagging.images.mel import MelConfig

ROOT = Path(__file__).resolve().parents[2]


def test_what_makes_training_fast_leaves_its_result_alone(benchmark, esc10):
    """Real recordings, over seeds: bfloat16, channels last and fused against float32 by hand, schedule included."""
    small = MelConfig(n_mels=32, hop_length=2776, excerpt_frames=32)
    numerics = benchmark("speed.numerics").numerics(esc10.root, 3, 80, mel=small)
    assert min(numerics["lwlrap"]["fast"] + numerics["lwlrap"]["exact"]) > 0.4  # by chance about 0.3
    assert abs(numerics["difference of the means"]) < 4 * numerics["its standard error by the spread of seeds"]


def test_the_plan_of_a_cluster_adds_up(benchmark):
    """By hand: two networks of two stages and ten folds."""
    makespan = benchmark("speed.scaling").makespan
    both = [[1, 2], [3, 4]]
    assert makespan(1, both, 10, 1, 1) == 10 * (1 + 2 + 3 + 4)
    assert makespan(20, both, 10, 1, 1) == 3 + 4, "a worker a fold: the slower network's two stages"
    assert makespan(8, [[1, 1]], 10, 1, 1) == 4, "two rounds a stage"
    assert makespan(10, [[1, 2]], 10, 2, 1.5) == pytest.approx(2 * 1.5 * 3), "each stage waits for its slowest fold"


def test_the_table_of_calibrated_probabilities_is_that_of_the_committed_results():
    page, rows = (ROOT / "docs/profiles.md").read_text(), json.loads(
        (ROOT / "benchmarks/results/calibrated.json").read_text())["rows"]
    for name, row in rows.items():
        assert f"| {name} | " + " | ".join(f"{number:.{digits}f}" for number, digits in zip(
            row, (3, 3, 3, 4, 4, 2, 2), strict=True)) + " |" in page


def test_what_is_measured_of_calibrated_probabilities(benchmark):
    """By hand: the loss of what is said of a clip and a label; at 0.5 one of two is found, and another that is none."""
    calibrated = benchmark("evidence.calibrated")
    truth, probabilities = np.eye(2), np.array([[0.9, 0.6], [0.2, 0.4]])
    raw = calibrated.row(truth, probabilities, probabilities ** 2)
    assert raw[3:5] == pytest.approx([-np.log([one[0, 0], 1 - one[0, 1], 1 - one[1, 0], one[1, 1]]).mean() for one in (
        probabilities, probabilities ** 2)])
    assert raw[5:] == pytest.approx([2 / (2 + 1 + 1), 2 / (2 + 0 + 1)])


def test_the_speed_pages_table_is_that_of_the_committed_results():
    results, others, sitting = (json.loads((ROOT / f"benchmarks/results/2-cpu-cores{name}.json").read_text())
                                for name in ("", "-avx2", "-one-sitting"))
    page = (ROOT / "docs/speed.md").read_text()
    text = " ".join(page.split())
    assert f"In one sitting on {sitting['date']}, " in text
    for network in ("cnn-model-1", "vgg16"):
        for part, rate in (("training", "images/s"), ("inference", "windows/s")):
            row = sitting[part][network]
            assert (f"| {row[f'ours, {rate}']:.1f} | {row[f'published way, {rate}']:.1f} | {row['ratio']:.2f} | "
                    f"{results[part][network]['ratio']:.2f} |") in page
    images = sitting["preprocessing"]
    assert (f"| {images['ours, clips/s']:.1f} | {images['librosa one by one, clips/s']:.1f} | {images['ratio']:.2f} | "
            f"{results['preprocessing']['ratio']:.2f} |") in page
    assert (f"| {images['ours, clips/s']:.1f} | {images['librosa in as many processes, clips/s']:.1f} | "
            f"{images['ratio to that']:.2f} | |") in page
    loop = sitting["loop"]
    assert (f"| {loop['fastai, ms a step']:.1f} | {loop['bare, ms a step']:.1f} | {loop['ratio']:.2f} | "
            f"{results['loop']['ratio']:.2f} |") in page
    commands = sitting["commands"]
    assert f"on synthesized sound, s | {commands['make demo, s']:.0f} | | | |" in page
    tests = int(commands["make test said"].split(" passed")[0].split()[-1])
    assert f"| `make test`: {tests:,} tests, s | {commands['make test, s']:.0f} | | | |" in page
    lost = [100 * (1 - row["ratio over a fold"]) for row in others["compilation"].values() if isinstance(row, dict)]
    assert f"it loses {lost[0]:.0f} % and {lost[1]:.0f} %" in page
    for what, row in others["float32"].items():
        if isinstance(row, dict):
            assert (f"| {what} | {row['ours, images/s']:.1f} | {row['published way, images/s']:.1f} | "
                    f"{row['ratio']:.2f} | {row['share of the floor']:.0%} |") in page
    for network, words in (("cnn-model-1", "% over a whole fold of CNN-model-1"), ("vgg16", "% of VGG-16")):
        assert f"{100 * (results['compilation'][network]['ratio over a fold'] - 1):.0f} {words}" in text
    hour = sitting["Kaggle's hour"]
    assert f"{hour['windows']:,} windows" in page
    assert f"it is {hour['minutes of both, float32']:.0f} minutes in float32" in text
    assert f"and {hour['minutes of both, half precision']:.0f} in half" in text
    shares = [100 * hour[network]["share of the rate measured here"] for network in ("cnn-model-1", "vgg16")]
    assert f"reaches {shares[0]:.0f} % and {shares[1]:.0f} % of the device's matrix rate" in text
    kernel, hours = sitting["kernel"], sitting["hours"]
    theirs, predicting = kernel["the author's way, s"], kernel["parts of the author's way, s"]["prediction"]
    assert (f"| {kernel['ours, s']:.1f} | {theirs:.1f} | {kernel['ratio']:.2f} | "
            f"{results['kernel']['ratio']:.2f} |") in page
    parts = kernel["parts of ours, s"]
    assert (f"Of the {kernel['ours, s']:.1f} s, images take {parts['images']:.1f}, reading networks "
            f"{parts['networks read']:.1f} and prediction {parts['prediction']:.1f}.") in text
    assert f"takes {predicting:.0f} s for it" in text
    assert f"{100 * kernel['share of the matrix rate while predicting']:.0f} % of the matrix rate" in page
    assert (f"| {hours['ours, min/s']:.2f} | {hours['a loop over tag, min/s']:.2f} | {hours['ratio']:.2f} | "
            f"{results['hours']['ratio']:.2f} |") in page
    assert " | ".join(f"{row['peak memory, MB']:,.0f}" for row in hours["by length"].values()) in page
    rehearsal = json.loads((ROOT / "benchmarks/results/rehearsal.json").read_text())
    read = rehearsal["test side"]
    assert f"| {read['networks read, s']:.1f} | {read['peak memory, MB']:,.0f} |" in page
    for name, row in rehearsal["projection"].items():
        assert f"| {name} | {row['hours of arithmetic at 40 % of the matrix rate']:.1f} h | " \
               f"{100 * row['share that is not arithmetic']:.1f} % |" in page


def test_what_is_said_of_kaggles_memory_was_measured():
    page = (ROOT / "docs/kaggle.md").read_text()
    results = json.loads((ROOT / "benchmarks/results/rehearsal-two-processes.json").read_text())
    training = results["training"]
    assert f"process {training['peak memory, MB']:,.0f}" in page
    assert f"together {training['peak memory of other processes, MB']:,.0f}." in page
    ours, theirs = results["device memory, MB"].values()
    assert f"pixels {ours['pixels']:,.0f};" in page
    for name in ("weights, gradients, and AdamW's two means", "what a step of 128 keeps"):
        assert f"{ours[name]:,.0f}" in page and f"{theirs[name]:,.0f}" in page
    assert f"In all {sum(ours.values()):,.0f} and {sum(theirs.values()):,.0f};" in page


def test_what_waits_for_a_gpu_runs_here_in_small_and_keeps_what_each_part_found(benchmark, tmp_path):
    with pytest.raises(SystemExit, match="False"):
        benchmark("gpu.gpu", "--out", tmp_path, "run", "step")
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert {name: part["ended"] for name, part in parts.items()} == {"run": "finished", "step": "finished"}
    run = json.loads(parts["run"]["last lines"][-1])
    assert run["killed"] and run["what was finished is kept"]
    (measured,) = set(tmp_path.glob("*.json")) - {tmp_path / "gpu.json"}
    step = json.loads(measured.read_text())["step"]
    assert min(step["ms"].values()) > 0 and sum(step["share"].values()) == pytest.approx(1)
    assert 0 < step["all but forward and backward"] < 1
    with pytest.raises(SystemExit, match="True"):
        benchmark("gpu.gpu", "--out", tmp_path, "tests", "inference", "--limit", 6)
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert parts["tests"]["ended"].startswith("cut after") and parts["inference"]["ended"] == "no time was left"
    assert measured.exists(), "what was measured before is kept"


def test_the_floor_of_a_step_by_hand(benchmark):
    """CNN-model-1's first layers and the sum of all its operations, by the published Table 1."""
    floors = benchmark("speed.floors")
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


def test_the_rehearsal_goes_through_with_kills_in_small(benchmark, tmp_path):
    benchmark("rehearsal.rehearsal", "--size", 0.005, "--width", 2, "--kills", 0, "--out", tmp_path / "r.json")
    results = json.loads((tmp_path / "r.json").read_text())
    assert results["test side"]["networks"] == 60
    assert results["training"]["a run that is finished, s"] < results["training"]["in all, s"]
    assert results["training"]["most clips of a label in a fold less the fewest"] <= 3
    for parts in results["device memory, MB"].values():
        assert parts["pixels"] * 2**20 == pytest.approx(90.5 * 3600 * 44_100 / 694 * 128), "90.5 hours"
    # Of CNN-model-1 with 2 channels: what each convolution and batch normalization gets, in half precision, and not
    # as much again twice, for the pools and what is kept in float32. The sides of its four blocks are 128 to 16.
    gets = sum((into + out) * side**2 for into, out, side in (
        (3, 2, 128), (2, 2, 128), (2, 4, 64), (4, 4, 64), (4, 8, 32), (8, 8, 32), (8, 16, 16), (16, 16, 16)))
    least = 128 * 2 * gets / 2**20
    assert least < results["device memory, MB"]["cnn-model-1"]["what a step of 128 keeps"] < 3 * least
