"""Events against labels with times, as the field scores them: by segments, by events, over all thresholds (PSDS)."""

import warnings

import numpy as np
import pandas as pd

from .names import stem_of

TOUCH = 0.1  # seconds: windows that are no further apart are one detection
THRESHOLDS = 500  # at most, of a label
# The settings of DCASE 2021 and later, task 4: the first wants times that are right, the second the right label.
SCENARIOS = {"PSDS1": {"dtc": 0.7, "gtc": 0.7},
             "PSDS2": {"dtc": 0.1, "gtc": 0.1, "cttc": 0.3, "alpha_ct": 0.5}}


def score_events(found, truth, segment=1.0, collar=0.2, share=0.2):
    """F1 of segments and of events.

    Segments: each label is on in the segments of `segment` seconds, counted from the beginning of a recording, that it
    touches. Events: a found one is right if its label is, its start is at most `collar` off, and its end at most
    `collar` or `share` of the true event's length; each true one is matched once, so that as many are as can be. These
    are sed_eval's, of which the numbers are the same (its ``optimal`` matching).

    Parameters
    ----------
    found, truth : pandas.DataFrame
        As `read_events` gives them, with `file` in each row: compared without folders and endings, in small letters.
    segment, collar : float
        In seconds.
    share : float

    Returns
    -------
    totals : dict of str to float
        ``segment F1``, ``segment precision``, ``segment recall`` and ``event F1``, each over all labels together, and
        ``segment F1, mean of labels`` and ``event F1, mean of labels``, over those that the truth has.
    per_label : pandas.DataFrame
        Indexed by label: ``segment F1``, ``precision``, ``recall``, ``event F1``, and how many events are true and
        found.

    Raises
    ------
    ValueError
        If there is no true event, no label that both have, or two recordings of one name.

    Warns
    -----
    UserWarning
        Of recordings with found events and without true ones: what is found there counts as false; and of those in
        which nothing was found.

    References
    ----------
    Mesaros, Heittola, Virtanen, "Metrics for polyphonic sound event detection", Applied Sciences 2016.
    """
    found, truth = _by_recording(found, "what was found"), _by_recording(truth, "the truth")
    if not len(truth):
        raise ValueError("there is no true event; expected a table with start, end and label of one at least")
    if len(found) and not {*found["label"]} & {*truth["label"]}:
        raise ValueError(f"no label was found that is true: found were such as {found['label'].iloc[0]!r}, and true is "
                         f"{truth['label'].iloc[0]!r}; give labels the same names")
    unknown = sorted({*found["file"]} - {*truth["file"]})
    if unknown:
        warnings.warn(f"the truth has no event in {', '.join(unknown[:5])}{' and more' * (len(unknown) > 5)}: what was "
                      "found there counts as false", stacklevel=2)
    silent = sorted({*truth["file"]} - {*found["file"]})
    if silent:
        warnings.warn(f"nothing was found in {', '.join(silent[:5])}{' and more' * (len(silent) > 5)}: events "
                      "there count as missed", stacklevel=2)
    counts = pd.DataFrame(0, sorted({*found["label"], *truth["label"]}),
                          ["both", "segments true", "segments found", "right", "events true", "events found"])
    parts = [dict(list(table.groupby(["file", "label"])[["start", "end"]])) for table in (found, truth)]
    for key in {**parts[0], **parts[1]}:
        a, b = (part[key].to_numpy() if key in part else np.zeros((0, 2)) for part in parts)
        segments = [_segments(times, segment) for times in (a, b)]
        total = [(ends - starts).sum() for starts, ends in segments]
        counts.loc[key[1]] += [_common(*segments), total[1], total[0], _matched(a, b, collar, share), len(b), len(a)]
    counts = counts.astype(int)
    per_label = pd.DataFrame({**_rates(counts, "segment F1"), "event F1": _f1(
        counts["right"], counts["events true"], counts["events found"]),
        "true": counts["events true"], "found": counts["events found"]})
    every, known = counts.sum(), counts["events true"] > 0
    totals = {name if name == "segment F1" else f"segment {name}": float(value)
              for name, value in _rates(every, "segment F1").items()}
    totals["event F1"] = float(_f1(every["right"], every["events true"], every["events found"]))
    for name in ("segment F1", "event F1"):
        totals[f"{name}, mean of labels"] = float(per_label.loc[known, name].mean())
    return totals, per_label


def psds(windows, truth, dtc, gtc, cttc=0.3, alpha_ct=0.0, alpha_st=1.0, most=100.0, lengths=None):
    """The polyphonic sound detection score, of detections at all thresholds.

    Neighbouring windows of a threshold's probability or more are a detection. `SCENARIOS` has the field's settings. At
    `THRESHOLDS` or fewer thresholds a label, the greatest probabilities among them, it is exact; else a little low.

    Parameters
    ----------
    windows : pandas.DataFrame
        A row a window: `file`, `start` and `end` in seconds, and a column of probabilities a label.
    truth : pandas.DataFrame
        As for `score_events`; events without length are left out.
    dtc : float
        Of a detection that is right, the least share with true events of its label.
    gtc : float
        Of an event that is found, the least share with detections that are right.
    cttc : float
        Of a false detection, the least share with another label's events that makes it a confusion with that.
    alpha_ct, alpha_st : float
        How much confusions, and differences between labels, count.
    most : float
        False detections an hour up to which the area is taken.
    lengths : dict of str to float, optional
        How many seconds each recording lasts, whatever of it has windows. If not given, to the end of its last window.

    Returns
    -------
    float
        In [0, 1].

    References
    ----------
    Bilen, Ferroni, Tuveri, Azcarreta, Krstulovic, "A framework for the robust evaluation of sound event detection",
    ICASSP 2020. The numbers are those of sed_scores_eval (Ebbers, Serizel, Haeb-Umbach, ICASSP 2022).
    """
    truth = _by_recording(truth, "the truth")
    truth = truth[truth["end"] > truth["start"]]
    windows = _by_recording(windows, "what was found").sort_values(["file", "start"])
    lasting = windows.groupby("file")["end"].max()
    missing = sorted({*truth["file"]} - {*lasting.index})
    if missing or not len(truth):
        raise ValueError(f"there are no windows of {', '.join(missing[:5])}; tag all recordings of the truth"
                         if missing else "there is no true event; expected one at least")
    lasting = lasting.combine(pd.Series(lengths or {}, dtype=float).rename(stem_of), max, 0)
    # All recordings one behind the other, further apart than what touches.
    room = lasting.combine(truth.groupby("file")["end"].max(), max, 0) + 10 * TOUCH
    begin = (room.cumsum() - room).to_dict()
    starts, ends = (windows[side].to_numpy() + windows["file"].map(begin).to_numpy() for side in ("start", "end"))
    true = {label: tuple(table[side].to_numpy() + table["file"].map(begin).to_numpy() for side in ("start", "end"))
            for label, table in truth.groupby("label")}
    before = {label: _seconds_before(*times) for label, times in true.items()}
    shared = {label: (seconds(starts), seconds(ends)) for label, seconds in before.items()}
    curves = []
    for label in true:
        others = [(shared[other], before[other](np.inf)) for other in true if other != label and alpha_ct]
        curves.append(_curve(windows.get(label, pd.Series(0.0, windows.index)).to_numpy(), starts, ends, true[label],
                             shared[label], others, lasting.sum() / 3600, most, (dtc, gtc, cttc, alpha_ct)))
    grid = np.unique(np.concatenate([false[false < most] for false, _ in curves] + [[0.0, most]]))
    rates = np.array([np.r_[0.0, right][np.searchsorted(false, grid, "right")] for false, right in curves])
    area = np.maximum(rates.mean(0) - alpha_st * rates.std(0), 0)
    return float((area[:-1] * np.diff(grid)).sum() / most)


def _curve(probabilities, starts, ends, true, shared, others, hours, most, settings):
    """False detections an hour, ascending, and the greatest share of true events found with no more of them."""
    dtc, gtc, cttc, alpha_ct = settings
    apart = np.r_[True, starts[1:] - ends[:-1] > TOUCH]
    each = np.unique(probabilities)[::-1]
    if len(each) > THRESHOLDS:
        each = each[np.unique(np.geomspace(1, len(each), THRESHOLDS).astype(int)) - 1]
    points = []
    for threshold in each:
        on = np.flatnonzero(probabilities >= threshold)
        begins = np.flatnonzero(apart[on] | (np.diff(on, prepend=-2) > 1))
        first, last = on[begins], on[np.r_[begins[1:] - 1, len(on) - 1]]
        length = ends[last] - starts[first]
        right = _reaches(shared[1][last] - shared[0][first], dtc * length)
        if (~right).sum() > most * hours:  # outside of the area
            continue
        seconds = _seconds_before(starts[first[right]], ends[last[right]])
        hits = _reaches(seconds(true[1]) - seconds(true[0]), gtc * (true[1] - true[0])).sum()
        confused = [_reaches(after[last] - ahead[first], cttc * length)[~right].sum() / (whole / 3600)
                    for (ahead, after), whole in others]
        false = (~right).sum() / hours + alpha_ct * (np.mean(confused) if confused else 0)
        points.append((false, hits / len(true[0])))
    false, rate = np.array(sorted(points)).reshape(-1, 2).T
    return false, np.maximum.accumulate(rate)


def _reaches(seconds, least):
    return np.round(seconds, 6) >= np.round(least, 6)


def _union(starts, ends):
    """Intervals as ones that neither overlap nor touch, ascending: (starts, ends)."""
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(ends[order])
    new = np.r_[True, starts[1:] > reach[:-1]][:len(starts)]
    return starts[new], reach[np.r_[new[1:], True][:len(starts)]]


def _seconds_before(starts, ends):
    """A function of times: how many seconds before each are in one of the intervals."""
    starts, ends = _union(starts, ends)
    if not len(starts):
        return np.zeros_like
    lengths = np.cumsum(ends - starts)
    return lambda times: np.interp(times, np.stack([starts, ends], 1).ravel(),
                                   np.stack([np.r_[0.0, lengths[:-1]], lengths], 1).ravel())


def _segments(times, segment):
    """The segments that events touch, as intervals of whole numbers."""
    numbers = np.round(times / segment, 6)
    starts = np.floor(numbers[:, 0])
    return _union(starts, np.maximum(np.ceil(numbers[:, 1]), starts + 1))


def _common(a, b):
    """How much two unions of intervals have in common."""
    seconds = _seconds_before(*a)
    return (seconds(b[1]) - seconds(b[0])).sum()


def _matched(found, true, collar, share):
    """How many found events can be matched with true ones, each once."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    if not len(found) or not len(true):
        return 0
    true = true[np.argsort(true[:, 0])]
    first, last = (np.searchsorted(true[:, 0], found[:, 0] + side * (collar + 1e-5), where)
                   for side, where in ((-1, "left"), (1, "right")))  # those near enough, and a few more
    count = last - first
    which = np.repeat(np.arange(len(found)), count)  # (pairs,)
    other = np.arange(count.sum()) + np.repeat(first - np.cumsum(count) + count, count)
    off = np.abs(found[which] - true[other])  # (pairs, start and end)
    least = np.maximum(collar, share * (true[other, 1] - true[other, 0]))
    fits = (off[:, 0] <= collar + 1e-6) & (off[:, 1] <= least + 1e-6)
    pairs = csr_array((np.ones(fits.sum(), np.int8), (which[fits], other[fits])), shape=(len(found), len(true)))
    return (maximum_bipartite_matching(pairs, perm_type="column") >= 0).sum()


def _rates(counts, name):
    both, true, found = counts["both"], counts["segments true"], counts["segments found"]
    return {name: _f1(both, true, found), "precision": both / np.maximum(found, 1),
            "recall": both / np.maximum(true, 1)}


def _f1(right, true, found):
    return 2 * right / np.maximum(true + found, 1)


def _by_recording(table, what):
    """A table with the recordings as all tables name them."""
    stems = {file: stem_of(file) for file in table["file"].unique()}
    names = {}
    for file, stem in stems.items():
        if names.setdefault(stem, file) != file:
            raise ValueError(f"{what} has the recordings {names[stem]} and {file}, which are one by their names; score "
                             "folders of recordings one at a time")
    return table.assign(file=table["file"].map(stems))
