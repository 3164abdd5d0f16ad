"""Sounds cut from recordings, whose names say what they are cut from: ``dog/0.873_night+3.wav_12.340-13.100.flac``."""

import dataclasses
import hashlib
import os
import re
from pathlib import Path
from urllib.parse import unquote

LONGEST = 200  # bytes of a recording's name in that of a cut: a file's name has 255 at most
NAME = re.compile(r"(\d\.\d{3})_(.+)_(\d+\.\d{3})-(\d+\.\d{3})\.[^.]+", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Cut:
    """A stretch of a recording that was cut out, and the label of the folder that it lies in."""

    label: str
    probability: float  # with which the label was heard there, in thousandths
    recording: str  # its folder or folders, +, the file's name; of more than `LONGEST` bytes what `recording_name` has
    start: float  # seconds of the recording, in thousandths
    end: float

    def path(self, ending=".flac"):
        """Where it is kept, relative to the folder of all cuts: pathlib.Path."""
        return Path(folder_name(self.label), f"{self.probability:.3f}_{recording_name(self.recording)}_{self.start:.3f}"
                                             f"-{self.end:.3f}{ending}")


def cut_of(path):
    """What a file is cut from, by its name.

    Parameters
    ----------
    path : path
        As `Cut.path` names it; the folder may be another one now, whose name is the label then.

    Returns
    -------
    Cut or None
        None if it is not named so.
    """
    path = Path(path)
    found = NAME.fullmatch(path.name)
    return found and Cut(unquote(path.parent.name), float(found[1]), found[2], float(found[3]), float(found[4]))


def folder_name(label):
    """A label as the name of a folder on any system: other characters as in addresses, ``%2F`` for a slash.

    Parameters
    ----------
    label : str
        One character or more.

    Returns
    -------
    str
        `urllib.parse.unquote` gives the label back.
    """
    odd = r'[\x00-\x1f\x7f/\\:*?"<>|%]|^[._~ ]|[. ]$'  # the first letters are those of hidden and of other folders
    return re.sub(odd, lambda found: f"%{ord(found[0]):02X}", label)


def recording_name(name):
    """A recording's name, where it is too long its beginning and what tells it from others: str."""
    data = os.fsencode(name)
    if len(data) <= LONGEST:
        return name
    return f"{data[:LONGEST - 17].decode(errors='ignore')}~{hashlib.sha256(data).hexdigest()[:16]}"
