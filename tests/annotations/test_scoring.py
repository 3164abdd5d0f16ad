"""Events against labels with times: by hand, and as sed_eval and sed_scores_eval have it."""

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from freesound_tagging.annotations.reading import read_events
from freesound_tagging.annotations.scoring import SCENARIOS, _matched, psds, score_events
from freesound_tagging.prediction.__main__ import main

SCORED = Path(__file__).parent / "scored"


def table(*rows):
    return pd.DataFrame(rows, columns=["file", "start", "end", "label"])


def test_scores_are_sed_evals():
    """Of sed_eval 0.2.1: segments of 1 s; events with a collar of 0.2 s, 20 % of the length, optimal matching."""
    totals, per_label = score_events(read_events(SCORED / "found.tsv"), read_events(SCORED / "truth.tsv"))
    assert totals == pytest.approx({
        "segment F1": 0.6971428571428572, "segment precision": 0.7625, "segment recall": 0.6421052631578947,
        "event F1": 0.47058823529411764, "segment F1, mean of labels": 0.6908685856054276,
        "event F1, mean of labels": 0.4562779497764018})
    np.testing.assert_allclose(per_label["segment F1"], [0.5454545454545454, 0.7017543859649122, 0.8253968253968254])
    np.testing.assert_allclose(per_label["precision"], [0.6818181818181818, 0.8, 0.7878787878787878])
    np.testing.assert_allclose(per_label["recall"], [0.45454545454545453, 0.625, 0.8666666666666667])
    np.testing.assert_allclose(per_label["event F1"], [0.26666666666666666, 0.47058823529411764, 0.631578947368421])
    assert per_label[["true", "found"]].to_numpy().tolist() == [[9, 6], [9, 8], [9, 10]]


def test_the_score_over_all_thresholds_is_that_of_sed_scores_eval():
    """Of sed_scores_eval 0.0.4, in windows of a second, and both recordings of 240 s."""
    windows = pd.read_csv(SCORED / "windows.csv")
    windows["end"] = windows["start"] + 1
    truth = read_events(SCORED / "truth.tsv")
    assert psds(windows, truth, **SCENARIOS["PSDS1"]) == pytest.approx(0.1988989910537819, rel=1e-9)
    assert psds(windows, truth, **SCENARIOS["PSDS2"]) == pytest.approx(0.49823396213486715, rel=1e-9)


def test_segments_and_events_by_hand():
    truth = table(("a", 0.5, 2.5, "x"), ("a", 10, 11, "x"), ("b", 3, 3, "y"))  # segments 0 to 2, 10; 3
    found = table(("A.wav", 0.6, 2.4, "x"), ("A.wav", 2.2, 4, "x"), ("C:\\b.wav", 3.2, 3.3, "y"))  # 0 to 3; 3
    totals, per_label = score_events(found, truth)
    assert per_label.loc["x"].to_dict() == {"segment F1": 2 * 3 / (4 + 4), "precision": 3 / 4, "recall": 3 / 4,
                                            "event F1": 2 * 1 / (2 + 2), "true": 2, "found": 2}
    assert per_label.loc["y", ["segment F1", "event F1"]].tolist() == [1, 0], "0.2 s off, and then 0.3 s"
    assert totals["segment F1"] == 2 * 4 / (5 + 5) and totals["event F1"] == 2 * 1 / (3 + 3)
    assert score_events(found, truth, collar=0.3)[0]["event F1"] == 2 * 2 / 6


def test_each_true_event_is_matched_once_and_as_many_as_can_be():
    truth = table(("a", 1.0, 5.0, "x"), ("a", 1.3, 5.0, "x"))
    found = table(("a", 1.15, 5.0, "x"), ("a", 0.9, 5.0, "x"), ("a", 1.1, 5.0, "x"))  # the first could take either's
    assert score_events(found, truth)[1].loc["x", "event F1"] == 2 * 2 / (2 + 3)


def matched_one_by_one(found, true, collar, share):
    """Each found event with each true one; what is matched gives way where it can be matched otherwise."""
    fits = [[j for j, (start, end) in enumerate(true) if abs(begin - start) <= collar + 1e-6
             and abs(last - end) <= max(collar, share * (end - start)) + 1e-6] for begin, last in found]
    of = {}

    def match(i, tried):
        for j in set(fits[i]) - tried:
            tried.add(j)
            if j not in of or match(of[j], tried):
                of[j] = i
                return True
        return False

    return sum(match(i, set()) for i in range(len(found)))


def test_as_many_are_matched_as_where_each_is_compared_with_each():
    rng = np.random.default_rng(0)
    for _ in range(200):
        collar, share = rng.choice([0.0, 0.2, 1.0], 2)
        starts, lengths = rng.integers(0, 40, (2, 20)) / 10, rng.integers(0, 20, (2, 20)) / 10  # many a collar apart
        found, true = (np.stack([a, a + b], 1)[:rng.integers(0, 21)] for a, b in zip(starts, lengths))
        assert _matched(found, true, collar, share) == matched_one_by_one(found, true, collar, share)


def test_many_events_are_matched_without_room_for_all_pairs():
    """Of 3,000, a second apart, every other is 0.1 s off, the others 0.5 s: half are right. All pairs are 9 million."""
    starts = np.arange(3000.0)
    found = starts + np.where(np.arange(3000) % 2, 0.5, 0.1)
    tracemalloc.start()
    try:
        assert _matched(np.stack([found, found + 0.7], 1), np.stack([starts, starts + 0.7], 1), 0.2, 0.2) == 1500
        assert tracemalloc.get_traced_memory()[1] < 5e6
    finally:
        tracemalloc.stop()


def test_what_is_found_where_the_truth_has_nothing_is_false_and_said():
    truth = table(("a", 0, 1, "x"))
    with pytest.warns(UserWarning, match="the truth has no event in b: what was found there counts as false"):
        totals, _ = score_events(table(("a", 0, 1, "x"), ("b", 0, 1, "x"), ("a", 0, 2, "z")), truth)
    assert totals["segment precision"] == 1 / 4 and totals["segment F1, mean of labels"] == 2 / 3
    with pytest.warns(UserWarning, match="nothing was found in a: events there count as missed"):
        assert score_events(table(), truth)[0]["segment F1"] == 0


def test_a_score_over_all_thresholds_by_hand():
    """An hour: the event is found by 0.9 alone, and 0.8 adds a false detection; of 2 an hour that half is searched."""
    windows = pd.DataFrame({"file": "a", "start": [0.0, 10, 20, 30], "end": [10.0, 20, 30, 3600],
                            "x": [0.8, 0.0, 0.9, 0.0], "y": [0.0, 0.0, 0.7, 0.9]})
    truth = table(("a", 20, 30, "x"), ("a", 21, 22, "y"))
    settings = {"dtc": 0.7, "gtc": 0.7, "alpha_st": 0.0, "most": 2}
    assert psds(windows, truth[:1], **settings) == 1
    assert psds(windows, truth, **settings) == 0.5, "y is never right"
    assert psds(windows, truth, **settings | {"alpha_st": 1.0}) == 0, "and as far apart as labels can be"
    late = windows.assign(x=[0.95, 0.0, 0.9, 0.0])
    assert psds(late, truth[:1], **settings) == 0.5, "one false detection comes first"
    with pytest.raises(ValueError, match="no windows of b; tag all recordings of the truth"):
        psds(windows, table(("b.wav", 1, 2, "x")), **settings)
    two = pd.concat([windows.assign(file="x/a.wav"), windows.assign(file="y/a.wav")])
    with pytest.raises(ValueError, match=r"what was found has the recordings x/a\.wav and y/a\.wav, which are one by"):
        psds(two, truth, **settings)


@pytest.mark.parametrize(("found", "truth", "said"), [
    (table(("a", 0, 1, "x")), table(), "there is no true event"),
    (table(("a", 0, 1, "dog")), table(("a", 0, 1, "Bark")), "found were such as 'dog', and true is 'Bark'"),
    (table(("a", 0, 1, "x")), table(("s/a.wav", 0, 1, "x"), ("t/a.wav", 0, 1, "x")), "recordings s/a.wav and t/a.wav"),
])
def test_what_cannot_be_scored_is_said(found, truth, said):
    with pytest.raises(ValueError, match=said):
        score_events(found, truth)


def test_the_command_scores_events_and_timelines(tmp_path, capsys):
    assert main([str(SCORED / "found.tsv"), str(SCORED / "truth.tsv")]) == 0
    printed = capsys.readouterr().out
    assert "segment F1                  0.697" in printed and "PSDS" not in printed
    rows = printed.splitlines()
    assert [row.split()[0] for row in rows[1:4]] == ["a", "b", "c"] and rows[3].split()[1:] == [
        "0.825", "0.788", "0.867", "0.632", "9", "10"]

    (tmp_path / "truth").mkdir()
    (tmp_path / "truth/night_labels.txt").write_text("1,2\t2,8\tBark\n")
    seconds = np.arange(0, 60, 1.0)
    pd.DataFrame({"path": "/x/night.wav", "second": seconds, "Bark": np.where(seconds == 1, 0.9, 0.01),
                  "Meow": 0.0}).to_csv(tmp_path / "when.csv", index=False)
    assert main([str(tmp_path / "when.csv"), str(tmp_path / "truth")]) == 0
    printed = capsys.readouterr().out
    assert "segment F1                  1.000" in printed, "the window of 1 to 3 s speaks for 1.5 to 2.5 s"
    assert "PSDS1                       0.000" in printed and "PSDS2                       1.000" in printed
    assert main([str(tmp_path / "when.csv"), str(tmp_path / "truth"), "--threshold", "0.95"]) == 0
    assert "segment F1                  0.000" in capsys.readouterr().out


def test_a_table_of_timelines_without_numbers_is_named(tmp_path, capsys):
    (tmp_path / "when.csv").write_text("path,second,Bark\na.wav,0,high\n")
    assert main([str(tmp_path / "when.csv"), str(SCORED / "truth.tsv")]) == 1
    assert "when.csv is no table of timelines (" in capsys.readouterr().err
