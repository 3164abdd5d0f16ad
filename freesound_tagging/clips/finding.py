"""The sounds below a folder, found by the names that tables give them."""

import collections
import re
from pathlib import Path, PurePosixPath

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
    folders : set of pathlib.Path
        Those that they lie in, relative too.
    """

    def __init__(self, root, without=None):
        self.root = Path(root).resolve()
        made = Path(without).resolve() if without is not None else None
        below = [path.relative_to(self.root) for path in files_below(self.root)
                 if made is None or not path.is_relative_to(made)]
        self.paths = [path for path in below if path.suffix.lower() in ENDINGS
                      and not any(part.startswith(".") or part == "__MACOSX" for part in path.parts)]
        self.folders = {path.parent for path in self.paths}
        self._named, self._stems = collections.defaultdict(list), collections.defaultdict(list)
        for path in self.paths:
            self._named[same_name(path.name)].append(path)
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
        listed = PurePosixPath(name.strip(" \"'").replace("\\", "/").removeprefix("./"))
        found = self._named.get(same_name(listed.name)) or self._stems.get(same_name(listed.name))
        if not found and listed.suffix.lower() in ENDINGS:
            found = self._stems.get(same_name(listed.stem))
        if not found:
            return []
        if len(found) > 1:
            found = self._better(found, listed, hints)
        return list(found)

    def _better(self, found, listed, hints):
        """Those of several that fit best: named exactly so, in the folders named, in a folder of a hint."""
        exact = [path for path in found if listed.name in (path.name, path.stem)] or found
        folders = listed.parts[:-1]
        for length in range(len(folders), 0, -1):  # data/fold1/x.wav may lie in fold1/
            inside = [path for path in exact if path.parts[:-1][-length:] == folders[-length:]]
            if inside:
                exact = inside
                break
        else:
            hints = {same_name(hint) for hint in hints}
            exact = [path for path in exact if hints & {same_name(part) for part in path.parts[:-1]}] or exact
        if len(exact) > 1:  # a recording and its copy in another format: the one without loss
            whole = [path for path in exact if path.suffix.lower() in (".wav", ".flac")]
            if len({path.with_suffix("") for path in exact}) == 1 and whole:
                exact = whole[:1]
        return exact
