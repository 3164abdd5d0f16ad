"""From audio to image: a clip's mel spectrogram as the networks are to see it.

The author's software decides: librosa 0.6.3, which pads a signal's ends by reflection, in the spectrogram and in the
energy by which it finds silence, and multiplies by the mel filters in float64.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import reprlib

import librosa
import numpy as np
import scipy.sparse
import soxr

from ..clips.audio import BLOCK, read_blocks
from ..machine.checks import as_python

HOP = 48  # frames from one window over a clip to the next, at most
FRAMES_AT_A_TIME = 4096  # of a long signal's spectrogram, so that the memory that it takes does not grow with it
# Far above what anybody uses: a network's file may ask for anything, and two seconds of sound then take gigabytes.
AT_MOST = {"sample_rate": 384_000, "min_seconds": 60, "n_mels": 1024, "n_fft": 1 << 15}
PIXELS = 1 << 18  # of an excerpt, and of a second; as published 16,384 and 8,134


def is_finite(value):
    """Whether a value is a number, and neither NaN nor infinite, nor True or False, which are numbers to Python."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


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
    # How a signal's ends are padded: "reflect", as by librosa 0.6.3, or "constant", zeros, as by librosa from 0.10 on,
    # whose images are then the same to the byte.
    padding: str = "reflect"

    def __post_init__(self):
        as_python(self)
        if self.padding not in ("reflect", "constant"):
            raise ValueError(f"MelConfig.padding={reprlib.repr(self.padding)}: expected 'reflect' or 'constant'")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is not str and not (is_finite(value) and value > 0):
                raise ValueError(f"MelConfig.{field.name}={reprlib.repr(value)}: expected a positive number")
            if field.type is float:
                object.__setattr__(self, field.name, float(value))  # what is equal has one `key`
            if field.type is int and not isinstance(value, int):
                raise ValueError(f"MelConfig.{field.name}={value!r}: expected a whole number")
            if field.name in AT_MOST and value > AT_MOST[field.name]:
                raise ValueError(f"MelConfig.{field.name}={reprlib.repr(value)}: expected at most "
                                 f"{AT_MOST[field.name]}")
        if self.f_min >= self.f_max:
            raise ValueError(f"MelConfig.f_min={self.f_min}: expected less than f_max={self.f_max}, in Hz")
        if self.f_max > self.sample_rate / 2:
            raise ValueError(f"MelConfig.f_max={self.f_max}: at most half the sample rate, {self.sample_rate / 2} Hz")
        if max(self.excerpt_frames, self.sample_rate / self.hop_length) * self.n_mels > PIXELS:
            raise ValueError(f"MelConfig: an excerpt of {self.excerpt_frames} frames or a second of "
                             f"{self.sample_rate / self.hop_length:.0f}, by {self.n_mels} mel bands: expected at most "
                             f"{PIXELS} pixels; lower n_mels or excerpt_frames, or raise hop_length")
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
        return _count_frames(self.min_samples, self.n_fft, self.hop_length)

    @property
    def excerpt_seconds(self):
        """Length of an excerpt in seconds."""
        return self.excerpt_frames * self.hop_length / self.sample_rate

    @property
    def hop_seconds(self):
        """Seconds from one window over a clip to the next, at most."""
        return hop_of(self.excerpt_frames) * self.hop_length / self.sample_rate

    @property
    def key(self):
        """Twelve hex digits that differ whenever a setting differs."""
        return fingerprint(dataclasses.asdict(self))


def hop_of(window):
    """Frames from one window over a clip to the next, at most: 48, or a window's length where that is less."""
    return min(HOP, window)


def _count_frames(samples, window, hop):
    """Of a signal that is padded by half a window at both ends; one less of an odd window that would end beyond."""
    return 1 + (samples - window % 2) // hop


def fingerprint(settings):
    """Twelve hex digits that differ whenever settings do; of whatever can be written as JSON."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]


def load_clip(path, config=MelConfig(), content=None, remarks=None, span=None):
    """Read a clip as the network is to hear it: mono, trimmed of silence, padded to the least length.

    Parameters
    ----------
    path : path
        Any audio file that libsndfile reads, whatever its name ends in; mixed down to mono and resampled where
        needed, as `librosa.load` does. Of a truncated file, what is there.
    config : MelConfig
    content : bytes, optional
        What is in the file, if it has been read already.
    remarks : dict, optional
        Filled by `audio.read_blocks`.
    span : (float, float), optional
        Start and end in seconds of a stretch, which is read alone; the recording may be of any length then.

    Returns
    -------
    numpy.ndarray, float32 (samples,)
        At least `config.min_samples` long, in [-1, 1] for PCM files.

    Raises
    ------
    OSError
        If the file cannot be used (`audio.read_audio` says when). The message names it.
    """
    if span is not None:
        return fit_signal(read_stretch(path, config, *span), config)
    return fit_signal(np.concatenate(list(resampled(path, config, content, remarks=remarks))), config)


def read_stretch(path, config, start, end):
    """From `start` to `end` (seconds) of a sound of any length, untrimmed, at the images' rate."""
    first, last = round(start * config.sample_rate), round(end * config.sample_rate)
    parts, place = [], 0
    with contextlib.closing(resampled(path, config, a_clip=False)) as blocks:
        for block in blocks:
            parts.append(block[max(0, first - place):max(0, last - place)])
            place += len(block)
            if place >= last:
                break
    return np.concatenate(parts)


def resampled(path, config=MelConfig(), content=None, a_clip=True, remarks=None):
    """What `audio.read_blocks` gives, as mono at the images' sample rate.

    Yields
    ------
    numpy.ndarray, float32 (samples,)
        Together what `librosa.load` gives, to the bit: soxr's stream gives what it gives in one piece.

    Raises
    ------
    OSError
        When the block comes that is wrong.
    """
    taken = given = 0
    stream = None
    for audio in read_blocks(path, content, a_clip, remarks):
        if audio.rate == config.sample_rate:
            yield audio.signal
            continue
        stream = stream or soxr.ResampleStream(audio.rate, config.sample_rate, 1, dtype="float32", quality="HQ")
        ratio = config.sample_rate / audio.rate
        few = max(1, int(BLOCK / ratio))  # what becomes a block: of a sound of a few hertz each sample is thousands
        for first in range(0, max(1, len(audio.signal)), few):
            block = stream.resample_chunk(audio.signal[first:first + few])
            given += len(block)
            yield block
        taken += len(audio.signal)
    if stream and taken:
        rest, length = stream.resample_chunk(np.zeros(0, np.float32), last=True), math.ceil(taken * ratio)
        rest = rest[:length - given]
        yield np.pad(rest, (0, length - given - len(rest)))  # librosa's length


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
    return fit_with_begin(signal, config)[0]


def fit_with_begin(signal, config=MelConfig()):
    """`fit_signal`, and where in the signal its result begins: trimmed samples, less the zeros in front."""
    signal = np.asarray(signal, np.float32)
    start, end = sounding(signal, config)
    padding = max(0, config.min_samples - (end - start))
    fitted = signal[start:end]
    return (np.pad(fitted, (padding // 2, padding - padding // 2)) if padding else fitted), start - padding // 2


def sounding(signal, config=MelConfig()):
    """Where a signal is not silent, by the rule of `librosa.effects.trim`.

    Silence is where the energy of 2,048 samples around is `config.trim_db` or more below the greatest; the signal's
    ends are padded for it as `config.padding` says.

    Parameters
    ----------
    signal : array, float32 (samples,)
    config : MelConfig

    Returns
    -------
    start, end : int
        In samples, multiples of 512 but for the signal's end. The whole of a signal that is silent throughout.
    """
    if not len(signal):
        return 0, 0
    energy = np.concatenate([librosa.feature.rms(y=piece, frame_length=2048, hop_length=512, center=False)[0]
                             for piece in _pieces(signal, 2048, 512, config)]) ** 2
    loud = np.flatnonzero(librosa.power_to_db(energy, ref=np.max, top_db=None) > -config.trim_db)
    if not len(loud):
        raise ValueError("a signal with samples that are not finite numbers: expected such in [-1, 1]")
    return int(loud[0]) * 512, min(len(signal), (int(loud[-1]) + 1) * 512)


def _pieces(signal, window, hop, config):
    """What at most `FRAMES_AT_A_TIME` frames see of a signal whose ends are padded; cut so, they are the whole's."""
    signal = np.asarray(signal)
    if signal.ndim != 1 or not len(signal):
        raise ValueError(f"a signal of shape {signal.shape}: expected mono, (samples,), and one sample at least; "
                         "librosa.to_mono mixes (channels, samples)")
    half, frames = window // 2, _count_frames(len(signal), window, hop)
    mode, most = config.padding, min(FRAMES_AT_A_TIME, max(1, FRAMES_AT_A_TIME * MelConfig.n_fft // window))
    if frames <= most:
        yield np.pad(signal, half, mode)
        return
    before = np.pad(signal[:2 * half], (half, 0), mode)[:half]
    after = np.pad(signal[-2 * half:], (0, half), mode)[-half:]
    for first in range(0, frames, most):
        begin = first * hop - half  # in samples
        end = begin + (min(most, frames - first) - 1) * hop + window
        parts = [signal[max(begin, 0):end]]
        if begin < 0:
            parts.insert(0, before[begin:])
        if end > len(signal):
            parts.append(after[max(begin - len(signal), 0):end - len(signal)])
        yield np.concatenate(parts)


@functools.lru_cache(maxsize=8)
def _mel_filters(config, dtype):
    return librosa.filters.mel(sr=config.sample_rate, n_fft=config.n_fft, n_mels=config.n_mels,
                               fmin=config.f_min, fmax=config.f_max, dtype=dtype)


@functools.lru_cache(maxsize=8)
def _sparse_mel_filters(config):
    return scipy.sparse.csr_matrix(_mel_filters(config, np.float64))  # each has few of all frequencies


def log_mel(signal, config=MelConfig()):
    """Mel power spectrogram in dB: `melspectrogram` and `power_to_db` of the librosa that `config.padding` stands for.

    Parameters
    ----------
    signal : array, float32 (samples,)
    config : MelConfig

    Returns
    -------
    numpy.ndarray, float32 (n_mels, frames)
        dB relative to 1, at most 80 dB below the loudest; band 0 is row 0.
    """
    decibels = []
    for piece in _pieces(signal, config.n_fft, config.hop_length, config):
        power = np.abs(librosa.stft(piece, n_fft=config.n_fft, hop_length=config.hop_length,
                                    center=False)) ** 2.0  # float32 (frequencies, frames)
        if config.padding == "reflect":
            mel = _sparse_mel_filters(config) @ np.ascontiguousarray(power, np.float64)
        else:
            mel = np.einsum("...ft,mf->...mt", power, _mel_filters(config, np.float32), optimize=True)
        decibels.append(librosa.power_to_db(mel, top_db=None))
    floor = max(block.max() for block in decibels) - 80  # as `power_to_db` of the whole; rounding keeps order
    return np.concatenate([np.maximum(block, floor).astype(np.float32, copy=False) for block in decibels], 1)


def to_image(log_mel):
    """Standardize a clip's spectrogram and stretch it to the range of a byte.

    Parameters
    ----------
    log_mel : array, float32 (n_mels, frames)

    Returns
    -------
    numpy.ndarray, uint8 (n_mels, frames)
        The clip's minimum is 0 and its maximum 255, truncated (by rounding it may be 254); all zeros if the range is
        at most 1e-6 after standardizing.
    """
    standard = log_mel - log_mel.mean()
    standard /= standard.std() + 1e-6
    low, high = standard.min(), standard.max()
    if high - low <= 1e-6:
        return np.zeros(standard.shape, np.uint8)
    standard -= low
    standard *= 255
    standard /= high - low
    return standard.astype(np.uint8)
