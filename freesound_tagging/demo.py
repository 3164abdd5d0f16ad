"""A small data set in the competition's layout, synthesized: to try everything on before fetching 25 GB.

Each label's sound is made so that a person hears what it is; pitch, tempo, timbre, length, level and background vary
from clip to clip. As in the competition, the noisy set's labels are wrong for a part of its clips and its recordings
come from another world: a narrower band, more background.
"""

import argparse
import hashlib
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.signal
import soundfile as sf
from tqdm import tqdm

RATE = 44_100
WRONG_LABELS = 0.4  # of the noisy clips
TWO_LABELS = 0.2  # of all clips


def write_demo(root, curated=6, noisy=16, test=6, seed=0, progress=True):
    """Write the demo data set.

    Parameters
    ----------
    root : path
        Folder to write to, in Kaggle's layout; the test clips' labels are in
        ``FSDKaggle2019.meta/test_post_competition.csv`` as on Zenodo, and the noisy clips' true labels, for
        measurement only, in ``truth/train_noisy.csv``. Must be empty or not exist; it appears whole or not at all.
    curated, noisy, test : int
        Clips of each label in each set.
    seed : int
        The same seed gives the same bytes.
    progress : bool
        Show a progress bar a set.

    Returns
    -------
    pathlib.Path
        `root`.

    Raises
    ------
    FileExistsError
        If `root` holds anything.
    """
    root = Path(root)
    if root.exists() and any(root.iterdir()):
        raise FileExistsError(f"{root} is not empty; delete it or give another folder")
    part = root.with_name(f".{root.name}.part")  # becomes the data set once it is whole
    shutil.rmtree(part, ignore_errors=True)
    labels = sorted(SOUNDS)
    # Each set has random numbers of its own, so that the size of one does not change the clips of another.
    rng, *rngs = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)]
    sets = {name: _write_set(part / folder, name, count, set_rng, name == "noisy", progress)
            for set_rng, name, folder, count in zip(rngs, ("curated", "noisy", "test"),
                                                    ("train_curated", "train_noisy", "test"), (curated, noisy, test))}
    given = sets["noisy"].copy()
    wrong = rng.permutation(len(given)) < round(WRONG_LABELS * len(given))
    given["labels"] = [rng.choice([label for label in labels if label not in true.split(",")]) if swap else true
                       for true, swap in zip(given["labels"], wrong)]
    usage = np.where(np.arange(len(sets["test"])) % 4 == 0, "Public", "Private")
    sample = pd.DataFrame(0, index=sets["test"].index, columns=labels)
    sample.insert(0, "fname", sets["test"]["fname"])
    for name, table in {
        "train_curated.csv": sets["curated"],
        "train_noisy.csv": given,
        "truth/train_noisy.csv": sets["noisy"],
        "sample_submission.csv": sample,
        "FSDKaggle2019.meta/test_post_competition.csv": sets["test"].assign(usage=usage),
    }.items():
        (part / name).parent.mkdir(exist_ok=True)
        table.to_csv(part / name, index=False)
    part.replace(root)
    return root


def _write_set(folder, name, count, rng, degraded, progress):
    folder.mkdir(parents=True, exist_ok=True)
    labels = sorted(SOUNDS)
    rows = []
    for label in tqdm(labels, f"{name} clips", unit="label", file=sys.stdout, disable=not progress):
        for take in range(count):
            true = [label]
            sound = SOUNDS[label](rng, _seconds(rng))
            if rng.random() < TWO_LABELS:
                true.append(rng.choice([other for other in labels if other != label]))
                sound = _over(rng, sound, SOUNDS[true[1]](rng, len(sound) / RATE))
            signal = _recorded(rng, sound, degraded)
            fname = hashlib.sha256(f"{name}/{label}/{take}".encode()).hexdigest()[:8] + ".wav"
            sf.write(folder / fname, signal, RATE, subtype="PCM_16")
            rows.append((fname, ",".join(true)))
    return pd.DataFrame(sorted(rows), columns=["fname", "labels"])


def _seconds(rng):
    """Length of a clip: 0.3 to 15 s, most of them short."""
    return float(np.clip(rng.lognormal(0.9, 0.8), 0.3, 15))


def _over(rng, first, second):
    """Two sounds of one clip, neither more than 6 dB above the other."""
    second = second * 10 ** (rng.uniform(-6, 6) / 20)
    return first / (first.std() + 1e-9) + second[:len(first)] / (second.std() + 1e-9)


def _recorded(rng, sound, degraded):
    """Put a sound into a room, at some level, over some background; `degraded` as by a cheap camera."""
    echo = rng.standard_normal(int(RATE * rng.uniform(0.05, 0.4)))
    echo *= np.exp(-np.linspace(0, 7, len(echo)))
    sound = sound + rng.uniform(0, 0.4) * scipy.signal.fftconvolve(sound, echo / np.linalg.norm(echo))[:len(sound)]
    sound /= np.abs(sound).max() + 1e-9
    background = _coloured(rng, len(sound), rng.uniform(0.5, 2.0))
    distance = rng.uniform(6, 22) if degraded else rng.uniform(12, 40)  # dB, of their RMS
    sound += background * sound.std() / (background.std() + 1e-9) * 10 ** (-distance / 20)
    if degraded:
        band = scipy.signal.butter(3, [rng.uniform(60, 200), rng.uniform(5_000, 9_000)], "bandpass", fs=RATE,
                                   output="sos")
        sound = np.tanh(2 * scipy.signal.sosfilt(band, sound))
    return (10 ** (rng.uniform(-24, -1) / 20) * sound / (np.abs(sound).max() + 1e-9)).astype(np.float32)


# What sounds are made of. All functions return float64 (samples,).

def _time(seconds):
    return np.arange(round(seconds * RATE)) / RATE


def _coloured(rng, n, slope):
    """Noise whose power falls with frequency to the power of `slope`: 0 white, 1 pink, 2 brown."""
    spectrum = rng.standard_normal(n // 2 + 1) + 1j * rng.standard_normal(n // 2 + 1)
    frequency = np.maximum(np.fft.rfftfreq(n, 1 / RATE), 20)
    return np.fft.irfft(spectrum * frequency ** (-slope / 2), n)


def _noise_band(rng, n, low, high):
    sos = scipy.signal.butter(2, [low, high], "bandpass", fs=RATE, output="sos")
    return scipy.signal.sosfilt(sos, rng.standard_normal(n))


def _struck(seconds, frequencies, amplitudes, decays):
    """Partials that are struck at once and die away, each with its own time constant in seconds."""
    strike = np.zeros(round(seconds * RATE))
    strike[0] = 1
    out = np.zeros_like(strike)
    for f, amplitude, decay in zip(frequencies, amplitudes, decays):
        if f < RATE / 2:  # a resonator, which rings with amplitude * exp(-t / decay) * sin(2 pi f t)
            r, w = np.exp(-1 / (decay * RATE)), 2 * np.pi * f / RATE
            out += scipy.signal.lfilter([0, amplitude * r * np.sin(w)], [1, -2 * r * np.cos(w), r * r], strike)
    return out


def _voice(pitch, amplitudes):
    """Harmonics over a pitch that moves: `pitch` in Hz for every sample."""
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    return sum(a * np.sin(k * phase) * (k * pitch < RATE / 2) for k, a in enumerate(amplitudes, 1))


def _events(rng, seconds, rate, event, jitter=0.3):
    """Repeat a sound through the clip, `rate` times a second and at least once; `event()` makes each."""
    out = np.zeros(round(seconds * RATE))
    at = rng.uniform(0, min(0.3 / rate, 0.3 * seconds))
    while True:
        sound = event()
        start = int(at * RATE)
        if start >= len(out):
            return out
        piece = sound[:len(out) - start]
        out[start:start + len(piece)] += piece * rng.uniform(0.5, 1)
        at += max(0.02, (1 + jitter * rng.uniform(-1, 1)) / rate)


def _glide(rng, seconds, points):
    """A curve through random heights, `points` = (low, high, knots a second)."""
    low, high, rate = points
    knots = max(2, int(seconds * rate) + 1)
    return np.interp(_time(seconds), np.linspace(0, seconds, knots), rng.uniform(low, high, knots))


# The sounds: each a function of (rng, seconds).

def _pluck(rng, frequency, brightness, seconds):
    """A plucked string (Karplus and Strong 1983): a burst of noise that runs round a loop and loses its edge."""
    period = round(RATE / frequency)
    burst = np.zeros(round(seconds * RATE))
    burst[:period] = scipy.signal.lfilter([brightness], [1, brightness - 1], rng.uniform(-1, 1, period))
    loop = np.zeros(period + 2)
    loop[0], loop[period], loop[period + 1] = 1, -0.498, -0.498
    return scipy.signal.lfilter([1], loop, burst)


def acoustic_guitar(rng, seconds):
    scale = 110 * 2 ** (rng.choice([0, 3, 5, 7, 10, 12, 15, 17], 16) / 12) * rng.uniform(0.75, 1.5)
    brightness = rng.uniform(0.2, 0.9)
    return _events(rng, seconds, rng.uniform(1.5, 4), lambda: _pluck(rng, rng.choice(scale), brightness, 1.2))


def marimba(rng, seconds):
    scale = 262 * 2 ** (rng.choice([0, 2, 4, 7, 9, 12], 16) / 12) * rng.uniform(0.7, 1.6)

    def bar():
        f = rng.choice(scale)
        return _struck(0.6, f * np.array([1, 3.9, 9.2]), [1, 0.3, 0.1], [0.18, 0.06, 0.03])
    return _events(rng, seconds, rng.uniform(3, 8), bar)


def glockenspiel(rng, seconds):
    scale = 1200 * 2 ** (rng.choice([0, 2, 4, 7, 9, 12], 16) / 12) * rng.uniform(0.8, 1.4)

    def bar():
        f = rng.choice(scale)
        return _struck(1.8, f * np.array([1, 2.76, 5.4, 8.9]), [1, 0.5, 0.25, 0.1], [0.9, 0.4, 0.2, 0.1])
    return _events(rng, seconds, rng.uniform(1.5, 4), bar)


def church_bell(rng, seconds):
    f = rng.uniform(180, 420)
    ratios = np.array([0.5, 1, 1.19, 1.5, 2, 2.51, 2.66, 3.01, 4.1, 5.4]) * rng.uniform(0.995, 1.005, 10)
    return _events(rng, seconds, rng.uniform(0.4, 0.9), lambda: _struck(
        min(seconds, 5), f * ratios, [0.6, 1, 0.8, 0.5, 0.9, 0.4, 0.4, 0.4, 0.25, 0.15],
        [3, 2.2, 1.8, 1.5, 1.2, 0.9, 0.8, 0.7, 0.5, 0.3]))


def gong(rng, seconds):
    f = np.sort(rng.uniform(60, 1500, 40))
    swell = 1 - np.exp(-_time(seconds) / rng.uniform(0.05, 0.3))
    return swell * _struck(seconds, f, rng.uniform(0.2, 1, 40) / np.sqrt(f / 60), rng.uniform(1, 4, 40))


def bass_drum(rng, seconds):
    low, high = rng.uniform(40, 65), rng.uniform(110, 190)

    def hit():
        t = _time(0.5)
        pitch = low + (high - low) * np.exp(-t / 0.04)
        return np.exp(-t / 0.14) * _voice(pitch, [1, 0.1]) + 0.1 * np.exp(-t / 0.004) * rng.standard_normal(len(t))
    return _events(rng, seconds, rng.uniform(1.2, 3), hit, jitter=0.05)


def hi_hat(rng, seconds):
    decay = rng.choice([0.03, 0.06, 0.25])

    def hit():
        return np.exp(-_time(0.5) / decay) * _noise_band(rng, RATE // 2, 6_000, 15_000)
    return _events(rng, seconds, rng.uniform(3, 9), hit, jitter=0.05)


def clapping(rng, seconds):
    centre = rng.uniform(900, 2000)

    def clap():
        return np.exp(-_time(0.12) / rng.uniform(0.01, 0.025)) * _noise_band(
            rng, int(0.12 * RATE), 0.6 * centre, 2.2 * centre)
    return _events(rng, seconds, rng.uniform(2, 6), clap, jitter=0.4)


def applause(rng, seconds):
    n = round(seconds * RATE)
    hits = np.zeros(n)
    hits[rng.integers(0, n, max(40, int(rng.uniform(150, 500) * seconds)))] = 1
    grain = np.exp(-_time(0.05) / 0.008) * _noise_band(rng, int(0.05 * RATE), 800, 5_000)
    return scipy.signal.fftconvolve(hits * rng.uniform(0.2, 1, n), grain)[:n]


def waves(rng, seconds):
    n = round(seconds * RATE)
    swell = 0.08 + np.abs(np.sin(np.pi * (_time(seconds) / rng.uniform(2.5, 6) + rng.random()))) ** 3
    return swell * (_coloured(rng, n, 1.0) / 20 + 0.002 * rng.standard_normal(n))[:n]


def ticking(rng, seconds):
    rate, f = rng.uniform(2, 5), rng.uniform(1800, 4500)
    turn = iter(np.tile([1.0, rng.uniform(0.7, 0.9)], 200))

    def tick():
        return _struck(0.04, f * next(turn) * np.array([1, 1.7, 2.9]), [1, 0.6, 0.4], [0.006, 0.004, 0.003])
    return _events(rng, seconds, rate, tick, jitter=0.0)


def chirping(rng, seconds):
    base = rng.uniform(2500, 5500)

    def chirp():
        length = rng.uniform(0.05, 0.15)
        t = _time(length)
        pitch = base * (1 + rng.uniform(0.1, 0.4) * np.sin(np.pi * t / length) + rng.uniform(-0.2, 0.2) * t / length)
        return np.sin(np.pi * t / length) * _voice(pitch, [1, 0.15])
    return _events(rng, seconds, rng.uniform(3, 8), chirp, jitter=0.6)


def cricket(rng, seconds):
    f, pulses = rng.uniform(3800, 5200), rng.uniform(25, 45)
    t = _time(seconds)
    song = (np.sin(2 * np.pi * rng.uniform(0.8, 2.5) * t + rng.uniform(0, 6)) > -0.3).astype(float)
    song = scipy.signal.fftconvolve(song, np.ones(400) / 400, "same")
    return song * np.clip(np.sin(2 * np.pi * pulses * t), 0, 1) * np.sin(2 * np.pi * f * t)


def buzz(rng, seconds):
    pitch = rng.uniform(90, 220) * (1 + 0.04 * _glide(rng, seconds, (-1, 1, 6)))
    return _voice(pitch, 0.9 ** np.arange(40))


def meow(rng, seconds):
    high = rng.uniform(500, 850)

    def cry():
        length = rng.uniform(0.5, 1.0)
        t = _time(length)
        pitch = high * (0.65 + 0.35 * np.sin(np.pi * (t / length) ** 0.7))
        mouth = np.sin(np.pi * t / length)  # the formants open and close
        tone = _voice(pitch, [0.5, 1, 0.7, 0.4, 0.25, 0.15, 0.1, 0.06])
        return mouth * (tone + 0.3 * mouth ** 3 * _voice(pitch, [0, 0, 0.5, 0.8, 0.8, 0.5]))
    return _events(rng, seconds, rng.uniform(0.5, 1.1), cry)


def purr(rng, seconds):
    t = _time(seconds)
    pulse = np.clip(np.sin(2 * np.pi * rng.uniform(22, 30) * t), 0, 1) ** 2
    breath = 0.5 + 0.5 * np.abs(np.sin(np.pi * t / rng.uniform(0.8, 1.5)))
    return pulse * breath * _noise_band(rng, len(t), 60, 600)


def race_car(rng, seconds):
    pitch = _glide(rng, seconds, (90, 320, 0.8))
    return _voice(pitch, [0.6, 1, 0.5, 0.9, 0.4, 0.6, 0.3, 0.4, 0.2, 0.2, 0.1, 0.1]) \
        + 0.3 * _noise_band(rng, len(pitch), 300, 3_000)


def hiss(rng, seconds):
    air = _noise_band(rng, round(seconds * RATE), rng.uniform(2_000, 4_000), 16_000)
    return _glide(rng, seconds, (0.4, 1, 1)) * air


SOUNDS = {
    "Acoustic_guitar": acoustic_guitar,
    "Applause": applause,
    "Bass_drum": bass_drum,
    "Buzz": buzz,
    "Chirp_and_tweet": chirping,
    "Church_bell": church_bell,
    "Clapping": clapping,
    "Cricket": cricket,
    "Glockenspiel": glockenspiel,
    "Gong": gong,
    "Hi-hat": hi_hat,
    "Hiss": hiss,
    "Marimba_and_xylophone": marimba,
    "Meow": meow,
    "Purr": purr,
    "Race_car_and_auto_racing": race_car,
    "Tick-tock": ticking,
    "Waves_and_surf": waves,
}


def main(arguments=None):
    """``python -m freesound_tagging.demo FOLDER``."""
    parser = argparse.ArgumentParser(prog="python -m freesound_tagging.demo", description="Write the demo data set.")
    parser.add_argument("folder", type=Path)
    for name, default in (("curated", 6), ("noisy", 16), ("test", 6)):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{name} clips a label (default {default})")
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args(arguments))
    print(f"demo data in {write_demo(options.pop('folder'), **options)}")


if __name__ == "__main__":
    main()
