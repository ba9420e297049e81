"""Speech backbones: any transformers speech encoder on waveforms (wav2vec 2.0 and kin) or on Whisper's spectrograms."""

from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from tlx.data.audio import AudioPreprocessing
from tlx.layer_groups import Layers
from tlx.models.backbone import Backbone, folder_of
from tlx.models.hugging_face import build_config, build_network, hidden_size, read_pretrained
from tlx.models.layers import anatomy
from tlx.models.weights import read_json
from tlx.private import frames_mask, frames_of


class SpeechBackbone(Backbone):
    """A transformers speech encoder; features (B, hidden size) are the mean over the frames that hold signal.

    `sample_rate` (Hz) and normalisation come from the weights' folder (preprocessor_config.json) where there is one,
    else from the yaml. `max_seconds` cuts longer clips.
    """

    modality: ClassVar[str] = "audio"
    network: Any
    preprocessing: AudioPreprocessing

    def __init__(
        self,
        source: Path | None = None,
        config: dict[str, Any] | None = None,
        sample_rate: int = 16000,
        max_seconds: float = 10.0,
        normalize: bool = True,
        layer_groups: Layers | None = None,
        lora_targets: str | None = None,
    ) -> None:
        super().__init__()
        settings = build_config(source, config)
        self.network = build_network(settings)
        self.feature_dim = hidden_size(settings)
        saved = read_json(folder_of(source) / "preprocessor_config.json") if source else {}
        extractor = None
        if settings.model_type == "whisper":
            from transformers import WhisperFeatureExtractor

            extractor = WhisperFeatureExtractor(
                **({"feature_size": settings.num_mel_bins} | {k: v for k, v in saved.items() if k in _WHISPER_KEYS})
            )
        self.preprocessing = AudioPreprocessing(
            sample_rate=int(saved.get("sampling_rate", sample_rate)),
            max_seconds=max_seconds,
            normalize=bool(saved.get("do_normalize", normalize)),
            feature_extractor=extractor,
        )
        self.layers, self.lora_targets = anatomy(settings, layer_groups, lora_targets)

    def read_weights(self, path: Path) -> dict[str, Tensor]:
        return read_pretrained(path, self.network)

    def save_preprocessing(self, folder: Path) -> None:
        """Keep the rate, the normalisation and the architecture beside the weights, as transformers' folders do."""
        from transformers import Wav2Vec2FeatureExtractor

        extractor = self.preprocessing.feature_extractor or Wav2Vec2FeatureExtractor(
            sampling_rate=self.preprocessing.sample_rate, do_normalize=self.preprocessing.normalize
        )
        extractor.save_pretrained(folder)
        self.network.config.save_pretrained(folder)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        mask = batch["attention_mask"]
        if "input_features" in batch:
            hidden = self.network(batch["input_features"]).last_hidden_state
            frames = mask[:, ::2][:, : hidden.shape[1]]  # the second convolution halves the 100 Hz mel frames
        else:
            values, mask = _at_least(_receptive_field(self.network.config), batch["input_values"], mask)
            # Group-norm front ends were trained without a mask; zeros at the end are then part of the signal.
            layer_norm = getattr(self.network.config, "feat_extract_norm", "layer") == "layer"
            hidden = self.network(
                values, attention_mask=mask if layer_norm else None, mask_time_indices=self._unmasked(values)
            ).last_hidden_state
            frames = frames_mask(self.network, hidden.shape[1], mask)
        weights = frames.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)

    def _unmasked(self, values: Tensor) -> Tensor | None:
        """Masks that hide no frame, for clips too short to be masked in training (transformers raises); else None.

        None, too, for a network that never masks: it has no embedding to put in place of a frame.
        """
        frames = frames_of(self.network, values.shape[1])
        if frames > self.network.config.mask_time_length or not hasattr(self.network, "masked_spec_embed"):
            return None
        return torch.zeros(len(values), frames, dtype=torch.bool, device=values.device)


def _receptive_field(config: Any) -> int:
    """How many samples the first frame of a wav2vec 2.0 front end sees."""
    samples = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


def _at_least(samples: int, values: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Clips (B, T) and their mask, with the silence after clips shorter than `samples` counted as signal."""
    missing = max(0, samples - values.shape[1])
    mask = F.pad(mask, (0, missing)).clone()
    mask[:, :samples] = 1
    return F.pad(values, (0, missing)), mask


_WHISPER_KEYS = ("feature_size", "sampling_rate", "hop_length", "chunk_length", "n_fft", "padding_value")
