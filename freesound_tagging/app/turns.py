"""Whose turn it is: several people's sounds go through the same networks, a batch of windows at a time."""

import threading


class Turns:
    """A lock that is given to those who wait in the order in which they came, and can be passed on.

    Who listens to an hour passes it on after each batch of windows, so that a short sound that comes meanwhile waits
    for one batch and not for the hour.
    """

    def __init__(self):
        self._changed, self._next, self._serving = threading.Condition(), 0, 0

    def __enter__(self):
        with self._changed:
            own, self._next = self._next, self._next + 1
            self._changed.wait_for(lambda: self._serving == own)

    def __exit__(self, *_):
        with self._changed:
            self._serving += 1
            self._changed.notify_all()

    def pass_on(self):
        """Let all go first who wait now."""
        self.__exit__()
        self.__enter__()
