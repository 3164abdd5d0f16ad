"""From audio files to mel spectrogram images, and the store that holds the images of all clips of a set."""

import dataclasses
import functools
import hashlib
import io
import json
import os
import sys
import threading
import time
import warnings
from contextlib import closing
from pathlib import Path

import joblib
import librosa
import numpy as np
from tqdm import tqdm

from .audio import MAX_BYTES, read_audio
from .executors import executor_of
from .files import only_writer, told_of_a_full_disk, whole_file
from .tables import few

CLIPS_WORTH_A_WORKER = 64  # starting a worker takes about as long as this many clips of 5 s
CHECKPOINT_SECONDS = 2  # what an interrupted build of a store loses at most


@dataclasses.dataclass(frozen=True)
class MelConfig:
    """Every number of the way from audio to image."""

    sample_rate: int = 44_100  # Hz
    trim_db: float = 60.0  # leading and trailing sound this far below the loudest is silence
    min_seconds: float = 2.0  # shorter clips are zero-padded on both sides to this
    n_mels: int = 128  # mel bands, the image's rows
    n_fft: int = 2560  # samples in an analysis window
    hop_length: int = 694  # samples from frame to frame; 128 frames then last 2 s. The published text says 347
    f_min: float = 20.0  # Hz, lower edge of band 0
    f_max: float = 22_050.0  # Hz, upper edge of the last band
    excerpt_frames: int = 128  # the network's input, in frames

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"MelConfig.{field.name}={getattr(self, field.name)!r}: expected a positive number")
        if self.f_max > self.sample_rate / 2:
            raise ValueError(f"MelConfig.f_max={self.f_max}: at most half the sample rate, {self.sample_rate / 2} Hz")
        if self.min_frames < self.excerpt_frames:
            raise ValueError(f"MelConfig.min_seconds={self.min_seconds} with hop_length={self.hop_length} gives "
                             f"{self.min_frames} frames, fewer than an excerpt's {self.excerpt_frames}; "
                             "raise min_seconds or lower hop_length")

    @property
    def min_samples(self):
        """Samples of the shortest image's signal."""
        return int(self.min_seconds * self.sample_rate)

    @property
    def min_frames(self):
        """Frames of the shortest image."""
        return 1 + self.min_samples // self.hop_length

    @property
    def excerpt_seconds(self):
        """Length of an excerpt in seconds."""
        return self.excerpt_frames * self.hop_length / self.sample_rate

    @property
    def key(self):
        """Twelve hex digits that differ whenever a setting differs."""
        return _key(dataclasses.asdict(self))


def load_clip(path, config=MelConfig(), content=None):
    """Read a clip as the network is to hear it: mono, trimmed of silence, padded to the least length.

    Parameters
    ----------
    path : path
        Any audio file that libsndfile reads, whatever its name ends in; mixed down to mono and resampled where
        needed, as `librosa.load` does. Of a truncated file, what is there.
    config : MelConfig
    content : bytes, optional
        As for `audio.read_audio`.

    Returns
    -------
    numpy.ndarray, float32 (samples,)
        At least `config.min_samples` long, in [-1, 1] for PCM files.

    Raises
    ------
    OSError
        If the file cannot be used (`audio.read_audio` says when). The message names it.
    """
    audio = read_audio(path, content)
    signal = audio.signal
    if audio.rate != config.sample_rate and len(signal):
        signal = librosa.resample(signal, orig_sr=audio.rate, target_sr=config.sample_rate)
    return fit_signal(signal, config)


def fit_signal(signal, config=MelConfig()):
    """Trim leading and trailing silence, then zero-pad a short signal on both sides.

    Parameters
    ----------
    signal : array (samples,)
        Mono; may be empty.
    config : MelConfig

    Returns
    -------
    numpy.ndarray, float32 (at least config.min_samples,)
        A signal of odd padding has the extra zero behind.
    """
    signal = np.asarray(signal, np.float32)
    if len(signal):
        signal, _ = librosa.effects.trim(signal, top_db=config.trim_db)
    padding = config.min_samples - len(signal)
    if padding > 0:
        signal = np.pad(signal, (padding // 2, padding - padding // 2))
    return signal


@functools.lru_cache(maxsize=8)
def _mel_basis(config):
    return librosa.filters.mel(sr=config.sample_rate, n_fft=config.n_fft, n_mels=config.n_mels,
                               fmin=config.f_min, fmax=config.f_max)


def log_mel(signal, config=MelConfig()):
    """Mel power spectrogram in dB: `librosa.feature.melspectrogram`, then `librosa.power_to_db`, to the byte.

    The mel filters are computed once and not for every clip, which is all that differs from calling librosa.

    Parameters
    ----------
    signal : array, float32 (samples,)
    config : MelConfig

    Returns
    -------
    numpy.ndarray, float32 (n_mels, frames)
        dB relative to 1, at most 80 dB below the loudest; band 0 is row 0.
    """
    power = np.abs(librosa.stft(signal, n_fft=config.n_fft, hop_length=config.hop_length)) ** 2.0
    mel = np.einsum("...ft,mf->...mt", power, _mel_basis(config), optimize=True)
    return librosa.power_to_db(mel).astype(np.float32, copy=False)


def to_image(log_mel):
    """Standardize a clip's spectrogram and stretch it to the range of a byte.

    Parameters
    ----------
    log_mel : array, float32 (n_mels, frames)

    Returns
    -------
    numpy.ndarray, uint8 (n_mels, frames)
        The clip's minimum is 0 and its maximum 255, truncated; all zeros if the range is at most 1e-6
        after standardizing.
    """
    centred = log_mel - log_mel.mean()
    standard = centred / (centred.std() + 1e-6)
    low, high = standard.min(), standard.max()
    if high - low <= 1e-6:
        return np.zeros(standard.shape, np.uint8)
    return (255 * (standard - low) / (high - low)).astype(np.uint8)


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
    """

    def __init__(self, folder):
        folder = Path(folder)
        index = json.loads((folder / "index.json").read_text())
        self.folder = folder
        self.config = MelConfig(**index["config"])
        self.files = index["files"]
        self.fnames = [file["fname"] for file in self.files]
        self.problems = {clip: file["problem"] for clip, file in enumerate(self.files) if file.get("problem")}
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

    def histogram(self):
        """How many pixels there are of each value.

        Returns
        -------
        numpy.ndarray, int64 (256,)
        """
        rows = 1 << 16  # at a time, so that a large store is not read into memory whole
        return sum(np.bincount(self.pixels[row:row + rows].ravel(), minlength=256)
                   for row in range(0, len(self.pixels), rows))

    @classmethod
    def build(cls, paths, folder, config=MelConfig(), n_jobs=-1, progress=True, executor="in-process"):
        """Compute the images of clips over all cores, or take those that an earlier call left.

        Earlier images are taken only for the same settings and the same files in the same order: a file counts as
        the same if its size and modification time are, or else its content (BLAKE2). Each `config` has a folder of
        its own in `folder`, so that going back to earlier settings costs nothing. After an interruption the same call
        goes on where it stopped; of two processes the second waits for the first.

        A clip that cannot be read stops nothing: it is named in a warning at the end and in `problems`.

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
        executor : {"in-process", "ray"} or RayExecutor
            Where images are computed: by `n_jobs` processes here, or by all cores of a Ray cluster, to which the
            files' contents are sent.

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
        paths = [Path(path) for path in paths]
        if not paths:
            raise ValueError(f"no clips to build a store in {folder} from; expected at least one path")
        missing = [path for path in paths if not path.is_file()]
        if missing:
            raise FileNotFoundError(f"no such file: {few(missing)}; complete the data set or leave the clips out")
        folder = Path(folder) / config.key
        if not cls._is_current(folder, paths) or cls._stale(folder):
            with only_writer(folder, "building the store", wait=True):
                if not cls._is_current(folder, paths):
                    cls._build(paths, folder, config, n_jobs, progress, executor_of(executor))
                for path in cls._stale(folder):
                    path.unlink()
        store = cls(folder)
        if len(store.problems) == len(store):
            raise ValueError(f"none of {len(store)} clips can be read; the first: {store.problems[0]}")
        if store.problems:
            warnings.warn(f"{len(store.problems)} of {len(store)} clips cannot be read and count as silence: "
                          f"{few(store.problems.values())}", stacklevel=2)
        return store

    @classmethod
    def _build(cls, paths, folder, config, n_jobs, progress, executor):
        # The pixels' name says which files they come from. Until all are there they are kept beside, with a journal of
        # the clips that are safely on the disk; the index, written last, is what makes them a store.
        name = _key([[path.name, _stat(path)] for path in paths])
        pixels, journal = folder / f"{name}.u8", folder / f"{name}.jsonl"
        growing = pixels if pixels.exists() else folder / f"{name}.u8.part"
        files = _journaled(journal) if growing.exists() else []
        rest = paths[len(files):]
        with (told_of_a_full_disk(growing), open(growing, "ab") as out, open(journal, "a" if files else "w") as log,
              tqdm(None, "mel spectrograms", len(paths), unit="clip", file=sys.stdout, disable=not progress,
                   initial=len(files)) as bar,
              closing(_images(rest, config, n_jobs, executor)) as images):
            out.truncate(sum(file["frames"] for file in files) * config.n_mels)
            unsaved, saved_at = [], time.monotonic()
            for (image, stat, digest, problem), path in zip(images, rest):
                out.write(np.ascontiguousarray(image.T).data)
                files.append({"fname": path.name, "frames": image.shape[1], "stat": stat, "digest": digest,
                              "problem": problem})
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
        except FileNotFoundError:
            return False
        files = index["files"]
        if [file["fname"] for file in files] != [path.name for path in paths]:
            return False
        touched = [(file, path) for file, path in zip(files, paths) if file["stat"] != _stat(path)]
        if not all(file["digest"] == _digest(path) for file, path in touched):
            return False
        for file, path in touched:
            file["stat"] = _stat(path)
        if touched:
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


def _key(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _stat(path):
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _digest(path, content=None):
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") if content is None else io.BytesIO(content) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


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


@functools.cache
def _end_with(parent):
    """Let this process end soon after its parent, which may have been killed and takes no results any more."""
    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()


def _images(paths, config, n_jobs, executor):
    """`_image_of` clips. They go to workers a few at a time and come back in order: only a few are in memory."""
    if executor.remote:
        return executor.map(_image_of, ((path, config, None, _stat(path), _first_bytes(path)) for path in paths))
    n_jobs = max(1, min(joblib.effective_n_jobs(n_jobs), -(-len(paths) // CLIPS_WORTH_A_WORKER)))
    parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator", batch_size=4, pre_dispatch="4*n_jobs")
    return parallel(joblib.delayed(_image_of)(path, config, os.getpid()) for path in paths)


def _first_bytes(path):
    """A file's content, or of one that is too large enough to tell."""
    with open(path, "rb") as file:
        return file.read(MAX_BYTES + 1)


def _image_of(path, config, builder, stat=None, content=None):
    """A clip's image, what its file is, and what is wrong with it.

    `builder` is the process of this machine that asks for it; one of another machine sends the file.
    """
    if builder is not None and os.getpid() != builder:
        _end_with(builder)
    try:
        signal, problem = load_clip(path, config, content), ""
    except OSError as error:
        signal, problem = np.zeros(config.min_samples, np.float32), str(error)
    return to_image(log_mel(signal, config)), stat or _stat(path), _digest(path, content), problem
