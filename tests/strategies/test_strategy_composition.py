"""A strategy is composed of parts that do not know each other: every combination gives one consistent plan."""

from itertools import product
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tlx.callbacks.mixout import Mixout
from tlx.callbacks.phases import PhaseSchedule
from tlx.errors import UserError
from tlx.models.backbone import Backbone
from tlx.module import TransferModule
from tlx.plan import frozen_hash
from tlx.schedules import linear
from tlx.strategies.freezing import FrozenBackbone, Gradual, NoFreezing, Partial, ProbeThenAll
from tlx.strategies.learning_rates import Discriminative, Uniform
from tlx.strategies.lora import LoRA
from tlx.strategies.strategy import TransferStrategy
from tlx.tasks.classification import Classification

FREEZINGS: dict[str, Any] = {
    "none": NoFreezing(),
    "probe": FrozenBackbone(),
    "partial": Partial(ratio=0.5),
    "gradual": Gradual(share=0.75),
    "lp_ft": ProbeThenAll(share=0.5, lr_factor=0.1),
}
RATES: dict[str, Any] = {"uniform": Uniform(head_factor=10.0), "discriminative": Discriminative(0.5)}
ADAPTERS = {"no_adapter": None, "lora": LoRA(rank=2, targets=r"blocks\.\d\.0")}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


class Tiny(Backbone):
    modality = "image"
    layers = (("stem", r"stem\."), ("block", r"blocks\.(\d+)\."))

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Module()
        self.network.stem = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.2))
        self.network.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.LayerNorm(6)) for _ in range(3)
        )
        self.feature_dim = 6

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        x = self.network.stem(batch["x"])
        for block in self.network.blocks:
            x = block(x.relu())
        return x


def build(**parts: Any) -> TransferModule:
    backbone = Tiny()
    task = Classification(6, ["a", "b"], ["accuracy"])
    plan = TransferStrategy(**parts).plan(backbone, task)
    return TransferModule(backbone, task, plan, 0.05, 0.1, torch.optim.AdamW, linear)


def fit(module: TransferModule, *callbacks: L.Callback) -> L.Trainer:
    x = torch.randn(32, 4)
    items = [{"x": v, "label": (v[0] > 0).long(), "index": torch.tensor(i)} for i, v in enumerate(x)]
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[PhaseSchedule(), *callbacks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, DataLoader(items, batch_size=4))
    return trainer


COMBINATIONS = list(product(FREEZINGS, RATES, ADAPTERS))


@pytest.mark.parametrize(("freezing", "rates", "adapter"), COMBINATIONS, ids=["-".join(c) for c in COMBINATIONS])
def test_every_combination_plans_each_parameter_once_and_trains_what_it_says(
    freezing: str, rates: str, adapter: str
) -> None:
    module = build(freezing=FREEZINGS[freezing], learning_rates=RATES[rates], adapter=ADAPTERS[adapter])
    plan = module.plan
    planned = [n for g in plan.groups for n in g.parameters]
    assert sorted(planned) == sorted(n for n, _ in module.named_parameters())
    assert sorted(n for g in plan.groups for n in g.buffers) == sorted(n for n, _ in module.named_buffers())
    listed = [id(p) for g in plan.optimizer_groups(module, 1.0, 0.1) for p in g["params"]]
    assert len(listed) == len(set(listed)) == len(planned)

    trained = {n for g in plan.groups if g.name in plan.ever_trainable for n in g.parameters}
    before = {n: t.clone() for n, t in module.state_dict().items()}
    frozen = frozen_hash(module, plan)
    trainer = fit(module)
    moved = {n for n, p in module.named_parameters() if not torch.equal(before[n], p)}
    assert moved == trained and frozen_hash(module, plan) == frozen
    stepped = {id(p) for p in trainer.optimizers[0].state}
    assert stepped == {id(p) for n, p in module.named_parameters() if n in trained}


@pytest.mark.parametrize("freezing", FREEZINGS)
def test_with_an_adapter_the_phases_run_over_adapters_and_head_alone(freezing: str) -> None:
    plan = build(freezing=FREEZINGS[freezing], adapter=ADAPTERS["lora"]).plan
    adapters = {"block0.lora", "block1.lora", "block2.lora"}
    assert plan.ever_trainable <= adapters | {"head"} and "head" in plan.phases[0].trainable
    if freezing == "gradual":
        assert [p.trainable for p in plan.phases] == [
            {"head"},
            {"head", "block2.lora"},
            {"head", "block2.lora", "block1.lora"},
            {"head", *adapters},
        ]


def test_mixout_composes_with_gradual_unfreezing_and_leaves_the_head_out() -> None:
    module = build(freezing=Gradual(share=0.75), learning_rates=Discriminative(0.5), mixout=0.5)
    before = {n: t.clone() for n, t in module.state_dict().items()}
    mixout = Mixout(0.5, select=lambda name, layer: name.startswith("backbone."))
    fit(module, mixout)
    blocks = {f"backbone.network.blocks.{i}.0.weight" for i in range(3)}
    assert set(mixout.pretrained) == {"backbone.network.stem.0.weight"} | blocks
    assert not any(torch.equal(before[n], t) for n, t in module.state_dict().items())


def test_the_head_is_everything_that_is_not_the_backbone() -> None:
    class Longer(Classification):
        def __init__(self) -> None:
            super().__init__(6, ["a", "b"])
            self.norm = nn.BatchNorm1d(6)
            self.scale = nn.Parameter(torch.ones(6))

    backbone = Tiny()
    head = TransferStrategy().plan(backbone, Longer()).group("head")
    assert set(head.parameters) == {"task.head.1.weight", "task.head.1.bias", "task.norm.weight", "task.norm.bias",
                                    "task.scale"}  # fmt: skip
    assert set(head.buffers) == {"task.norm.running_mean", "task.norm.running_var", "task.norm.num_batches_tracked"}
    assert "task.norm" in head.modules and head.depth == 4


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"init": "scratch", "adapter": LoRA()}, "an adapter on random weights cannot learn"),
        ({"init": "pretraind"}, "strategy.init=pretraind: allowed are pretrained, scratch, shuffled and registry:NAME"),
        ({"mixout": 1.5}, r"strategy.mixout=1\.5 is a probability"),
    ],
)
def test_impossible_combinations_are_refused(parts: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TransferStrategy(**parts)


def test_layers_that_are_frozen_by_name_must_exist_among_what_is_trained() -> None:
    with pytest.raises(UserError, match=r"'block1'\. Did you mean 'block1\.lora'"):
        build(freezing=Partial(until="block1"), adapter=ADAPTERS["lora"])
