"""Synthesised vowels: they decode, and their pitch and formants are those that were asked for."""

import io

import numpy as np
import pandas as pd
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import freqz, welch

from tlx.data.bundled import vowels


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vowels")
    vowels.make(folder)
    return {split: pd.read_parquet(folder / f"{split}.parquet") for split in vowels.PER_CLASS}


def test_clips_decode_to_16_bit_mono_of_the_stated_rate_and_length(rows):
    for part in rows.values():
        assert set(part["sampling_rate"]) == {vowels.RATE}
        for data in part["audio"]:
            clip, rate = soundfile.read(io.BytesIO(data))
            info = soundfile.info(io.BytesIO(data))
            assert (rate, info.channels, info.format, info.subtype) == (vowels.RATE, 1, "FLAC", "PCM_16")
            assert 0.3 <= len(clip) / rate <= 0.6
            assert 0.19 < np.abs(clip).max() < 0.91


def test_vowels_can_be_told_apart_by_their_spectrum_but_not_perfectly(rows):
    from scipy.fft import dct
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def cepstra(part: pd.DataFrame) -> np.ndarray:
        clips = [soundfile.read(io.BytesIO(data))[0] for data in part["audio"]]
        powers = np.array([welch(clip, vowels.RATE, nperseg=256)[1] for clip in clips])
        return dct(np.log(powers + 1e-9), norm="ortho")[:, :24]

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(cepstra(rows["train"]), rows["train"]["label"])
    assert 0.7 < model.score(cepstra(rows["test"]), rows["test"]["label"]) < 1.0


@given(frequency=st.floats(200, 3800), bandwidth=st.floats(40, 150))
def test_a_resonator_peaks_at_its_frequency_and_passes_0_hz_unchanged(frequency, bandwidth):
    rate = 32000
    impulse = np.zeros(2**14)
    impulse[0] = 1
    response = vowels.resonate(impulse, frequency, bandwidth, rate)
    axis, gain = freqz(response, worN=2**14, fs=rate)
    assert abs(axis[np.argmax(np.abs(gain))] - frequency) < bandwidth / 2 + 2
    assert np.abs(gain[0]) == pytest.approx(1, abs=1e-3)


@given(f0=st.floats(80, 400))
def test_without_jitter_the_flow_repeats_at_f0(f0):
    rate = 32000
    flow = vowels.glottal_flow(np.full(rate, f0), rate, jitter=0.0, shimmer=0.0, rng=np.random.default_rng(0))
    assert 0 <= flow.min() <= flow.max() <= 1
    spectrum = np.abs(np.fft.rfft((flow - flow.mean()) * np.hanning(rate)))
    assert np.argmax(spectrum) == pytest.approx(f0, abs=1)  # 1 s of signal: one bin is 1 Hz


def test_the_spectrum_of_a_clip_peaks_at_the_formants_asked_for():
    formants = (660.0, 1720.0, 2410.0)
    clip = vowels.synthesise(100.0, formants, 0.6, np.random.default_rng(3))
    axis, power = welch(clip, vowels.RATE, nperseg=1024)
    for formant in formants:
        near = np.abs(axis - formant) < 90
        around = (np.abs(axis - formant) > 200) & (np.abs(axis - formant) < 350)
        assert power[near].max() > 2 * power[around].min()


def test_the_table_has_three_voices_and_rising_formants():
    for word, voices in vowels.FORMANTS.items():
        assert len(voices) == len(vowels.VOICES), word
        for voice in voices:
            assert list(voice) == sorted(voice), word
