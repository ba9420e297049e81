"""Mixout: its mathematics, and that in anybody's Trainer only forward passes in train mode see mixed weights."""

from collections.abc import Callable
from typing import Any

import lightning as L
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from tlx.callbacks.mixout import Mixout, matrices, mixout
from tlx.errors import UserError


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    g = seeded(0)
    return torch.randn(shape, dtype=torch.float64, generator=g), torch.randn(shape, dtype=torch.float64, generator=g)


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 2), (3, 4, 2, 2)])
@pytest.mark.parametrize("p", [0.3, 0.7, 0.9])
def test_the_gradient_is_that_of_the_formula(shape: tuple[int, ...], p: float) -> None:
    weight, pretrained = pair(*shape)
    weight.requires_grad_()
    assert torch.autograd.gradcheck(lambda w: mixout(w, pretrained, p, seeded(3)), weight)
    mixed = mixout(weight, pretrained, p, seeded(3))
    mixed.sum().backward()
    # (1 − M) / (1 − p): nothing where the pretrained value stands, scaled up elsewhere
    assert weight.grad is not None
    assert set(weight.grad.unique().tolist()) <= {0.0, 1 / (1 - p)}


@given(st.floats(0.05, 0.95), st.integers(0, 1000))
def test_a_column_is_pretrained_or_trained_as_a_whole(p: float, seed: int) -> None:
    weight, pretrained = pair(4, 6)
    mixed = mixout(weight, pretrained, p, seeded(seed))
    kept = torch.isclose(mixed, pretrained)
    trained = torch.isclose(mixed, (weight - p * pretrained) / (1 - p))
    assert (kept.all(0) | trained.all(0)).all()


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 2, 2)])
@pytest.mark.parametrize("p", [0.3, 0.7])
def test_the_value_is_that_of_the_papers_formula(shape: tuple[int, ...], p: float) -> None:
    weight, pretrained = pair(*shape)
    mask = torch.empty(1, shape[1], *(1 for _ in shape[2:]), dtype=torch.float64).bernoulli_(p, generator=seeded(3))
    formula = (mask * pretrained + (1 - mask) * weight - p * pretrained) / (1 - p)
    torch.testing.assert_close(mixout(weight, pretrained, p, seeded(3)), formula)


@pytest.mark.parametrize("p", [0.2, 0.7])
def test_the_expectation_is_the_weight(p: float) -> None:
    weight, pretrained = pair(3, 5)
    g = seeded(1)
    draws = torch.stack([mixout(weight, pretrained, p, g) for _ in range(20_000)])
    sigma = draws.std(0) / 20_000**0.5
    assert ((draws.mean(0) - weight).abs() < 5 * sigma).all()
    share = torch.isclose(draws, pretrained).double().mean()
    assert abs(share - p) < 0.01


def test_dropout_is_the_case_of_a_pretrained_weight_of_zero() -> None:
    weight, _ = pair(3, 5)
    x = torch.randn(1, 5, dtype=torch.float64)
    mixed = mixout(weight, torch.zeros_like(weight), 0.4, seeded(9))
    mask = torch.empty(1, 5, dtype=torch.float64).bernoulli_(0.4, generator=seeded(9))
    assert torch.allclose(x @ mixed.T, (x * (1 - mask) / 0.6) @ weight.T)


def test_the_ends_of_the_range() -> None:
    weight, pretrained = pair(3, 5)
    weight.requires_grad_()
    assert torch.equal(mixout(weight, pretrained, 0.0), weight)
    mixed = mixout(weight, pretrained, 1.0)
    assert torch.equal(mixed, pretrained)
    mixed.sum().backward()
    assert weight.grad is not None and not weight.grad.any()


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_what_is_no_probability_is_refused(p: float) -> None:
    with pytest.raises(ValueError, match="is a probability"):
        Mixout(p)


class Foreign(L.LightningModule):
    """Knows nothing of tlx: convolution, linear layers, a head."""

    def __init__(self, lr: float = 0.1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 3)
        self.hidden = nn.Linear(16, 8)
        self.head = nn.Linear(8, 2)
        self.lr = lr
        self.inspect: Callable[[], None] = lambda: None

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(self.conv(x[:, None]).relu().flatten(1)).relu())

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.inspect()
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def data() -> DataLoader:
    x = torch.randn(16, 6, generator=seeded(2))
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=4)


def trainer(*callbacks: L.Callback, epochs: int = 2) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def not_head(name: str, layer: nn.Module) -> bool:
    return name != "head"


def test_in_somebody_elses_trainer() -> None:
    module, callback = Foreign(), Mixout(0.5, select=not_head)
    before = {n: t.clone() for n, t in module.state_dict().items()}
    outputs = []

    def inspect() -> None:
        x = torch.ones(3, 6)
        outputs.append([module(x).detach() for _ in range(4)])
        assert list(module.state_dict()) == list(before)
        assert [n for n, _ in module.named_parameters()] == list(before)

    module.inspect = inspect
    run = trainer(callback)
    run.fit(module, data(), data())
    assert set(callback.pretrained) == {"conv.weight", "hidden.weight"}
    assert all(torch.equal(callback.pretrained[n], before[n]) for n in callback.pretrained)
    assert any(not torch.equal(o[0], x) for o in outputs[1:] for x in o[1:])
    # At the very start the weight is the pretrained one: mixing changes nothing yet.
    assert all(torch.allclose(outputs[0][0], x, atol=1e-6) for x in outputs[0])
    assert all(not torch.equal(before[n], t) for n, t in module.state_dict().items())


def test_in_eval_mode_the_weights_are_the_trained_ones() -> None:
    module, callback = Foreign(), Mixout(0.5)

    class Look(L.Callback):
        seen = 0

        def on_validation_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
            x = torch.ones(3, 6)
            plain = nn.functional.conv1d(x[:, None], module.conv.weight, module.conv.bias).relu().flatten(1)
            for layer in (module.hidden, module.head):
                plain = nn.functional.linear(plain, layer.weight, layer.bias)
                plain = plain.relu() if layer is module.hidden else plain
            assert torch.equal(module(x), plain)
            self.seen += 1

    look = Look()
    trainer(callback, look).fit(module, data(), data())
    assert look.seen > 8


@pytest.mark.parametrize(("p", "moves"), [(0.0, True), (1.0, False)])
def test_at_the_ends_training_is_plain_or_changes_no_weight(p: float, moves: bool) -> None:
    results = []
    for callbacks in ([Mixout(p)], []):
        torch.manual_seed(1)
        module = Foreign()
        start = {n: t.clone() for n, t in module.state_dict().items()}
        trainer(*callbacks).fit(module, data())
        results.append(module.state_dict())
    if moves:
        assert all(torch.equal(results[0][n], results[1][n]) for n in start)
    else:
        assert all(torch.equal(results[0][n], start[n]) == n.endswith("weight") for n in start)


def test_a_step_of_sgd_has_the_right_scale() -> None:
    """Each column takes no step or 1 / (1 − p) times the plain one; where the loss is linear, the mean is the plain."""
    p, lr = 0.7, 0.1
    layer = nn.Linear(6, 3, bias=False)
    start, x = layer.weight.detach().clone(), torch.randn(5, 6)
    plain = -lr * torch.autograd.grad(layer(x).sum(), layer.weight)[0]
    callback = Mixout(p)
    callback._hook(layer, start)
    steps = []
    for _ in range(4000):
        with torch.no_grad():
            layer.weight.copy_(start)
        optimizer = torch.optim.SGD(layer.parameters(), lr=lr)
        optimizer.zero_grad()
        layer(x).sum().backward()
        optimizer.step()
        steps.append(layer.weight.detach() - start)
    taken = torch.stack(steps)
    columns = taken[:, 0] / plain[0]
    assert (
        torch.isclose(columns, torch.tensor(0.0), atol=1e-3) | torch.isclose(columns, torch.tensor(1 / (1 - p)))
    ).all()
    assert torch.allclose(taken.mean(0), plain, rtol=0.15)


def test_the_head_takes_no_part_when_it_is_left_out() -> None:
    callback, module = Mixout(1.0, select=not_head), Foreign()
    head = module.head.weight.detach().clone()
    trainer(callback).fit(module, data())
    assert not torch.equal(module.head.weight, head) and not module.head._forward_hooks


def test_an_exception_in_a_forward_pass_leaves_the_layer_whole() -> None:
    module = Foreign()
    keys, parameters = list(module.state_dict()), [id(p) for p in module.parameters()]

    def broken() -> None:
        module.hidden(torch.ones(2, 99))

    module.inspect = broken
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        trainer(Mixout(0.5)).fit(module, data())
    assert list(module.state_dict()) == keys and [id(p) for p in module.parameters()] == parameters
    assert isinstance(module.hidden.weight, nn.Parameter)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    assert torch.equal(module(torch.ones(2, 6)), module(torch.ones(2, 6)))


def test_afterwards_the_module_is_as_it_was() -> None:
    module = Foreign()
    names = [n for n, _ in module.named_parameters()]
    trainer(Mixout(0.9)).fit(module, data())
    assert [n for n, _ in module.named_parameters()] == names == list(module.state_dict())
    assert all(isinstance(layer.weight, nn.Parameter) for layer in (module.conv, module.hidden, module.head))
    assert all("weight" not in vars(layer) for layer in (module.conv, module.hidden, module.head))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def test_a_later_fit_mixes_with_the_values_before_the_first() -> None:
    module, callback = Foreign(), Mixout(0.5)
    first = module.hidden.weight.detach().clone()
    for _ in range(2):
        trainer(callback).fit(module, data())
    assert torch.equal(callback.pretrained["hidden.weight"], first)


def test_gradient_checkpointing_sees_the_same_mixed_weights_again() -> None:
    layer = nn.Linear(6, 6)
    callback = Mixout(0.5)
    callback._hook(layer, torch.zeros(6, 6))
    x = torch.randn(3, 6, requires_grad=True)
    gradients = []
    for through in (lambda: layer(x), lambda: checkpoint(layer, x, use_reentrant=False)):
        torch.manual_seed(5)
        layer.zero_grad()
        through().square().sum().backward()
        gradients.append(layer.weight.grad.clone())
        assert isinstance(layer.weight, nn.Parameter)
    assert torch.equal(*gradients)


def test_a_layer_used_twice_in_one_pass_is_drawn_twice() -> None:
    layer = nn.Linear(6, 6)
    Mixout(0.5)._hook(layer, torch.zeros(6, 6))
    x = torch.randn(3, 6)
    assert not torch.equal(layer(x), layer(x))
    layer(layer(x)).sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize("p", [0.3, 0.7])
def test_input_neurons_of_transposed_weights_and_of_groups_are_drawn_as_such(p: float) -> None:
    weight, pretrained = pair(6, 4)
    turned = mixout(weight.T, pretrained.T, p, seeded(3), inputs=0)
    torch.testing.assert_close(turned, mixout(weight, pretrained, p, seeded(3)).T)
    weight, pretrained = pair(6, 2, 3)  # three groups of two outputs and two inputs each
    kept = torch.isclose(mixout(weight, pretrained, p, seeded(4), groups=3), pretrained).reshape(3, 2, 2, 3)
    assert (kept == kept[:, :1, :, :1]).all(), "one draw for all outputs of a group"
    draws = [torch.isclose(mixout(weight, pretrained, p, seeded(i), groups=3), pretrained)[:, 0, 0] for i in range(30)]
    assert any(len(set(draw.tolist())) == 2 for draw in draws), "each group has input neurons of its own"


def test_every_layer_with_a_matrix_is_known_by_its_inputs() -> None:
    from transformers.pytorch_utils import Conv1D

    expected = [
        (nn.Linear(3, 5), {"weight": (1, 1)}),
        (Conv1D(5, 3), {"weight": (0, 1)}),
        (nn.Conv2d(4, 8, 3, groups=4), {"weight": (1, 4)}),
        (nn.Conv3d(4, 8, 3), {"weight": (1, 1)}),
        (nn.ConvTranspose1d(4, 8, 3), {"weight": (0, 1)}),
        (nn.MultiheadAttention(8, 2), {"in_proj_weight": (1, 1)}),
        (
            nn.MultiheadAttention(8, 2, kdim=4, vdim=4),
            {"q_proj_weight": (1, 1), "k_proj_weight": (1, 1), "v_proj_weight": (1, 1)},
        ),
        (nn.Embedding(5, 3), {}),
        (nn.LayerNorm(5), {}),
        (nn.LSTM(3, 4), {}),
        (nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 4, 3)), {}),
    ]
    for layer, found in expected:
        assert matrices(layer) == found, layer


class Reader(nn.Module):
    """Uses the weight of a child without calling it, as WavLM's attention does."""

    def __init__(self) -> None:
        super().__init__()
        self.q_proj = nn.Linear(6, 6)

    def attend(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.q_proj.weight, self.q_proj.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.attend(x)


class Odd(nn.Module):
    """Uses the weight of a grandchild."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.ModuleDict({"deep": nn.Linear(6, 6)})

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.inner["deep"].weight.T


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x[:, None], x[:, None], x[:, None])[0][:, 0]


def gpt2_mlp() -> nn.Module:
    from transformers.pytorch_utils import Conv1D

    return nn.Sequential(Conv1D(8, 6), nn.GELU(), Conv1D(6, 8))


class Around(Foreign):
    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part
        self.head = nn.Linear(6, 2)
        del self.conv, self.hidden

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.part(x).tanh())


@pytest.mark.parametrize("make", [Reader, Attention, gpt2_mlp])
def test_a_weight_at_p_1_never_moves_however_the_network_reads_it(make: Callable[[], nn.Module]) -> None:
    module, callback = Around(make()), Mixout(1.0, select=not_head)
    before = {n: t.clone() for n, t in module.part.named_parameters()}
    trainer(callback).fit(module, data())
    matrices_of = {n for n, t in before.items() if t.ndim > 1}
    assert set(callback.pretrained) == {f"part.{n}" for n in matrices_of}
    assert {n for n, t in module.part.named_parameters() if torch.equal(t, before[n])} >= matrices_of
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())
    again = Around(make())
    trainer(Mixout(0.0)).fit(again, data())
    assert all("weight" not in vars(m) for m in again.modules())


def test_what_is_read_over_two_modules_is_refused_and_not_passed_over() -> None:
    with pytest.raises(UserError, match=r"cannot mix part\.inner\.deep\.weight"):
        trainer(Mixout(0.5)).fit(Around(Odd()), data())


def test_a_layer_that_the_loss_does_not_need_is_no_reason_to_refuse() -> None:
    module = Foreign()
    module.pooler = nn.Linear(8, 8)
    trainer(Mixout(0.5)).fit(module, data())


@pytest.mark.parametrize("callback", [Mixout(0.5, select=lambda name, layer: name == "haed"), Mixout(0.5)])
def test_nothing_to_mix_is_an_error_before_training(callback: Mixout) -> None:
    module = Around(nn.LayerNorm(6)) if callback.select("part", nn.Linear(1, 1)) else Foreign()
    if isinstance(module, Around):
        module.head = nn.Bilinear(6, 6, 2)
        module.forward = lambda x: module.head(module.part(x), x)  # type: ignore[method-assign]
    with pytest.raises(UserError, match="none takes part"):
        trainer(callback).fit(module, data())
