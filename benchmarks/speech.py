"""What playing frozen layers back saves on speech: a probe study against plain Lightning.

`make bench` runs this. A small wav2vec 2.0 with layer norm in its front end (so that padding changes nothing), four
layers, random weights made on the fly (as fast as any), on fsdd: 2,400 / 300 / 300 spoken digits of 0.14 to 2.3 s at
8 kHz. `benchmarks/warm.py` says what is needed.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from peers import PlainLightning, study
from rows import Found, Job, Row, Turn, bench
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model
from warm import DATA, missing
from warm import study as tlx

SEEDS, EPOCHS = 5, 10
WORDS = [
    *("model=speech_encoder", "dataset=fsdd", f"dataset.path={DATA / 'fsdd'}"),
    *("strategy=feature_extraction", f"trainer.max_epochs={EPOCHS}"),
]
RATE = 8000


def encoder(folder: Path) -> list[str]:
    """The word that names the network's folder, which is made here, the same in every process."""
    place = folder / "wav2vec2"
    if not place.is_dir():
        torch.manual_seed(0)
        config = Wav2Vec2Config(
            hidden_size=192,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=768,
            conv_dim=[64, 64, 96, 128],
            conv_kernel=[10, 8, 4, 4],
            conv_stride=[5, 4, 4, 2],  # 160 samples: 20 ms a frame
            num_feat_extract_layers=4,
            feat_extract_norm="layer",
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
            mask_time_prob=0.0,
            layerdrop=0.0,
        )
        Wav2Vec2Model(config).save_pretrained(place)
        Wav2Vec2FeatureExtractor(sampling_rate=RATE).save_pretrained(place)
    return [f"model.path={place}"]


def tlx_row(name: str) -> Callable[[Turn], Found]:
    """tlx's study."""
    return lambda turn: tlx([*WORDS, *encoder(turn.folder)], name, SEEDS)(turn)


def lightning(turn: Turn) -> Found:
    """The same with plain Lightning."""
    return study(PlainLightning, [*WORDS, *encoder(turn.folder)], EPOCHS, SEEDS)(turn)


EVERY = "each epoch, test at the end"
FUSED = "AdamW, fused, clipped, linear schedule"
JOBS = {
    "probes": Job(
        f"probe study: {SEEDS} seeds × {EPOCHS} epochs, 2,400 spoken digits, a small wav2vec 2.0 frozen",
        {
            "tlx, cold cache": Row(tlx_row("cold"), FUSED, "of what is played back", EVERY),
            "tlx, warm cache": Row(tlx_row("warm"), FUSED, "of what is played back", EVERY),
            "plain Lightning": Row(
                lightning,
                "AdamW, default, not clipped, constant rate",
                "to the longest of a shuffled batch",
                EVERY,
                long=True,
            ),
        },
        [("plain Lightning", "tlx, cold cache", "≥ 50"), ("plain Lightning", "tlx, warm cache", "")],
    )
}


if __name__ == "__main__":
    bench("speech", JOBS, missing("fsdd"))
