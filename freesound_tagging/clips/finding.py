"""The sounds below a folder, found by the names that tables give them."""

import collections
import os
import posixpath
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..machine.files import files_below
from .folders import ENDINGS
from .tables import same_name

NO_CLASS = re.compile(r"[._].*|__MACOSX")  # _background_noise_, __MACOSX, .Trash


class SoundsBelow:
    """All sounds in a folder and below it, but for what systems hide between them (``._x.wav``, ``__MACOSX``).

    Parameters
    ----------
    root : path
    without : path, optional
        A folder to pass over.

    Attributes
    ----------
    paths : list of pathlib.Path
        Relative to `root`, sorted.
    lost : list of pathlib.Path
        Links that would be such and lead to nothing.
    folders : set of pathlib.Path
        Those that they lie in, relative too.
    """

    def __init__(self, root, without=None):
        self.root = Path(root).resolve()
        made = Path(without).resolve() if without is not None else None
        below = [path.relative_to(self.root) for path in files_below(self.root)
                 if made is None or not path.is_relative_to(made)]
        paths = [path for path in below if path.suffix.lower() in ENDINGS
                 and not any(part.startswith(".") or part == "__MACOSX" for part in path.parts)]
        self.paths = [path for path in paths if os.path.exists(self.root / path)]
        self.lost = sorted(set(paths) - set(self.paths))
        self.folders = {path.parent for path in self.paths}
        self._names = {same_name(name) for folder in self.folders for name in folder.parts}
        self._exact = {path.as_posix(): path for path in self.paths}
        self._stems, self._alike = collections.defaultdict(list), {}
        for path in self.paths:
            self._stems[same_name(path.stem)].append(path)

    def find(self, name, hints=()):
        """The sounds that a name may mean.

        Parameters
        ----------
        name : str
            With folders before it or not, with an ending or not, or with another one than the file has.
        hints : sequence of str
            Names of folders that decide between files of one name, such as the clip's label or fold.

        Returns
        -------
        list of pathlib.Path
            One if it is found, none, or several that nothing tells apart.
        """
        listed = _as_listed(name)
        exact = self._exact.get(name) or self._exact.get(listed.as_posix())
        if exact:
            return [exact]
        names = (listed.name, listed.stem) if listed.suffix.lower() in ENDINGS else (listed.name,)
        keys = tuple(key for key in map(same_name, names) if key in self._stems)
        if sum(len(self._stems[key]) for key in keys) < 2:
            return [path for key in keys for path in self._stems[key]]
        if keys not in self._alike:
            self._alike[keys] = _Alike([path for key in keys for path in self._stems[key]])
        return self._alike[keys].best(listed, tuple(hints))

    def find_all(self, names, hints=None, of_tables=False):
        """The sounds that each of many names may mean, none of them another one's.

        Parameters
        ----------
        names : sequence of str
        hints : sequence of sequence of str, optional
            Of each name.
        of_tables : bool
            Whether the names are those of tables, each called after a sound: tables may lie in folders of their own.

        Returns
        -------
        list of list of pathlib.Path
            As of `find`, but for names that come to a sound with other folders before them than it lies in: none, if
            another name comes to it by more of its folders, or any name to its own by the folders before it. And of
            names without its folders, of which a hint is another sound's folder, those have it of which most hints are
            its folders. Tables' names have none only where another comes to the sound by more of its folders, and
            theirs is not below the sound's.
        """
        hints = [()] * len(names) if hints is None else hints
        found = [self.find(name, own) for name, own in zip(names, hints)]
        fits = [(row, paths[0], _fit(name, paths[0], own, self._names))
                for row, (name, paths, own) in enumerate(zip(names, found, hints)) if len(paths) == 1]
        shared, hinted = collections.defaultdict(int), collections.defaultdict(int)
        for _, path, fit in fits:
            shared[path], hinted[path] = max(shared[path], fit.shared), max(hinted[path], fit.hinted)
        by_folders = any(shared.values())
        for row, path, fit in fits:
            less = fit.other and fit.shared < shared[path]
            if less and not fit.below if of_tables else less or (fit.elsewhere and by_folders) or (
                    not fit.shared and fit.misled and fit.hinted < hinted[path]):
                found[row] = []
        return found


class _Alike:
    """Sounds that one name may mean, by their folders; each question is answered once, as thousands may be alike."""

    def __init__(self, paths):
        self.paths, self.answers = paths, {}
        self.inside, self.below, self.under = (collections.defaultdict(list) for _ in range(3))
        for path in paths:
            folders = _folders(path)
            self.inside[folders].append(path)
            for start in range(1, len(folders)):
                self.below[folders[start:]].append(path)
            for folder in set(folders):
                self.under[folder].append(path)

    def best(self, listed, hints):
        """Those that fit best: in the folders named, or else in folders of most hints; of these those named so."""
        folders = _folders(listed)
        tails = [folders[start:] for start in range(len(folders))] or [()]  # data/fold1/x.wav may lie in fold1/
        tail = next((tail for tail in tails if tail in self.inside or tail in self.below), None)
        asked = listed.parts[-len(tail or ()) - 1:]
        key = asked if tail is not None else (*asked, hints)
        if key not in self.answers:
            found = self._hinted(hints) if tail is None else self.inside.get(tail) or self.below[tail]
            self.answers[key] = _named_so(found, asked)
        return self.answers[key]

    def _hinted(self, hints):
        counts = collections.Counter(path for hint in set(map(same_name, hints)) for path in self.under.get(hint, ()))
        most = max(counts.values(), default=0)
        return [path for path, count in counts.items() if count == most] or self.paths


def _named_so(found, asked):
    """Of several sounds those that are called exactly so, or else nearly so; of copies the one without loss."""
    *folders, name = asked
    for is_so in (lambda path: list(path.parts[-len(asked):-1]) == folders, lambda path: path.name == name,
                  lambda path: path.stem == name, lambda path: same_name(path.name) == same_name(name)):
        found = [path for path in found if is_so(path)] or found
    if len(found) > 1:  # a recording and its copy in another format
        whole = [path for path in found if path.suffix.lower() in (".wav", ".flac")]
        if len({path.with_suffix("") for path in found}) == 1 and whole:
            found = whole[:1]
    return found


class _Fit(NamedTuple):
    """What a listed name and its hints have to do with the folders of a sound."""

    shared: int  # folders before both names, from the last on
    hinted: int  # of its folders are hints
    misled: bool  # a hint is the folder of another sound
    other: bool  # the folder before the shared ones is another
    elsewhere: bool  # neither is the last folder of one among those of the other
    below: bool  # all folders of the sound come before it, and others


def _fit(name, path, hints, names):
    listed, folders = _folders(_as_listed(name)), _folders(path)
    shared, most = 0, min(len(listed), len(folders))
    while shared < most and listed[-1 - shared] == folders[-1 - shared]:
        shared += 1
    hinted = set(map(same_name, hints)) & names
    return _Fit(shared, len(hinted & set(folders)), not hinted <= set(folders), shared < most,
                most > 0 and listed[-1] not in folders and folders[-1] not in listed,
                listed[:len(folders)] == folders)


def _as_listed(name):
    path = posixpath.normpath(name.strip(" \"'").replace("\\", "/"))
    return PurePosixPath(re.sub(r"^(\.\./)+", "", path))  # as a table in a folder beside that of the sounds has it


def _folders(path):
    return tuple(map(same_name, path.parts[:-1]))
