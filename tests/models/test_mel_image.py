"""Clips as pictures: the spectrogram is torchaudio's, and what else is in the batch changes nothing."""

import pytest
import torch
from torch import nn
from torchaudio.transforms import MelSpectrogram

from tlx.models.mel_image import RANGE_DB, MelImage


class Flat(nn.Module):
    """Stands for the network: the picture as one vector."""

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return picture.flatten(1)


@pytest.fixture
def encoder() -> MelImage:
    return MelImage(Flat(), sample_rate=8000, seconds=0.5, mels=32, window=256, hop=128)


def test_the_picture_is_torchaudios_spectrogram_in_decibels_standardised(encoder: MelImage) -> None:
    clips = torch.randn(3, 4000, generator=torch.Generator().manual_seed(0))
    power = MelSpectrogram(8000, 256, hop_length=128, f_min=60.0, n_mels=32)(clips)
    expected = 10 * power.clamp(min=1e-10).log10()
    expected = expected.maximum(expected.amax((1, 2), keepdim=True) - RANGE_DB)
    picture = encoder.picture(clips)
    assert picture.shape == (3, 1, *power.shape[1:])
    std, mean = torch.std_mean(picture, (1, 2, 3))
    assert torch.allclose(mean, torch.zeros(3), atol=1e-5) and torch.allclose(std, torch.ones(3), atol=1e-3)
    standard = (expected - expected.mean((1, 2), keepdim=True)) / expected.std((1, 2), keepdim=True)
    assert torch.allclose(picture.squeeze(1), standard, atol=1e-4)


@pytest.mark.parametrize("length", [800, 4000, 6000])
def test_a_clip_alone_and_in_a_batch(encoder: MelImage, length: int) -> None:
    clips = torch.randn(2, 7000, generator=torch.Generator().manual_seed(1))
    mask = torch.ones(2, 7000)
    mask[0, length:] = 0
    alone = encoder(clips[:1, :length], torch.ones(1, length))
    assert torch.allclose(encoder(clips, mask)[:1], alone, atol=1e-5)


def test_silence_has_a_picture(encoder: MelImage) -> None:
    assert torch.isfinite(encoder(torch.zeros(1, 100), torch.ones(1, 100))).all()


def test_the_front_end_is_not_in_the_weights(encoder: MelImage) -> None:
    assert not encoder.state_dict()
