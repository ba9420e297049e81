"""The peers that compute frozen layers in every step: a bare loop, plain Lightning, the Trainer of transformers.

Each gets the network, the encoded examples and the learning rate that tlx would take for the same words, so that what
is compared is how the work is done. None of them saves anything, which is to their advantage. A scaled row leaves out
what they do once, too: loading the network, and decoding the examples.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import mean
from typing import Any, Protocol

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
import transformers
from rows import Enough, Found, Laps, Turn, Window, now, took
from torch import Tensor, nn
from torch.utils.data import DataLoader
from warm import ACCELERATOR, planned

from tlx.assembly import assemble, make_loaders
from tlx.data.loaders import Examples, eval_loader, train_loader
from tlx.fit.compact import compact_table
from tlx.fit.evaluation import device_of
from tlx.fit.seeding import seed_everything
from tlx.models.dropout import ATTENTION, Dropout
from tlx.module import TransferModule
from tlx.network.modes import in_eval_mode
from tlx.plan import apply_phase

QUIET: dict[str, Any] = {f"enable_{what}": False for what in ("progress_bar", "model_summary", "checkpointing")}
QUIET |= {"logger": False}


class Given:
    """What tlx would train for these words: `module` (batch → logits), `examples` of each part, rate `lr`, `device`.

    Its dropout is torch's, as peers have it, unless `tricks` are wanted, those of tlx.
    """

    def __init__(self, words: Sequence[str], seed: int, folder: Path, tricks: bool = False) -> None:
        config = planned(words, seed, folder).config
        seed_everything(seed)
        data, self.module = assemble(config)
        loaders = make_loaders(config, data, self.module)
        self.compact = compact_table(config, self.module, loaders) if tricks else None
        if not tricks:
            plain_dropout(self.module)
        self.examples: dict[str, Examples] = {n: loaders[n].dataset for n in ("train", "validation", "test")}
        self.device, self.batch_size = device_of(config), config["trainer"]["batch_size"]
        self.seed, self.lr = seed, float(config["optimizer"]["lr"])
        self.buckets = config["dataset"]["sampler"] == "length_buckets"

    def shuffled(self) -> DataLoader:
        """Training batches as a DataLoader makes them: any examples together, padded to the longest of them."""
        data = self.examples["train"]
        return DataLoader(data, self.batch_size, shuffle=True, collate_fn=data.collate)

    def batches(self) -> DataLoader:
        """tlx's own training batches."""
        return train_loader(self.examples["train"], self.batch_size, self.seed, self.buckets)

    def epochs(self, count: int, same: bool) -> Iterator[Iterator[dict[str, Tensor]]]:
        """So many epochs of tlx's own batches (`same`), or of shuffled ones."""
        loader = self.batches() if same else self.shuffled()
        for epoch in range(count):
            if same:
                loader.batch_sampler.set_epoch(epoch)
            yield iter(loader)

    def moved(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """The batch where the module is trained."""
        return {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}

    def in_order(self, part: str) -> DataLoader:
        """The batches in which tlx evaluates a part."""
        return eval_loader(self.examples[part], 128)


def plain_dropout(module: TransferModule) -> None:
    """Give a network of transformers back what tlx has replaced."""
    for parent in list(module.backbone.modules()):
        for name, part in parent.named_children():
            if type(part) is Dropout:
                setattr(parent, name, nn.Dropout(part.p))
    network = getattr(module.backbone, "network", None)
    if getattr(getattr(network, "config", None), "_attn_implementation", None) == ATTENTION:
        network.set_attn_implementation("sdpa")


class Trained(Protocol):
    """A peer's training, ready to begin."""

    given: Given

    def train(self, window: Window) -> None:
        """Train to the end, with a validation after every epoch; in a window, without."""

    def evaluate(self, part: str) -> float:
        """One pass over a part: the accuracy."""


def study(
    peer: Callable[[Given, Path, int], Trained], words: Sequence[str], epochs: int, seeds: int = 1
) -> Callable[[Turn], Found]:
    """Measures a peer's whole study: `seeds` trainings of so many epochs with validations, each with a test at its end.

    Scaled, the seconds of an example come from a window of training and a pass of validation.
    """

    def measure(turn: Turn) -> Found:
        window = Window(turn.whole)
        if turn.whole:
            began, scores = now(), []
            for seed in range(seeds):
                trained = peer(Given(words, seed, turn.folder), turn.folder, epochs)
                trained.train(window)
                scores.append(trained.evaluate("test"))
            return took(now() - began, accuracy=mean(scores))
        trained = peer(Given(words, turn.seed, turn.folder), turn.folder, epochs)
        try:
            trained.train(window)
            raise RuntimeError("the training ended before its window did")
        except Enough:
            began = now()
        trained.evaluate("validation")
        sizes = {name: len(part) for name, part in trained.given.examples.items()}
        looking = (now() - began) / sizes["validation"]
        epoch = sizes["train"] * window.pace + sizes["validation"] * looking
        return took(seeds * (epochs * epoch + sizes["test"] * looking), **window.padding)

    return measure


class Bare:
    """The shortest loop of plain PyTorch, phase by phase of tlx's plan, `epochs` in each.

    `same`: over tlx's own batches; `fused`: AdamW's option.
    """

    def __init__(
        self,
        given: Given,
        folder: Path,
        epochs: int,
        laps: Laps | None = None,
        same: bool = True,
        fused: bool | None = True,
    ) -> None:
        self.given, self.epochs, self.laps, self.same, self.fused = given, epochs, laps or Laps(), same, fused

    def train(self, window: Window) -> None:
        with self.given.compact or nullcontext():
            self._train(window)

    def _train(self, window: Window) -> None:
        module, plan = self.given.module.train().to(self.given.device), self.given.module.plan
        assert plan is not None
        for phase in range(len(plan.phases)):
            apply_phase(module, plan, phase)
            optimizer = torch.optim.AdamW(
                [p for p in module.parameters() if p.requires_grad], self.given.lr, fused=self.fused
            )
            for batches in self.given.epochs(self.epochs, self.same):
                self.laps.begin()
                for batch in map(self.given.moved, batches):
                    module.task.loss(module(batch), batch).backward()
                    optimizer.step()
                    optimizer.zero_grad()
                    window.step(batch)
                if window.whole:
                    self.evaluate("validation")
                self.laps.end()

    def evaluate(self, part: str) -> float:
        return accuracy(self.given, part)


def accuracy(given: Given, part: str) -> float:
    """One pass of the network over a part; its modes are as before afterwards."""
    right = 0
    with in_eval_mode(given.module), torch.no_grad():
        for batch in map(given.moved, given.in_order(part)):
            right += int((given.module(batch).argmax(1) == batch["label"]).sum())
    return right / len(given.examples[part])


def bare_in_laps(
    words: Sequence[str], epochs: int, short: Sequence[str], few: int, factor: float, **options: Any
) -> Any:
    """Measures the bare loop on one run, `epochs` epochs a phase: whole, or with `short` and only `few`, scaled."""

    def measure(turn: Turn) -> Found:
        laps = Laps()
        given = Given(words if turn.whole else [*words, *short], turn.seed, turn.folder)
        began = now()
        bare = Bare(given, turn.folder, epochs if turn.whole else few, laps, **options)
        bare.train(Window(whole=True))
        score = bare.evaluate("test")
        if turn.whole:
            return took(now() - began, accuracy=score)
        return took(laps.scaled(now() - began, factor))

    return measure


class Plain(L.LightningModule):
    """What Lightning's documentation begins with: the network, cross-entropy, accuracy, AdamW as it comes."""

    def __init__(self, module: TransferModule, lr: float) -> None:
        super().__init__()
        self.backbone, self.head, self.lr = module.backbone, module.task.head, lr

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.head(self.backbone(batch))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch), batch["label"])

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        right = (self(batch).argmax(1) == batch["label"]).float().mean()
        self.log("accuracy", right, batch_size=len(batch["label"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], self.lr)


class Tell(L.Callback):
    """The window as a callback of Lightning's."""

    def __init__(self, window: Window) -> None:
        self.window = window

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.window.step(batch)


class PlainLightning:
    """`Plain` in a Trainer that neither logs nor saves; what the first phase of tlx's plan freezes is frozen.

    `same`: over tlx's own batches; `precision` is the Trainer's.
    """

    def __init__(self, given: Given, folder: Path, epochs: int, same: bool = False, precision: str = "32-true") -> None:
        self.given, self.epochs, self.same = given, epochs, same
        self.options: dict[str, Any] = QUIET | {"accelerator": ACCELERATOR, "devices": 1, "precision": precision}
        module = given.module.train()
        assert module.plan is not None
        apply_phase(module, module.plan, 0)
        self.plain = Plain(module, given.lr)

    def train(self, window: Window) -> None:
        trainer = L.Trainer(
            max_epochs=self.epochs,
            limit_val_batches=1.0 if window.whole else 0,
            callbacks=[Tell(window)],
            **self.options,
        )
        batches = self.given.batches() if self.same else self.given.shuffled()
        trainer.fit(self.plain, batches, self.given.in_order("validation"))

    def evaluate(self, part: str) -> float:
        trainer = L.Trainer(**self.options)
        return trainer.validate(self.plain, self.given.in_order(part), verbose=False)[0]["accuracy"]


class Answering(nn.Module):
    """A network as the Trainer of transformers wants it: named inputs, and the loss beside the logits."""

    def __init__(self, module: TransferModule) -> None:
        super().__init__()
        self.backbone, self.head = module.backbone, module.task.head

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None, labels: Any = None
    ) -> dict[str, Tensor]:
        batch = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            batch["token_type_ids"] = token_type_ids
        logits = self.head(self.backbone(batch))
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


class HuggingFace:
    """The Trainer of transformers with its own defaults but for `options`.

    What the first phase of tlx's plan freezes has no gradients; like everything else the Trainer puts it in train mode.
    """

    def __init__(self, given: Given, folder: Path, epochs: int, **options: Any) -> None:
        self.given, self.folder, self.epochs, self.options = given, folder, epochs, options
        assert given.module.plan is not None
        apply_phase(given.module.train(), given.module.plan, 0)
        self.network = Answering(given.module)

    def train(self, window: Window) -> None:
        self.trainer = self._make(window)
        self.trainer.train()

    def evaluate(self, part: str) -> float:
        return self.trainer.evaluate(self._labelled(part))["eval_accuracy"]

    def _labelled(self, part: str) -> list[dict[str, Any]]:
        data = self.given.examples[part]
        return [e | {"label": int(n)} for e, n in zip(data.examples, data.labels, strict=True)]

    def _make(self, window: Window) -> transformers.Trainer:
        tokenizer = self.given.module.backbone.preprocessing.tokenizer
        pad, collated = transformers.DataCollatorWithPadding(tokenizer), deque[Any]()

        def collate(items: list[dict]) -> Any:
            batch = pad(items)
            if self.network.training:
                collated.append(batch)
            return batch

        class TellTrainer(transformers.TrainerCallback):
            def on_step_end(self, *_: Any, **__: Any) -> None:
                window.step(collated.popleft())  # a batch is fetched ahead: the oldest is the one done

        arguments = transformers.TrainingArguments(
            str(self.folder / "hugging_face"),
            per_device_train_batch_size=self.given.batch_size,
            per_device_eval_batch_size=128,
            num_train_epochs=self.epochs,
            learning_rate=self.given.lr,
            seed=self.given.seed,
            use_cpu=ACCELERATOR == "cpu",
            report_to="none",
            eval_strategy="epoch" if window.whole else "no",
            save_strategy="no",
            disable_tqdm=True,
            remove_unused_columns=False,
            **self.options,
        )
        trainer = transformers.Trainer(
            self.network,
            arguments,
            data_collator=collate,
            train_dataset=self._labelled("train"),
            eval_dataset=self._labelled("validation"),
            processing_class=tokenizer,
            compute_metrics=lambda p: {"accuracy": float(np.mean(p.predictions.argmax(1) == p.label_ids))},
            callbacks=[TellTrainer()],
        )
        trainer.remove_callback(transformers.PrinterCallback)  # what it prints is no part of the table
        return trainer
