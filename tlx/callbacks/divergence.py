"""A loss that is no number any more: the run ends at once and says where it went wrong."""

import logging
import math
from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from tlx.plan import ParameterPlan
from tlx.processes.distributed import total, whole, world_size

log = logging.getLogger(__name__)


class Diverged(RuntimeError):
    """The training loss became NaN or infinite."""


def first_broken_group(module: nn.Module, plan: ParameterPlan) -> str | None:
    """The lowest layer group with a parameter that holds NaN or infinity; None when all are finite."""
    parameters = dict(module.named_parameters())
    for group in plan.groups:
        if any(not torch.isfinite(whole(parameters[name])).all() for name in group.parameters):
            return group.name
    return None


def diverged(
    loss: float, step: int, module: nn.Module, plan: ParameterPlan | None, rates: dict[str, float]
) -> Diverged:
    """The error to raise for a loss that is no number; `rates` are the learning rates by parameter group."""
    group = first_broken_group(module, plan) if plan else None
    where = f"layer group {group} is not finite" if group else "all weights are still finite"
    rate = next((lr for name, lr in rates.items() if group and name.split("/")[0] == group), None)
    rate = max(rates.values(), default=None) if rate is None else rate
    at = "" if rate is None else f", learning rate {rate:.3g}"
    return Diverged(
        f"the training loss is {loss} at step {step}: {where}{at}. "
        "Try a lower optimizer.lr, or look closer with trainer.detect_anomaly=true."
    )


class StopOnDivergence(L.Callback):
    """Ends a run whose loss is NaN or infinite, naming the step, the layer group that broke and its learning rate.

    On a GPU the loss is looked at every `every` steps, since each look waits for the device; on a CPU at every step.

    Raises:
        Diverged: from the training loop.
    """

    def __init__(self, every: int = 10) -> None:
        self.every = every
        self._blind = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if not isinstance(loss, Tensor):
            if not self._blind and not pl_module.automatic_optimization:
                self._blind = True
                log.warning("no loss to watch: training_step must return it where the module optimises by hand.")
            return
        if loss.device.type != "cpu" and batch_idx % self.every:
            return
        value = float(total(loss.detach().sum())) / world_size()  # of all processes: they leave together, or not
        if math.isfinite(value):
            return
        plan = getattr(pl_module, "plan", None)
        several = len(trainer.optimizers) > 1
        rates = {
            g.get("name", f"{number}/{i}" if several else str(i)): float(g["lr"])
            for number, optimizer in enumerate(trainer.optimizers)
            for i, g in enumerate(optimizer.param_groups)
            if "lr" in g
        }
        raise diverged(value, trainer.global_step, pl_module, plan if isinstance(plan, ParameterPlan) else None, rates)
