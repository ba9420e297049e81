"""Every yaml of configs/model, held in shares: what lies in a unit, and the same outputs and gradients as whole."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import DTensor
from transformers import AutoConfig

from tlx.errors import UserError
from tlx.fit.seeding import seed_everything
from tlx.objectives.l2_sp import L2SP
from tlx.plan import apply_phase
from tlx.processes.distributed import whole
from tlx.processes.sharding import check_sharding, shard, units
from tlx.strategies.freezing import Gradual
from tlx.strategies.lora import LoRA
from tlx.strategies.strategy import TransferStrategy

NAMES = sorted(p.stem for p in (Path(__file__).resolve().parents[2] / "configs" / "model").glob("*.yaml"))
STRATEGIES = {
    "gradual": lambda: TransferStrategy(freezing=Gradual()),
    "lora": lambda: TransferStrategy(adapter=LoRA(rank=2)),
}


@pytest.fixture(scope="module")
def mesh() -> Iterator[DeviceMesh]:
    """One process, which holds all shares: the mechanism is the same."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def step(module: torch.nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits, and the gradient of each parameter that has one."""
    seed_everything(5)
    module.zero_grad()
    logits = module(batch)
    logits.square().mean().backward()
    gradients = {n: whole(p.grad) for n, p in module.named_parameters() if p.grad is not None}
    return logits.detach(), gradients


def test_all_model_yamls_are_found() -> None:
    assert len(NAMES) >= 22


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", NAMES)
def test_in_shares_as_whole(contract, mesh, name: str, strategy: str) -> None:
    config = contract.models.config(name)
    if "config" in config:  # LayerDrop is refused, below
        known = AutoConfig.for_model(config["config"]["model_type"])
        never = {key: 0.0 for key in ("layerdrop", "encoder_layerdrop") if hasattr(known, key)}
        config = {"config": config["config"] | never}
    backbone = contract.build(name, **config)
    module = contract.plan(backbone, STRATEGIES[strategy]())
    batch = contract.batch(backbone, contract.raw(backbone))
    batch["label"] = torch.zeros(4, dtype=torch.long)
    shared = copy.deepcopy(module)
    found = units(module, module.plan)
    shard(shared, module.plan, mesh)
    assert found, "nothing of this network is ever put away"
    assert all(isinstance(p, DTensor) for p in shared.parameters())
    last = len(module.plan.phases) - 1
    for phase in sorted({0, last // 2, last}):
        for each in (module, shared):
            each.train()
            apply_phase(each, module.plan, phase)
        (logits, gradients), (twin, others) = step(module, batch), step(shared, batch)
        torch.testing.assert_close(logits, twin)
        assert gradients.keys() == others.keys()
        for key, gradient in gradients.items():
            torch.testing.assert_close(gradient, others[key])


def test_what_shares_cannot_train_is_refused(contract) -> None:
    options = {"trainer": {"strategy": "fsdp", "devices": 2}}
    config = contract.models.config("wav2vec2_base")
    module = contract.plan(
        contract.build("wav2vec2_base", config=config["config"] | {"layerdrop": 0.1}), TransferStrategy()
    )
    with pytest.raises(UserError, match=r"layerdrop=0.1.*trainer.strategy=ddp"):
        check_sharding(options | {"strategy": {"mixout": None}}, module)
    with pytest.raises(UserError, match=r"mixout.*trainer.strategy=ddp"):
        check_sharding(options | {"strategy": {"mixout": 0.5}}, module)
    check_sharding({"trainer": {"strategy": "fsdp", "devices": 1}, "strategy": {"mixout": 0.5}}, module)
    module.objectives = [L2SP()]
    with pytest.raises(UserError, match=r"objectives.*trainer.strategy=ddp"):
        check_sharding(options | {"strategy": {"mixout": None}}, module)
