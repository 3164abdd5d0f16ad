"""Submissions: written, read in any order, and scored as scikit-learn scores."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import label_ranking_average_precision_score

from freesound_tagging.prediction.__main__ import main
from freesound_tagging.prediction.submission import leaderboards, score_submission, write_submission

LABELS = tuple(f"label {i}" for i in range(5))


def test_a_submission_is_written_whole_and_in_order(tmp_path):
    probabilities = np.random.default_rng(0).random((2, 5), np.float32)
    write_submission(tmp_path / "submission.csv", ["a.wav", "b.wav"], LABELS, probabilities)
    read = pd.read_csv(tmp_path / "submission.csv", index_col="fname")
    assert list(read.columns) == list(LABELS)
    assert list(read.index) == ["a.wav", "b.wav"]
    np.testing.assert_allclose(read, probabilities)
    probabilities[1, 3] = np.nan
    with pytest.raises(ValueError, match=r"probabilities of b\.wav are not all numbers"):
        write_submission(tmp_path / "other.csv", ["a.wav", "b.wav"], LABELS, probabilities)
    chosen = pd.Series(["c.wav", "a.wav", "b.wav"])[1:]
    with pytest.raises(ValueError, match=r"probabilities of b\.wav are not all numbers"):
        write_submission(tmp_path / "other.csv", chosen, LABELS, probabilities)
    with pytest.raises(ValueError, match=r"expected \(1, 5\)"):
        write_submission(tmp_path / "other.csv", ["a.wav"], LABELS, probabilities)
    assert not (tmp_path / "other.csv").exists()


@pytest.fixture
def scored(tmp_path):
    rng = np.random.default_rng(0)
    fnames = [f"{i}.wav" for i in range(40)]
    truth = rng.random((40, 5)) < 0.3
    truth[np.arange(40), rng.integers(0, 5, 40)] = True
    usage = np.where(rng.random(40) < 0.25, "Public", "Private")
    scores = rng.random((40, 5), np.float32)
    pd.DataFrame({"fname": fnames, "labels": [",".join(np.array(LABELS)[row]) for row in truth], "usage": usage,
                  "license": "CC0"}).to_csv(tmp_path / "truth.csv", index=False)
    submission = write_submission(tmp_path / "submission.csv", fnames, LABELS, scores)
    return tmp_path, truth, scores, usage, submission


def test_scores_are_scikit_learns_on_each_leaderboard(scored):
    folder, truth, scores, usage, submission = scored
    shuffled = submission.sample(frac=1, random_state=0)[["fname", *LABELS[::-1]]]
    shuffled.to_csv(folder / "submission.csv", index=False)
    result, per_class = score_submission(folder / "submission.csv", folder / "truth.csv")

    def sklearns(part):
        return label_ranking_average_precision_score(truth[part], scores[part], sample_weight=truth[part].sum(1))
    assert result == pytest.approx({"overall": sklearns(np.full(40, True)), "public": sklearns(usage == "Public"),
                                    "private": sklearns(usage == "Private")})
    assert per_class["clips"].to_dict() == dict(zip(LABELS, truth.sum(0)))
    weighted = (per_class["lwlrap"] * per_class["clips"]).sum() / truth.sum()
    assert weighted == pytest.approx(result["overall"])


@pytest.fixture
def tied(scored):
    """Three clips with all labels equal."""
    folder, truth, scores, _, submission = scored
    scores[:3] = 0.5
    submission[list(LABELS)] = scores
    submission.to_csv(folder / "submission.csv", index=False)
    return folder, truth, scores


def test_a_score_says_what_ties_make_of_it(tied):
    folder, truth, scores = tied
    with pytest.warns(UserWarning, match=r"submission\.csv gives a true label .* in 3 of 40 clips: as ties ") as caught:
        result, _ = score_submission(folder / "submission.csv", folder / "truth.csv")
    bounds = re.search(r"lwlrap overall is (\d\.\d{5}) to (\d\.\d{5})$", str(caught[0].message))
    # By scikit-learn, with the true labels of the three clips moved up and down a little.
    expected = [label_ranking_average_precision_score(
        truth, scores + sign * 1e-5 * truth + 1e-7 * np.arange(5), sample_weight=truth.sum(1))
                for sign in (-1, 1)]
    assert [float(bounds[1]), float(bounds[2])] == pytest.approx(expected, abs=1e-5)
    assert expected[0] < result["overall"] < expected[1]


def test_the_command_says_what_ties_make_of_a_score(tied, capsys):
    assert main([str(tied[0] / "submission.csv"), str(tied[0] / "truth.csv")]) == 0
    assert "in 3 of 40 clips: as ties are broken, lwlrap overall is" in capsys.readouterr().err


def test_a_submission_of_the_private_clips_alone_is_scored_on_them(scored):
    folder, _, _, usage, submission = scored
    submission[usage == "Private"].to_csv(folder / "submission.csv", index=False)
    result, _ = score_submission(folder / "submission.csv", folder / "truth.csv")
    assert set(result) == {"overall", "private"}


@pytest.mark.parametrize(("change", "message"), [
    (lambda s: s[s.fname != "3.wav"], r"lacks the clips 3\.wav"),
    (lambda s: pd.concat([s, s[:1]]), r"lists 0\.wav more than once"),
    (lambda s: s.replace({"fname": {"3.wav": "x.wav"}}), r"lacks the clips 3\.wav"),
    (lambda s: pd.concat([s, s[:1].assign(fname="x.wav")]), r"has clips that the truth does not know x\.wav"),
    (lambda s: s.assign(**{"label 2": np.nan}), r"has scores that are not numbers for 0\.wav"),
    (lambda s: s.astype({"label 2": object}).replace({"label 2": {s["label 2"][3]: "much"}}),
     r"has scores that are not numbers for 3\.wav"),
    (lambda s: s.drop(columns="label 2"), r"truth\.csv: \d+\.wav carries the label 'label 2'"),
])
def test_submissions_that_do_not_fit_the_truth_are_refused_by_name(scored, change, message):
    folder, *_, submission = scored
    change(submission).to_csv(folder / "submission.csv", index=False)
    with pytest.raises(ValueError, match=message):
        score_submission(folder / "submission.csv", folder / "truth.csv")


TRUTH = "fname,labels\na.wav,Bark\nb.wav,Meow\n"


@pytest.mark.parametrize(("extra", "wrong"), [
    ({"Unnamed: 0": [0, 1]}, "'Unnamed: 0'"), ({"fold": [0, 1]}, "'fold'"), ({"windows": [3, 7]}, "'windows'")])
def test_a_column_that_is_no_label_is_not_scored_as_one(tmp_path, extra, wrong):
    (tmp_path / "truth.csv").write_text(TRUTH)
    perfect = pd.DataFrame({"fname": ["a.wav", "b.wav"], "Bark": [0.9, 0.1], "Meow": [0.2, 0.8], "Purr": [0, 0.05]})
    perfect.to_csv(tmp_path / "s.csv", index=False)
    assert score_submission(tmp_path / "s.csv", tmp_path / "truth.csv")[0]["overall"] == 1
    perfect.assign(**extra).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(ValueError, match=rf"s\.csv has columns that are no labels: {wrong}; delete them"):
        score_submission(tmp_path / "s.csv", tmp_path / "truth.csv")


def test_scores_of_any_size_are_scored(tmp_path):
    (tmp_path / "truth.csv").write_text(TRUTH)
    logits = pd.DataFrame({"fname": ["a.wav", "b.wav"], "Bark": [9, -1], "Meow": [-2, 8], "Purr": [0.1, 0.2]})
    logits.to_csv(tmp_path / "s.csv", index=False)
    assert score_submission(tmp_path / "s.csv", tmp_path / "truth.csv")[0]["overall"] == 1


def test_infinity_is_no_score(scored):
    folder, *_, submission = scored
    submission.astype({"label 2": float}).assign(**{"label 2": np.inf}).to_csv(folder / "submission.csv", index=False)
    with pytest.raises(ValueError, match="has scores that are not numbers for"):
        score_submission(folder / "submission.csv", folder / "truth.csv")


def test_a_submission_without_rows_is_refused(scored):
    folder, *_, submission = scored
    submission[:0].to_csv(folder / "submission.csv", index=False)
    with pytest.raises(ValueError, match=r"submission\.csv has no rows; expected one for each clip of .*truth\.csv"):
        score_submission(folder / "submission.csv", folder / "truth.csv")


def test_what_was_written_is_given_back_and_lies_in_the_file(tmp_path):
    written = write_submission(tmp_path / "s.csv", ("a", "b"), ["x", "y"], [[0, 0.25], [0.5, 1]])
    assert (tmp_path / "s.csv").read_text() == "fname,x,y\na,0.0,0.25\nb,0.5,1.0\n"
    pd.testing.assert_frame_equal(written, pd.DataFrame({"fname": ["a", "b"], "x": [0, 0.5], "y": [0.25, 1]}))


def test_leaderboards_by_hand():
    """Of two labels the true one is first or second: 1 or a half."""
    truth, scores = np.array([[1, 0]] * 4), np.array([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.1, 0.9]])
    assert leaderboards(truth, scores) == {"overall": 0.625}
    assert leaderboards(truth, scores, ["Public", "Public", "Private", "x"]) == {
        "overall": 0.625, "public": 0.75, "private": 0.5}
    assert leaderboards(truth, scores, ["Public", "", "", ""]) == {"overall": 0.625, "public": 1}


def test_a_score_of_each_label_and_in_how_many_clips_it_is_by_hand(tmp_path):
    (tmp_path / "truth.csv").write_text('fname,labels\na.wav,"Bark,Purr"\nb.wav,Meow\n')
    (tmp_path / "s.csv").write_text("Purr,fname,Meow,Bark\n0.1,b.wav,0.2,0.3\n0.3,a.wav,0.2,0.1\n")
    scores, per_class = score_submission(tmp_path / "s.csv", tmp_path / "truth.csv")
    assert scores == {"overall": pytest.approx((1 + 2 / 3 + 1 / 2) / 3)}
    pd.testing.assert_frame_equal(per_class, pd.DataFrame(
        {"lwlrap": [1, 1 / 2, 2 / 3], "clips": [1, 1, 1]}, pd.Index(["Purr", "Meow", "Bark"])))
    assert main([str(tmp_path / "s.csv"), str(tmp_path / "truth.csv")]) == 0


def test_of_the_truth_only_clips_of_a_usage_that_the_submission_has_are_expected(tmp_path):
    (tmp_path / "truth.csv").write_text("fname,labels,usage\na.wav,x,Public\nb.wav,x,Private\nc.wav,y,Private\n")
    (tmp_path / "s.csv").write_text("fname,x,y\nb.wav,1,0\nc.wav,1,0\n")
    assert score_submission(tmp_path / "s.csv", tmp_path / "truth.csv")[0] == {"private": 0.75, "overall": 0.75}
    (tmp_path / "s.csv").write_text("fname,x,y\nb.wav,1,0\nother.wav,1,0\n")
    with pytest.raises(ValueError, match=r"s\.csv lacks the clips c\.wav \(the truth is .*truth\.csv\)"):
        score_submission(tmp_path / "s.csv", tmp_path / "truth.csv")
    (tmp_path / "s.csv").write_text("fname,x,y\nb.wav,1,0\nc.wav,1,0\nother.wav,1,0\n")
    with pytest.raises(ValueError, match=r"s\.csv has clips that the truth does not know other\.wav"):
        score_submission(tmp_path / "s.csv", tmp_path / "truth.csv")


def test_a_label_that_is_named_as_what_is_none_is_one_where_clips_carry_it(tmp_path):
    (tmp_path / "truth.csv").write_text("fname,labels\na.wav,Path\nb.wav,Meow\n")
    (tmp_path / "s.csv").write_text("fname,Path,Meow\na.wav,1,0\nb.wav,0,1\n")
    assert score_submission(tmp_path / "s.csv", tmp_path / "truth.csv")[0] == {"overall": 1}


@pytest.fixture(params=["Kaggle", "Zenodo", "Zenodo, unpacked twice"])
def tables(request, tmp_path):
    """A data set's tables, of the labels x, y and z, without sounds; the test clips' is the last."""
    root, meta = tmp_path / "input", tmp_path / "input/FSDKaggle2019.meta"
    if request.param == "Zenodo, unpacked twice":
        meta = meta / meta.name
    meta.mkdir(parents=True)
    if request.param == "Kaggle":
        (root / "sample_submission.csv").write_text("fname,x,y,z\na.wav,0,0,0\nb.wav,0,0,0\n")
    else:
        # One of the clips known to be faulty, of which nothing is said.
        (meta / "train_curated_post_competition.csv").write_text("fname,labels\n1d44b0bd.wav,z\n")
    (meta / "test_post_competition.csv").write_text("fname,labels,usage\na.wav,x,Public\nb.wav,y,Private\n")
    return meta / "test_post_competition.csv"


def test_a_submission_has_the_labels_of_the_data_set_that_the_truth_belongs_to(tables, tmp_path, monkeypatch):
    (tmp_path / "s.csv").write_text("fname,x,y,z\na.wav,1,0,0\nb.wav,0,1,0\n")
    (tmp_path / "other.csv").write_text("fname,x,y,w\na.wav,1,0,0\nb.wav,0,1,0\n")
    assert score_submission(tmp_path / "s.csv", tables)[0]["overall"] == 1
    monkeypatch.chdir(tables.parent)
    for truth in (tables, tables.name, f"../{tables.parent.name}/{tables.name}"):
        with pytest.raises(ValueError, match=r"other\.csv has no column of the labels z"):
            score_submission(tmp_path / "other.csv", truth)
    pd.read_csv(tmp_path / "s.csv").assign(best=1).to_csv(tmp_path / "more.csv", index=False)
    with pytest.raises(ValueError, match=r"more\.csv has columns that are no labels: 'best'"):
        score_submission(tmp_path / "more.csv", tables)
    for stands_alone in (tables.with_name("mine.csv"), tmp_path / "alone.csv"):
        shutil.copy(tables, stands_alone)
        assert score_submission(tmp_path / "other.csv", stands_alone)[0]["overall"] == 1


def test_of_test_clips_alone_the_labels_are_not_known(tmp_path):
    meta = tmp_path / "FSDKaggle2019.meta"
    meta.mkdir()
    (meta / "test_post_competition.csv").write_text("fname,labels,usage\na.wav,x,Public\nb.wav,y,Private\n")
    (tmp_path / "s.csv").write_text("fname,x,y,w\na.wav,1,0,0\nb.wav,0,1,0\n")
    assert score_submission(tmp_path / "s.csv", meta / "test_post_competition.csv")[0]["overall"] == 1


def test_a_table_that_cannot_be_read_says_nothing_of_the_labels_of_another(tmp_path):
    """Of the folder above a truth that has one of its own."""
    (tmp_path / "train_curated.csv").write_text("neither,nor\n1,2\n")
    (tmp_path / "truth.csv").write_text(TRUTH)
    (tmp_path / "s.csv").write_text("fname,Bark,Meow\na.wav,1,0\nb.wav,0,1\n")
    assert score_submission(tmp_path / "s.csv", tmp_path / "truth.csv")[0] == {"overall": 1}


def test_labels_called_as_times_are_scored_as_labels(tmp_path, capsys):
    """Of two clips one has its label first and the other one second: a lwlrap of 0.75."""
    (tmp_path / "submission.csv").write_text("fname,start,stop\na.wav,0.9,0.2\nb.wav,0.8,0.1\n")
    (tmp_path / "truth.csv").write_text("fname,labels\na.wav,start\nb.wav,stop\n")
    assert main([str(tmp_path / "submission.csv"), str(tmp_path / "truth.csv")]) == 0
    assert "lwlrap overall 0.75000" in capsys.readouterr().out
