"""The members of an ensemble: which networks vote, and what each group of them scores."""

import pandas as pd

from ..clips.dataset import is_competitions
from .inference import ensemble_mean
from .submission import LEADERBOARD, leaderboards


def members_of(networks, stages=None):
    """Which network is which, and whether it is in the ensemble.

    Parameters
    ----------
    networks : Ensemble
        Which may hold models that do not vote.
    stages : sequence of int, optional
        The models of the ensemble; if not given, those that vote, as their files say.

    Returns
    -------
    pandas.DataFrame
        A row a network: `network`, `stage`, `member`, such as ``"cnn-model-1, model 2"``, and `votes`, bool.

    Raises
    ------
    ValueError
        If none of the networks is in the ensemble.
    """
    specs = [tagger.spec for tagger in networks.taggers]
    if not any(spec.stage in stages if stages else spec.votes for spec in specs):
        there = ", ".join(map(str, sorted({spec.stage for spec in specs})))
        raise ValueError(f"networks are there of the stages {there}, and none " + (
            f"of those asked for, {', '.join(map(str, stages))}: give others" if stages else
            "of them votes: train on, or name the stages of the ensemble (stages=)"))
    return pd.DataFrame({
        "network": [spec.network for spec in specs], "stage": [spec.stage for spec in specs],
        "member": [f"{spec.network}, model {spec.stage}" for spec in specs],
        "votes": [spec.stage in stages if stages else spec.votes for spec in specs]})


def count_members(members):
    """How many networks there are of each model: a data frame by network and stage, `networks` and `votes`."""
    return members.groupby(["network", "stage"]).agg(networks=("member", "size"), votes=("votes", "first"))


def score_members(members, probabilities, truth, vocabulary, usage=None):
    """lwlrap of each model, of each network's ensemble, and of all together.

    Parameters
    ----------
    members : pandas.DataFrame
        Of `members_of`.
    probabilities : array (networks, clips, labels)
    truth : array (clips, labels)
    vocabulary : sequence of str
        Of the competition's labels the published figures of its public leaderboard stand beside.
    usage : sequence of str (clips,), optional
        ``"Public"`` or ``"Private"``.

    Returns
    -------
    pandas.DataFrame
        Rows such as ``"cnn-model-1, model 2"``, ``"cnn-model-1, ensemble"`` and ``"ensemble of all"``, the latter two
        where a network votes; columns as `leaderboards` gives them, and perhaps ``published``.
    """
    voting = members[members["votes"]]
    groups = {member: rows.index for member, rows in members.groupby("member")}
    groups |= {f"{network}, ensemble": rows.index for network, rows in voting.groupby("network")}
    if len(voting):
        groups["ensemble of all"] = voting.index
    scores = pd.DataFrame({name: leaderboards(truth, ensemble_mean(probabilities[rows]), usage)
                           for name, rows in groups.items()}).T
    return scores.assign(published=pd.Series(LEADERBOARD)) if is_competitions(vocabulary) else scores
