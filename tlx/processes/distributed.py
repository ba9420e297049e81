"""Several processes as one run: who is who, what they tell each other, and gradients averaged over all of them.

Every function here is a no-op in a process that is alone.
"""

from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from tlx.plan import ParameterPlan


def world_size() -> int:
    """How many processes work on this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number among them; 0 is the one that writes."""
    return dist.get_rank() if world_size() > 1 else 0


def gather(value: Any) -> list[Any]:
    """Everybody's value, in the order of the ranks. All processes must call it."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def total(value: Tensor) -> Tensor:
    """The sum of everybody's tensors. All processes must call it."""
    if world_size() > 1:
        value = value.detach().clone()
        dist.all_reduce(value)
    return value


def whole(tensor: Tensor) -> Tensor:
    """The tensor of which this process holds a share, from all shares; itself where it is whole.

    All processes must call it.
    """
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, other: Tensor) -> Tensor:
    """This process's share of a whole `tensor`, if it has the shape of `other` and that is in shares; else itself."""
    if not isinstance(other, DTensor) or not isinstance(tensor, Tensor) or tensor.shape != other.shape:
        return tensor
    tensor = tensor.to(other.to_local().device)
    return distribute_tensor(tensor, other.device_mesh, other.placements, src_data_rank=None)


def own_share(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def in_shares(own: Tensor, other: Tensor) -> Tensor:
    """The tensor, shared out as `other` is, of which this process holds `own`."""
    if not isinstance(other, DTensor):
        return own
    return DTensor.from_local(
        own, other.device_mesh, other.placements, run_check=False, shape=other.shape, stride=other.stride()
    )


def in_checkpoint(value: Any) -> Any:
    """What a checkpoint, which rank 0 writes for all, must hold of a value that every process has its own of."""
    return {"ranks": gather(value)} if world_size() > 1 else value


def from_checkpoint(value: Any) -> Any:
    """This process's own part of what `in_checkpoint` gave.

    Raises:
        RuntimeError: as many processes wrote the checkpoint as this run has not.
    """
    values = value["ranks"] if isinstance(value, dict) and value.keys() == {"ranks"} else [value]
    if len(values) != world_size():
        raise RuntimeError(
            f"the checkpoint was written by {len(values)} processes and cannot be gone on from by {world_size()}: "
            "give trainer.devices its former value, or begin anew."
        )
    return values[rank()]


def broadcast_buffers(module: nn.Module) -> None:
    """Give all processes the buffers of rank 0, as DDP does before every training step: BatchNorm's running values."""
    if world_size() > 1:
        for buffer in module.buffers():
            dist.broadcast(buffer.data, 0)


def check_in_step(module: nn.Module, plan: ParameterPlan) -> None:
    """See that all processes hold the same trained weights, by two sums over each layer group.

    Weights that they hold in shares exist once, and cannot differ.

    Raises:
        RuntimeError: they do not; names the lowest group.
    """
    if world_size() == 1:
        return
    parameters = dict(module.named_parameters())
    if any(isinstance(p, DTensor) for p in parameters.values()):
        return
    groups = [g for g in plan.groups if g.name in plan.ever_trainable and g.parameters]
    with torch.no_grad():
        sums = [[f(parameters[n].double()).sum() for n in g.parameters] for g in groups for f in (torch.abs, torch.neg)]
        own = torch.stack([torch.stack(s).sum() for s in sums]).cpu().view(-1, 2)
    for other, values in enumerate(gather(own)):
        apart = (values - own).abs() > 1e-6 * own[:, :1].abs()
        if apart.any():
            name = groups[int(apart.any(1).nonzero()[0])].name
            raise RuntimeError(
                f"the weights of layer group {name} differ between processes {rank()} and {other} of this run: "
                "gradients were not averaged over all of them, and its numbers are void."
            )


def rewrap(trainer: L.Trainer) -> None:
    """Build DDP's wrapper anew, which knows only the parameters that were trainable when it was built.

    Does nothing where the Trainer has no such wrapper.
    """
    strategy = trainer.strategy
    old = strategy.model
    if not isinstance(strategy, DDPStrategy) or not isinstance(old, DistributedDataParallel):
        return
    # Its reducer hangs on the parameters until it dies: two at a time would both average.
    del old.reducer, old.logger
    strategy.model = trainer.lightning_module
    strategy.configure_ddp()


class Ranked(ClusterEnvironment):
    """Tells Lightning that the processes of this run are there already, and which one this is."""

    def __init__(self, rank: int, size: int) -> None:
        super().__init__()
        self._rank, self._size = rank, size

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        return 0  # the processes are connected before Lightning asks: see `tlx.processes.ranks`

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._size

    def set_world_size(self, size: int) -> None:
        assert size == self._size

    def global_rank(self) -> int:
        return self._rank

    def set_global_rank(self, rank: int) -> None:
        assert rank == self._rank

    def local_rank(self) -> int:
        return self._rank

    def node_rank(self) -> int:
        return 0


class Averaged(DDPStrategy):
    """Lightning's DDP for processes that tlx started.

    Parameters that a step does not use are looked for in each (LayerDrop leaves out other layers on every process).
    Validation goes round DDP's wrapper, which would wait for all processes before each batch: they may have unequally
    many.
    """

    def __init__(self) -> None:
        super().__init__(find_unused_parameters=True)

    def _configure_launcher(self) -> None:
        """None: Lightning's would replay the command line, or set the threads."""

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        assert self.lightning_module is not None
        with self.precision_plugin.val_step_context():
            return self.lightning_module.validation_step(*args, **kwargs)
