"""What is kept of the people who have the page open: of each the last sound, for as long as the page is open."""

import contextlib
import dataclasses
import os
import secrets
import shutil
import threading
import time
from pathlib import Path

MOST = 32  # sounds kept at a time; the oldest goes when another one comes
TAKEN_IN = 60  # seconds after which an upload has been taken by whoever will


@dataclasses.dataclass
class Visit:
    """A sound that somebody gave, in a folder of its own."""

    folder: Path
    path: Path  # of the sound, in the folder
    token: str  # by which the browser asks for it; nobody can guess it
    stopped: threading.Event = dataclasses.field(default_factory=threading.Event)
    heard: object = None  # prediction.Heard, once it has been listened to

    def end(self):
        """Stop listening, and delete the sound and what was made of it."""
        self.stopped.set()
        shutil.rmtree(self.folder, ignore_errors=True)


class Visits:
    """The sounds of all open pages.

    Parameters
    ----------
    folder : path
        Where they lie.
    uploads : path
        Where sounds come from. No other file is taken, as a browser may send any path.
    most : int
        Sounds kept at a time.
    """

    def __init__(self, folder, uploads, most=MOST):
        self.folder, self.uploads, self.most = Path(folder), Path(uploads), most
        self._visits, self._lock = {}, threading.Lock()

    def upload(self, path):
        """Where an upload lies, perhaps for several who gave the same by the same name. ValueError of what is none."""
        path = Path(os.path.realpath(path))
        if Path(os.path.realpath(self.uploads)) not in path.parents or not path.is_file():
            raise ValueError(f"{path.name}: no file that was uploaded here; drop it again")
        return path

    def begin(self, session, path):
        """A new sound of a page, from the uploads. That which the page had before is stopped and deleted."""
        upload, token = self.upload(path), secrets.token_urlsafe(16)
        folder = self.folder / token
        folder.mkdir(parents=True)
        visit = Visit(folder, folder / upload.name, token)
        try:
            os.link(upload, visit.path)
        except OSError:  # a disk that has no links
            shutil.copyfile(upload, visit.path)
        with self._lock:
            over = [self._visits.pop(session, None)]
            self._visits[session] = visit
            over += [self._visits.pop(oldest) for oldest in list(self._visits)[:-self.most]]
        for other in filter(None, over):
            other.end()
        return visit

    def of(self, session):
        """The sound that a page has, None without."""
        return self._visits.get(session)

    def end(self, session):
        """A page was closed, or its listening is stopped."""
        with self._lock:
            visit = self._visits.pop(session, None)
        if visit:
            visit.end()

    def find(self, token):
        """The sound of a token that has been listened to, None without."""
        return next((visit for visit in list(self._visits.values())
                     if secrets.compare_digest(visit.token.encode(), token.encode()) and visit.heard), None)

    def sweep(self, seconds=TAKEN_IN):
        """Delete uploads that came a while ago, or were broken off; a visit has its own link to what it was given."""
        for path in self.uploads.iterdir():
            with contextlib.suppress(OSError):  # the same has come anew, and goes another time
                if path.stat().st_mtime < time.time() - seconds:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def sweep_until(self, closed):
        """`sweep` now and then, until an event is set."""
        while not closed.wait(TAKEN_IN / 3):
            self.sweep()
