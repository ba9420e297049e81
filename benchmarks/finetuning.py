"""How fast tlx fine-tunes a text model, against what it is built on, a peer, and the limit.

`make bench` runs this. All of MiniLM is trained: on the short questions of TREC in single precision, and on reviews of
up to 256 tokens in bfloat16; batches of 16. Every row is a window in the first epoch, given as seconds of so many
tokens, padding not counted: batches are of different lengths, and which of them a window holds would decide too much.
All rows of a job have the same network, and the same batches but for the Trainer of transformers, which groups by
length itself. No row validates or saves within a window: tlx, which saves once a minute, is told not to
(trainer.checkpoint_seconds), as the others are. `benchmarks/warm.py` says what is needed.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import lightning as L
import torch
from peers import Bare, Given, HuggingFace, PlainLightning, Tell
from rows import STEPS, Enough, Found, Job, Row, Turn, Window, bench, took
from warm import DATA, MINILM, TREC, carry_out, missing, planned

from tlx.objectives.ewc import EWC

Measure = Callable[[Turn], Found]

REVIEWS = [
    *("model=minilm", f"model.path={MINILM}", "model.max_length=256", "trainer.precision=bf16-mixed"),
    *("dataset=multi_domain_sentiment", f"dataset.path={DATA / 'multi_domain_sentiment'}"),
    *("dataset.train_size=4000", "dataset.val_size=100"),
]
TOKENS = 100_000
FEW = 50  # steps: enough to tell one step of tlx from another


def window(train: Callable[[Window, Turn], None], steps: int = STEPS) -> Measure:
    """Measures the window of a training, of so many steps at most; in seconds of TOKENS tokens."""

    def measure(turn: Turn) -> Found:
        window = Window(length=steps)
        try:
            train(window, turn)
        except Enough:
            return took(TOKENS * window.seconds / window.tokens, **window.padding)
        raise RuntimeError("the training ended before its window did")

    return measure


def made_up_ewc() -> EWC:
    """EWC with a made-up Fisher information: MiniLM brings no source task, and a step costs the same with any."""
    return EWC(1.0, lambda module: {n: torch.ones_like(p) for n, p in module.backbone.named_parameters("backbone")})


def tlx(
    words: Sequence[str], strategy: str, further: Callable[[], L.Callback] | None = None
) -> Callable[[Window, Turn], None]:
    """`tlx train` with this strategy: its own config, Trainer, callbacks and record; and a `further` callback."""

    def train(window: Window, turn: Turn) -> None:
        given = [*words, f"strategy={strategy}", "trainer.checkpoint_seconds=3600"]
        carry_out([planned(given, turn.seed, turn.folder, strategy)], [Tell(window), *([further()] if further else [])])

    return train


def peer(words: Sequence[str], kind: Any, tricks: bool = False, **options: Any) -> Callable[[Window, Turn], None]:
    """A peer's training of everything; with the tricks of tlx, if wanted."""

    def train(window: Window, turn: Turn) -> None:
        given = Given([*words, "strategy=full"], turn.seed, turn.folder, tricks)
        kind(given, turn.folder, 1, **options).train(window)

    return train


ours = partial(Row, optimiser="AdamW, fused, clipped, linear schedule", padding="length buckets", window=True)
plain = partial(
    Row, optimiser="AdamW, default, not clipped, constant rate", padding="length buckets of tlx", window=True
)
grouped = partial(
    Row,
    optimiser="AdamW, its default (fused), clipped, linear schedule",
    padding="group_by_length",
    window=True,
    needs=("accelerate",),
)
GROUPED = {"train_sampling_strategy": "group_by_length"}
NONE = "none"
JOBS = {
    "short": Job(
        f"full fine-tuning of MiniLM: {TOKENS:,} tokens of TREC's questions",
        {
            "tlx": ours(window(tlx(TREC, "full")), validation=NONE),
            "bare loop": plain(window(peer(TREC, Bare, fused=None)), validation=NONE),
            "plain Lightning": plain(window(peer(TREC, PlainLightning, same=True)), validation=NONE),
            "Hugging Face Trainer": grouped(window(peer(TREC, HuggingFace, **GROUPED)), validation=NONE),
            "limit": Row(
                window(peer(TREC, Bare, tricks=True)),
                "AdamW, fused, compact embeddings, cheap dropout, not clipped, constant rate",
                "length buckets of tlx",
                NONE,
                window=True,
            ),
            "tlx discriminative": ours(window(tlx(TREC, "discriminative"), steps=FEW), validation=NONE),
            "tlx mixout": ours(window(tlx(TREC, "mixout"), steps=FEW), validation=NONE),
            "tlx L2-SP": ours(window(tlx(TREC, "l2_sp"), steps=FEW), validation=NONE),
            "tlx EWC": ours(window(tlx(TREC, "full", made_up_ewc), steps=FEW), validation=NONE),
        },
        [
            *((name, "tlx", "≥ 1.7") for name in ("bare loop", "plain Lightning")),
            ("Hugging Face Trainer", "tlx", "≥ 1.3"),
            ("tlx", "limit", "≤ 1.05"),
            ("tlx discriminative", "tlx", "≤ 1.03"),
            ("tlx mixout", "tlx", "≤ 1.25"),
            *((name, "tlx", "≤ 1.10") for name in ("tlx L2-SP", "tlx EWC")),
        ],
        "The limit is the bare loop with the fused optimiser, only embedding rows that occur, and cheap dropout.",
    ),
    "long": Job(
        f"full fine-tuning of MiniLM in bfloat16: {TOKENS:,} tokens of reviews of up to 256 each",
        {
            "tlx": ours(window(tlx(REVIEWS, "full")), validation=NONE),
            "Hugging Face Trainer": grouped(window(peer(REVIEWS, HuggingFace, bf16=True, **GROUPED)), validation=NONE),
        },
        [("Hugging Face Trainer", "tlx", "≥ 1.3")],
    ),
}


if __name__ == "__main__":
    bench("finetuning", JOBS, missing("trec", "multi_domain_sentiment", minilm=True))
