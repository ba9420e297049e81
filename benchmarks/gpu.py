"""The same comparisons on a GPU, with a larger network: an encoder of the size of BERT base, on the questions of TREC.

`make bench-gpu` runs this. The weights are random and made on the fly (as fast as any); the tokenizer is MiniLM's. Rows
are those of `benchmarks/frozen.py` and `benchmarks/finetuning.py`; `benchmarks/warm.py` says what is needed.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from finetuning import GROUPED, TOKENS, window
from frozen import BUCKETS, CLIPPED, CONSTANT, EPOCHS, EVERY, FUSED, PLAYED, SEEDS, SHUFFLED
from peers import Given, HuggingFace, PlainLightning, Tell, study
from rows import Found, Job, Row, Turn, Window, bench
from transformers import BertConfig, BertModel
from warm import ACCELERATOR, DATA, MINILM, carry_out, missing, planned
from warm import study as tlx

PROBE = ["strategy=feature_extraction", f"trainer.max_epochs={EPOCHS}"]
FULL = ["strategy=full", "trainer.precision=bf16-mixed", "trainer.batch_size=64", "trainer.checkpoint_seconds=3600"]
Measure = Callable[[Turn], Found]


def encoder(folder: Path) -> list[str]:
    """The words that choose the network and the data; its folder is made here, the same in every process."""
    place = folder / "bert"
    if not place.is_dir():
        torch.manual_seed(0)
        BertModel(BertConfig(), add_pooling_layer=False).save_pretrained(place)
        for file in MINILM.glob("*token*"):
            shutil.copy(file, place)
        shutil.copy(MINILM / "vocab.txt", place)
    return ["model=bert_base", f"model.path={place}", "dataset=trec", f"dataset.path={DATA / 'trec'}"]


def probes(measure: Callable[[Sequence[str]], Measure]) -> Measure:
    """A row of the probe study."""
    return lambda turn: measure([*encoder(turn.folder), *PROBE])(turn)


def ours(given: Window, turn: Turn) -> None:
    """Full fine-tuning by tlx."""
    carry_out([planned([*encoder(turn.folder), *FULL], turn.seed, turn.folder)], [Tell(given)])


def peer(kind: Any, **options: Any) -> Measure:
    """Full fine-tuning by a peer."""

    def train(given: Window, turn: Turn) -> None:
        kind(Given([*encoder(turn.folder), *FULL], turn.seed, turn.folder), turn.folder, 1, **options).train(given)

    return window(train)


JOBS = {
    "probes": Job(
        f"probe study: {SEEDS} seeds × {EPOCHS} epochs, 4,907 questions of TREC, an encoder like BERT base frozen",
        {
            "tlx, cold cache": Row(
                probes(lambda words: tlx(words, "cold", SEEDS)), f"{FUSED}, {CLIPPED}", PLAYED, EVERY
            ),
            "tlx, warm cache": Row(
                probes(lambda words: tlx(words, "warm", SEEDS)), f"{FUSED}, {CLIPPED}", PLAYED, EVERY
            ),
            "plain Lightning": Row(
                probes(lambda words: study(PlainLightning, words, EPOCHS, SEEDS)),
                f"AdamW, default, {CONSTANT}",
                SHUFFLED,
                EVERY,
                long=True,
            ),
        },
        [("plain Lightning", "tlx, cold cache", ""), ("plain Lightning", "tlx, warm cache", "")],
    ),
    "full": Job(
        f"full fine-tuning in bfloat16, batches of 64: {TOKENS:,} tokens of TREC's questions",
        {
            "tlx": Row(window(ours), f"{FUSED}, {CLIPPED}", BUCKETS, "none", window=True),
            "plain Lightning": Row(
                peer(PlainLightning, same=True, precision="bf16-mixed"),
                f"AdamW, default, {CONSTANT}",
                f"{BUCKETS} of tlx",
                "none",
                window=True,
            ),
            "Hugging Face Trainer": Row(
                peer(HuggingFace, bf16=True, **GROUPED),
                f"AdamW, its default (fused), {CLIPPED}",
                "group_by_length",
                "none",
                window=True,
                needs=("accelerate",),
            ),
        },
        [("plain Lightning", "tlx", ""), ("Hugging Face Trainer", "tlx", "")],
    ),
}


if __name__ == "__main__":
    here = torch.cuda.is_available() or ACCELERATOR == "cpu"
    bench("gpu", JOBS, missing("trec", minilm=True) or (None if here else "there is no GPU."))
