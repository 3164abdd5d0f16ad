"""The sounds of the demo data, synthesized so that one hears and sees what they are.

`SOUNDS` has a function for each label, of a numpy.random.Generator and a length in seconds. Every function here that
makes sound returns float64 (samples,) at `RATE`.
"""

import numpy as np
import scipy.fft
import scipy.signal

RATE = 44_100  # Hz


# What sounds are made of.
def _time(seconds):
    return np.arange(round(seconds * RATE)) / RATE


def coloured(rng, n, slope):
    """Noise whose power falls with frequency to the power of `slope`: 0 white, 1 pink, 2 brown."""
    size = scipy.fft.next_fast_len(n, real=True)
    spectrum = rng.standard_normal(size // 2 + 1) + 1j * rng.standard_normal(size // 2 + 1)
    frequency = np.maximum(np.fft.rfftfreq(size, 1 / RATE), 20)
    return scipy.fft.irfft(spectrum * frequency ** (-slope / 2), size)[:n]


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


def applause(rng, seconds):
    n = round(seconds * RATE)
    hits = np.zeros(n)
    hits[rng.integers(0, n, max(40, int(rng.uniform(150, 500) * seconds)))] = 1
    grain = np.exp(-_time(0.05) / 0.008) * _noise_band(rng, int(0.05 * RATE), 800, 5_000)
    return scipy.signal.fftconvolve(hits * rng.uniform(0.2, 1, n), grain)[:n]


def waves(rng, seconds):
    n = round(seconds * RATE)
    swell = 0.08 + np.abs(np.sin(np.pi * (_time(seconds) / rng.uniform(2.5, 6) + rng.random()))) ** 3
    return swell * (coloured(rng, n, 1.0) / 20 + 0.002 * rng.standard_normal(n))[:n]


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


def race_car(rng, seconds):
    pitch = _glide(rng, seconds, (90, 320, 0.8))
    return _voice(pitch, [0.6, 1, 0.5, 0.9, 0.4, 0.6, 0.3, 0.4, 0.2, 0.2, 0.1, 0.1]) \
        + 0.3 * _noise_band(rng, len(pitch), 300, 3_000)


# Of each label the function that draws a sound of it, of a generator and a length in seconds.
SOUNDS = {
    "Acoustic_guitar": acoustic_guitar,
    "Applause": applause,
    "Bass_drum": bass_drum,
    "Chirp_and_tweet": chirping,
    "Church_bell": church_bell,
    "Cricket": cricket,
    "Glockenspiel": glockenspiel,
    "Hi-hat": hi_hat,
    "Meow": meow,
    "Race_car_and_auto_racing": race_car,
    "Tick-tock": ticking,
    "Waves_and_surf": waves,
}
