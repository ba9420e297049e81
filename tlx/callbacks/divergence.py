"""A loss that is no number any more: the run ends at once and says where it went wrong."""

import math
from typing import Any

import lightning as L
import torch
from torch import nn

from tlx.distributed import total, whole, world_size
from tlx.plan import ParameterPlan


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
    rate = next((lr for name, lr in rates.items() if group and name.split("/")[0] == group), max(rates.values()))
    return Diverged(
        f"the training loss is {loss} at step {step}: {where}, learning rate {rate:.3g}. "
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

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if loss is None or (loss.device.type != "cpu" and batch_idx % self.every):
            return
        value = float(total(loss)) / world_size()  # of all processes: they leave together, or not
        if math.isfinite(value):
            return
        plan = getattr(pl_module, "plan", None)
        rates = {g.get("name", str(i)): g["lr"] for i, g in enumerate(trainer.optimizers[0].param_groups)}
        raise diverged(value, trainer.global_step, pl_module, plan if isinstance(plan, ParameterPlan) else None, rates)
