"""Audio: from files, bytes or arrays to mono waveforms at one sample rate, padded in the batch."""

import hashlib
import io
import json
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tlx.data.augmentation import Fields, Kind, Number, Pair, read_options
from tlx.data.sound_ends import missing_end
from tlx.errors import UserError

# Of the energy that independent channels leave when they are mixed: two equally loud ones then correlate below -0.9.
CANCELLED = 0.1
RATES = 1, 1_000_000  # Hz: recorders of bats reach some hundred thousand, and a filter's length grows with the rate
KERNEL = 2**20  # coefficients of torchaudio's resampling kernel, 8 bytes each and several times over while it is made
MARGIN = 0.1  # seconds read beyond the cut, so that resampling sees what follows it
VERSION = 2  # to be raised when the same settings give other samples


class AudioPreprocessing:
    """Decoding, mixing down to mono, resampling to `sample_rate` (Hz), cutting at `max_seconds`, batching.

    An example is a waveform (samples,) float32, full scale ±1. Without a `feature_extractor`, `normalize` scales each
    clip to mean 0 and variance 1, as transformers' Wav2Vec2FeatureExtractor does. A transformers `feature_extractor`
    (WhisperFeatureExtractor) does its own scaling and padding; `normalize` is then not looked at.

    Raises:
        UserError: impossible rate or length, or one that does not fit the feature extractor.
    """

    AUGMENTATIONS: ClassVar[dict[str, Kind]] = {
        "gain_db": Number(0.0, 60.0),
        "noise_snr_db": Pair(-20.0, 100.0),
        "time_shift": Number(0.0, 1.0),
        "time_masks": Fields({"count": Number(0, 100, whole=True), "seconds": Number(0.0, 60.0)}),
        "freq_masks": Fields({"count": Number(0, 100, whole=True), "width_hz": Number(0.0, 24_000.0)}),
    }

    def __init__(
        self, sample_rate: int, max_seconds: float, normalize: bool = True, feature_extractor: Any = None
    ) -> None:
        if sample_rate < 1 or int(max_seconds * sample_rate) < 1:
            raise UserError(f"sample_rate={sample_rate} Hz and max_seconds={max_seconds} leave no sample of a clip.")
        rate = getattr(feature_extractor, "sampling_rate", sample_rate)
        if rate != sample_rate:
            raise UserError(f"sample_rate={sample_rate} Hz, but the feature extractor expects {rate} Hz.")
        limit = getattr(feature_extractor, "chunk_length", max_seconds)
        if max_seconds > limit:
            raise UserError(f"max_seconds={max_seconds}, but the feature extractor keeps {limit} seconds at most.")
        self.sample_rate, self.max_seconds = int(sample_rate), float(max_seconds)
        self.normalize, self.feature_extractor = bool(normalize), feature_extractor

    def key(self) -> str:
        """Hash of rate, cut, normalisation and the feature extractor's configuration."""
        extractor = self.feature_extractor and json.loads(self.feature_extractor.to_json_string())
        parts = ["audio", self.sample_rate, self.max_seconds, self.normalize, extractor, VERSION]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def encode(self, raw: Any) -> Tensor:
        """One clip as (samples,) float32 at `sample_rate`: the mean of its channels (see `_mixed`), from the beginning.

        `raw`: a path, the bytes of a sound file, or (array, rate in Hz). An array is (samples,), (samples, channels) or
        (channels, samples), the longer axis being time; integers are scaled from their full range to ±1.

        Raises:
            UserError: no such file, not decodable, of an impossible sample rate, ending early (as far as its
                format tells: see `tlx.data.sound_ends`), without samples, or with values that are not finite.
        """
        return self.encode_and_tell(raw)[0]

    def encode_and_tell(self, raw: Any) -> tuple[Tensor, bool]:
        """`encode`, and whether the clip was longer than `max_seconds`."""
        name = f"the audio file {raw}" if isinstance(raw, (str, Path)) else "the audio"
        if isinstance(raw, (tuple, list)) and len(raw) == 2:
            samples, rate = _array(np.asarray(raw[0])), int(raw[1])
            _check_rate(rate, name)
            samples = samples[: int((self.max_seconds + MARGIN) * rate) + 1]
        else:
            samples, rate = _read(raw, name, self.max_seconds + MARGIN)
        clip = torch.from_numpy(_mixed(samples))
        if not len(clip):
            raise UserError(f"{name} has no samples.")
        if not torch.isfinite(clip).all():
            raise UserError(f"{name} holds values that are not finite (NaN or infinity).")
        clip, most = _resampled(clip, rate, self.sample_rate), int(self.max_seconds * self.sample_rate)
        return clip[:most].contiguous(), len(clip) > most

    @property
    def limit(self) -> str:
        """Where longer examples are cut, in words."""
        return f"{self.max_seconds:g} seconds (model.max_seconds)"

    def length(self, example: Tensor) -> int:
        """Number of samples."""
        return len(example)

    @classmethod
    def check_augmentation(cls, augmentation: Any) -> dict[str, Any]:
        """The options switched on (see `augment`). Raises UserError for unknown or impossible ones."""
        return read_options(augmentation, cls.AUGMENTATIONS)

    def augment(self, example: Tensor, augmentation: Any, rng: np.random.Generator) -> Tensor:
        """A random variant of the same length, drawn from `rng` alone, in this order.

        `time_shift`: up to this share of the clip earlier or later, silence moving in. `freq_masks`: `count` bands,
        each of random width up to `width_hz`, are removed. `noise_snr_db: [a, b]`: white noise at a signal-to-noise
        ratio drawn between a and b. `gain_db`: louder or softer by up to this; a clip that is normalised afterwards
        shows no difference. `time_masks`: `count` stretches of random length up to `seconds` become silent.
        """
        options = self.check_augmentation(augmentation)
        wave = example.numpy().copy()
        if "time_shift" in options:
            wave = _shift(wave, rng.uniform(-1, 1) * options["time_shift"])
        if "freq_masks" in options:
            masks = options["freq_masks"]
            spectrum, nyquist = np.fft.rfft(wave), self.sample_rate / 2
            for _ in range(masks["count"]):
                _silence(spectrum, min(1.0, masks["width_hz"] / nyquist), rng)
            wave = np.fft.irfft(spectrum, n=len(wave)).astype(np.float32)
        if "noise_snr_db" in options:
            ratio = 10 ** (rng.uniform(*options["noise_snr_db"]) / 20)
            loudness = np.sqrt(np.mean(np.square(wave, dtype=np.float64)))
            wave += (loudness / ratio * rng.standard_normal(len(wave))).astype(np.float32)
        if "gain_db" in options:
            wave *= np.float32(10 ** (rng.uniform(-1, 1) * options["gain_db"] / 20))
        if "time_masks" in options:
            masks = options["time_masks"]
            for _ in range(masks["count"]):
                _silence(wave, min(1.0, masks["seconds"] * self.sample_rate / len(wave)), rng)
        return torch.from_numpy(wave)

    def collate(self, examples: Sequence[Tensor]) -> dict[str, Tensor]:
        """`input_values` (B, T) float32, zeros after each clip, and `attention_mask` (B, T) int64, 1 = signal.

        With a feature extractor what it returns: for Whisper `input_features` (B, mels, 3000 frames of 10 ms) and
        `attention_mask` (B, frames).
        """
        if self.feature_extractor is not None:
            found = self.feature_extractor(
                [example.numpy() for example in examples],
                sampling_rate=self.sample_rate,
                return_tensors="pt",
                return_attention_mask=True,
                **({} if hasattr(self.feature_extractor, "chunk_length") else {"padding": True}),
            )
            return {name: t.long() if name == "attention_mask" else t for name, t in found.items()}
        shape = (len(examples), max(map(len, examples)))
        values, mask = torch.zeros(shape), torch.zeros(shape, dtype=torch.int64)
        for row, clip in enumerate(examples):
            if self.normalize:
                # 1e-7 as in Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm: silence stays silence.
                clip = (clip - clip.mean()) / torch.sqrt(clip.var(correction=0) + 1e-7)
            values[row, : len(clip)] = clip
            mask[row, : len(clip)] = 1
        return {"input_values": values, "attention_mask": mask}


def _read(raw: Any, name: str, seconds: float) -> tuple[np.ndarray, int]:
    """The first `seconds` of a sound file as (samples, channels) float32, and its rate in Hz."""
    import soundfile

    if not isinstance(raw, (str, Path, bytes, bytearray, memoryview)):
        missing = raw is None or (isinstance(raw, float) and np.isnan(raw))
        what = "it is missing" if missing else f"{type(raw).__name__} is no path, bytes or (array, rate)"
        raise UserError(f"the audio cannot be read: {what}.")
    if isinstance(raw, (str, Path)) and not Path(raw).is_file():
        raise UserError(f"{name} does not exist.")
    try:
        with soundfile.SoundFile(raw if isinstance(raw, (str, Path)) else io.BytesIO(raw)) as file:
            _check_rate(file.samplerate, name)
            wanted = int(seconds * file.samplerate) + 1
            samples = file.read(wanted, dtype="float32", always_2d=True)
            rate, missing = file.samplerate, missing_end(raw, file, len(samples), wanted)
    except (RuntimeError, TypeError, ValueError, OSError) as error:
        raise UserError(f"{name} cannot be decoded: {error}") from error
    if missing:
        raise UserError(
            f"{name} ends early: {missing} ({len(samples) / rate:.2f} seconds). Copy it again from where it came from, "
            "or leave it out."
        )
    return samples, rate


def _check_rate(rate: int, name: str) -> None:
    lowest, highest = RATES
    if not lowest <= rate <= highest:
        raise UserError(
            f"{name} has a sample rate of {rate} Hz: a damaged header? From {lowest} to {highest:,} Hz are read. Copy "
            "it again from where it came from, or leave it out."
        )


def _mixed(samples: np.ndarray) -> np.ndarray:
    """(samples, channels) as (samples,): the mean of the channels.

    Where they cancel each other (a balanced line recorded as stereo has its signal once more, upside down, and some
    noise), it is the loudest of them.
    """
    mean = samples.mean(axis=1, dtype=np.float32)
    channels = samples.shape[1]
    if channels == 1 or not len(samples):
        return mean
    energies = np.square(samples, dtype=np.float64).sum(0)
    if np.square(mean, dtype=np.float64).sum() < CANCELLED * energies.sum() / channels**2:
        return np.ascontiguousarray(samples[:, int(energies.argmax())])
    return mean


def _resampled(clip: Tensor, rate: int, wanted: int) -> Tensor:
    """A clip (samples,) at `wanted` Hz: ceil(samples · wanted / rate) samples.

    By torchaudio's windowed sinc, whose kernel grows with the product of both rates over their greatest common divisor;
    where that takes gigabytes (11127 Hz to 16000 Hz), by scipy's polyphase filter.
    """
    if rate == wanted:
        return clip
    divisor = math.gcd(rate, wanted)
    up, down = wanted // divisor, rate // divisor
    if up * (down + 14 * max(1, down // up)) <= KERNEL:  # six zero crossings on either side
        from torchaudio.functional import resample

        return resample(clip, rate, wanted)
    from scipy.signal import resample_poly

    filtered = resample_poly(clip.numpy().astype(np.float64), up, down, window=_low_pass(max(up, down)))
    return torch.from_numpy(filtered.astype(np.float32))


@lru_cache(maxsize=4)
def _low_pass(factor: int) -> np.ndarray:
    """The filter that `scipy.signal.resample_poly` makes for each of its calls."""
    from scipy.signal import firwin

    return firwin(20 * factor + 1, 1 / factor, window=("kaiser", 5.0))


def _array(array: np.ndarray) -> np.ndarray:
    """An array as (samples, channels) float32."""
    if array.ndim not in (1, 2) or array.dtype.kind not in "uif":
        raise UserError(f"an array of shape {array.shape} and type {array.dtype} is no audio: (samples,) is needed.")
    if array.dtype.kind in "iu":
        half = float(2 ** (8 * array.dtype.itemsize - 1))
        array = (array - (half if array.dtype.kind == "u" else 0.0)) / half
    if array.ndim == 1:
        array = array[:, None]
    elif array.shape[0] < array.shape[1]:
        array = array.T
    return array.astype(np.float32)


def _shift(wave: np.ndarray, share: float) -> np.ndarray:
    """`wave` moved later by `share` of its length (earlier if negative), zeros where nothing is left."""
    by = round(share * len(wave))
    moved = np.zeros_like(wave)
    if by >= 0:
        moved[by:] = wave[: len(wave) - by]
    else:
        moved[:by] = wave[-by:]
    return moved


def _silence(values: np.ndarray, widest: float, rng: np.random.Generator) -> None:
    """Set a random stretch of `values`, up to the share `widest` of them long, to zero; in place."""
    width = round(rng.uniform(0, widest) * len(values))
    start = rng.integers(0, len(values) - width + 1)
    values[start : start + width] = 0
