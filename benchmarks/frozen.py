"""What it saves to compute frozen layers once: a probe study, partial fine-tuning, gradual unfreezing, on text.

`make bench` runs this. MiniLM on TREC, batches of 16, single precision. tlx's rows go from the resolved config to the
record on disk: loading, encoding, training with a validation after every epoch, saving the best weights, test.
`benchmarks/warm.py` names what they need; `benchmarks/unfreezing.py` holds finetuning-scheduler and fastai.
"""

import torch
from peers import Bare, Given, HuggingFace, PlainLightning, bare_in_laps, study
from rows import Found, Job, Row, Turn, bench, now, took
from torch import Tensor, nn
from unfreezing import fastai_freeze_to, finetuning_scheduler
from warm import BATCH, TREC, missing
from warm import study as tlx
from warm import study_in_laps as tlx_in_laps

from tlx.data.loaders import Examples, eval_loader
from tlx.data.sampling import epoch_batches
from tlx.schedules import linear

SEEDS, EPOCHS = 5, 10
PROBE = [*TREC, "strategy=feature_extraction", f"trainer.max_epochs={EPOCHS}"]
FEW = [*TREC, "dataset.train_size=1000"]
LAPS = 5
PARTIAL = [*FEW, "strategy=partial", "strategy.freezing.until=layer4", "strategy.freezing.ratio=null"]
PARTIAL += [f"trainer.max_epochs={LAPS}"]
# Four phases: the head, the top 3 blocks, all blocks, everything.
PHASES, PHASE = 4, 3
GRADUAL = [*FEW, "strategy=gradual_unfreezing", "strategy.freezing.groups_per_phase=3"]
GRADUAL += [f"strategy.freezing.epochs_per_phase={PHASE}", f"trainer.max_epochs={PHASES * PHASE}"]
# Scaled: one epoch a phase; and for those that encode nothing once, on a quarter of the questions.
SHORT = ["strategy.freezing.epochs_per_phase=1", f"trainer.max_epochs={PHASES}"]
SHORTER = [*SHORT, "dataset.train_size=250", "dataset.val_size=0.25"]
SCALE = PHASE * 1000 / 250

ADAMW, FUSED = "AdamW, default", "AdamW, fused"
CLIPPED, CONSTANT = "clipped, linear schedule", "not clipped, constant rate"
PLAYED, BUCKETS, SHUFFLED = "of what is played back", "length buckets", "to the longest of a shuffled batch"
EVERY = "each epoch, test at the end"


def limit(turn: Turn) -> Found:
    """One bare pass of the encoder over all parts, then SEEDS bare trainings of a head on what it gave.

    Loading the network and reading the texts are not counted: nobody can do with less than this.
    """
    given = Given(PROBE, 0, turn.folder)
    began = now()
    features = {name: encoded(given.module.backbone.eval(), part) for name, part in given.examples.items()}
    scores = [trained_head(given, features, seed) for seed in range(SEEDS)]
    return took(now() - began, accuracy=sum(scores) / SEEDS)


@torch.no_grad()
def encoded(backbone: nn.Module, data: Examples) -> Tensor:
    """(n, D) features of a part, in the order of its examples."""
    batches = [(batch["index"], backbone(batch)) for batch in eval_loader(data, 32)]
    order = torch.cat([index for index, _ in batches]).argsort()
    return torch.cat([values for _, values in batches])[order]


def trained_head(given: Given, features: dict[str, Tensor], seed: int) -> float:
    """The test accuracy of a head trained as tlx trains one, chosen on validation like there."""
    torch.manual_seed(seed)
    labels = {name: torch.as_tensor(part.labels) for name, part in given.examples.items()}
    head = nn.Sequential(nn.Dropout(0.1), nn.Linear(features["train"].shape[1], given.module.task.classes))
    optimizer = torch.optim.AdamW(head.parameters(), given.lr, weight_decay=0.01, fused=True)
    lengths = [given.module.backbone.preprocessing.length(e) for e in given.examples["train"].examples]
    count, step, best, tested = len(lengths), 0, -1.0, 0.0
    total = EPOCHS * len(epoch_batches(count, BATCH, seed, 0))

    def score(part: str) -> float:
        with torch.no_grad():
            return float((head.eval()(features[part]).argmax(1) == labels[part]).float().mean())

    for epoch in range(EPOCHS):
        head.train()
        for chosen in epoch_batches(count, BATCH, seed, epoch, lengths if given.buckets else None):
            rows = torch.from_numpy(chosen)
            optimizer.param_groups[0]["lr"] = given.lr * linear(step, total)
            nn.functional.cross_entropy(head(features["train"][rows]), labels["train"][rows]).backward()
            optimizer.step()
            optimizer.zero_grad()
            step += 1
        if (now_at := score("validation")) > best:
            best, tested = now_at, score("test")
    return tested


JOBS = {
    "probes": Job(
        f"probe study: {SEEDS} seeds × {EPOCHS} epochs, 4,907 questions of TREC, MiniLM frozen",
        {
            "tlx, cold cache": Row(tlx(PROBE, "cold", SEEDS), f"{FUSED}, {CLIPPED}", PLAYED, EVERY),
            "tlx, warm cache": Row(tlx(PROBE, "warm", SEEDS), f"{FUSED}, {CLIPPED}", PLAYED, EVERY),
            "tlx, cache=bf16": Row(tlx([*PROBE, "cache=bf16"], "bf16", SEEDS), f"{FUSED}, {CLIPPED}", PLAYED, EVERY),
            "Hugging Face Trainer": Row(
                study(HuggingFace, PROBE, EPOCHS, SEEDS),
                f"AdamW, its default (fused), {CLIPPED}",
                SHUFFLED,
                EVERY,
                long=True,
                needs=("accelerate",),
            ),
            "plain Lightning": Row(
                study(PlainLightning, PROBE, EPOCHS, SEEDS), f"{ADAMW}, {CONSTANT}", SHUFFLED, EVERY, long=True
            ),
            "bare loop": Row(study(Bare, PROBE, EPOCHS, SEEDS), f"{FUSED}, {CONSTANT}", BUCKETS, EVERY, long=True),
            "limit": Row(limit, f"{FUSED}, not clipped, linear schedule", "sorted by length", EVERY),
        },
        [
            *((peer, "tlx, cold cache", "≥ 55") for peer in ("Hugging Face Trainer", "plain Lightning")),
            ("bare loop", "tlx, cold cache", ""),
            *((peer, "tlx, cache=bf16", "≥ 70") for peer in ("Hugging Face Trainer", "plain Lightning")),
            *((peer, "tlx, warm cache", "≥ 200") for peer in ("Hugging Face Trainer", "plain Lightning")),
            ("tlx, cold cache", "limit", "≤ 1.25"),
        ],
        "Limit: one bare pass of the encoder, 5 bare trainings of a head. Accuracies are to agree within 0.005.",
    ),
    "partial": Job(
        f"partial fine-tuning: the top 2 of 6 blocks, {LAPS} epochs, 1,000 questions",
        {
            "tlx": Row(tlx(PARTIAL, "played"), f"{FUSED}, {CLIPPED}", f"{BUCKETS}, {PLAYED}", EVERY),
            "bare loop": Row(
                bare_in_laps(PARTIAL, LAPS, [], 2, LAPS / 2), f"{FUSED}, {CONSTANT}", BUCKETS, EVERY, long=True
            ),
        },
        [("bare loop", "tlx", "≥ 1.4")],
        "All have the same batches in training and in validation.",
    ),
    "gradual": Job(
        f"gradual unfreezing: {PHASES} phases × {PHASE} epochs, 1,000 questions",
        {
            "tlx": Row(
                tlx_in_laps(GRADUAL, "played", SHORT, PHASE),
                f"{FUSED}, {CLIPPED}",
                f"{BUCKETS}, {PLAYED}",
                EVERY,
                long=True,
            ),
            "tlx, cache=off": Row(
                tlx_in_laps([*GRADUAL, "cache=off"], "off", SHORTER, SCALE),
                f"{FUSED}, {CLIPPED}",
                BUCKETS,
                EVERY,
                long=True,
            ),
            "finetuning-scheduler": Row(
                finetuning_scheduler(GRADUAL, PHASE, SHORTER, SCALE),
                f"{ADAMW}, {CONSTANT}",
                SHUFFLED,
                "each epoch, saves and restores the best at each phase, test at the end",
                long=True,
                needs=("finetuning_scheduler",),
            ),
            "fastai freeze_to": Row(
                fastai_freeze_to(GRADUAL, PHASE, SHORTER, SCALE),
                "its Adam (decoupled decay), one cycle a phase",
                SHUFFLED,
                EVERY,
                long=True,
                needs=("fastai",),
            ),
            "bare loop": Row(
                bare_in_laps(GRADUAL, PHASE, SHORTER, 1, SCALE, same=False, fused=None),
                f"{ADAMW}, {CONSTANT}",
                SHUFFLED,
                EVERY,
                long=True,
            ),
        },
        [
            *((peer, "tlx", "≥ 1.7") for peer in ("finetuning-scheduler", "fastai freeze_to", "bare loop")),
            ("tlx, cache=off", "tlx", ""),
        ],
        "cache=off / tlx is what playing back alone gives. The goal is meant for the fastest of the peers.",
    ),
}


if __name__ == "__main__":
    bench("frozen", JOBS, missing("trec", minilm=True))
