"""Quadratic penalties on weights, added to the gradient once per optimiser step."""

import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import lightning as L
import torch
from torch import Tensor, nn

from tlx.errors import UserError
from tlx.objectives.objective import Objective
from tlx.private import divides_gradients_itself

if TYPE_CHECKING:
    from tlx.module import TransferModule

# Bytes of weights that are pulled at once, so that w − start never takes as much memory as the network. On a CPU so few
# that it stays in the cache between two operations; on a GPU many, since each operation has to be started.
BLOCK = {"cpu": 2**22, "gpu": 2**28}


@dataclass(frozen=True)
class Pull:
    """strength / 2 · Σ importance · (w − start)² of one parameter. No start: 0. No importance: 1."""

    strength: float
    start: Tensor | None = None
    importance: Tensor | None = None


@dataclass(frozen=True)
class Block:
    """Parameters that are pulled in one way, by a few operations for all. An empty list: none has such a tensor."""

    strength: float
    weights: list[nn.Parameter]
    starts: list[Tensor]
    importance: list[Tensor]

    @torch.no_grad()
    def add_gradient(self, scale: float = 1.0) -> None:
        """gradient += scale · strength · importance ∘ (w − start), where a parameter is trained now."""
        gradients, apart, importance = self._now()
        if importance:
            torch._foreach_addcmul_(gradients, importance, apart, value=self.strength * scale)
        elif gradients:
            torch._foreach_add_(gradients, apart, alpha=self.strength * scale)

    @torch.no_grad()
    def value(self) -> Tensor:
        """The penalty of the parameters that are trained now: a scalar."""
        gradients, apart, importance = self._now()
        if not gradients:
            return torch.zeros(())
        if not importance:
            return self.strength / 2 * torch.stack(torch._foreach_norm(apart)).square().sum()
        squares = list(torch._foreach_mul(apart, apart))
        torch._foreach_mul_(squares, importance)
        return self.strength / 2 * torch.stack(torch._foreach_norm(squares, 1)).sum()  # none is negative

    def _now(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Gradients, w − start and importance of the parameters that are trained now."""
        trained = [i for i, weight in enumerate(self.weights) if weight.requires_grad]
        weights: list[Tensor] = [self.weights[i] for i in trained]
        for weight in weights:
            if weight.grad is None:  # this batch had no use for it; the penalty has
                weight.grad = torch.zeros_like(weight)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if self.starts and weights:
            starts = [self.starts[i] for i in trained]
            weights = list(torch._foreach_sub(weights, starts))
        return gradients, weights, [self.importance[i] for i in trained] if self.importance else []


def blocks(pulls: Iterable[tuple[nn.Parameter, Pull]]) -> list[Block]:
    """The pulled parameters, those of a kind together, in blocks of about `BLOCK` bytes."""
    kinds: dict[tuple, Block] = {}
    found: list[Block] = []
    for weight, pull in pulls:
        kind = (pull.strength, pull.start is None, pull.importance is None, weight.device, weight.dtype)
        block = kinds.get(kind)
        limit = BLOCK["cpu" if weight.device.type == "cpu" else "gpu"]
        if block is None or sum(w.nbytes for w in block.weights) + weight.nbytes > limit:
            block = kinds[kind] = Block(pull.strength, [], [], [])
            found.append(block)
        block.weights.append(weight)
        block.starts.extend([] if pull.start is None else [pull.start.to(weight)])
        block.importance.extend([] if pull.importance is None else [pull.importance.to(weight)])
    return found


class Penalty(Objective):
    """Adds the gradient of a quadratic penalty to the task's, after accumulation and before clipping.

    What the optimiser then sees is the gradient of the whole loss, at the price of a few operations for all weights
    instead of a graph through each of them. Frozen parameters are not pulled. Every tenth step or so (the Trainer's
    `log_every_n_steps`) the penalty before the step is logged as `train/<label>`.

    The start of a parameter is its value when the module's first fit begins; checkpoints hold it, since a resumed run
    has moved.
    """

    label: ClassVar[str]

    def __init__(self) -> None:
        self.start: dict[str, Tensor] = {}
        self._seen: weakref.ref[nn.Module] | None = None  # the module that they are of
        self._blocks: list[Block] = []
        self._of: tuple[int, int] = (0, 0)  # the optimiser that they are of, and how many parameters it had

    def pull(self, name: str) -> Pull | None:
        """How the parameter called `name` is pulled, `self.start` being known; None: not at all."""
        raise NotImplementedError

    def starts(self, name: str) -> bool:
        """Whether the parameter is held near its start."""
        raise NotImplementedError

    def check(self, names: Sequence[str]) -> None:
        """See that the penalty is of some of the parameters that are called so.

        Raises:
            UserError: it is not.
        """

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.check([name for name, _ in pl_module.named_parameters()])
        if self._seen is not None and self._seen() is not pl_module:
            self.start = {}
        self._seen = weakref.ref(pl_module)
        for name, parameter in pl_module.named_parameters():
            if self.starts(name) and name not in self.start:
                self.start[name] = parameter.detach().clone()

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        every = trainer.log_every_n_steps  # type: ignore[attr-defined]
        found = self._blocks_of(pl_module, optimizer)
        if every and (trainer.global_step + 1) % every == 0:
            pl_module.log(f"train/{self.label}", sum(block.value().to(pl_module.device) for block in found))
        scale = _gradient_scale(trainer, optimizer)
        for block in found:
            block.add_gradient(scale)

    def _blocks_of(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> list[Block]:
        """The optimiser's pulled parameters; arranged anew when another one steps, or one that was given more."""
        size = sum(len(group["params"]) for group in optimizer.param_groups)
        if self._of != (id(optimizer), size):
            own = {id(p) for group in optimizer.param_groups for p in group["params"]}
            pulls = ((p, self.pull(name)) for name, p in module.named_parameters() if id(p) in own)
            self._blocks = blocks((p, pull) for p, pull in pulls if pull and pull.strength)
            self._of = id(optimizer), size
        return self._blocks

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._blocks, self._of = [], (0, 0)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.on_fit_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {"start": self.start}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.start, self._seen = dict(state_dict["start"]), None


def _gradient_scale(trainer: L.Trainer, optimizer: torch.optim.Optimizer) -> float:
    """What gradients are multiplied by at this moment: a fused optimiser of fp16 divides them in its step alone."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    fused = divides_gradients_itself(optimizer)
    return float(scaler.get_scale()) if scaler is not None and fused else 1.0


def at_least(least: float, **values: float) -> None:
    """Raises UserError where a value is below `least`, or no number."""
    for name, value in values.items():
        if not value >= least:
            raise UserError(f"strategy.objectives: {name}={value} must be at least {least:g}.")


def pretrained(config: Mapping[str, Any], module: "TransferModule", label: str) -> frozenset[str]:
    """Names of the pretrained parameters that some phase of the module's plan trains.

    Raises:
        UserError: there are none.
    """
    init = config["strategy"]["init"]
    if init in ("scratch", "shuffled"):
        raise UserError(
            f"{label} holds weights near their pretrained values, and strategy.init={init} has none: say "
            "strategy.init=pretrained (or registry:NAME), or strategy.objectives=[]."
        )
    found = module.trained_pretrained
    if not found:
        raise UserError(
            f"{label} holds pretrained weights near where they started, and this strategy trains none of them: leave "
            "out strategy.objectives, or what freezes them all (strategy.freezing, strategy.adapter)."
        )
    return found
