"""Discriminative learning rates in somebody else's module: the rate in effect at every step, not the one intended."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.optim import lr_scheduler as schedulers
from torch.utils.data import DataLoader, TensorDataset

from tlx.callbacks.discriminative_lr import DiscriminativeLR, regrouped, split_group
from tlx.callbacks.phases import GradualUnfreezing
from tlx.errors import UserError
from tlx.layer_groups import LayerGroup, group_layers

LAYERS = (("stem", r"stem\."), ("block", r"blocks\.(\d+)\."), ("head", r"head\."))
DEPTH = {"stem": 3, "block0": 2, "block1": 1, "head": 0}  # below the top
STEPS = 24
LR = 0.02


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


class Foreign(L.LightningModule):
    """Knows nothing of tlx; `configure` builds its optimiser and scheduler as it likes."""

    def __init__(self, configure: Callable[["Foreign"], Any]) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8))
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)) for _ in range(2))
        self.head = nn.Linear(8, 2)
        self.configure = configure

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        x = self.stem(batch[0])
        for block in self.blocks:
            x = block(x.relu())
        return nn.functional.cross_entropy(self.head(x), batch[1])

    def configure_optimizers(self) -> Any:
        return self.configure(self)


def groups(module: nn.Module) -> list[LayerGroup]:
    return group_layers(module, LAYERS)


def data() -> DataLoader:
    x = torch.randn(4 * STEPS // 4, 6)
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=4)


class Rates(L.Callback):
    """The learning rate with which each parameter is about to be stepped, at every step."""

    def __init__(self) -> None:
        self.curves: dict[str, list[float]] = {}
        self.decay: dict[str, float] = {}

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        names = {id(p): n for n, p in pl_module.named_parameters()}
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                self.curves.setdefault(names[id(parameter)], []).append(float(group["lr"]))
                self.decay[names[id(parameter)]] = group.get("weight_decay", 0.0)


def fit(configure: Callable[[Foreign], Any], *callbacks: L.Callback) -> tuple[Rates, L.Trainer, Foreign]:
    rates, module = Rates(), Foreign(configure)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=4,
        callbacks=[*callbacks, rates],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data())
    return rates, trainer, module


def check(rates: Rates, base: Callable[[str], float], curve: Callable[[int], float], decay: float) -> None:
    for group in groups(Foreign(lambda m: None)):
        for name in group.parameters:
            expected = [base(name) * decay ** DEPTH[group.name] * curve(step) for step in range(STEPS)]
            assert rates.curves[name] == pytest.approx(expected, rel=1e-9), name


def stepwise(optimizer: torch.optim.Optimizer, scheduler: Any) -> dict:
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def lambda_lr(module: Foreign) -> Any:
    optimizer = torch.optim.AdamW(module.parameters(), lr=LR)
    return stepwise(optimizer, schedulers.LambdaLR(optimizer, lambda step: (step + 1) / 10 if step < 9 else 1.0))


def cosine(module: Foreign) -> Any:
    optimizer = torch.optim.AdamW(module.parameters(), lr=LR)
    return stepwise(optimizer, schedulers.CosineAnnealingLR(optimizer, T_max=STEPS))


def warm_up_then_cosine(module: Foreign) -> Any:
    optimizer = torch.optim.SGD(module.parameters(), lr=LR, momentum=0.9)
    parts = [
        schedulers.LinearLR(optimizer, start_factor=0.25, total_iters=6),
        schedulers.CosineAnnealingLR(optimizer, T_max=STEPS - 6),
    ]
    return stepwise(optimizer, schedulers.SequentialLR(optimizer, parts, milestones=[6]))


def constant(module: Foreign) -> Any:
    return torch.optim.AdamW(module.parameters(), lr=LR)


CURVES: dict[str, tuple[Callable, Callable[[int], float]]] = {
    "constant": (constant, lambda step: 1.0),
    "LambdaLR": (lambda_lr, lambda step: min(1.0, (step + 1) / 10)),
    "CosineAnnealingLR": (cosine, lambda step: (1 + math.cos(math.pi * step / STEPS)) / 2),
    "SequentialLR": (
        warm_up_then_cosine,
        lambda step: 0.25 + 0.75 * step / 6 if step < 6 else (1 + math.cos(math.pi * (step - 6) / (STEPS - 6))) / 2,
    ),
}


@pytest.mark.parametrize("decay", [1 / 2.6, 0.8, 1.0])
@pytest.mark.parametrize("name", CURVES)
def test_the_rate_in_effect_is_the_closed_form_at_every_step(name: str, decay: float) -> None:
    configure, curve = CURVES[name]
    rates, trainer, _ = fit(configure, DiscriminativeLR(groups, decay))
    check(rates, lambda _: LR, curve, decay)
    assert [g["name"] for g in trainer.optimizers[0].param_groups] == ["stem", "block0", "block1", "head"]


@pytest.mark.parametrize("name", CURVES)
def test_with_gradual_unfreezing_the_rates_are_the_same(name: str) -> None:
    configure, curve = CURVES[name]
    rates, _, _ = fit(configure, GradualUnfreezing(groups, share=0.75), DiscriminativeLR(groups, 0.5))
    check(rates, lambda _: LR, curve, 0.5)


def two_groups(other_lr: float) -> Callable[[Foreign], Any]:
    def configure(module: Foreign) -> Any:
        flat = [p for p in module.parameters() if p.ndim < 2]
        rest = [p for p in module.parameters() if p.ndim >= 2]
        parts = [{"params": rest, "weight_decay": 0.1}, {"params": flat, "weight_decay": 0.0, "lr": other_lr}]
        optimizer = torch.optim.AdamW(parts, lr=LR)
        return stepwise(optimizer, schedulers.CosineAnnealingLR(optimizer, T_max=STEPS))

    return configure


@pytest.mark.parametrize("other_lr", [LR, 10 * LR])
def test_a_module_with_two_decay_groups_keeps_them(other_lr: float) -> None:
    rates, trainer, module = fit(two_groups(other_lr), DiscriminativeLR(groups, 0.5))
    flat = {n for n, p in module.named_parameters() if p.ndim < 2}
    check(rates, lambda n: other_lr if n in flat else LR, CURVES["CosineAnnealingLR"][1], 0.5)
    assert rates.decay == {n: 0.0 if n in flat else 0.1 for n, _ in module.named_parameters()}
    assert len(trainer.optimizers[0].param_groups) == 8


def test_every_parameter_stays_in_exactly_one_group() -> None:
    _, trainer, module = fit(two_groups(LR), DiscriminativeLR(groups, 0.5))
    listed = [id(p) for g in trainer.optimizers[0].param_groups for p in g["params"]]
    assert sorted(listed) == sorted(id(p) for p in module.parameters())


def test_single_groups_may_have_factors_of_their_own() -> None:
    rates, _, _ = fit(constant, DiscriminativeLR(groups, 0.5, {"stem": 0.01, "head": 3.0}))
    found = {n.split(".")[0] + n.split(".")[1] * n.startswith("blocks"): c[0] / LR for n, c in rates.curves.items()}
    assert found == pytest.approx({"stem": 0.01, "blocks0": 0.25, "blocks1": 0.5, "head": 3.0})


def test_two_optimisers_and_pairs_of_names_and_parameters() -> None:
    class Two(Foreign):
        def __init__(self) -> None:
            super().__init__(lambda m: None)
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            loss = super().training_step(batch, batch_idx)
            for optimizer in self.optimizers():
                optimizer.zero_grad()
            self.manual_backward(loss)
            for optimizer in self.optimizers():
                optimizer.step()
            return loss

        def configure_optimizers(self) -> Any:
            body = [(n, p) for n, p in self.named_parameters() if not n.startswith("head")]
            return torch.optim.AdamW(body, lr=LR), torch.optim.SGD(self.head.parameters(), lr=10 * LR)

    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, callbacks=[DiscriminativeLR(groups, 0.5)], logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Two(), data())
    first, second = ([g["lr"] for g in o.param_groups] for o in trainer.optimizers)
    assert first == pytest.approx([LR / 8, LR / 4, LR / 2]) and second == pytest.approx([10 * LR])


def one_cycle(module: Foreign) -> Any:
    optimizer = torch.optim.AdamW(module.parameters(), lr=LR)
    return stepwise(optimizer, schedulers.OneCycleLR(optimizer, max_lr=LR, total_steps=STEPS))


def cyclic(module: Foreign) -> Any:
    optimizer = torch.optim.SGD(module.parameters(), lr=LR, momentum=0.9)
    return stepwise(optimizer, schedulers.CyclicLR(optimizer, base_lr=LR / 10, max_lr=LR))


@pytest.mark.parametrize("configure", [one_cycle, cyclic])
def test_a_scheduler_that_sets_absolute_rates_is_refused(configure: Callable) -> None:
    with pytest.raises(UserError, match="sets absolute learning rates and so undid the factors of DiscriminativeLR"):
        fit(configure, DiscriminativeLR(groups, 0.5))


def test_one_cycle_with_a_maximum_for_each_group_is_fine() -> None:
    def configure(module: Foreign) -> Any:
        optimizer = torch.optim.AdamW(module.parameters(), lr=LR)
        largest = [group["lr"] for group in optimizer.param_groups]
        return stepwise(optimizer, schedulers.OneCycleLR(optimizer, max_lr=largest, total_steps=STEPS))

    rates, _, _ = fit(configure, DiscriminativeLR(groups, 0.5))
    for step in range(STEPS):
        assert rates.curves["stem.0.weight"][step] == pytest.approx(rates.curves["head.weight"][step] / 8)


def test_an_optimiser_without_a_learning_rate_is_refused() -> None:
    class Free(torch.optim.Optimizer):
        def __init__(self, params: Any) -> None:
            super().__init__(params, {})

    with pytest.raises(UserError, match="Free has no learning rate that"):
        fit(lambda m: Free(m.parameters()), DiscriminativeLR(groups))


def test_nothing_is_left_behind() -> None:
    original = torch.optim.Optimizer.add_param_group
    _, _, module = fit(constant, DiscriminativeLR(groups, 0.5))
    assert torch.optim.Optimizer.add_param_group is original
    assert len(module.configure_optimizers().param_groups) == 1

    def broken(module: Foreign) -> Any:
        raise ValueError("the module's own mistake")

    with pytest.raises(ValueError, match="own mistake"):
        fit(broken, DiscriminativeLR(groups, 0.5))
    assert torch.optim.Optimizer.add_param_group is original
    # A second fit of the same module scales once, not twice.
    callback = DiscriminativeLR(groups, 0.5)
    for _ in range(2):
        again = L.Trainer(
            accelerator="cpu", max_epochs=1, callbacks=[callback], logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        again.fit(module, data())
        assert [g["lr"] for g in again.optimizers[0].param_groups] == pytest.approx([LR / 8, LR / 4, LR / 2, LR])


@given(st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=12), st.floats(1e-5, 1.0))
def test_splitting_a_group_loses_nothing(owners: list[str], lr: float) -> None:
    parameters = [nn.Parameter(torch.zeros(1)) for _ in owners]
    owner = {id(p): name for p, name in zip(parameters, owners, strict=True) if name}
    parts = split_group({"params": parameters, "weight_decay": 0.3, "name": "x"}, owner, {"a": 0.5, "b": 0.25}, lr)
    assert sorted(id(p) for part in parts for p in part["params"]) == sorted(map(id, parameters))
    for part in parts:
        name = part["name"].removeprefix("x/")
        assert part["lr"] == pytest.approx(lr * {"a": 0.5, "b": 0.25, "others": 1.0}[name])
        assert part["weight_decay"] == 0.3
        assert {owner.get(id(p), "others") for p in part["params"]} == {name}


def test_a_group_may_be_one_tensor_or_a_generator() -> None:
    layer = nn.Linear(2, 2)
    with regrouped(lambda optimizer, group: [group]):
        one = torch.optim.SGD([{"params": layer.weight}, {"params": iter([layer.bias])}], lr=0.1)
    assert [len(g["params"]) for g in one.param_groups] == [1, 1]


class TheirModule(L.LightningModule):
    """What the README's example takes: a module of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU())
        self.classifier = nn.Linear(8, 2)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.classifier(self.encoder(batch[0])), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def test_the_example_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # Lightning writes its logs there
    module, train_loader = TheirModule(), data()
    #
    import lightning as L

    from tlx.callbacks.discriminative_lr import DiscriminativeLR
    from tlx.callbacks.phases import GradualUnfreezing
    from tlx.layer_groups import group_layers

    def layers(module):  # stem first; a number in parentheses makes a group of each block
        return group_layers(module, [("block", r"encoder\.(\d+)"), ("head", r"classifier")])

    trainer = L.Trainer(max_epochs=4, callbacks=[GradualUnfreezing(layers), DiscriminativeLR(layers, decay=0.5)])
    trainer.fit(module, train_loader)
    #
    assert [g["name"] for g in trainer.optimizers[0].param_groups] == ["block0", "block2", "head"]
    assert [g["lr"] for g in trainer.optimizers[0].param_groups] == pytest.approx([2.5e-4, 5e-4, 1e-3])
    assert trainer.callbacks[0].starts == [0, 6, 12]


def per_group_lambdas(module: Foreign) -> Any:
    optimizer = torch.optim.SGD([{"params": module.stem.parameters()}, {"params": module.head.parameters()}], lr=LR)
    return stepwise(optimizer, schedulers.LambdaLR(optimizer, [lambda step: 1.0, lambda step: 0.5, lambda step: 2.0]))


def per_group_floors(module: Foreign) -> Any:
    optimizer = torch.optim.SGD(module.parameters(), lr=LR)
    scheduler = schedulers.ReduceLROnPlateau(optimizer, min_lr=[1e-5])
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "loss"}}


@pytest.mark.parametrize("configure", [per_group_lambdas, per_group_floors])
def test_lists_per_group_of_the_optimiser_are_refused_in_words(configure: Callable[[Foreign], Any]) -> None:
    with pytest.raises(
        UserError, match=r"makes the groups of the module's optimiser anew.*one value for all, or one function"
    ):
        fit(configure, DiscriminativeLR(groups))


def test_an_optimiser_of_one_group_is_refused_in_words() -> None:
    with pytest.raises(UserError, match=r"takes one group of parameters alone .*AdamW or SGD"):
        fit(lambda m: torch.optim.LBFGS(m.parameters()), DiscriminativeLR(groups))


def test_other_errors_of_the_module_are_its_own() -> None:
    with pytest.raises(ValueError, match="Invalid learning rate") as raised:
        fit(lambda m: torch.optim.SGD(m.parameters(), lr=-1.0), DiscriminativeLR(groups))
    assert not isinstance(raised.value, UserError)
