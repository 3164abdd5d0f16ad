"""Files that appear whole or not at all."""

import contextlib
import os
from pathlib import Path


@contextlib.contextmanager
def whole_file(path):
    """Write a file beside `path` and move it there once it is complete.

    Parameters
    ----------
    path : path
        The file to make or replace; its folder is made if need be.

    Yields
    ------
    pathlib.Path
        Where to write. It becomes `path` at the end of the block, and is removed if the block raises.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        with open(beside, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
