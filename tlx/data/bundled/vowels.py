"""Ten American English vowels, synthesised from published formant measurements: 8 kHz, 0.3 to 0.6 s.

Source-filter synthesis (Fant 1960): a train of glottal pulses at F0 drives three resonators in series at F1, F2, F3.

Frequencies: Peterson & Barney 1952, Control Methods Used in a Study of the Vowels, JASA 24, 175-184, Table II: means
over 33 men, 28 women and 15 children. Bandwidths: Klatt 1980, Software for a Cascade/Parallel Formant Synthesizer,
JASA 67, 971-995, Table I, typical values. Glottal pulse: Rosenberg 1971, Effect of Glottal Pulse Shape on the Quality
of Natural Vowels, JASA 49, 583-590, the trigonometric pulse.

No recording is used. Real speakers vary around the means, so every clip has a speaker of its own; neighbouring vowels
then overlap, as they did in the study.
"""

import io
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import lfilter, resample_poly

from tlx.data.bundled import write_split

RATE = 8000
"""Sampling rate of the clips, in Hz."""
OVERSAMPLING = 4
"""Synthesis runs at this multiple of RATE, so that pulses between two samples and formants near 4 kHz do not alias."""
PER_CLASS = {"train": 100, "validation": 12, "test": 16}
VOICES = ("man", "woman", "child")
FORMANTS: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    # F0, F1, F2, F3 in Hz for a man, a woman, a child
    "heed": ((136, 270, 2290, 3010), (235, 310, 2790, 3310), (272, 370, 3200, 3730)),
    "hid": ((135, 390, 1990, 2550), (232, 430, 2480, 3070), (269, 530, 2730, 3600)),
    "head": ((130, 530, 1840, 2480), (223, 610, 2330, 2990), (260, 690, 2610, 3570)),
    "had": ((127, 660, 1720, 2410), (210, 860, 2050, 2850), (251, 1010, 2320, 3320)),
    "hod": ((124, 730, 1090, 2440), (212, 850, 1220, 2810), (256, 1030, 1370, 3170)),
    "hawed": ((129, 570, 840, 2410), (216, 590, 920, 2710), (263, 680, 1060, 3180)),
    "hood": ((137, 440, 1020, 2240), (232, 470, 1160, 2680), (276, 560, 1410, 3310)),
    "whod": ((141, 300, 870, 2240), (231, 370, 950, 2670), (274, 430, 1170, 3260)),
    "hud": ((130, 640, 1190, 2390), (221, 760, 1400, 2780), (261, 850, 1590, 3360)),
    "heard": ((133, 490, 1350, 1690), (218, 500, 1640, 1960), (261, 560, 1820, 2160)),
}
BANDWIDTHS = (50.0, 70.0, 110.0)
"""Of F1, F2, F3 in Hz."""


def glottal_flow(f0: np.ndarray, rate: int, jitter: float, shimmer: float, rng: np.random.Generator) -> np.ndarray:
    """The flow through the glottis, as many samples as `f0` (Hz at each sample).

    Every period is one Rosenberg pulse: it opens for 40 % of the period, closes within 16 %, and stays closed.
    `jitter` and `shimmer` are the standard deviations of a period's length and height, relative.
    """
    phase = np.cumsum(f0) / rate
    periods = int(phase[-1]) + 2
    # A boundary of two periods moves by `jitter` of a period; boundaries stay in order for any sensible jitter.
    boundaries = np.arange(periods + 1) + rng.normal(0, jitter, periods + 1)
    boundaries[0] = 0.0
    heights = 1 + rng.normal(0, shimmer, periods)
    number = np.clip(np.searchsorted(boundaries, phase, side="right") - 1, 0, periods - 1)
    within = (phase - boundaries[number]) / (boundaries[number + 1] - boundaries[number])
    opening, closing = 0.40, 0.16
    rising = 0.5 * (1 - np.cos(np.pi * within / opening))
    falling = np.cos(0.5 * np.pi * (within - opening) / closing)
    pulse = np.where(within < opening, rising, np.where(within < opening + closing, falling, 0.0))
    return pulse * heights[number]


def resonate(signal: np.ndarray, frequency: float, bandwidth: float, rate: int) -> np.ndarray:
    """A two-pole resonator with unit gain at 0 Hz: y[n] = A x[n] + B y[n-1] + C y[n-2] (Klatt 1980, equation 1)."""
    c = -np.exp(-2 * np.pi * bandwidth / rate)
    b = 2 * np.exp(-np.pi * bandwidth / rate) * np.cos(2 * np.pi * frequency / rate)
    return lfilter([1 - b - c], [1, -b, -c], signal)


def synthesise(f0: float, formants: tuple[float, float, float], seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A clip of a steady vowel: (samples at RATE,) within -1..1. `f0` and `formants` in Hz are the clip's own."""
    rate = RATE * OVERSAMPLING
    samples = round(seconds * rate)
    # Voices drift: a straight slope over the clip and a slow wave.
    time = np.arange(samples) / rate
    slope = np.linspace(0.5, -0.5, samples) * rng.normal(0.06, 0.05)
    wave = rng.uniform(0, 0.015) * np.sin(2 * np.pi * (rng.uniform(3, 6) * time + rng.random()))
    pitch = f0 * (1 + slope + wave)
    flow = glottal_flow(pitch, rate, jitter=rng.uniform(0.003, 0.012), shimmer=rng.uniform(0.01, 0.05), rng=rng)
    # Breath adds noise while the glottis is open; the lips radiate the derivative of the flow.
    flow = flow * (1 + rng.uniform(0.005, 0.03) * rng.normal(size=samples))
    signal = np.diff(flow, prepend=0.0)
    for frequency, bandwidth in zip(formants, BANDWIDTHS, strict=True):
        signal = resonate(signal, frequency, bandwidth * rng.uniform(0.8, 1.5), rate)
    clip = resample_poly(signal, 1, OVERSAMPLING)
    onset, offset = (round(rng.uniform(low, high) * RATE) for low, high in ((0.01, 0.04), (0.03, 0.10)))
    clip[:onset] *= 0.5 * (1 - np.cos(np.pi * np.arange(onset) / onset))
    clip[-offset:] *= 0.5 * (1 + np.cos(np.pi * np.arange(offset) / offset))
    clip = clip / np.abs(clip).max()
    # Room noise at 25 to 40 dB below the clip's mean power.
    noise = np.sqrt(np.mean(clip**2)) * 10 ** (-rng.uniform(25, 40) / 20)
    clip = clip + noise * rng.normal(size=len(clip))
    return clip * (rng.uniform(0.2, 0.9) / np.abs(clip).max())


def speak(word: str, voice: str, rng: np.random.Generator) -> np.ndarray:
    """The vowel of `word` by a new speaker of the kind `voice`: (samples at RATE,) within -1..1."""
    f0, *means = FORMANTS[word][VOICES.index(voice)]
    # One factor for the length of the vocal tract, and smaller ones for the habits of each speaker.
    tract = np.exp(rng.normal(0, 0.05))
    f1, f2, f3 = (mean * tract * np.exp(rng.normal(0, 0.03)) for mean in means)
    pitch = f0 * np.exp(rng.normal(0, 0.12))
    return synthesise(pitch, (f1, f2, f3), rng.uniform(0.3, 0.6), rng)


def flac(clip: np.ndarray) -> bytes:
    """A clip within -1..1 as the bytes of a mono 16-bit FLAC file."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, np.round(clip * 32767).astype(np.int16), RATE, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def make(folder: Path) -> None:
    """Write train, validation and test: `audio` (FLAC bytes), `sampling_rate` (Hz), `label` (the word), `voice`."""
    for stream, (split, count) in enumerate(PER_CLASS.items()):
        rng = np.random.default_rng([1952, stream])
        rows = []
        for word in FORMANTS:
            for i in range(count):
                voice = VOICES[i % len(VOICES)]
                rows.append((flac(speak(word, voice, rng)), RATE, word, voice))
        write_split(folder, split, pd.DataFrame(rows, columns=["audio", "sampling_rate", "label", "voice"]))
