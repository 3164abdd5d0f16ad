"""Which sound a table of labels is about, by its name, and which names are one sound's."""

import re
from pathlib import Path, PurePosixPath

# What programs add to a sound's name where they name its labels, and the sound's own ending before it.
ADDED = re.compile(r"(?:(\.Table\.\d+)?\.selections|\.BirdNET\.(selection\.table|results)"
                   r"|[ ._-](labels?|annotations?|events))$", re.IGNORECASE)
SOUND = re.compile(r"\.(wav|flac|ogg|oga|opus|mp3|aiff?|au|caf|w64|rf64|m4a|aac|mp4|wma|webm|amr)", re.IGNORECASE)


def names_of(path):
    """Names of the sounds that a table beside sounds may be about.

    Parameters
    ----------
    path : path
        Such as ``x.txt``, ``x_labels.txt``, ``x.wav.txt``, ``x.Table.1.selections.txt`` or
        ``x.BirdNET.selection.table.txt``.

    Returns
    -------
    list of str
        Without the table's ending and what programs add, with and without the ending of a sound: the first that a sound
        is called by, or is called by without its ending, is meant. All of these are ``x`` at last.
    """
    names = [Path(path).stem]
    while added := ADDED.search(names[-1]):
        names.append(names[-1][:added.start()])
    if SOUND.fullmatch(Path(names[-1]).suffix):
        names.append(Path(names[-1]).stem)
    return [name for name in names if name]


def stem_of(name):
    """What the names of one sound have in common, in tables that name it with folders or an ending, or without.

    Parameters
    ----------
    name : str
        Such as ``"C:\\rec\\Night.WAV"`` or ``"night"``.

    Returns
    -------
    str
        In small letters, without folders and a sound's ending: ``"night"``.
    """
    stem = PurePosixPath(name.replace("\\", "/")).name
    return (PurePosixPath(stem).stem if SOUND.fullmatch(PurePosixPath(stem).suffix) else stem).casefold()
