"""The store that holds the mel spectrogram images of all clips of a set, and how it is built."""

import contextlib
import copy
import dataclasses
import functools
import json
import os
import sys
import time
import warnings

import numpy as np
from tqdm import tqdm

from ..clips.audio import digest_of, first_bytes
from ..clips.tables import few
from ..machine.executors import executor_of
from ..machine.files import as_path, only_writer, told_of_a_full_disk, whole_file
from ..machine.numerics import USUAL
from ..machine.processes import in_order
from .mel import MelConfig, fingerprint, load_clip, log_mel, to_image

CHECKPOINT_SECONDS = 2  # what an interrupted build of a store loses at most
TRIES = 3  # to read a file that is replaced meanwhile


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
        self.starts = np.cumsum(self.lengths) - self.lengths
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
        some.problems = {row: self.problems[clip] for row, clip in enumerate(clips) if clip in self.problems}
        return some

    def histogram(self):
        """How many pixels there are of each value, numpy.ndarray, int64 (256,); of a `take`, those of all clips."""
        rows = 1 << 16  # at a time, so that a large store is not read into memory whole
        return sum(np.bincount(self.pixels[row:row + rows].ravel(), minlength=256)
                   for row in range(0, len(self.pixels), rows))

    @classmethod
    @np.errstate(**USUAL)
    def build(cls, paths, folder, config=MelConfig(), n_jobs=-1, progress=True, executor="in-process"):
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
        missing = [path for path in paths if not os.path.isfile(path)]
        if missing:
            raise FileNotFoundError(f"no such file: {few(missing)}; complete the data set or leave the clips out")
        folder = as_path(folder) / config.key
        if not cls._is_current(folder, paths) or cls._stale(folder):
            with only_writer(folder, "building the store", wait=True):
                if not cls._is_current(folder, paths):
                    cls._build(paths, folder, config, n_jobs, progress, executor_of(executor))
                for path in cls._stale(folder):
                    path.unlink()
        store = cls(folder)
        if len(store.problems) == len(store):
            raise ValueError(f"none of {len(store)} clips can be read: {few(store.problems.values())}")
        if store.problems:
            warnings.warn(f"{len(store.problems)} of {len(store)} clips cannot be read and count as silence: "
                          f"{few(store.problems.values())}", stacklevel=2)
        if store.remarks:
            warnings.warn(f"{len(store.remarks)} of {len(store)} clips may not be what they should be: "
                          f"{few(store.remarks.values())}", stacklevel=2)
        return store

    @classmethod
    def _build(cls, paths, folder, config, n_jobs, progress, executor):
        # The pixels' name says which files they come from. Until all are there they are kept beside, with a journal of
        # the clips that are safely on the disk; the index, written last, is what makes them a store.
        name = fingerprint([[os.path.realpath(path), _stat(path)] for path in paths])
        pixels, journal = folder / f"{name}.u8", folder / f"{name}.jsonl"
        growing = pixels if pixels.exists() and journal.exists() else folder / f"{name}.u8.part"
        files = _journaled(journal) if growing.exists() else []
        if files and growing.stat().st_size < sum(file["frames"] for file in files) * config.n_mels:
            files = []
        rest = paths[len(files):]
        with (told_of_a_full_disk(growing), open(growing, "ab") as out, open(journal, "a" if files else "w") as log,
              tqdm(None, "mel spectrograms", len(paths), unit="clip", file=sys.stdout, disable=not progress,
                   initial=len(files)) as bar,
              contextlib.closing(_images(rest, config, n_jobs, executor)) as images):
            out.truncate(sum(file["frames"] for file in files) * config.n_mels)
            unsaved, saved_at = [], time.monotonic()
            for (image, known), path in zip(images, rest):
                out.write(np.ascontiguousarray(image.T).data)
                files.append({"fname": path.name, "path": os.path.realpath(path), "frames": image.shape[1], **known})
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
    def _is_current(cls, folder, paths):
        try:
            index = json.loads((folder / "index.json").read_text())
            files, pixels = index["files"], folder / index["pixels"]
            size = sum(file["frames"] for file in files) * MelConfig(**index["config"]).n_mels
            if pixels.stat().st_size != size or not os.access(pixels, os.R_OK):
                return False
        except (OSError, ValueError, TypeError, KeyError):  # there is none, or what is left of one
            return False
        if [file["fname"] for file in files] != [path.name for path in paths]:
            return False
        touched = [(file, path) for file, path in zip(files, paths)
                   if not file["digest"] or file["stat"] != _stat(path) or file.get("path") != os.path.realpath(path)]
        if not all(file["digest"] == digest_of(path) for file, path in touched):
            return False
        touched = [(file, path) for file, path in touched if file["digest"]]
        for file, path in touched:
            file |= {"path": os.path.realpath(path), "stat": _stat(path)}
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


def _stat(path):
    """By what a file is known to be the one that was read: its size, and when its content and itself last changed.

    Who copies a file or puts another in its place can keep the first of the times (``cp -p``, an archive, one constant
    for all), and not the second. Its inode would say no more, and is another at each mounting of many network disks.
    """
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _while_unchanged(path, read):
    """What is read of a file, its `_stat`, and whether it is known that it was not replaced meanwhile."""
    for _ in range(TRIES):
        before = _stat(path)
        result = read()
        if _stat(path) == before:
            return result, before, True
    return result, before, False


def _content(path):
    """What is sent of a file: its content, or why it cannot be read, with the rest of `_while_unchanged`."""
    def read():
        try:
            return first_bytes(path)
        except OSError as error:
            return error
    return _while_unchanged(path, read)


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


def _images(paths, config, n_jobs, executor):
    """`_image_of` clips. They go to workers a few at a time and come back in order: only a few are in memory."""
    if hasattr(executor, "map"):
        return executor.map(_image_of, ((path, config, *_content(path)) for path in paths))
    return in_order(_image_of, [(path, config) for path in paths], n_jobs)


def _image_of(path, config, content=None, stat=None, unchanged=True):
    """A clip's image, and what is known of its file. Another machine is sent what `_content` gave."""
    read = functools.partial(_read, path, config, content)
    (signal, known), stat, unchanged = _while_unchanged(path, read) if stat is None else (read(), stat, unchanged)
    if not unchanged:  # by its digest it would count as current
        known |= {"digest": "", "remark": f"{path} was written to while it was read; build the store again"}
    return to_image(log_mel(signal, config)), known | {"stat": stat}


def _read(path, config, content):
    """A clip's signal, and what its file is and what is wrong with it."""
    remarks, problem = {}, ""
    try:
        if isinstance(content, OSError):
            raise OSError(f"{path} cannot be read ({content}); replace the file or leave it out")
        signal = load_clip(path, config, content, remarks)
    except OSError as error:
        signal, problem = np.zeros(config.min_samples, np.float32), str(error)
    digest = "" if isinstance(content, OSError) else digest_of(path, content)
    return signal, {"digest": digest, "problem": problem, "remark": "; ".join(remarks.values()) * (not problem)}
