"""Folds: which clips are held out together, each label spread evenly over all of them."""

import numpy as np


def stratified_folds(targets, n_folds, seed=0, groups=None, shares=None):
    """Deal clips to folds so that each label is spread evenly.

    Algorithm 1 of the paper: the label that the fewest clips left carry is dealt first, each of these to the fold that
    lacks most of it; of equals, to the one that lacks most clips of any kind; of equals again, by chance. Clips without
    a label come last.

    Parameters
    ----------
    targets : array (clips, labels)
        Label matrix of 0 and 1.
    n_folds : int
        From 2 to the number of clips, or of groups.
    seed : int or numpy.random.Generator
    groups : array of int (clips,), optional
        Clips of one number are held out by one fold, such as those that were cut from one recording: they are dealt
        as one, the largest groups of a label first.
    shares : sequence of float (n_folds,), optional
        Of the clips, that each fold gets; together 1. Equal ones if not given.

    Returns
    -------
    numpy.ndarray, int64 (clips,)
        The fold, 0 to n_folds - 1, that holds each clip out.

    Raises
    ------
    ValueError
        If `n_folds` is out of range, `groups` has not one number a clip, or `shares` not one above 0 a fold.

    References
    ----------
    Sechidis, Tsoumakas and Vlahavas, "On the stratification of multi-label data", ECML PKDD 2011.
    """
    carried = np.asarray(targets).astype(int).astype(bool).astype(int)
    n_clips = len(carried)
    if groups is None:
        item_of = np.arange(n_clips)
    elif np.shape(groups) == (n_clips,):
        item_of = np.unique(groups, return_inverse=True)[1]
    else:
        raise ValueError(f"groups of shape {np.shape(groups)}: expected ({n_clips},), a number for each clip")
    # What is dealt: of each item, a clip or a group of them, how often it has each label, and how many clips it is.
    items = np.zeros((item_of.max(initial=-1) + 1, carried.shape[1] + 1), int)
    np.add.at(items, item_of, np.column_stack([carried, np.ones(n_clips, int)]))
    if not 2 <= n_folds <= len(items):
        raise ValueError(f"n_folds={n_folds}: expected 2 to {len(items)}, the number of "
                         f"{'clips' if groups is None else 'groups'}")
    shares = np.full(n_folds, 1 / n_folds) if shares is None else np.asarray(shares, float)
    if shares.shape != (n_folds,) or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(f"shares={shares.tolist()}: expected {n_folds} numbers above 0, together 1")
    rng = seed if isinstance(seed, np.random.Generator) else np.random.RandomState(seed)
    order = np.arange(len(items))
    rng.shuffle(order)
    folds = np.empty(len(items), np.int64)
    folds[order] = _dealt(items[order], shares, rng)
    return folds[item_of]


def _dealt(items, shares, rng):
    """The fold of each item, int64 (items,); the last column of `items` (items, labels + 1) counts its clips."""
    lacking = np.outer(shares, items.sum(0))  # of each label, and of clips, in each fold
    folds = np.full(len(items), -1)
    while (folds < 0).any():
        left = (items[folds < 0, :-1] > 0).sum(0)
        rarest = np.flatnonzero(left == left[left > 0].min()) if left.any() else [-1]  # all clips, if no label is left
        label = _one_of(rarest, rng)
        its = np.flatnonzero((items[:, label] > 0) & (folds < 0))
        for item in its[np.argsort(-items[its, label], kind="stable")]:
            most = np.flatnonzero(lacking[:, label] == lacking[:, label].max())
            folds[item] = _one_of(most[lacking[most, -1] == lacking[most, -1].max()], rng)
            lacking[folds[item]] -= items[item]
    return folds


def _one_of(equals, rng):
    return equals[0] if len(equals) == 1 else rng.choice(equals)
