"""Which clips are of one recording: they belong on one side of every split."""

import collections
import re

from .tables import few

# Names, without their ending, of clips cut from recordings; what is in brackets is the recording.
PATTERNS = (
    r"(\d-[^-]+)-[A-Z](?:-\d+)?",  # ESC-50: 1-100032-A-0
    r"(\d+)-\d+-\d+-\d+",  # UrbanSound8K: 100032-3-0-0
    r"([a-z_]+-[a-z]+-\d+)-\d+-\w+",  # TAU Urban Acoustic Scenes: airport-barcelona-0-0-a, one place
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


def by_pattern(paths, pattern):
    """The recordings of files by a pattern of their names: what is in its first brackets, or all that it finds.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        Relative; the pattern is looked for in all of the path but the ending.
    pattern : str
        A regular expression.

    Returns
    -------
    list of str
        ``""`` where it finds nothing.

    Raises
    ------
    ValueError
        If it is none, or finds nothing in any path.
    """
    try:
        finder = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"--recording {pattern!r} is no regular expression ({error}); expected one such as "
                         r"'(.+)_\d+', the recording in brackets") from error
    found = [finder.search(path.with_suffix("").as_posix()) for path in paths]
    if not any(found):
        raise ValueError(f"--recording {pattern!r} finds nothing in names such as {few(paths, 3)}")
    return [(match[1] if finder.groups else match[0]) or "" if match else "" for match in found]


def make_sense(groups):
    """Whether groups may be recordings: one has several clips, and none a quarter of all."""
    sizes = collections.Counter(filter(None, groups)).values()
    return bool(sizes) and 1 < max(sizes) <= max(LARGEST * len(groups), 2)
