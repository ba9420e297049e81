"""What it saves to compute frozen layers once: whole studies of tlx against loops that compute them in every step.

`make bench` runs this. MiniLM on TREC, batches of 16, single precision, one thread; every row in a process of its own,
rows taking turns. tlx's rows are whole runs, from the resolved config to the record on disk, with a validation after
every epoch and the test; the others only train, and validate never. A row that would take many minutes is measured over
STEPS steps and scaled to the same number of steps (marked ≈).

The environment names what it needs, as for `benchmarks/finetuning.py`.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import torch
from finetuning import DATA, LR, MINILM, alone, batches, network, planned, spread

from tlx.data.loaders import eval_loader
from tlx.sweeps.worker import do
from tlx.train import assemble, make_loaders

REPEATS, STEPS, SEEDS, PROBE_EPOCHS = 3, 100, 5, 10
FEW = ["dataset.train_size=1000"]
PROBE = ["strategy=feature_extraction", f"trainer.max_epochs={PROBE_EPOCHS}"]
PARTIAL = [
    "strategy=partial",
    "strategy.freezing.until=layer4",
    "strategy.freezing.ratio=null",
    "trainer.max_epochs=5",
    *FEW,
]
GRADUAL = ["strategy=gradual_unfreezing", "strategy.freezing.groups_per_phase=3", "trainer.max_epochs=12", *FEW]
GRADUAL += ["strategy.freezing.epochs_per_phase=3"]
# What a plain loop trains in these: prefixes of parameter names, phase by phase.
HEAD = ("classifier", "bert.pooler")
TOP = [(*HEAD, *(f"bert.encoder.layer.{i}." for i in range(lowest, 6))) for lowest in (5, 4, 3, 2, 1, 0)]
EVERYTHING = ("",)


def tlx_runs(words: Sequence[str], seeds: int = 1, again: bool = False) -> Callable[[Path], float]:
    """Seconds that tlx takes for these runs; `again`: after somebody did them once."""

    def measure(folder: Path) -> float:
        if again:
            do(planned([*words, "study=before"], 0, folder), [])
        runs = [planned(words, seed, folder) for seed in range(seeds)]
        began = time.perf_counter()
        for run in runs:
            do(run, [])
        return time.perf_counter() - began

    return measure


def plain_loop(
    words: Sequence[str], phases: Sequence[tuple[str, ...]], epochs: int, steps: int | None = None, times: float = 1
) -> Callable[[Path], float]:
    """Seconds of a plain loop that trains, with fused AdamW, what each phase names for so many epochs.

    With `steps` each phase stops there, and what it took is scaled to the whole and multiplied by `times`.
    """

    def measure(folder: Path) -> float:
        loader = batches(0, folder, words)
        given = [batch for _ in range(epochs) for batch in loader]
        model = network()
        done = seconds = 0.0
        for prefixes in phases:
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(name.startswith(prefixes))
            optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], LR, fused=True)
            began = time.perf_counter()
            for batch in given[: steps or len(given)]:
                model(**batch).loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                done += 1
            seconds += time.perf_counter() - began
        return seconds * len(phases) * len(given) / done * times

    return measure


def encoding(folder: Path) -> float:
    """Seconds of one pass of the frozen network over everything that a probe study sees: the least it can take."""
    config = planned(PROBE, 0, folder).config
    data, module = assemble(config)
    parts = make_loaders(config, data, module)
    began = time.perf_counter()
    with torch.no_grad():
        for part in ("train", "validation", "test"):
            for batch in eval_loader(parts[part].dataset, 32):
                module.backbone.eval()(batch)
    return time.perf_counter() - began


# name -> what measures it
ROWS: dict[str, Callable[[Path], float]] = {
    "probes, tlx": tlx_runs(PROBE, SEEDS),
    "probes, tlx, features kept before": tlx_runs(PROBE, SEEDS, again=True),
    "probes, tlx, encoded in bfloat16": tlx_runs([*PROBE, "cache=bf16"], SEEDS),
    "probes, one pass of the encoder": encoding,
    "probes, plain loop ≈": plain_loop(PROBE, [HEAD[:1]], PROBE_EPOCHS, STEPS, SEEDS),
    "partial, tlx": tlx_runs(PARTIAL),
    "partial, tlx, cache=off": tlx_runs([*PARTIAL, "cache=off"]),
    "partial, plain loop": plain_loop(PARTIAL, [TOP[1]], 5),
    "gradual, tlx": tlx_runs(GRADUAL),
    "gradual, tlx, cache=off": tlx_runs([*GRADUAL, "cache=off"]),
    "gradual, plain loop": plain_loop(GRADUAL, [HEAD, TOP[2], TOP[5], EVERYTHING], 3),
}
RATIOS = [
    ("probes, plain loop ≈", "probes, tlx"),
    ("probes, plain loop ≈", "probes, tlx, features kept before"),
    ("probes, plain loop ≈", "probes, tlx, encoded in bfloat16"),
    ("probes, tlx", "probes, one pass of the encoder"),
    ("partial, plain loop", "partial, tlx"),
    ("partial, tlx, cache=off", "partial, tlx"),
    ("gradual, plain loop", "gradual, tlx"),
    ("gradual, tlx, cache=off", "gradual, tlx"),
]


def main() -> None:
    """Print medians and ranges; write benchmarks/frozen.json."""
    if not (MINILM / "config.json").is_file() or not DATA.is_dir():
        print("frozen work is not measured: TLX_MINILM must name MiniLM's folder, TLX_DATA the one that holds trec.")
        return
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    found: dict[str, list[float]] = {name: [] for name in ROWS}
    for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else REPEATS):
        for name, seconds in found.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds.append(alone(name, partial(ROWS[name], Path(folder))))
            print(f"{name}: {seconds[-1]:.1f} s", file=sys.stderr, flush=True)
    print(f"seconds, {os.cpu_count()} cores, one thread, median (range) of {len(found['probes, tlx'])}")
    for name, seconds in found.items():
        print(f"{name:36}{spread(seconds, 1):>28}")
    for one, other in RATIOS:
        ratios = [a / b for a, b in zip(found[one], found[other], strict=True)]
        print(f"{one} / {other}: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    Path("benchmarks/frozen.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
