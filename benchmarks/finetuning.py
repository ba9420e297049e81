"""How fast tlx fine-tunes a text model, against what it is built on, a peer, and the limit.

`make bench` runs this. Every row trains all of MiniLM on TREC, batches of 16, single precision, one thread. A window
is STEPS optimiser steps in the first epoch after WARM others, in a process of its own, so that no row inherits
another's settings. Windows of all rows take turns, so that a machine that slows down slows all of them; besides the
clock's time each has the processor's, which other programs disturb less. In one repetition all rows have the same
batches but for the Hugging Face Trainer, which draws its own. No row validates or saves within a window: tlx, which
saves once a minute, is told not to (trainer.checkpoint_seconds), as the others are.

The environment names what it needs: TLX_MINILM the folder of all-MiniLM-L6-v2, TLX_DATA the one that holds `trec`.
"""

import importlib.util
import json
import multiprocessing
import os
import sys
import tempfile
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import lightning as L
import torch
import transformers
from torch.utils.data import DataLoader

from tlx.config import composer
from tlx.data.dataset import Dataset, encode
from tlx.data.loaders import Examples
from tlx.data.sampling import EpochBatchSampler
from tlx.data.text import TextPreprocessing
from tlx.instantiate import instantiate
from tlx.objectives.ewc import EWC
from tlx.quiet import quiet_lightning
from tlx.sweeps.study import Planned, plan_run
from tlx.sweeps.worker import do

WARM, STEPS, REPEATS, BATCH, LR = 10, 120, 3, 16, 1e-4
MINILM, DATA = Path(os.environ.get("TLX_MINILM", "")), Path(os.environ.get("TLX_DATA", "")) / "trec"


class Enough(Exception):
    """The window is over."""


class Clock:
    """Counts steps, and in the window seconds, examples and tokens; ends the training with its last step."""

    def __init__(self) -> None:
        self.steps = self.examples = self.tokens = self.padded = 0

    def step(self, batch: Any) -> None:
        """Say that a step with this batch is done."""
        self.steps += 1
        if self.steps > WARM:
            mask = batch["attention_mask"]
            self.examples, self.padded = self.examples + len(mask), self.padded + mask.numel()
            self.tokens += int(mask.sum())
        if self.steps == WARM:
            self.began = time.perf_counter(), time.process_time()
        if self.steps == WARM + STEPS:
            self.seconds = time.perf_counter() - self.began[0]
            self.processor = time.process_time() - self.began[1]
            raise Enough

    def found(self) -> dict[str, float]:
        """Examples per second by the clock and by the processor, and padding as a share of all tokens."""
        return {
            "examples_per_second": self.examples / self.seconds,
            "examples_per_processor_second": self.examples / self.processor,
            "padding": 1 - self.tokens / self.padded,
        }


class Watch(L.Callback):
    """The clock as a callback of Lightning's."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.clock.step(batch)


def planned(words: Sequence[str], seed: int, folder: Path) -> Planned:
    """The run of `tlx train` with these words, MiniLM and TREC."""
    given = ["model=minilm", f"model.path={MINILM}", "dataset=trec", f"dataset.path={DATA}", f"seed={seed}"]
    given += [f"trainer.batch_size={BATCH}", "trainer.threads=1"]
    given += [f"paths.{name}={folder / name}" for name in ("runs", "registry", "cache")]
    with composer() as compose:
        return plan_run(compose([*given, *words]))


def tlx_train(strategy: str, *further: Callable[[], L.Callback]) -> Callable[[Clock, int, Path], None]:
    """`tlx train` with this strategy: its own config, Trainer, callbacks and record."""

    def train(clock: Clock, seed: int, folder: Path) -> None:
        run = planned([f"strategy={strategy}", "trainer.checkpoint_seconds=3600"], seed, folder)
        do(run, [Watch(clock), *(make() for make in further)])

    return train


def ewc() -> EWC:
    """EWC with a made-up Fisher information: MiniLM brings no source task, and a step costs the same with any."""
    return EWC(1.0, lambda module: {n: torch.ones_like(p) for n, p in module.backbone.named_parameters("backbone")})


def examples(seed: int, folder: Path, words: Sequence[str] = ()) -> Examples:
    """The training part of TREC as tlx encodes it for the run with these words."""
    dataset: Dataset = instantiate(planned(words, seed, folder).config["dataset"], "dataset")
    part = dataset.load(seed, folder / "cache").train
    preprocessing = TextPreprocessing(transformers.AutoTokenizer.from_pretrained(MINILM), 128)
    return Examples(encode(part, preprocessing), part.labels, preprocessing)


def batches(seed: int, folder: Path, words: Sequence[str] = ()) -> DataLoader:
    """The batches of tlx's epochs, one epoch a pass, as the arguments of a network of transformers."""
    data = examples(seed, folder, words)
    lengths = [data.preprocessing.length(example) for example in data.examples]

    def collate(items: list[tuple]) -> dict[str, torch.Tensor]:
        batch = data.collate(items)
        del batch["index"]
        return batch | {"labels": batch.pop("label")}

    return DataLoader(data, batch_sampler=EpochBatchSampler(len(data), BATCH, seed, lengths), collate_fn=collate)


def network() -> Any:
    """MiniLM with a new head for TREC's 6 classes, in train mode."""
    kind = transformers.AutoModelForSequenceClassification
    return kind.from_pretrained(MINILM, num_labels=6, dtype=torch.float32).train()


def bare(**options: Any) -> Callable[[Clock, int, Path], None]:
    """The shortest loop of plain PyTorch; `options` are AdamW's."""

    def train(clock: Clock, seed: int, folder: Path) -> None:
        model = network()
        optimizer = torch.optim.AdamW(model.parameters(), LR, **options)
        for batch in batches(seed, folder):
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            clock.step(batch)

    return train


class Plain(L.LightningModule):
    """What Lightning's documentation begins with."""

    def __init__(self) -> None:
        super().__init__()
        self.model = network()

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.model(**batch).loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), LR)


def plain_lightning(clock: Clock, seed: int, folder: Path) -> None:
    """A LightningModule of ten lines in a Trainer that neither logs nor saves."""
    quiet: dict[str, Any] = {f"enable_{what}": False for what in ("progress_bar", "model_summary", "checkpointing")}
    trainer = L.Trainer(accelerator="cpu", max_epochs=1, logger=False, callbacks=[Watch(clock)], **quiet)
    trainer.fit(Plain(), batches(seed, folder))


def hugging_face(clock: Clock, seed: int, folder: Path) -> None:
    """The Trainer of transformers with its defaults and its own grouping by length; it neither logs nor saves."""
    data = examples(seed, folder)
    tokenizer = data.preprocessing.tokenizer
    pad, collated = transformers.DataCollatorWithPadding(tokenizer), deque[Any]()

    def collate(items: list[dict]) -> Any:
        collated.append(pad(items))
        return collated[-1]

    class Tell(transformers.TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.step(collated.popleft())  # a batch is fetched ahead: the oldest is the one done

    arguments = transformers.TrainingArguments(
        str(folder / "hugging_face"),
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,
        learning_rate=LR,
        train_sampling_strategy="group_by_length",
        seed=seed,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )
    transformers.Trainer(
        network(),
        arguments,
        data_collator=collate,
        train_dataset=[e | {"label": int(n)} for e, n in zip(data.examples, data.labels, strict=True)],
        processing_class=tokenizer,
        callbacks=[Tell()],
    ).train()


# name -> (what trains, optimiser, gradient clipping and learning rate, how batches come about)
ROWS: dict[str, tuple[Callable[[Clock, int, Path], None], str, str, str]] = {
    "tlx": (tlx_train("full"), "AdamW, fused", "clipped, linear schedule", "length buckets"),
    "bare loop": (bare(), "AdamW, default", "no clipping, constant", "length buckets of tlx"),
    "plain Lightning": (plain_lightning, "AdamW, default", "no clipping, constant", "length buckets of tlx"),
    "Hugging Face Trainer": (hugging_face, "AdamW, its default (fused)", "clipped, linear schedule", "group_by_length"),
    "limit": (bare(fused=True), "AdamW, fused", "no clipping, constant", "length buckets of tlx"),
    "tlx discriminative": (tlx_train("discriminative"), "AdamW, fused", "clipped, linear schedule", "length buckets"),
    "tlx mixout": (tlx_train("mixout"), "AdamW, fused", "clipped, linear schedule", "length buckets"),
    "tlx L2-SP": (tlx_train("l2_sp"), "AdamW, fused", "clipped, linear schedule", "length buckets"),
    "tlx EWC": (tlx_train("full", ewc), "AdamW, fused", "clipped, linear schedule", "length buckets"),
}
# (whose examples a second, over whose)
RATIOS = [("tlx", name) for name in ("bare loop", "plain Lightning", "Hugging Face Trainer", "limit")]
STEP_COSTS = [(f"tlx {name}", "tlx") for name in ("discriminative", "mixout", "L2-SP", "EWC")]


def alone(name: str, measure: Callable[[], Any]) -> Any:
    """What a row's measurement gives, in a process forked from this one, which has only done the imports."""
    fork = multiprocessing.get_context("fork")
    receive, send = fork.Pipe(duplex=False)

    def child() -> None:
        torch.set_num_threads(1)
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        warnings.simplefilter("ignore")
        quiet_lightning()
        send.send(measure())

    process = fork.Process(target=child)
    process.start()
    send.close()
    try:
        return receive.recv()
    except EOFError:
        sys.exit(f"{name} ended without a result; see above.")
    finally:
        process.join()


def window(name: str, seed: int, folder: Path) -> dict[str, float]:
    """One window of a row.

    Raises:
        RuntimeError: the row's training ended before its window did.
    """
    clock = Clock()
    try:
        ROWS[name][0](clock, seed, folder)
    except Enough:
        return clock.found()
    raise RuntimeError(f"{name} ended before its window did.")


def measure(names: list[str]) -> Iterator[tuple[str, dict[str, float]]]:
    """REPEATS windows of each row, taking turns."""
    for seed in range(REPEATS):
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                yield name, alone(name, partial(window, name, seed, Path(folder)))


def spread(values: list[float], digits: int) -> str:
    """Median and range."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    """Print medians and ranges; write benchmarks/finetuning.json."""
    if not (MINILM / "config.json").is_file() or not DATA.is_dir():
        print("fine-tuning is not measured: TLX_MINILM must name MiniLM's folder, TLX_DATA the one that holds trec.")
        return
    names = list(ROWS)
    if importlib.util.find_spec("accelerate") is None:
        names.remove("Hugging Face Trainer")
        print("the Hugging Face Trainer is not measured: it needs accelerate (pip install 'tlx[bench]').")
    os.environ |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for name, one in measure(names):
        found[name].append(one)
        print(f"{name}: {one['examples_per_second']:.1f} examples a second", file=sys.stderr, flush=True)
    print(f"MiniLM on TREC, batches of {BATCH}, {os.cpu_count()} cores, one thread, {REPEATS} windows of {STEPS} steps")
    print("no validation and no checkpoint in any window; median (range)")
    print(f"{'':22}{'examples a second':>24}{'padding':>9}  optimiser; gradients, rate; batches")
    for name, windows in found.items():
        speed, padding = spread([w["examples_per_second"] for w in windows], 1), median(w["padding"] for w in windows)
        print(f"{name:22}{speed:>24}{padding:9.1%}  {'; '.join(ROWS[name][1:])}")
    for pairs, words, power in ((RATIOS, "examples a second", 1), (STEP_COSTS, "cost of an example", -1)):
        for one, other in pairs:
            if other not in found:
                continue
            by = [
                [(a[key] / b[key]) ** power for a, b in zip(found[one], found[other], strict=True)]
                for key in ("examples_per_second", "examples_per_processor_second")
            ]
            print(f"{words}, {one} / {other}: {spread(by[0], 2)} by the clock, {spread(by[1], 2)} by the processor")
    Path("benchmarks/finetuning.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
