"""What can be taken home of a sound that has been listened to, by the command's writers."""

import tempfile
from contextlib import closing
from pathlib import Path

from ..prediction.formats import Json, Labels, Timelines

# By what is added to the sound's name: what a link says.
DOWNLOADS = {"txt": "labels for Audacity", "csv": "CSV of all windows", "json": "JSON"}


def write_download(ending, visit, threshold):
    """Write a file of what was heard.

    Parameters
    ----------
    ending : str
        Of `DOWNLOADS`.
    visit : Visit
        Of a sound that has been listened to.
    threshold : float or None
        From which probability on a label is an event; None as for `prediction.events`.

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
    if ending == "json":
        with path.open("w", encoding="utf-8") as out:
            Json(len(visit.heard.timeline.columns), threshold, out).add(visit.heard)
    else:
        kind = {"txt": Labels, "csv": Timelines}[ending]
        with closing(kind(path, [visit.heard.path], threshold)) as writer:
            writer.add(visit.heard)
    return path
