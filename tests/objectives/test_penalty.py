"""Penalties on the gradient train to the weights of the same penalties as terms of the loss, in anybody's Trainer."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tlx.callbacks.phases import GradualUnfreezing
from tlx.errors import UserError
from tlx.layer_groups import group_layers
from tlx.objectives import penalty
from tlx.objectives.ewc import EWC
from tlx.objectives.l2_sp import L2SP
from tlx.objectives.penalty import Pull, blocks

OPTIMIZERS = {
    "sgd": partial(torch.optim.SGD, lr=0.1),
    "momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True, fused=True),
    "adamw": partial(torch.optim.AdamW, lr=0.01, fused=True),
}
EPOCHS, BATCHES = 3, 4


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def importance(name: str, like: Tensor) -> Tensor:
    """Some Fisher information."""
    return torch.rand(like.shape, generator=torch.Generator().manual_seed(len(name)))


class Foreign(L.LightningModule):
    """Knows nothing of tlx. With `term` it adds that function of its parameters and their starts to its loss."""

    def __init__(self, optimizer: Any = OPTIMIZERS["sgd"], term: Callable[..., Any] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8))
        self.blocks = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.head = nn.Linear(8, 3)
        self.unused = nn.Linear(2, 2)  # in no forward pass
        self.make, self.term = optimizer, term
        self.begin = {n: p.detach().clone() for n, p in self.named_parameters()}
        self.terms: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        for block in self.blocks:
            x = x + block(x).relu()
        return self.head(x)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = nn.functional.cross_entropy(self(batch[0]), batch[1])
        if self.term is None:
            return loss
        parts = [self.term(n, p, self.begin[n]) for n, p in self.named_parameters() if p.requires_grad]
        term = torch.stack([torch.zeros(()), *(part for part in parts if part is not None)]).sum()
        self.terms.append(float(term.detach()))
        return loss + term

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.make(self.parameters())


def is_new(name: str) -> bool:
    return name.startswith(("head.", "unused."))


def l2_sp(name: str, weight: Tensor, start: Tensor) -> Tensor:
    return 0.5 / 2 * weight.square().sum() if is_new(name) else 0.3 / 2 * (weight - start).square().sum()


def ewc(name: str, weight: Tensor, start: Tensor) -> Tensor | None:
    return None if is_new(name) else 3 / 2 * (importance(name, weight) * (weight - start).square()).sum()


def fisher(module: nn.Module) -> dict[str, Tensor]:
    return {n: importance(n, p) for n, p in module.named_parameters() if not is_new(n)}


# name -> (the callback, the same as a term of the loss)
PENALTIES: dict[str, tuple[Callable[[], L.Callback], Callable[..., Any]]] = {
    "l2_sp": (lambda: L2SP(0.3, 0.5, new=is_new), l2_sp),
    "ewc": (lambda: EWC(3, fisher), ewc),
}


def data() -> DataLoader:
    x = torch.randn(BATCHES * 4, 6, generator=torch.Generator().manual_seed(2))
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long() + (x[:, 1] > 0)), batch_size=4)


def fit(module: Foreign, *callbacks: L.Callback, resume: Path | None = None, **options: Any) -> L.Trainer:
    settings: dict[str, Any] = {"max_epochs": EPOCHS, "logger": False, "enable_checkpointing": False} | options
    trainer = L.Trainer(
        accelerator="cpu",
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(module, data(), ckpt_path=resume, weights_only=True if resume else None)
    return trainer


def same(one: nn.Module, other: nn.Module, atol: float = 1e-6) -> None:
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(
            tensor, other.state_dict()[name], rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
        )


def both(name: str, *further: Any, optimizer: Any = OPTIMIZERS["sgd"], **options: Any) -> tuple[Foreign, Foreign]:
    """Trained with the penalty on the gradient, and as a term of the loss."""
    callback, term = PENALTIES[name]
    module, naive = Foreign(optimizer), Foreign(optimizer, term)
    fit(module, *(make() for make in further), callback(), **options)
    fit(naive, *(make() for make in further), **options)
    return module, naive


@pytest.mark.parametrize(
    "options",
    [{}, {"gradient_clip_val": 0.2}, {"accumulate_grad_batches": 2, "gradient_clip_val": 0.2}],
    ids=["plain", "clipped", "accumulated and clipped"],
)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", PENALTIES)
def test_as_a_term_of_the_loss(name: str, optimizer: str, options: dict[str, Any]) -> None:
    make = OPTIMIZERS[optimizer]
    module, naive = both(name, optimizer=make, **options)
    same(module, naive)
    free = Foreign(make)
    fit(free, **options)
    apart = max(float((free.begin[n] - free.state_dict()[n]).norm()) for n in free.begin)
    moved = max(float((p - free.state_dict()[n]).norm()) for n, p in module.state_dict().items())
    assert moved > 0.02 * apart, "the penalty does nothing"
    if name == "l2_sp":  # what no batch uses is pulled, too
        assert not torch.equal(module.unused.weight, module.begin["unused.weight"])


@pytest.mark.parametrize("name", PENALTIES)
def test_frozen_layers_are_not_pulled_and_unfrozen_ones_are(name: str) -> None:
    def layers(module: nn.Module) -> Any:
        return group_layers(module, [("stem", "stem"), ("block", r"blocks\.(\d+)"), ("head", "head|unused")])

    class Look(L.Callback):
        frozen = 0

        def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
            for n, p in pl_module.named_parameters():
                if not p.requires_grad:
                    assert p.grad is None and torch.equal(p, pl_module.begin[n])
                    self.frozen += 1

    look = Look()
    module, naive = both(
        name, lambda: GradualUnfreezing(layers, share=0.75), lambda: look, optimizer=OPTIMIZERS["adamw"]
    )
    same(module, naive)
    assert look.frozen > 10 and not torch.equal(module.stem[0].weight, module.begin["stem.0.weight"])


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=8),
    st.integers(1, 200),
    st.booleans(),
    st.booleans(),
    st.floats(0.01, 10),
    st.data(),
)
def test_however_they_are_blocked(
    sizes: list[int], limit: int, start: bool, weighted: bool, strength: float, draw: Any
) -> None:
    g = torch.Generator().manual_seed(sum(sizes))
    parameters = [nn.Parameter(torch.randn(n, dtype=torch.float64, generator=g)) for n in sizes]
    pulls = [
        Pull(
            strength,
            torch.randn(n, dtype=torch.float64, generator=g) if start else None,
            torch.rand(n, dtype=torch.float64, generator=g) if weighted else None,
        )
        for n in sizes
    ]
    for parameter in parameters:
        parameter.grad = draw.draw(st.sampled_from([None, torch.ones_like(parameter)]))
        parameter.requires_grad_(draw.draw(st.booleans()) or parameter.grad is not None)
    before = [p.grad for p in parameters]
    value = torch.zeros((), dtype=torch.float64)
    expected = []
    for parameter, pull, gradient in zip(parameters, pulls, before, strict=True):
        w = parameter.detach().clone().requires_grad_()
        weights = 1.0 if pull.importance is None else pull.importance
        term = strength / 2 * (weights * (w - (0.0 if pull.start is None else pull.start)).square()).sum()
        value += term.detach() if parameter.requires_grad else 0.0
        slope = torch.autograd.grad(term, w)[0]
        expected.append((0 if gradient is None else gradient) + slope if parameter.requires_grad else None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(penalty, "BLOCK", {"cpu": limit * 8})
        found = blocks(zip(parameters, pulls, strict=True))
    assert sorted(id(w) for b in found for w in b.weights) == sorted(map(id, parameters))
    assert all(len(b.weights) == 1 or sum(w.nbytes for w in b.weights) <= limit * 8 for b in found)
    torch.testing.assert_close(sum(b.value() for b in found), value, check_dtype=False)
    for block in found:
        block.add_gradient()
    for parameter, gradient in zip(parameters, expected, strict=True):
        assert (parameter.grad is None) == (gradient is None)
        if gradient is not None:
            torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("name", PENALTIES)
def test_the_penalty_is_logged_now_and_then(name: str, tmp_path: Path) -> None:
    callback, term = PENALTIES[name]
    naive = Foreign(term=term)
    fit(naive)
    logger = CSVLogger(tmp_path, name="", version="")
    fit(Foreign(), callback(), logger=logger, log_every_n_steps=3)
    lines = [line.split(",") for line in (tmp_path / "metrics.csv").read_text().splitlines()]
    rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
    logged = {int(row["step"]): float(row[f"train/{name}"]) for row in rows}
    assert list(logged) == [2, 5, 8, 11]
    assert all(value == pytest.approx(naive.terms[step], rel=1e-4) for step, value in logged.items())


@pytest.mark.parametrize("name", PENALTIES)
def test_resumed_it_ends_as_undisturbed_bit_for_bit(name: str, tmp_path: Path) -> None:
    make = PENALTIES[name][0]

    class Save(L.Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
            if trainer.current_epoch == 0:
                trainer.save_checkpoint(tmp_path / "first.ckpt")

    whole, resumed = Foreign(OPTIMIZERS["adamw"]), Foreign(OPTIMIZERS["adamw"])
    fit(whole, make(), Save())
    fit(resumed, make(), resume=tmp_path / "first.ckpt")
    assert all(torch.equal(p, resumed.state_dict()[n]) for n, p in whole.state_dict().items())


def test_a_later_fit_holds_to_the_start_of_the_first() -> None:
    module, callback = Foreign(), L2SP(new=is_new)
    for _ in range(2):
        fit(module, callback)
    assert callback.start.keys() == {n for n in module.begin if not is_new(n)}
    assert all(torch.equal(t, module.begin[n]) for n, t in callback.start.items())


class TwoOptimizers(Foreign):
    """Steps of the head and of the rest take turns."""

    def __init__(self, term: Callable[..., Any] | None = None) -> None:
        super().__init__(term=term)
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        rest = [p for n, p in self.named_parameters() if not n.startswith("head.")]
        return [torch.optim.SGD(rest, lr=0.1), torch.optim.SGD(self.head.parameters(), lr=0.2)]

    def training_step(self, batch: Any, batch_idx: int) -> None:  # type: ignore[override]
        for optimizer in self.optimizers():
            loss = super().training_step(batch, batch_idx)
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()


@pytest.mark.parametrize("name", PENALTIES)
def test_each_of_two_optimisers_has_its_own_weights_pulled(name: str) -> None:
    callback, term = PENALTIES[name]
    module, naive = TwoOptimizers(), TwoOptimizers(term)
    fit(module, callback())
    fit(naive)
    same(module, naive)


def test_parameters_that_an_optimiser_is_given_later_are_pulled() -> None:
    class Later(Foreign):
        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.head.parameters(), lr=0.1)

        def on_train_epoch_start(self) -> None:
            if self.current_epoch == 1:
                self.trainer.optimizers[0].add_param_group({"params": self.blocks.parameters()})

    module, naive = Later(), Later(term=l2_sp)
    fit(module, L2SP(0.3, 0.5, new=is_new))
    fit(naive)
    same(module, naive)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])  # fused or not: who divides the gradients by the scale
@pytest.mark.parametrize("name", PENALTIES)
def test_with_scaled_gradients_of_fp16(name: str, optimizer: str) -> None:
    callback, term = PENALTIES[name]
    results = []
    for module, callbacks in (
        (Foreign(OPTIMIZERS[optimizer]), [callback()]),
        (Foreign(OPTIMIZERS[optimizer], term), []),
    ):
        scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
        fit(module, *callbacks, plugins=[MixedPrecision("16-mixed", "cpu", scaler)])
        results.append(module)
    same(*results, atol=2e-3)
    plain = Foreign(OPTIMIZERS[optimizer], term)
    fit(plain)
    same(results[0], plain, atol=1e-2)


def test_a_stronger_penalty_ends_nearer_to_the_start() -> None:
    ends = []
    for alpha in (0.0, 0.1, 1.0, 5.0):
        module = Foreign()
        fit(module, L2SP(alpha, 0.0, new=is_new))
        ends.append(
            sum(float((p - module.begin[n]).square().sum()) for n, p in module.state_dict().items() if not is_new(n))
        )
    assert all(nearer < farther for farther, nearer in pairwise(ends))


@pytest.mark.parametrize("make", [lambda: L2SP(-1), lambda: L2SP(1, float("nan")), lambda: EWC(-0.1, {})])
def test_a_negative_strength_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(UserError, match="must be at least 0"):
        make()
