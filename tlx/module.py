"""TransferModule: the one LightningModule. A backbone and a task, trained as a parameter plan says."""

from collections.abc import Callable, Sequence
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from tlx.cache.frozen_work import FrozenWork
from tlx.callbacks.mixout import Mixout
from tlx.callbacks.phases import PhaseSchedule, phase_starts
from tlx.layer_groups import HEAD
from tlx.models.backbone import Backbone
from tlx.network.modes import in_eval_mode
from tlx.plan import ParameterPlan
from tlx.private import note_rates
from tlx.processes.distributed import broadcast_buffers
from tlx.tasks.classification import Classification, ClassificationMeter

OptimizerFactory = Callable[[list[dict]], torch.optim.Optimizer]
Schedule = Callable[[int, int], float]  # (optimiser step, total steps) -> factor on every learning rate


class TransferModule(L.LightningModule):
    """batch (dict of tensors) → backbone → features (B, D) → task head → logits (B, classes).

    `plan` decides what is trained; `lr` and `weight_decay` are its base values; `optimizer` builds the optimiser from
    parameter groups. Every layer group is in the optimiser from step 0.
    """

    def __init__(
        self,
        backbone: Backbone,
        task: Classification,
        plan: ParameterPlan,
        lr: float,
        weight_decay: float,
        optimizer: OptimizerFactory,
        schedule: Schedule,
    ) -> None:
        super().__init__()
        self.backbone, self.task, self.plan = backbone, task, plan
        self.lr, self.weight_decay = lr, weight_decay
        self.make_optimizer, self.schedule = optimizer, schedule
        self.objectives: Sequence[Any] = ()  # tlx.objectives: what is minimised beside the task's loss
        self.mixout: Mixout | None = None
        self.base: str | None = None  # hash of what no phase trains; checkpoints hold it where it is known
        self.meter: ClassificationMeter | None = None
        self.frozen_work: FrozenWork | None = None  # plays the frozen layers back to the steps of a training
        # A checkpoint holds what training changes; the rest is the base weights (see on_save_checkpoint).
        self.strict_loading = False

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.task(self.backbone(batch))

    def logits(self, batch: dict[str, Tensor], part: str) -> Tensor:
        """What `forward` gives for a batch of the run's `part`, without computing again what is frozen and known."""
        return self(batch) if self.frozen_work is None else self.frozen_work.logits(batch, part)

    def features(self, part: str) -> Tensor | None:
        """(n, D): what enters the head for each example of the run's `part`, where all below it is frozen and known."""
        return None if self.frozen_work is None else self.frozen_work.at_entry(part, "task")

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss = self.task.loss(self.logits(batch, "train"), batch)
        weighed = "weight" in batch  # as tlx.data.sampling.EpochBatchSampler says
        if weighed:
            loss = loss * batch["weight"]
        self.log("train/loss", loss, batch_size=len(batch["label"]), sync_dist=weighed)
        return loss * batch["scale"] if weighed else loss

    def on_validation_epoch_start(self) -> None:
        self.meter = self.task.meter()
        broadcast_buffers(self)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        assert self.meter is not None
        self.meter.update(self.logits(batch, "validation"), batch)

    def on_validation_epoch_end(self) -> None:
        assert self.meter is not None
        self.meter.gather()
        # As doubles: what Lightning makes of a float is a float32. A device without doubles is not asked for one.
        found = {n: torch.tensor(value, dtype=torch.float64) for n, value in self.meter.compute().items()}
        self.log_dict({f"val/{name}": value for name, value in found.items()})

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.plan.optimizer_groups(self, self.lr, self.weight_decay))
        planned, total = phase_starts(self.trainer, self.plan)
        factors = [phase.lr_factor for phase in self.plan.phases]
        schedules = [c for c in self.trainer.callbacks if isinstance(c, PhaseSchedule)]  # type: ignore[attr-defined]

        def factor(step: int) -> float:
            starts = next((s.starts for s in schedules if s.starts), planned)  # some may have been moved
            phase = max(i for i, start in enumerate(starts) if start <= step)
            return self.schedule(step, total) * factors[phase]

        scheduler = LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def phases_moved(self) -> None:
        """Give the next optimiser step the rates of the phase in which it is now."""
        scheduler = self.lr_schedulers()
        assert isinstance(scheduler, LambdaLR)
        rates = zip(scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
        for group, base, factor in rates:
            group["lr"] = base * factor(scheduler.last_epoch)
        note_rates(scheduler)

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """As Lightning does it; in bfloat16 for fused optimisers, too.

        It refuses those in mixed precision because they undo a scale of the gradients; bfloat16 knows no scale.
        """
        plugin = self.trainer.precision_plugin
        if gradient_clip_val and isinstance(plugin, MixedPrecision) and plugin.scaler is None:
            plugin.clip_grad_by_norm(optimizer, gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    def configure_callbacks(self) -> list[L.Callback]:
        return [*self.objectives, *([self.mixout] if self.mixout else [])]

    def trained_state(self) -> dict[str, Tensor]:
        """The tensors of every group that some phase trains, and what was calibrated: all that a run changes."""
        return self._trained(self.state_dict())

    @property
    def trained_pretrained(self) -> frozenset[str]:
        """Names of the parameters that some phase trains and that were not new: no head's, adapter's or missing one."""
        plan, report = self.plan, self.backbone.load_report
        new = {n for g in plan.groups if g.adapter or g.name == HEAD for n in g.parameters}
        new |= {f"backbone.network.{name}" for name in (report.missing if report else ())}
        return plan.trained - new

    def _trained(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        names = {n for g in self.plan.groups if g.name in self.plan.ever_trainable for n in (*g.parameters, *g.buffers)}
        return {n: t for n, t in state.items() if n in names or n in self.plan.calibrated}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint |= {"state_dict": self._trained(checkpoint["state_dict"]), "base": self.base}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Strict on what a run changes: a checkpoint that lacks some of it, or holds more, is not this run's.

        Raises:
            RuntimeError: it is not, or what it leaves out was not the same then.
        """
        theirs, ours = ({n: t.shape for n, t in s.items()} for s in (checkpoint["state_dict"], self.trained_state()))
        if theirs != ours:
            raise RuntimeError("the checkpoint does not hold the tensors that this run trains")
        if self.base and checkpoint["base"] and checkpoint["base"] != self.base:
            raise RuntimeError("the checkpoint goes with other frozen weights than those that this run has loaded")


@torch.no_grad()
def known_score(task: Classification, features: Tensor, labels: np.ndarray) -> ClassificationMeter:
    """What `score` finds, from the features (n, D) that enter the head."""
    with in_eval_mode(task):
        return task.scored(task(features.to(task.linear.weight.device)), torch.from_numpy(labels))


def computed_features(module: TransferModule, task: Classification, loader: Any) -> tuple[Tensor, Tensor]:
    """Features (n, D) and labels (n,) of a loader's examples, in their order."""
    return score(module, task, loader, forward=module.backbone).predictions()  # a meter keeps what it is given


@torch.no_grad()
def score(
    module: nn.Module, task: Classification, loader: Any, forward: Callable[[Any], Tensor]
) -> ClassificationMeter:
    """One pass over `loader` in eval mode; the module's modes are as before afterwards."""
    device = next(module.parameters()).device
    meter = task.meter()
    with in_eval_mode(module):
        for batch in loader:
            batch = {k: v.to(device) for k, v in batch.items()}
            meter.update(forward(batch), batch)
    return meter
