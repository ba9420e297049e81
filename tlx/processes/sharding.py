"""One run on several devices that each hold a share of every weight, gradient and optimiser state (FSDP).

Built on torch's `fully_shard`, which shards each parameter by itself: frozen and trainable ones may lie in one unit,
and what is frozen has no gradient to average. Before and after the training the weights are whole: `bring_together`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import lightning as L
import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from tlx.errors import UserError
from tlx.plan import ParameterPlan
from tlx.private import is_view, tree_map
from tlx.processes.distributed import Averaged, like, rank, whole, world_size


@runtime_checkable
class Trained(Protocol):
    """What is asked of the module that is trained in shares, a `tlx.module.TransferModule`."""

    plan: ParameterPlan

    def trained_state(self) -> dict[str, Tensor]: ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]: ...


def units(module: nn.Module, plan: ParameterPlan) -> list[str]:
    """Names of the modules whose weights are gathered at once, from the stem up.

    A unit is a largest module with children whose parameters all belong to layers of one depth (adapters lie as deep as
    the layers that they adapt) and to no other module. What lies in no unit is gathered for the whole pass: single
    layers, which some networks use without calling them (Whisper's positions).
    """
    parameters = dict(module.named_parameters())
    depths = {id(parameters[name]): group.depth for group in plan.groups for name in group.parameters}
    everywhere = _places(module)
    found: list[str] = []
    for name, part in module.named_modules():
        if not name or any(name.startswith(f"{unit}.") for unit in found):
            continue
        here = _places(part)
        called = not isinstance(part, nn.ModuleList | nn.ModuleDict) and any(True for _ in part.children())
        if called and len({depths[p] for p in here}) == 1 and all(everywhere[p] == n for p, n in here.items()):
            found.append(name)
    return found


def _places(module: nn.Module) -> Counter[int]:
    """In how many places of `module` each parameter, by identity, stands."""
    return Counter(id(p) for _, p in module.named_parameters(remove_duplicate=False))


def shard(module: nn.Module, plan: ParameterPlan, mesh: DeviceMesh) -> None:
    """Replace every parameter of `module` by this process's share of it; forward and backward gather what they need."""
    for name in units(module, plan):
        unit = module.get_submodule(name)
        unit.register_forward_hook(_as_no_view)
        fully_shard(unit, mesh=mesh)
    # After a validation, what belongs to no unit must be in shares again, as the plan and the optimiser know it.
    fully_shard(module, mesh=mesh, reshard_after_forward=True)


def bring_together(trained: Trained, module: nn.Module | None) -> None:
    """Copy what was trained in shares into the whole `module` of rank 0; all processes must call it.

    `module` is None on the others. Nothing is to be done where `trained` is whole itself.
    """
    if not any(isinstance(p, DTensor) for p in trained.parameters()):
        return
    state = {name: whole(tensor).cpu() for name, tensor in trained.trained_state().items()}
    if module is not None:
        module.load_state_dict(state, strict=False)


def _as_no_view(module: nn.Module, inputs: Any, output: Any) -> Any:
    """A unit is gathered again when a gradient reaches its output: a view that is changed in place forgets about that.

    wav2vec 2.0 masks the output of its projection so.
    """
    return tree_map(lambda t: t.clone() if isinstance(t, Tensor) and t.requires_grad and is_view(t) else t, output)


def is_sharded(config: dict[str, Any]) -> bool:
    """Whether the processes of this run hold the network in shares."""
    return config["trainer"]["strategy"] == "fsdp" and config["trainer"]["devices"] > 1


def check_sharding(config: dict[str, Any], module: nn.Module) -> None:
    """See that a run with trainer.strategy=fsdp is possible.

    Raises:
        UserError: it trains the weights as a whole somewhere, or other weights on each process.
    """
    if not is_sharded(config):
        return
    part = "mixout" if config["strategy"]["mixout"] else "objectives" if getattr(module, "objectives", ()) else None
    if part:
        raise UserError(
            f"strategy.{part} keeps all pretrained weights beside the trained ones on every device, which is what "
            "trainer.strategy=fsdp is to avoid: say trainer.strategy=ddp."
        )
    for layer in module.modules():
        settings = getattr(layer, "config", None)
        dropped = next((k for k in ("layerdrop", "encoder_layerdrop") if getattr(settings, k, 0)), None)
        if dropped:
            raise UserError(
                f"{type(layer).__name__} leaves out layers at random ({dropped}={getattr(settings, dropped)}), other "
                "ones on every process, and trainer.strategy=fsdp needs the same ones: say trainer.strategy=ddp."
            )


class Sharded(Averaged):
    """Lightning's strategy for processes that tlx started, each of which holds a share of the module.

    Checkpoints hold whole tensors, as those of one process do.
    """

    def model_to_device(self) -> None:
        """Nothing: each unit goes to the device when it is sharded, so that no device must hold them all."""

    def configure_ddp(self) -> None:
        module = self.lightning_module
        assert isinstance(module, Trained)
        shard(self.lightning_module, module.plan, init_device_mesh(self.root_device.type, (world_size(),)))

    def setup_optimizers(self, trainer: L.Trainer) -> None:
        super().setup_optimizers(trainer)
        for optimizer in self.optimizers:
            if not isinstance(optimizer, torch.optim.Adam):  # torch's other fused steps know no shares
                for group in optimizer.param_groups:
                    group |= {"fused": False} if "fused" in group else {}

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Blocks nothing: gradients that are being accumulated are averaged each time, or all would hold all."""
        yield

    def lightning_module_state_dict(self) -> dict[str, Any]:
        module = self.lightning_module
        assert isinstance(module, Trained)
        return _on_rank_0(module.trained_state())

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().optimizer_state(optimizer))
        return {"state": {i: _on_rank_0(s) for i, s in state["state"].items()}, "param_groups": state["param_groups"]}

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            state = {i: {k: like(v, parameters[i]) for k, v in values.items()} for i, values in saved["state"].items()}
            optimizer.load_state_dict({"state": state, "param_groups": saved["param_groups"]})

    def teardown(self) -> None:
        """As Lightning's, but the shares stay where they are: they are yet to be brought together."""
        assert self.cluster_environment is not None and self.accelerator is not None
        self.cluster_environment.teardown()
        self.precision_plugin.teardown()
        self.accelerator.teardown()


def _on_rank_0(tensors: dict[str, Any]) -> dict[str, Any]:
    """The same with whole tensors on the CPU; the other processes, which take part in it, keep none of them."""
    gathered = {}
    for name, value in tensors.items():
        tensor = whole(value).cpu() if isinstance(value, Tensor) else value
        if rank() == 0:
            gathered[name] = tensor
    return gathered
