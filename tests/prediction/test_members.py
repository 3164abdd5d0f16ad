"""The members of an ensemble and their scores, by hand and by scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import label_ranking_average_precision_score

from freesound_tagging.networks.weights import find_weights
from freesound_tagging.prediction import Ensemble, best_labels, count_members, members_of, score_members


@pytest.fixture(scope="module")
def networks(finished_run):
    return Ensemble.load(find_weights(finished_run.weights, "all"), "cpu")


def test_members_are_told_by_network_and_stage_and_vote_as_their_files_say_or_as_asked(networks):
    members = members_of(networks)
    assert members["stage"].tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert members["votes"].tolist() == [False] * 3 + [True] * 9
    assert members_of(networks, stages=[4])["votes"].tolist() == [False] * 9 + [True] * 3
    counted = count_members(members)
    assert counted["networks"].tolist() == [3] * 4
    assert counted.index.tolist() == [("cnn-model-1", stage) for stage in (1, 2, 3, 4)]


def test_an_ensemble_of_none_is_refused(networks):
    with pytest.raises(ValueError, match=r"of the stages 1, 2, 3, 4, and none of those asked for, 7, 9: give others"):
        members_of(networks, stages=(7, 9))
    begun = networks.select([tagger.spec.stage == 1 for tagger in networks.taggers])
    with pytest.raises(ValueError, match="of the stages 1, and none of them votes: train on"):
        members_of(begun)
    assert members_of(begun, stages=[1])["votes"].all()


def test_scores_are_those_of_the_means_of_each_group():
    rng = np.random.default_rng(0)
    truth = (rng.random((30, 6)) < 0.3).astype(float)
    truth[:, 0] = 1
    probabilities = rng.random((4, 30, 6))
    members = pd.DataFrame({"network": ["a", "a", "b", "a"], "member": ["a, model 2", "a, model 2", "b, model 2",
                                                                      "a, model 1"],
                            "stage": [2, 2, 2, 1], "votes": [True, True, True, False]})
    scores = score_members(members, probabilities, truth, ["x"] * 6, ["Public"] * 10 + ["Private"] * 20)
    assert list(scores.columns) == ["public", "private", "overall"]
    for row, which in (("a, model 1", [3]), ("a, model 2", [0, 1]), ("b, model 2", [2]), ("a, ensemble", [0, 1]),
                       ("b, ensemble", [2]), ("ensemble of all", [0, 1, 2])):
        mean = probabilities[which].mean(0)
        for name, part in (("public", slice(10)), ("private", slice(10, None)), ("overall", slice(None))):
            assert scores.loc[row, name] == pytest.approx(label_ranking_average_precision_score(
                truth[part], mean[part], sample_weight=truth[part].sum(1)))
    assert len(scores) == 6
    alone = score_members(members.iloc[3:].reset_index(drop=True), probabilities[3:], truth, ["x"] * 6)
    assert alone.index.tolist() == ["a, model 1"], "there is no ensemble where none votes"


def test_of_the_competitions_labels_the_published_figures_stand_beside(shared):
    labels = (shared / "reference/vocabulary.txt").read_text().split("\n")[:80]
    members = pd.DataFrame({"network": ["cnn-model-1"], "member": ["cnn-model-1, model 2"], "stage": [2],
                            "votes": [True]})
    scores = score_members(members, np.random.default_rng(0).random((1, 3, 80)), np.eye(3, 80), labels)
    assert scores["published"].to_dict() == {"cnn-model-1, model 2": 0.723, "cnn-model-1, ensemble": 0.733,
                                             "ensemble of all": 0.738}


def test_the_best_labels_are_in_order_and_what_cannot_be_read_is_left_out():
    table = pd.DataFrame({"dog": [0.25, np.nan, 0.1], "cat": [0.5, np.nan, 0.9], "owl": [0.125, np.nan, 0.3]},
                         index=["a/x.wav", "b/bad.wav", "b/x.wav"])
    best = best_labels(table, top=2)
    assert best.index.tolist() == ["x.wav", "x.wav"]
    assert best.to_numpy().tolist() == [["cat (0.50)", "dog (0.25)"], ["cat (0.90)", "owl (0.30)"]]
    assert best_labels(table, top=9).shape == (2, 3)
