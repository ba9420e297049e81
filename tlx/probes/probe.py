"""One head on frozen features: what its training needs, what it logs on the way, and how it ends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning.pytorch.loggers import Logger
from torch import Tensor

from tlx.callbacks.divergence import Diverged, diverged
from tlx.callbacks.negative_transfer import NegativeTransferWarning
from tlx.callbacks.progress import Listener
from tlx.config import budget
from tlx.data.sampling import EpochBatchSampler, epoch_batches
from tlx.fit.seeding import generator_now
from tlx.module import TransferModule
from tlx.probes.heads import SEPARABLE
from tlx.tasks.metrics import direction, rank

LOG_EVERY = 10  # steps between two rows of train/loss


@dataclass
class Known:
    """What a frozen backbone makes of a part's examples: features (n, D), and their labels (n,).

    Both lie where the head is trained; `kept` are the features as the cache has them.
    """

    kept: Tensor
    features: Tensor
    labels: Tensor


@dataclass
class Probe:
    """A head in training. It knows nothing of those that are trained beside it.

    `generator` draws its dropout masks; `best` is the head at the best validation so far. When it is `done`, the module
    has the head with which its training ended, and `error` says why if that was too early.
    """

    config: dict[str, Any]
    module: TransferModule
    sampler: EpochBatchSampler
    train: Known
    validation: Known
    generator: torch.Generator
    watch: NegativeTransferWarning
    loggers: Sequence[Logger] = ()
    listeners: Sequence[Listener] = ()
    steps: int = 0
    epochs: int = 0
    done: bool = False
    best: tuple[Tensor, Tensor] | None = None
    error: Diverged | None = None
    _best: float = field(default=-math.inf, init=False)
    _waited: int = field(default=0, init=False)

    def batches(self, epoch: int) -> list[np.ndarray]:
        """The positions of the examples in each batch of an epoch; a number of batches that all seeds have."""
        sampler = self.sampler
        return epoch_batches(sampler.count, sampler.batch_size, sampler.seed, epoch, sampler.lengths)

    def stepped(self, epoch: int, loss: float, values: Any) -> None:
        """An optimiser step is done; `values` gives the head's state, should it be broken."""
        if self.done:
            return
        self.steps += 1
        if self.steps % LOG_EVERY == 0:
            self._log({"train/loss": loss}, epoch)
        if not math.isfinite(loss):
            self.end(values())
            self.error = diverged(loss, self.steps, self.module, self.module.plan, self._rates())

    def validated(self, epoch: int, loss: float, scores: dict[str, float], values: tuple[Tensor, Tensor]) -> None:
        """An epoch and its validation are over: keep the head if it is the best, and end where it does not pay."""
        if self.done:
            return
        self.epochs = epoch + 1
        self._log({f"val/{name}": score for name, score in scores.items()}, epoch)
        monitor = self.config["dataset"]["monitor"]
        score = scores[monitor]
        self.watch.look(score, self.steps)
        now = rank(score, direction(monitor))
        if self.best is None or now > self._best:
            self.best, self._best, self._waited = values, now, 0
        else:
            self._waited += 1
        for listener in self.listeners:
            listener.hear(self.epochs, budget.epochs(self.config), self.steps, loss)
        patience = self.config["trainer"]["patience"]
        hopeless = patience and (self._waited >= patience or not math.isfinite(score))
        if self.epochs == budget.epochs(self.config) or hopeless:
            self.end(values)

    def end(self, values: tuple[Tensor, Tensor]) -> None:
        """Its training is over, whatever is still done to the numbers beside it."""
        self.done = True
        weight, bias = values
        self.module.task.linear.weight.data, self.module.task.linear.bias.data = weight.cpu(), bias.cpu()
        for logger in self.loggers:
            logger.finalize("success")
        for listener in self.listeners:
            listener.stop()

    def best_state(self) -> dict[str, Tensor]:
        """The best head as a part of the module's state."""
        assert self.best is not None
        names = {id(p): name for name, p in self.module.named_parameters()}
        linear = self.module.task.linear
        parts = zip((linear.weight, linear.bias), self.best, strict=True)
        return {names[id(parameter)]: value.cpu() for parameter, value in parts}

    def _log(self, values: dict[str, float], epoch: int) -> None:
        for logger in self.loggers:
            logger.log_metrics(values | {"epoch": epoch}, self.steps - 1)
            logger.save()

    def _rates(self) -> dict[str, float]:
        groups = self.module.plan.optimizer_groups(self.module, self.module.lr, self.module.weight_decay)
        return {group["name"]: group["lr"] for group in groups}


def make_probe(
    config: dict[str, Any],
    module: TransferModule,
    loaders: dict[str, Any],
    watch: NegativeTransferWarning,
    listeners: Sequence[Listener],
    beside: Sequence["Probe"] = (),
) -> Probe | None:
    """The head of `module`, with the features of its examples on the device of the module.

    It goes on drawing random numbers where torch's generator is now. Tensors that `beside` have too are theirs.

    None where more than a linear head is trained, or in another way: the features are not kept (`tlx.cache`), there are
    objectives, batches are accumulated, an anomaly is looked for, or the optimiser is none of `SEPARABLE`.
    """
    plan, options, task = module.plan, config["trainer"], module.task
    trained = {name for name, parameter in module.named_parameters() if any(parameter is p for p in task.parameters())}
    in_phases = {n for g in plan.groups if g.name in plan.ever_trainable for n in g.parameters} - plan.fixed
    if len(plan.phases) > 1 or in_phases != trained or module.objectives:
        return None
    if options["accumulate"] > 1 or options["detect_anomaly"]:
        return None
    if type(module.make_optimizer(plan.optimizer_groups(module, module.lr, module.weight_decay))) not in SEPARABLE:
        return None
    known: dict[str, Known] = {}
    for part in ("train", "validation"):
        features = module.features(part)
        if features is None:
            return None
        theirs: list[Known] = [getattr(other, part) for other in beside]
        there = next((t.features for t in theirs if t.kept is features), features.to(module.device))
        known[part] = Known(features, there, torch.from_numpy(loaders[part].dataset.labels).to(module.device))
    generator = generator_now(module.device, config["seed"])
    sampler = loaders["train"].batch_sampler
    return Probe(config, module, sampler, known["train"], known["validation"], generator, watch, listeners=listeners)
