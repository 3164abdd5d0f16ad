"""Clips that are there more than once: in one set, or in several under one name or two."""

from .tables import few


def find_twins(sets):
    """Groups of two or more clips of the same bytes, or of the same name in different sets, as lists of (set, number).

    `sets` has the name and the digest of each clip, by the name of the set; a digest ``""`` is not known.
    """
    clips = [(name, number) for name, files in sets.items() for number in range(len(files))]
    leader, first = list(range(len(clips))), {}  # of each clip an earlier one of its group; of each name or digest

    def leader_of(clip):
        while leader[clip] != clip:
            clip = leader[clip]
        return clip

    for clip, (name, number) in enumerate(clips):
        fname, digest = sets[name][number]
        for key in (("name", fname), ("digest", digest or clip)):
            one, other = leader_of(clip), leader_of(first.setdefault(key, clip))
            leader[max(one, other)] = min(one, other)
    groups = {}
    for clip in range(len(clips)):
        groups.setdefault(leader_of(clip), []).append(clips[clip])
    return [group for group in groups.values() if len(group) > 1]


def name_twins(groups, sets):
    """The groups that `find_twins` gave in a sentence, ``""`` for none.

    ``"1 clips are there more than once, by their bytes or names: curated a.wav = noisy b.wav"``
    """
    named = [" = ".join(f"{name} {sets[name][number][0]}" for name, number in group) for group in groups]
    return f"{len(named)} clips are there more than once, by their bytes or names: {few(named)}" if named else ""
