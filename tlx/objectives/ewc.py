"""Elastic weight consolidation: what the source task hangs on is held more tightly (Kirkpatrick et al. 2017,
arXiv:1612.00796).
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import lightning as L
import torch
from torch import Tensor

from tlx.data.loaders import Examples
from tlx.errors import UserError
from tlx.fit.seeding import torch_stream
from tlx.measures.source import has_source, source_examples, source_head
from tlx.network.modes import as_before, in_eval_mode
from tlx.objectives.fisher import diagonal_fisher
from tlx.objectives.penalty import Penalty, Pull, at_least, pretrained

if TYPE_CHECKING:
    from tlx.module import TransferModule

Fisher = Mapping[str, Tensor]


class EWC(Penalty):
    """strength / 2 · Σ F · (w − w₀)², w₀ being the start and F the diagonal Fisher information of the source task.

    `fisher` holds F by parameter name, or is a function of the module that computes it when the first fit begins
    (`tlx.objectives.fisher`); parameters that it does not name are free. Checkpoints hold it.

    Raises:
        UserError: a negative strength; from `fit`: F is zero, or of no parameter of the module.
    """

    label: ClassVar[str] = "ewc"

    def __init__(self, strength: float, fisher: Fisher | Callable[[Any], Fisher]) -> None:
        super().__init__()
        at_least(0, strength=strength)
        self.strength, self._given = strength, fisher
        self.fisher: dict[str, Tensor] = {}

    def starts(self, name: str) -> bool:
        return name in self.fisher

    def pull(self, name: str) -> Pull | None:
        return Pull(self.strength, self.start[name], self.fisher[name]) if name in self.fisher else None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        other = self._seen is not None and self._seen() is not pl_module
        if not self.fisher or (other and callable(self._given)):
            with as_before(pl_module):
                self.fisher = dict(self._given(pl_module) if callable(self._given) else self._given)
        super().on_fit_start(trainer, pl_module)

    def check(self, names: Sequence[str]) -> None:
        held = {name: f for name, f in self.fisher.items() if name in names}
        if not held:
            raise UserError(
                "ewc: the Fisher information names none of the module's parameters, so that nothing is held: it has "
                f"{', '.join(list(self.fisher)[:4]) or 'none'}, and the module {', '.join(names[:4])}."
            )
        if not any(bool(f.any()) for f in held.values()):
            raise UserError(
                "ewc: the Fisher information is zero everywhere, so that nothing is held: the source task's "
                "predictions do not depend on these weights. Take strategy=l2_sp, or weights with a source task."
            )

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"fisher": self.fisher, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self.fisher, self.seconds = dict(state_dict["fisher"]), state_dict["seconds"]


class SourceEWC(EWC):
    """EWC in a run of tlx: F of the task that the weights were trained on, with the head that they had there.

    F is the mean over `examples` of the source's training examples (all where there are fewer), drawn with a fixed
    seed, and so the same for all runs from these weights. The penalty takes the place of weight decay for the weights
    that it holds: the source's optimum is what they were regularised to.

    Raises:
        UserError: a negative strength, or no examples; in `join`: the weights bring no source task.
    """

    def __init__(self, strength: float, examples: int = 500) -> None:
        super().__init__(strength, self._estimate)
        at_least(1, examples=examples)
        self.count = examples
        self._held: frozenset[str] = frozenset()
        self._config: dict[str, Any] = {}

    def join(self, config: dict[str, Any], module: "TransferModule") -> None:
        self._held, self._config = pretrained(config, module, self.label), config
        if not has_source(config):
            raise UserError(
                "ewc weighs weights by what their source task needs of them, and these bring no source task (its "
                "data set and head). Start from a registry entry (strategy.init=registry:NAME or "
                "model.path=registry:NAME; any run makes one with register=NAME), or take strategy=l2_sp, which "
                "needs none."
            )
        module.plan.no_decay |= self._held

    def touches(self, module: "TransferModule") -> frozenset[str]:
        return self._held if self.strength else frozenset()

    def examples(self, module: "TransferModule") -> Iterable[Any]:
        data = source_examples(self._config, module)
        return (data.examples[i] for i in self._drawn(data))

    def _drawn(self, data: Examples) -> list[int]:
        """Positions of the source examples that F is estimated from."""
        return torch.randperm(len(data), generator=torch_stream(0, "fisher_examples"))[: self.count].tolist()

    def _estimate(self, module: "TransferModule") -> Fisher:
        began = time.perf_counter()
        data, head = source_examples(self._config, module), source_head(self._config, module).to(module.device)
        batches = ({k: v.to(module.device) for k, v in data.collate([data[i]]).items()} for i in self._drawn(data))
        held = {name: parameter for name, parameter in module.named_parameters() if name in self._held}
        with in_eval_mode(module):
            found = diagonal_fisher(
                held, lambda batch: head(module.backbone(batch)), batches, torch_stream(0, "fisher_labels")
            )
        self.seconds = time.perf_counter() - began
        return found
