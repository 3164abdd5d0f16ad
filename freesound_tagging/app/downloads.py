"""What can be taken home of a sound that has been listened to: a file a format."""

import json
import tempfile
from pathlib import Path

from ..machine.files import output_file
from ..prediction import events, write_labels


def _labels(path, name, heard, threshold):
    write_labels(path, events(heard.timeline, threshold))


def _timeline(path, name, heard, threshold):
    with output_file(path) as part:
        heard.timeline.to_csv(part, errors="backslashreplace")


def _json(path, name, heard, threshold):
    found = {"path": name, "seconds": heard.timeline.attrs["duration"],
             "labels": [{"label": label, "probability": float(value)}
                        for label, value in zip(heard.timeline.columns, heard.probabilities)],
             "events": events(heard.timeline, threshold).to_dict("records"),
             **({"remark": heard.remark} if heard.remark else {})}
    with output_file(path) as part:
        part.write_text(json.dumps(found) + "\n")


# By what is added to the sound's name: what a link says, and what writes the file.
DOWNLOADS = {"txt": ("labels for Audacity", _labels), "csv": ("CSV of all windows", _timeline), "json": ("JSON", _json)}


def write_download(ending, visit, threshold):
    """Write a file of what was heard.

    Parameters
    ----------
    ending : str
        Of `DOWNLOADS`.
    visit : Visit
        Of a sound that has been listened to.
    threshold : float
        From which probability on a label is an event.

    Returns
    -------
    pathlib.Path
        Named as the sound, and the ending; alone in a folder of the visit's, which can be deleted once it is sent.

    Raises
    ------
    ValueError
        If `threshold` is not above 0 and at most 1.
    """
    path = Path(tempfile.mkdtemp(dir=visit.folder), f"{visit.path.name}.{ending}")
    DOWNLOADS[ending][1](path, visit.path.name, visit.heard, threshold)
    return path
