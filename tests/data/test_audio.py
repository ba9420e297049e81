"""Audio preprocessing on small synthetic clips, written and read with soundfile."""

import io
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tlx.data.audio import AudioPreprocessing
from tlx.errors import UserError

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"


def tone(seconds: float = 0.5, rate: int = 16000, hertz: float = 440.0, size: float = 0.5) -> np.ndarray:
    return (size * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = 16000, kind: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


@pytest.fixture
def plain() -> AudioPreprocessing:
    return AudioPreprocessing(16000, 2.0)


def test_paths_bytes_and_arrays_agree(tmp_path: Path, plain: AudioPreprocessing) -> None:
    file = encoded(tone(), subtype="FLOAT")
    (tmp_path / "a.wav").write_bytes(file)
    for raw in (tmp_path / "a.wav", str(tmp_path / "a.wav"), file, (tone(), 16000), [tone().tolist(), 16000]):
        clip = plain.encode(raw)
        assert clip.dtype == torch.float32 and clip.shape == (8000,) and plain.length(clip) == 8000
        torch.testing.assert_close(clip, torch.from_numpy(tone()))
    for kind in ("FLAC", "OGG", "MP3"):
        assert abs(len(plain.encode(encoded(tone(), kind=kind))) - 8000) < 2500  # MP3 adds its padding


def test_channels_are_mixed_down_and_integers_scaled(plain: AudioPreprocessing) -> None:
    stereo = np.stack([tone(), np.zeros(8000, np.float32)], axis=1)
    half = torch.from_numpy(tone() / 2)
    for raw in (encoded(stereo, subtype="FLOAT"), (stereo, 16000), (stereo.T, 16000)):
        torch.testing.assert_close(plain.encode(raw), half)
    ints = np.array([-32768, 0, 16384], np.int16)
    assert plain.encode((ints, 16000)).tolist() == [-1.0, 0.0, 0.5]
    assert plain.encode((np.array([0, 128, 192], np.uint8), 16000)).tolist() == [-1.0, 0.0, 0.5]


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([8000, 11025, 22050, 44100, 48000]), st.floats(0.05, 1.0))
def test_resampling_keeps_duration_and_pitch(rate: int, seconds: float) -> None:
    clip = AudioPreprocessing(16000, 2.0).encode((tone(seconds, rate), rate))
    assert abs(len(clip) / 16000 - seconds) < 1e-3
    spectrum = np.abs(np.fft.rfft(clip.numpy() * np.hanning(len(clip))))
    assert abs(np.argmax(spectrum) * 16000 / len(clip) - 440) < 1.0 / seconds + 1


@pytest.mark.parametrize("rate", [16000, 44100])
def test_cutting_equals_cutting_after_resampling(rate: int) -> None:
    wave = tone(3.0, rate)
    cut = AudioPreprocessing(16000, 1.0).encode(encoded(wave, rate, subtype="FLOAT"))
    assert cut.shape == (16000,)
    torch.testing.assert_close(cut, AudioPreprocessing(16000, 5.0).encode((wave, rate))[:16000], atol=1e-5, rtol=0)
    torch.testing.assert_close(cut, AudioPreprocessing(16000, 1.0).encode((wave, rate)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_ordinary_rates_are_resampled_by_torchaudio(rate: int) -> None:
    from torchaudio.functional import resample

    wave = tone(0.3, rate)
    assert torch.equal(AudioPreprocessing(16000, 2.0).encode((wave, rate)), resample(torch.tensor(wave), rate, 16000))


@pytest.mark.parametrize(("rate", "wanted"), [(11127, 16000), (15999, 16000), (44099, 16000), (22254, 8000)])
def test_coprime_rates_are_resampled_without_a_kernel_of_gigabytes(rate: int, wanted: int, monkeypatch) -> None:
    from scipy.signal import resample_poly

    monkeypatch.setattr("torchaudio.functional.resample", lambda *_: pytest.fail("the kernel has gigabytes"))
    preprocessing = AudioPreprocessing(wanted, 2.0)
    for seconds in (0.2, 0.001):
        wave = tone(seconds, rate)
        clip = preprocessing.encode((wave, rate))
        factor = np.gcd(rate, wanted)
        theirs = resample_poly(wave.astype(np.float64), wanted // factor, rate // factor)
        assert len(clip) == -(-len(wave) * wanted // rate)
        np.testing.assert_allclose(clip.numpy(), theirs, atol=1e-6)
    clip = preprocessing.encode((tone(0.2, rate), rate)).numpy()
    np.testing.assert_allclose(clip[200:-200], tone(0.3, wanted)[200 : len(clip) - 200], atol=2e-3)


@pytest.mark.parametrize("rate", [1_000_000_007, 1_000_001, 2**31 - 1])
def test_impossible_rates_are_refused_before_any_work(rate: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tlx.data.audio._resampled", lambda *_: pytest.fail("it is resampled"))
    file = bytearray(encoded(tone(2.0)))
    file[24:28] = rate.to_bytes(4, "little")
    (tmp_path / "odd.wav").write_bytes(file)
    for raw in (tmp_path / "odd.wav", bytes(file), (tone(2.0), rate)):
        with pytest.raises(UserError, match=f"has a sample rate of {rate} Hz: a damaged header.*1 to 1,000,000 Hz"):
            AudioPreprocessing(16000, 5.0).encode(raw)
    for below in (0, -16000):
        with pytest.raises(UserError, match=f"has a sample rate of {below} Hz: a damaged header"):
            AudioPreprocessing(16000, 5.0).encode((tone(), below))


@pytest.mark.parametrize("rate", [1, 384_000, 999_983, 1_000_000])
def test_rates_at_the_limits_are_read(rate: int) -> None:
    wave = np.zeros(2 * rate if rate < 1000 else rate // 10, np.float32)
    assert len(AudioPreprocessing(16000, 5.0).encode((wave, rate))) == -(-len(wave) * 16000 // rate)


def test_channels_that_cancel_each_other_leave_one_of_them(plain: AudioPreprocessing) -> None:
    left = tone() + 0.1 * tone(hertz=1000.0)
    for right in (-left, -0.95 * left, -left + 1e-3 * tone(hertz=3000.0)):
        for raw in (np.stack([left, right], 1), np.stack([left, right, left, right], 1)):
            clip = plain.encode((raw, 16000)).numpy()
            assert any(np.array_equal(clip, channel) for channel in raw.T)
    stereo = encoded(np.stack([0.5 * left, -left], 1), subtype="FLOAT")
    torch.testing.assert_close(plain.encode(stereo), torch.from_numpy(-0.25 * left))  # they do not cancel
    for others in ([0 * left], [0 * left] * 15, [left], [tone(hertz=700.0)], [np.roll(left, 3)]):
        raw = np.stack([left, *others], 1)
        assert torch.equal(plain.encode((raw, 16000)), torch.from_numpy(raw.mean(1, dtype=np.float32)))
    assert not plain.encode((np.zeros((800, 2)), 16000)).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.0, 0.2), st.floats(0.9, 1.1))
def test_noise_does_not_hide_that_channels_cancel_each_other(seed: int, noise: float, louder: float) -> None:
    rng = np.random.default_rng(seed)
    signal, left, right = rng.normal(size=(3, 8000)) * [[0.1], [0.1 * noise], [0.1 * noise]]
    clip = AudioPreprocessing(16000, 2.0).encode((np.stack([signal + left, -louder * signal + right], 1), 16000))
    assert abs(np.corrcoef(clip.numpy(), signal)[0, 1]) > 0.97


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-0.85, 1.0))
def test_channels_that_do_not_cancel_each_other_are_mixed(seed: int, correlation: float) -> None:
    one, two = np.random.default_rng(seed).normal(size=(2, 8000)).astype(np.float32) / 10
    raw = np.stack([one, np.float32(correlation) * one + np.float32((1 - correlation**2) ** 0.5) * two], 1)
    clip = AudioPreprocessing(16000, 2.0).encode((raw, 16000))
    assert torch.equal(clip, torch.from_numpy(raw.mean(1, dtype=np.float32)))


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "AU", "W64", "RF64"])
def test_a_file_that_ends_early_is_named(kind: str, tmp_path: Path, plain: AudioPreprocessing) -> None:
    whole = encoded(tone(0.5), kind=kind)
    file = tmp_path / "half.wav"
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"half\.wav ends early: its header promises \d+ bytes .* \(0\.2\d seconds\)"):
        plain.encode(file)
    # What is read of a long clip is there.
    assert len(AudioPreprocessing(16000, 0.1).encode(file)) == 1600
    for harmless in (whole, whole[:-20], whole + b"LIST" * 4):
        assert abs(len(plain.encode(harmless)) - 8000) < 20


def test_a_stream_whose_header_does_not_know_its_length_is_read(plain: AudioPreprocessing) -> None:
    file = bytearray(encoded(tone()))
    place = file.index(b"data") + 4
    for size in (0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF - 44):
        file[place : place + 4] = size.to_bytes(4, "little")
        assert len(plain.encode(bytes(file))) == 8000


def test_what_cannot_be_decoded(tmp_path: Path, plain: AudioPreprocessing) -> None:
    (tmp_path / "bad.wav").write_bytes(b"RIFF no sound")
    (tmp_path / "empty.wav").write_bytes(encoded(np.zeros(0, np.float32)))
    for raw, message in [
        (tmp_path / "bad.wav", r"bad\.wav cannot be decoded"),
        (tmp_path / "empty.wav", r"empty\.wav has no samples"),
        (tmp_path / "none.wav", r"none\.wav does not exist"),
        (b"", "the audio cannot be decoded"),
        (None, "it is missing"),
        (float("nan"), "it is missing"),
        (np.zeros(8), "ndarray is no path, bytes or"),
        (([], 16000), "no samples"),
        ((np.zeros((2, 2, 2)), 16000), "is no audio"),
        ((np.array(["a"]), 16000), "is no audio"),
        ((np.zeros(8), 0), "sample rate of 0 Hz"),
        ((np.array([0.0, np.nan]), 16000), "not finite"),
    ]:
        with pytest.raises(UserError, match=message):
            plain.encode(raw)


def test_batches_equal_those_of_wav2vec2() -> None:
    from transformers import Wav2Vec2FeatureExtractor

    clips = [tone(0.1), tone(0.05, hertz=300) + 0.2, np.zeros(500, np.float32)]
    theirs = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)(
        clips, sampling_rate=16000, padding=True, return_tensors="pt"
    )
    ours = AudioPreprocessing(16000, 1.0).collate([torch.from_numpy(c) for c in clips])
    assert ours["attention_mask"].dtype == torch.int64 and torch.equal(ours["attention_mask"], theirs["attention_mask"])
    torch.testing.assert_close(ours["input_values"], theirs["input_values"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("normalize", [True, False])
def test_a_clip_does_not_depend_on_its_batch(normalize: bool) -> None:
    preprocessing = AudioPreprocessing(16000, 1.0, normalize=normalize)
    short, long = torch.from_numpy(tone(0.1)), torch.from_numpy(tone(0.3))
    alone, together = preprocessing.collate([short]), preprocessing.collate([short, long])
    assert torch.equal(together["input_values"][0, :1600], alone["input_values"][0])
    assert (together["input_values"][0, 1600:] == 0).all() and together["attention_mask"].sum(1).tolist() == [
        1600,
        4800,
    ]
    assert normalize or torch.equal(alone["input_values"][0], short)


def test_whisper_features() -> None:
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=80)
    preprocessing = AudioPreprocessing(16000, 30.0, feature_extractor=extractor)
    batch = preprocessing.collate([torch.from_numpy(tone(1.0)), torch.from_numpy(tone(2.0))])
    assert batch["input_features"].shape == (2, 80, 3000) and batch["attention_mask"].dtype == torch.int64
    assert batch["attention_mask"].sum(1).tolist() == [100, 200]
    assert preprocessing.key() != AudioPreprocessing(16000, 30.0).key()
    with pytest.raises(UserError, match="the feature extractor expects 16000 Hz"):
        AudioPreprocessing(8000, 1.0, feature_extractor=extractor)
    with pytest.raises(UserError, match="keeps 30 seconds at most"):
        AudioPreprocessing(16000, 31.0, feature_extractor=extractor)


def test_other_feature_extractors_serve_too() -> None:
    from transformers import Wav2Vec2FeatureExtractor

    extractor = Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    clips = [torch.from_numpy(tone(0.1)), torch.from_numpy(tone(0.2))]
    theirs = AudioPreprocessing(16000, 1.0, feature_extractor=extractor).collate(clips)
    torch.testing.assert_close(theirs, AudioPreprocessing(16000, 1.0).collate(clips), atol=1e-5, rtol=0)


def test_the_key_follows_every_setting() -> None:
    variants = [(16000, 1.0, True), (8000, 1.0, True), (16000, 2.0, True), (16000, 1.0, False)]
    assert len({AudioPreprocessing(*v).key() for v in variants}) == 4
    assert AudioPreprocessing(16000, 1).key() == AudioPreprocessing(16000, 1.0).key()
    with pytest.raises(UserError, match="leave no sample"):
        AudioPreprocessing(16000, 0.0)


OPTIONS = [
    {"gain_db": 6},
    {"noise_snr_db": [10, 30]},
    {"time_shift": 0.1},
    {"time_masks": {"count": 2, "seconds": 0.1}},
    {"freq_masks": {"count": 1, "width_hz": 400}},
]
OPTIONS.append({key: value for options in OPTIONS for key, value in options.items()})


def global_states() -> tuple:
    numpy = np.random.get_state()  # noqa: NPY002
    return random.getstate(), (numpy[1].tolist(), *numpy[2:]), torch.get_rng_state().tolist()


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(o))
def test_augmentation_is_a_function_of_the_generator_alone(options: dict, plain: AudioPreprocessing) -> None:
    example = torch.from_numpy(np.random.default_rng(0).normal(size=8000).astype(np.float32))
    before, states = example.clone(), global_states()
    rng = np.random.default_rng(5)
    draws = [plain.augment(example, options, rng) for _ in range(5)]
    assert states == global_states() and torch.equal(example, before)
    rng = np.random.default_rng(5)
    assert all(torch.equal(plain.augment(example, options, rng), d) for d in draws)
    assert all(d.shape == example.shape and d.dtype == torch.float32 and torch.isfinite(d).all() for d in draws)
    assert len({d.numpy().tobytes() for d in draws}) == 5


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_each_option_does_what_it_says(seed: int) -> None:
    plain = AudioPreprocessing(16000, 2.0)
    rng = np.random.default_rng(seed)
    noise = np.random.default_rng(0).normal(size=16000).astype(np.float32)
    clip = torch.from_numpy(noise)
    louder = plain.augment(clip, {"gain_db": 6}, rng) / clip
    assert louder.std() < 1e-4 and abs(20 * torch.log10(louder.mean())) <= 6.001
    added = plain.augment(clip, {"noise_snr_db": [10, 20]}, rng) - clip
    assert 9.5 < 10 * torch.log10(clip.square().mean() / added.square().mean()) < 20.5
    assert (plain.augment(torch.zeros(100), {"noise_snr_db": [0, 0]}, rng) == 0).all()
    shifted = plain.augment(clip, {"time_shift": 0.1}, rng).numpy()
    by = int(np.argmax(np.correlate(shifted[3200:-3200], noise[4800:-4800], "valid"))) - 1600
    assert abs(by) <= 1600 and (shifted == 0).sum() == abs(by)
    masked = plain.augment(clip, {"time_masks": {"count": 2, "seconds": 0.1}}, rng)
    assert (masked == 0).sum() <= 3200 and (masked[masked != 0] == clip[masked != 0]).all()
    stopped = plain.augment(clip, {"freq_masks": {"count": 1, "width_hz": 400}}, rng)
    gone = torch.fft.rfft(stopped).abs() < 1e-2
    assert gone.sum() <= 401 and torch.allclose(torch.fft.rfft(stopped)[~gone], torch.fft.rfft(clip)[~gone], atol=1e-2)


def test_augmentation_of_the_shortest_clip_and_of_nothing(plain: AudioPreprocessing) -> None:
    rng = np.random.default_rng(0)
    assert plain.augment(torch.ones(1), OPTIONS[-1], rng).shape == (1,)
    assert torch.equal(plain.augment(torch.ones(3), None, rng), torch.ones(3))


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        ({"gain": 6}, "unknown augmentation 'gain'. Did you mean 'gain_db'"),
        ({"gain_db": -1}, "a number from 0 to 60"),
        ({"noise_snr_db": 10}, "two numbers"),
        ({"time_masks": 2}, "the keys count, seconds are needed"),
        ({"time_masks": {"count": 2}}, "the keys count, seconds are needed"),
        ({"time_masks": {"count": 1.5, "seconds": 0.1}}, "count: a whole number from 0"),
    ],
)
def test_impossible_augmentations(augmentation: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        AudioPreprocessing.check_augmentation(augmentation)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data sets are not there")
@pytest.mark.parametrize("name", ["fsdd", "esc10"])
def test_real_clips(name: str) -> None:
    from tlx.data.tables import read_tables

    table = read_tables(str(SHARED / name), modality="audio", splits={"test": "test"})["test"][:20]
    for file, seconds in zip(table["audio"], table["duration"], strict=True):
        assert abs(len(AudioPreprocessing(16000, 60.0).encode(file)) / 16000 - seconds) < 1e-2
