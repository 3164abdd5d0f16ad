"""The store that holds the mel spectrogram images of all clips of a set, and how it is built."""

import contextlib
import copy
import dataclasses
import json
import os
import sys
import time
import warnings

import numpy as np
from tqdm import tqdm

from ..clips.audio import digest_of
from ..clips.tables import few
from ..machine.executors import executor_of
from ..machine.files import as_path, only_writer, told_of_a_full_disk, whole_file
from ..machine.numerics import USUAL
from .mel import MelConfig, fingerprint
from .reading import images_of_files, stat_of

CHECKPOINT_SECONDS = 2  # what an interrupted build of a store loses at most


class SpectrogramStore:
    """The images of all clips of a set, one after the other in one memory-mapped array.

    Pixels are kept once, as bytes and frame-major, so that an excerpt of any clip is one contiguous read.
    Make one with `build`.

    Attributes
    ----------
    fnames : list of str
        The clips, in the order of their rows.
    pixels : numpy.memmap, uint8 (frames of all clips, n_mels)
    starts, lengths : numpy.ndarray, int64 (clips,)
        Each clip's first frame in `pixels` and its number of frames.
    spans : numpy.ndarray, float64 (clips, 2), or None
        Of clips that are stretches of files (`cut`): from when to when in its file each is seen, in seconds.
    config : MelConfig
    folder : pathlib.Path
        Where the files are.
    problems : dict of int to str
        What is wrong with the clips that could not be read, by their numbers. Their image is that of silence, as of
        an empty file: training leaves them out, and a prediction for them is what a network makes of silence.
    remarks : dict of int to str
        What is to be known of others, by their numbers: that they are silent, that their channels are opposite, or that
        not all was read (`audio.read_blocks`). They are clips like any other.
    """

    def __init__(self, folder):
        folder = as_path(folder)
        index = json.loads((folder / "index.json").read_text())
        self.folder = folder
        self.config = MelConfig(**index["config"])
        self.files = index["files"]
        self.fnames = [file["fname"] for file in self.files]
        self.problems = {clip: file["problem"] for clip, file in enumerate(self.files) if file.get("problem")}
        self.remarks = {clip: file["remark"] for clip, file in enumerate(self.files) if file.get("remark")}
        self.lengths = np.array([file["frames"] for file in self.files], np.int64)
        self.starts, self.spans, self.cut_by = np.cumsum(self.lengths) - self.lengths, None, None
        # Copy on write: the file never changes, and torch takes the array without a warning.
        self.pixels = np.memmap(folder / index["pixels"], np.uint8, "c",
                                shape=(int(self.lengths.sum()), self.config.n_mels))

    def __len__(self):
        return len(self.fnames)

    def __getitem__(self, clip):
        """The image of clip number `clip`: uint8 (n_mels, frames), a view."""
        return self.pixels[self.starts[clip]:self.starts[clip] + self.lengths[clip]].T

    def __repr__(self):
        seconds = self.lengths.sum() * self.config.hop_length / self.config.sample_rate
        return f"SpectrogramStore: {len(self)} clips, {seconds / 3600:.2f} h, {self.pixels.nbytes / 1e6:.0f} MB"

    def take(self, clips):
        """Some of its clips, as a store of the same images.

        Parameters
        ----------
        clips : array of int or bool
            Their numbers, or which of all.

        Returns
        -------
        SpectrogramStore
            A view: its `pixels` are those of all.
        """
        clips = np.arange(len(self))[clips]
        some = copy.copy(self)
        some.files = [self.files[clip] for clip in clips]
        some.fnames = [self.fnames[clip] for clip in clips]
        some.lengths, some.starts = self.lengths[clips], self.starts[clips]
        some.spans = None if self.spans is None else self.spans[clips]
        some.problems, some.remarks = ({row: said[clip] for row, clip in enumerate(clips) if clip in said}
                                       for said in (self.problems, self.remarks))
        return some

    def cut(self, files, spans):
        """Stretches of its files as clips: a store of the same images, of which each clip is a view.

        Parameters
        ----------
        files : array of int (clips,)
            The file that each clip is of.
        spans : array (clips, 2)
            From when to when in the file, in seconds; NaN for all of it, which a file then has alone.

        Returns
        -------
        SpectrogramStore
            A stretch shorter than an excerpt is seen as an excerpt about its middle, or at the image's end. Of a sound
            of more than `MAX_SECONDS` it is seen in the section (`sections`) that has most of it. A stretch of which
            nothing is in an image, as it is silent or after the sound's end, is one of the `problems`.
        """
        files, spans = np.asarray(files, np.int64), np.asarray(spans, float)
        some = self.take(files)
        some.cut_by, some.spans, some.problems = (files, spans), spans.copy(), dict(some.problems)
        second = self.config.sample_rate / self.config.hop_length  # in frames
        for clip, (file, span) in enumerate(zip(files, spans)):
            if clip in some.problems or np.isnan(span[0]):
                continue
            pieces = np.array(self.files[file]["sections"])  # begin, end (seconds), frames
            ends = np.minimum(pieces[:, 1], pieces[:, 0] + pieces[:, 2] / second)  # silence at the end is cut off
            overlap = np.minimum(span[1], ends) - np.maximum(span[0], pieces[:, 0])
            begin, end, frames = pieces[overlap.argmax(), 0], ends[overlap.argmax()], pieces[overlap.argmax(), 2]
            if overlap.max() < 0:
                some.problems[clip] = (f"{self.files[file]['path']}: nothing is to be heard from {span[0]:g} to "
                                       f"{span[1]:g} s, where its sound is silent or has ended")
            length = max(self.config.excerpt_frames, round((min(span[1], end) - max(span[0], begin)) * second))
            first = (np.clip(span, begin, end).mean() - begin) * second - length / 2
            first, length = int(np.clip(round(first), 0, max(frames - length, 0))), int(min(length, frames))
            some.starts[clip] += pieces[:overlap.argmax(), 2].sum() + first
            some.lengths[clip] = length
            some.spans[clip] = begin + first / second, begin + (first + length) / second
        return some

    def histogram(self):
        """How many pixels there are of each value, numpy.ndarray, int64 (256,); of a `take`, those of all clips."""
        rows = 1 << 16  # at a time, so that a large store is not read into memory whole
        return sum(np.bincount(self.pixels[row:row + rows].ravel(), minlength=256)
                   for row in range(0, len(self.pixels), rows))

    @classmethod
    @np.errstate(**USUAL)
    def build(cls, paths, folder, config=MelConfig(), n_jobs=-1, progress=True, executor="in-process", spans=None):
        """Compute the images of clips over all cores, or take those that an earlier call left.

        Earlier images are taken only for the same settings and the same files in the same order: a file counts as
        the same if its path (links resolved), size and times are, or else its content (BLAKE2). Each `config` has a
        folder of its own in `folder`, so that going back to earlier settings costs nothing. After an interruption the
        same call goes on where it stopped; of two processes the second waits for the first. A store that is not whole
        any more is built again.

        A clip that cannot be read stops nothing: it is named in a warning at the end and in `problems`. So are, in
        another and in `remarks`, clips that are silent, whose channels are opposite, or that were not read whole.

        Parameters
        ----------
        paths : sequence of path
            The clips.
        folder : path
            Where stores are kept; made if need be.
        config : MelConfig
        n_jobs : int
            Worker processes; -1 for one a core.
        progress : bool
            Show a progress bar.
        executor : {"auto", "in-process", "processes", "ray"} or RayExecutor
            Where images are computed: by all cores of a Ray cluster, to which the files' contents are sent, or, for
            every other executor, by `n_jobs` processes here.
        spans : array (clips, 2), optional
            Of clips that are stretches of their files: from when to when, in seconds; NaN for all of a file. Each
            file's image is made once, as `sections` makes it, in the memory that these need; clips are `cut` from it.

        Returns
        -------
        SpectrogramStore

        Raises
        ------
        FileNotFoundError
            If a clip is missing, before anything is computed. The message names it.
        OSError
            If the disk is full.
        ValueError
            If there are no clips, or none that can be read.
        """
        paths = [as_path(path) for path in paths]
        if not paths:
            raise ValueError(f"no clips to build a store in {folder} from; expected at least one path")
        timed = set()  # files of which clips are stretches
        if spans is not None:
            if len(spans) != len(paths):
                raise ValueError(f"{len(spans)} spans for {len(paths)} clips: expected one of each, NaN for all of it")
            timed = {path for path, span in zip(paths, spans) if not np.isnan(span[0])}
            both = [path for path, span in zip(paths, spans) if np.isnan(span[0]) and path in timed]
            if both:
                raise ValueError(f"{few(both)}: a clip as a whole, and stretches of it are clips too; expected one of "
                                 "the two")
            clips, paths = paths, list(dict.fromkeys(paths))
            files = {path: number for number, path in enumerate(paths)}
        missing = [path for path in paths if not os.path.isfile(path)]
        if missing:
            raise FileNotFoundError(f"no such file: {few(missing)}; complete the data set or leave the clips out")
        folder = as_path(folder) / config.key
        # What is left over stays where it cannot be taken away.
        if not cls._is_current(folder, paths, timed) or (os.access(folder, os.W_OK) and cls._stale(folder)):
            with only_writer(folder, "building the store", wait=True):
                if not cls._is_current(folder, paths, timed):
                    cls._build(paths, folder, config, n_jobs, progress, executor_of(executor), timed)
                for path in cls._stale(folder):
                    path.unlink()
        store = cls(folder)
        if spans is not None:
            store = store.cut([files[path] for path in clips], spans)
        if len(store.problems) == len(store):
            raise ValueError(f"none of {len(store)} clips can be read: {few(store.problems.values())}")
        if store.problems:
            warnings.warn(f"{len(store.problems)} of {len(store)} clips cannot be read and count as silence: "
                          f"{few(store.problems.values())}", stacklevel=2)
        if store.remarks:
            warnings.warn(f"{len(store.remarks)} of {len(store)} clips may not be what they should be: "
                          f"{few(dict.fromkeys(store.remarks.values()))}", stacklevel=2)
        return store

    @classmethod
    def _build(cls, paths, folder, config, n_jobs, progress, executor, timed):
        # The pixels' name says which files they come from. Until all are there they are kept beside, with a journal of
        # the clips that are safely on the disk; the index, written last, is what makes them a store.
        name = fingerprint([[os.path.realpath(path), stat_of(path), *(["timed"] if path in timed else [])]
                            for path in paths])
        pixels, journal = folder / f"{name}.u8", folder / f"{name}.jsonl"
        growing = pixels if pixels.exists() and journal.exists() else folder / f"{name}.u8.part"
        files = _journaled(journal) if growing.exists() else []
        if files and growing.stat().st_size < sum(file["frames"] for file in files) * config.n_mels:
            files = []
        rest = paths[len(files):]
        with (told_of_a_full_disk(growing), open(growing, "ab") as out, open(journal, "a" if files else "w") as log,
              tqdm(None, "mel spectrograms", len(paths), unit="clip", file=sys.stdout, disable=not progress,
                   initial=len(files)) as bar,
              contextlib.closing(images_of_files(rest, config, n_jobs, executor, timed)) as found):
            out.truncate(sum(file["frames"] for file in files) * config.n_mels)
            unsaved, saved_at = [], time.monotonic()
            for (images, known), path in zip(found, rest):
                frames = 0
                for image in images:
                    out.write(np.ascontiguousarray(image.T).data)
                    frames += image.shape[1]
                files.append({"fname": path.name, "path": os.path.realpath(path), "frames": frames, **known})
                unsaved.append(json.dumps(files[-1]) + "\n")
                if len(files) == len(paths) or time.monotonic() - saved_at > CHECKPOINT_SECONDS:
                    _flush(out)  # first the pixels, then the word that they are there
                    log.writelines(unsaved)
                    _flush(log)
                    unsaved, saved_at = [], time.monotonic()
                bar.update()
        if growing != pixels:
            os.replace(growing, pixels)
        cls._write_index(folder, config, pixels.name, files)

    @classmethod
    def _is_current(cls, folder, paths, timed):
        try:
            index = json.loads((folder / "index.json").read_text())
            files, pixels = index["files"], folder / index["pixels"]
            size = sum(file["frames"] for file in files) * MelConfig(**index["config"]).n_mels
            if pixels.stat().st_size != size or not os.access(pixels, os.R_OK):
                return False
        except (OSError, ValueError, TypeError, KeyError):  # there is none, or what is left of one
            return False
        if [(file["fname"], "sections" in file) for file in files] != [(path.name, path in timed) for path in paths]:
            return False
        touched = [(file, path) for file, path in zip(files, paths)
                   if not file["digest"] or file["stat"] != stat_of(path) or file.get("path") != os.path.realpath(path)]
        if not all(file["digest"] == digest_of(path) for file, path in touched):
            return False
        touched = [(file, path) for file, path in touched if file["digest"]]
        for file, path in touched:
            file |= {"path": os.path.realpath(path), "stat": stat_of(path)}
        if touched:
            with contextlib.suppress(OSError):  # in a folder that cannot be written to they are read again next time
                cls._write_index(folder, MelConfig(**index["config"]), index["pixels"], files)
        return True

    @staticmethod
    def _stale(folder):
        """What builds of other files, or one that was killed, have left beside a store."""
        used = json.loads((folder / "index.json").read_text())["pixels"]
        return [path for kind in ("*.u8", "*.u8.part", "*.jsonl") for path in folder.glob(kind) if path.name != used]

    @staticmethod
    def _write_index(folder, config, pixels, files):
        with whole_file(folder / "index.json") as part:
            part.write_text(json.dumps({"config": dataclasses.asdict(config), "pixels": pixels, "files": files}))


def _flush(file):
    file.flush()
    os.fsync(file.fileno())


def _journaled(journal):
    """The clips that an interrupted build has finished. A last line that is torn is cut off."""
    if not journal.exists():
        return []
    whole, _, torn = journal.read_bytes().rpartition(b"\n")
    if torn:
        os.truncate(journal, journal.stat().st_size - len(torn))
    return [json.loads(line) for line in whole.splitlines()]
