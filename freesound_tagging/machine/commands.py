"""What a command says when something goes wrong."""

import argparse
import contextlib
import functools
import os
import re
import signal
import sys
import threading
import warnings

from .files import as_path


def a_path(text):
    """A path on the command line, for argparse: an empty one would be the present folder.

    A shell leaves the ``~`` of ``--csv=~/t.csv`` as it is.

    Parameters
    ----------
    text : str

    Returns
    -------
    pathlib.Path

    Raises
    ------
    argparse.ArgumentTypeError
        If it is empty.
    """
    if not text:
        raise argparse.ArgumentTypeError("is empty; expected a path")
    return as_path(text)


def a_count(text):
    """A number on the command line, for argparse: 1 or more.

    Parameters
    ----------
    text : str

    Returns
    -------
    int

    Raises
    ------
    argparse.ArgumentTypeError
        If it is none.
    """
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is {text}; expected a whole number from 1 on")
    return int(text)


def a_probability(text):
    """A number on the command line, for argparse: above 0, at most 1.

    Parameters
    ----------
    text : str

    Returns
    -------
    float

    Raises
    ------
    argparse.ArgumentTypeError
        If it is none.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number <= 1:
        raise argparse.ArgumentTypeError(f"is {text}; expected a probability above 0, at most 1")
    return number


def add_device(parser):
    """Give a command what networks compute on, for argparse: ``--device`` and ``--precision``.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    """
    parser.add_argument("--device", help="such as cuda or cpu (default: a CUDA GPU if there is one)")
    parser.add_argument("--precision", metavar="FORMAT",
                        help="what networks compute in: float32, bfloat16 or float16 (default: a GPU's float16, or the "
                             "bfloat16 of a CPU that is made for it, where it changes probabilities by less than "
                             "0.001 in the mean; else float32)")


def printable(text):
    """A name or label with escapes in place of what a terminal would obey.

    Parameters
    ----------
    text : object

    Returns
    -------
    str
        In one line.
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda control: ascii(control[0])[1:-1], str(text))


class Stopped(BaseException):
    """The system, or who closed the terminal, has asked this process to end."""


@contextlib.contextmanager
def stoppable():
    """Have SIGTERM and SIGHUP raise `Stopped` in the block, so that what was done can be kept.

    One that is ignored, as by ``nohup``, stays so; further ones are while the block ends.
    """
    numbers = [number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))
               and threading.current_thread() is threading.main_thread() and signal.getsignal(number) is signal.SIG_DFL]

    def stop(number, _):
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        raise Stopped(number)
    try:
        for number in numbers:
            signal.signal(number, stop)
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


@contextlib.contextmanager
def held_signals():
    """Have what handlers of signals raise, such as KeyboardInterrupt, come at the end of the block.

    For calls of libraries that call Python back, and lose what is raised there. Signals without a handler of Python's
    do what they do.
    """
    handlers = {number: handler for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))
                and threading.current_thread() is threading.main_thread()
                and callable(handler := signal.getsignal(number))}
    held, within = [], True

    def hold(number, frame):
        if within:
            held.append(number)
        else:  # another one has come before this one's handler was back
            handlers[number](number, frame)
    try:
        for number in handlers:
            signal.signal(number, hold)
        yield
    finally:
        within = False
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number in held:
            handlers[number](number, None)


def command(main):
    """Make of a function a command: an error is one line, and its exit status 1; so is a warning of this package.

    What a stream cannot show, such as the name of a file that is not UTF-8, is printed with escapes, and so is what
    would speak to the terminal in an error or warning. A reader that has
    had enough, such as ``| head``, ends the command without a word.

    Parameters
    ----------
    main : callable
        Of the arguments; returns the exit status, None for 0.

    Returns
    -------
    callable
    """
    @functools.wraps(main)
    def wrapped(arguments=None):
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # those of libraries say nothing to who runs a command
                warnings.filterwarnings("default", category=UserWarning, module="freesound_tagging|__main__")
                warnings.showwarning = lambda message, *_: print(printable(message), file=sys.stderr)
                status = main(arguments) or 0
            if sys.stdout is not None:
                sys.stdout.flush()
            return status
        except KeyboardInterrupt:
            return 130  # as the system has it for a program that is interrupted
        except Stopped as stopped:
            return 128 + stopped.args[0]
        except BrokenPipeError:
            with open(os.devnull, "w") as nowhere:  # for what Python flushes at its end
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
        except (ImportError, OSError, RuntimeError, ValueError, ArithmeticError) as error:
            print(printable(str(error).replace("\n", " ")) or repr(error), file=sys.stderr)
        return 1
    return wrapped
