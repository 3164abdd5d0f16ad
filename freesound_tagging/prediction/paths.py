"""Which files are meant by what people give: paths, folders and patterns."""

import glob
import os
import warnings
from pathlib import Path

import soundfile as sf

from ..clips.folders import ENDINGS
from ..clips.tables import few
from ..machine.files import as_path


def sounds_of(given):
    """The files that are meant.

    Parameters
    ----------
    given : path or sequence of path
        Files; folders, for the sounds in them (`sounds_in`); patterns such as ``"2026/**/*.flac"`` that are the name of
        no file, for the files that they match, or the sounds among them if the pattern has no ending of its own.

    Returns
    -------
    list of path
        Files as they were given, also where they are missing; and folders that may not be read.

    Warns
    -----
    UserWarning
        Of what is in a folder, or matches such a pattern, and is no sound.
    """
    given = [given] if isinstance(given, (str, os.PathLike)) else list(given)
    paths = []
    for path in given:
        there = as_path(path)
        if os.path.isdir(there):  # Path.is_dir raises where a folder on the way may not be entered
            try:
                paths += sounds_in(there)
            except OSError:
                paths.append(path)  # which is named as what may not be read
        elif not os.path.lexists(there) and glob.has_magic(os.fspath(there)):
            found = sorted(Path(name) for name in glob.glob(os.fspath(there), recursive=True) if os.path.isfile(name))
            if not there.suffix or glob.has_magic(there.suffix):
                found = _only_sounds(found, path)
            paths += found or [path]
        else:
            paths.append(path)
    return paths


def sounds_in(folder):
    """The sounds in a folder.

    Parameters
    ----------
    folder : path

    Returns
    -------
    list of pathlib.Path
        Sorted: the files that libsndfile reads, and those that are sounds by their names, of which `tag` says what is
        wrong with them. Others, and folders, are named in a warning.

    Raises
    ------
    OSError
        If the folder may not be read or entered.
    """
    names = os.listdir(os.path.join(folder, "."))  # which has to be entered for that
    return _only_sounds(sorted(Path(folder) / name for name in names), folder)


def _only_sounds(paths, given):
    sounds = [path for path in paths if _is_sound(path)]
    if len(sounds) < len(paths):
        known = set(sounds)
        others = [path.name for path in paths if path not in known]
        warnings.warn(f"{given}: no sounds, passed over: {few(others)}", stacklevel=3)
    return sounds


def _is_sound(path):
    if not os.path.isfile(path) or path.name.startswith("."):
        return False
    if path.suffix.lower() in ENDINGS:
        return True
    try:
        with open(path, "rb") as file:  # by a handle, as soundfile takes no names that are not text
            return bool(sf.info(file))
    except (sf.SoundFileError, OSError, ZeroDivisionError, TypeError):  # the last of headerless audio
        return False
