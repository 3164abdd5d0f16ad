"""Which clips are of one recording: they belong on one side of every split."""

import collections
import re

# Names, without their ending, of clips cut from recordings; what is in brackets is the recording.
PATTERNS = (
    r"(\d-[^-]+)-[A-Z](?:-\d+)?",  # ESC-50: 1-100032-A-0
    r"(\d+)-\d+-\d+-\d+",  # UrbanSound8K: 100032-3-0-0
    r"([0-9a-f]{8})_nohash_\d+",  # Speech Commands: one speaker
    r"(.+?)[\W_]*(?:part|chunk|slice|segment|seg|take|split|window)[\W_]*\d+",
    r"(.*\d.*)[-_]\d+(?:\.\d+)?[-_]\d+(?:\.\d+)?",  # from and to: -0RWZT-miFs_420_430
    r"(.*\d{4}.*)[-_]\d{1,2}",  # XC134487_2
)
LARGEST = 0.25  # of the clips: a larger group is none of a recording
NAMED = 0.5  # of the clips have to be named alike


def by_names(names):
    """The recordings of clips, as far as their names say them.

    Parameters
    ----------
    names : sequence of str
        Without endings.

    Returns
    -------
    list of str or None
        Of each clip, ``""`` where its name says nothing. None if names of no pattern of `PATTERNS` make sense: half of
        the clips have it, some recording has several clips, and none a quarter of all.
    """
    for pattern in PATTERNS:
        groups = [match[1] if (match := re.fullmatch(pattern, name, re.IGNORECASE)) else "" for name in names]
        if sum(map(bool, groups)) >= NAMED * len(groups) and make_sense(groups):
            return groups
    return None


def make_sense(groups):
    """Whether groups may be recordings: one has several clips, and none a quarter of all."""
    sizes = collections.Counter(filter(None, groups)).values()
    return bool(sizes) and 1 < max(sizes) <= max(LARGEST * len(groups), 2)
