"""Files that appear whole or not at all, and folders that one process at a time writes to."""

import contextlib
import errno
import hashlib
import itertools
import os
import re
import shutil
import socket
import sys
import tempfile
import warnings
from pathlib import Path

import filelock

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_listed = {}  # by folder: how many files more it gets until it is listed again, and the parts that were in it
_parts = itertools.count()  # so that two threads that write one file have a part each


def as_path(given):
    """A path that a person gives, in a program, too, where no shell has looked at it.

    Parameters
    ----------
    given : path
        ``~`` or ``~name`` at its beginning is the home folder, of that user.

    Returns
    -------
    pathlib.Path
    """
    return Path(os.path.expanduser(given))


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
        Where to write, no other thread's or process's. It becomes `path` at the end of the block, and is removed if
        the block raises. What a killed process left of the same file is removed too.

    Raises
    ------
    OSError
        If the disk is full. The message names the file, and an earlier `path` is as it was.
    """
    path = Path(os.path.realpath(as_path(path)))  # what a link points to, not the link
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(f"{path} cannot be written, as {path.parent} is no folder; give another name"
                                 ) from None
    host, name = socket.gethostname(), path.name
    if len(os.fsencode(name)) > 150:  # names have 255 bytes at most
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    for part in _parts_in(path.parent):
        left = re.fullmatch(rf"{re.escape(f'.{name}.{host}.')}(\d{{1,9}})(-\d+)?\.part", part)
        if left and not _is_running(int(left[1])):
            path.with_name(part).unlink(missing_ok=True)
    beside = path.with_name(f".{name}.{host}.{os.getpid()}-{next(_parts)}.part")
    try:
        with told_of_a_full_disk(path):
            yield beside
            with open(beside, "rb+") as written:
                os.fsync(written.fileno())
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _parts_in(folder):
    """What is being written into a folder, or was; one of thousands of files is not listed at each of them."""
    wait, parts = _listed.get(folder, (0, ()))
    if not wait:
        names = []
        with contextlib.suppress(PermissionError):  # as of a folder that can be written to all the same
            names = os.listdir(folder)
        wait, parts = 1 + len(names) // 100, [name for name in names if name.endswith(".part")]
    _listed[folder] = wait - 1, parts
    return parts


@contextlib.contextmanager
def output_file(path):
    """`whole_file`, or what is there and no file, such as ``/dev/stdout``, to write to directly.

    Where the standard output goes into a file, its name and ``/dev/stdout`` add to what was printed.

    Parameters
    ----------
    path : path

    Yields
    ------
    pathlib.Path
        Where to write.
    """
    path = as_path(path)
    if path.exists() and not path.is_file():
        yield path
    elif _is_stdout(path):
        with tempfile.TemporaryDirectory() as folder:
            yield (part := Path(folder) / "part")
            sys.stdout.flush()
            with open(part, "rb") as written, open(1, "wb", closefd=False) as out:
                shutil.copyfileobj(written, out)
    else:
        with whole_file(path) as part:
            yield part


def _is_stdout(path):
    try:
        return os.path.samestat(os.stat(path), os.fstat(1))
    except OSError:
        return False


def check_writable(path):
    """Find out that a file cannot be made before the work that is to be kept in it.

    Parameters
    ----------
    path : path
        Its folder is made if need be.

    Raises
    ------
    OSError
        The message names the file.
    """
    path = as_path(path)
    if os.path.exists(path) and not os.path.isfile(path):
        return
    try:
        folder = Path(os.path.realpath(path)).parent  # where what a link points to is
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder), contextlib.suppress(FileNotFoundError):
            os.lstat(path)  # raises on a name that is too long
    except OSError as error:
        raise OSError(f"{path} cannot be written ({os.strerror(error.errno or 0)}); give another name") from None


@contextlib.contextmanager
def told_of_a_full_disk(path):
    """Say which file did not fit, if writing it fails for lack of room.

    Parameters
    ----------
    path : path
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise OSError(error.errno, f"no room to write {path} ({os.strerror(error.errno)}); free some and run again: "
                                   "what was finished before is whole and is not computed again") from error


@contextlib.contextmanager
def only_writer(folder, doing, wait=False, name=""):
    """Keep other processes from writing to a folder, or to a part of it.

    The system lets go of it when this process ends, however it does.

    Parameters
    ----------
    folder : path
        Made if need be.
    doing : str
        What is done in it, for the message: "... is <doing>".
    wait : bool
        Wait until the other is done.
    name : str
        Of the part, such as a file's; nothing of the lock is left of one when it is let go.

    Raises
    ------
    OSError
        If the disk is full. The message names the folder.
    RuntimeError
        If another process holds it and `wait` is False. The message has its pid and host.
    """
    folder = as_path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    holder, path = folder / f"{name}.holder", folder / f"{name}.lock"
    lock = filelock.FileLock(path, timeout=-1 if wait else 0)
    try:
        lock.acquire()
    except filelock.Timeout:
        who = holder.read_text() if holder.exists() else "another process"
        raise RuntimeError(f"{folder}: {who} is {doing}; let it finish or stop it, or give another folder") from None
    try:
        with told_of_a_full_disk(holder):
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        yield
        holder.unlink(missing_ok=True)
    finally:
        if name:
            path.unlink(missing_ok=True)
        lock.release()


def files_below(folder):
    """All files in a folder and those below it, through links, each folder once. One that cannot be read is named.

    Parameters
    ----------
    folder : path

    Returns
    -------
    list of pathlib.Path
        Sorted.
    """
    def passed_over(error):
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):  # there is none
            warnings.warn(f"{error.filename} cannot be read ({error.strerror}), and nothing in it is used; give leave "
                          "to read it (chmod), or take it out", stacklevel=1)  # of here, to be said once by a command

    seen, found = set(), []
    for parent, folders, names in os.walk(as_path(folder), onerror=passed_over, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        found += [Path(parent) / name for name in names]
    return sorted(found)


def _is_running(pid):
    if os.name != "posix":
        return True  # it cannot be asked there without harm
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
