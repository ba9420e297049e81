"""Any timm network as a speech encoder: it sees a clip's log-mel spectrogram as a picture with one channel."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MEL_LOW = 60.0  # Hz, the lower edge of the lowest mel band; the upper edge of the highest is half the sample rate
RANGE_DB = 80.0  # what is quieter than the loudest value of the clip by more is raised to that


class MelImage(nn.Module):
    """Waveforms (B, T) to features (B, D): the first `seconds` as log-mel decibels, standardised per clip.

    Args:
        network: a timm network without its head, made for one channel.
        sample_rate: of the waveforms, in Hz; the same as the preprocessing's.
        seconds: every clip is cut or padded with silence to this, so that what else is in the batch changes nothing.
        mels: mel bands (the scale of HTK, triangles of height 1).
        window, hop: length of the Hann window, and the step to the next one, in samples.
    """

    hann: Tensor
    filters: Tensor

    def __init__(self, network: nn.Module, sample_rate: int, seconds: float, mels: int, window: int, hop: int) -> None:
        super().__init__()
        from torchaudio.functional import melscale_fbanks

        self.samples, self.window, self.hop = int(seconds * sample_rate), window, hop
        filters = melscale_fbanks(window // 2 + 1, MEL_LOW, sample_rate / 2, mels, sample_rate)
        self.register_buffer("hann", torch.hann_window(window), persistent=False)
        self.register_buffer("filters", filters, persistent=False)
        self.network = network

    def picture(self, waveforms: Tensor) -> Tensor:
        """Clips (B, samples) to pictures (B, 1, mels, frames) of mean 0 and standard deviation 1 each."""
        with torch.autocast(waveforms.device.type, enabled=False):  # powers of quiet samples vanish in 16 bits
            spectra = torch.stft(waveforms.float(), self.window, self.hop, window=self.hann, return_complex=True)
            power = self.filters.T @ spectra.abs().square()
            decibels = 10 * power.clamp(min=1e-10).log10()
            decibels = decibels.maximum(decibels.amax((1, 2), keepdim=True) - RANGE_DB)
            std, mean = torch.std_mean(decibels, (1, 2), keepdim=True)
            return ((decibels - mean) / (std + 1e-5)).unsqueeze(1)

    def forward(self, waveforms: Tensor, mask: Tensor) -> Tensor:
        """`mask` (B, T): 1 for signal, 0 for padding at the end."""
        clips = (waveforms * mask.to(waveforms.dtype))[:, : self.samples]
        clips = F.pad(clips, (0, self.samples - clips.shape[1]))
        return self.network(self.picture(clips))


def features(module: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The vectors (B, D) of a batch of waveforms `input_values` (B, T) and `attention_mask` (B, T)."""
    return module(batch["input_values"], batch["attention_mask"])
