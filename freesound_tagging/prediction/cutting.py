"""Events cut out of recordings, to be listened to and sorted: a writer, as those of `formats`."""

import contextlib
import io
import itertools
import os
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import soundfile as sf

from ..annotations.cuts import Cut, cut_of
from ..clips.audio import read_blocks
from ..clips.streams import is_pipe
from ..machine.files import DISK_FULL, as_path, check_writable, files_below, whole_file
from .tagging import events


class Cuts:
    """Some events of each label as sounds in a folder of the label's name: FLAC, mono, at the recording's own rate.

    A recording is called by its folder and its name, ``night+0300.wav``, whatever else is heard, so that those of other
    folders can be cut later on; where two are alike in both, by all of its folders.
    They are cut when all recordings have been heard, as only then it is known which. What lies in the folder already,
    in whichever label's, is not cut again.

    Parameters
    ----------
    folder : path
        Made if need be.
    sounds : sequence of path
        What will be heard.
    threshold : float, optional
        As for `events`.
    most : int
        Events of a label that are cut: those whose probabilities are spread most evenly (`spread`).

    Raises
    ------
    ValueError
        If a sound comes through a pipe, which cannot be read twice.
    """

    def __init__(self, folder, sounds, threshold=None, most=20):
        pipes = [sound for sound in sounds if is_pipe(sound)]
        if pipes:
            raise ValueError(f"{pipes[0]} is a pipe, of which nothing can be cut once it was heard; give a file")
        self.folder, self.threshold, self.most = as_path(folder), threshold, most
        check_writable(self.folder / "label")
        parts = {sound: Path(os.path.abspath(as_path(sound))).parts[1:] for sound in sounds}
        named = Counter(part[-2:] for part in set(parts.values()))
        self.recordings = {sound: "+".join(part if named[part[-2:]] > 1 else part[-2:])
                           for sound, part in parts.items()}
        self.added = set()
        self.heard = defaultdict(list)  # cuts by their label, each with its sound

    def add(self, sound):
        recording = self.recordings[sound.path]
        if not sound.problem and recording not in self.added:  # it may have been given twice
            self.added.add(recording)
            for row in events(sound.timeline, self.threshold).itertuples():
                self.heard[row.label].append((sound.path, Cut(row.label, row.probability, recording, row.start,
                                                              row.end)))

    def close(self):
        """Cut what was heard; an OSError at the end names the recordings that cannot be cut."""
        there = {path.name for path in files_below(self.folder) if cut_of(path)}
        wanted = defaultdict(list)
        for found in self.heard.values():
            for number in spread([cut.probability for _, cut in found], self.most):
                path, cut = found[number]
                if cut.path().name not in there:
                    wanted[path].append((cut.start, cut.end, self.folder / cut.path()))
        problems = []
        for path, stretches in wanted.items():
            try:
                write_stretches(path, stretches)
            except OSError as error:
                if error.errno in DISK_FULL:
                    raise
                problems.append(str(error))
        if problems:
            raise OSError(f"{len(problems)} of {len(wanted)} recordings could not be cut: {'; '.join(problems)}")


def spread(probabilities, most):
    """Which of some probabilities are spread evenly over all of them.

    Parameters
    ----------
    probabilities : sequence of float
    most : int
        1 or more.

    Returns
    -------
    list of int
        Where they stand, at most `most`: of as many points, evenly from the greatest to the least, to each in turn what
        is closest and was not taken yet. All, if there are no more.
    """
    if len(probabilities) <= most:
        return list(range(len(probabilities)))
    left, taken = np.array(probabilities, float), []
    for point in np.linspace(left.max(), left.min(), most):
        taken.append(int(np.nanargmin(np.abs(left - point))))
        left[taken[-1]] = np.nan
    return taken


def write_stretches(path, stretches):
    """Write stretches of a recording as FLAC files, in one pass over it, block by block.

    Parameters
    ----------
    path : path
        A sound of any length, as `read_blocks` has it.
    stretches : list of (float, float, path)
        Start and end in seconds, and the file to make. They may overlap.

    Raises
    ------
    OSError
        If the recording cannot be read, is of a rate that FLAC does not have, or there is no room.
    """
    waiting, writing, place = sorted(stretches, key=lambda stretch: stretch[0], reverse=True), [], 0
    with contextlib.closing(read_blocks(path, a_clip=False)) as blocks, contextlib.ExitStack() as all_of_them:
        for block in blocks:
            if block.rate > 655_350 or (block.rate > 65_535 and block.rate % 10):
                raise OSError(f"{path} is of {block.rate} Hz, and FLAC has multiples of 10 up to 655350 above 65535; "
                              "convert it to another rate")
            end, going_on = place + len(block.signal), []
            for first, last, file, files in itertools.chain(writing, _begun(waiting, block.rate, end, all_of_them)):
                file.write(block.signal[max(0, first - place):max(0, last - place)])
                if last <= end:
                    files.close()
                else:
                    going_on.append((first, last, file, files))
            writing, place = going_on, end
            if not waiting and not writing:
                break


def _begun(waiting, rate, end, all_of_them):
    """The stretches that begin before sample `end`, each opened when it is asked for, as few can be open at once."""
    while waiting and round(waiting[-1][0] * rate) < end:
        start, until, out = waiting.pop()
        files = all_of_them.enter_context(contextlib.ExitStack())
        yield round(start * rate), round(until * rate), files.enter_context(_flac(out, rate)), files


@contextlib.contextmanager
def _flac(path, rate):
    """A sound to write to that appears whole or not at all."""
    with whole_file(path) as part, _Part(part, "wb") as raw:
        with sf.SoundFile(raw, "w", rate, 1, "PCM_16", format="FLAC") as file:
            yield file
        if raw.error:
            raise raw.error


class _Part(io.FileIO):
    """A file that keeps the error of a write, as C writes to it and would go on without a word."""

    error = None

    def write(self, data):
        left = memoryview(data)
        try:
            while left and not self.error:
                left = left[super().write(left):]
        except OSError as error:
            self.error = error
        return len(data)
