"""Drift: how far the representations of each layer have moved, by linear CKA (Kornblith et al. 2019)."""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor, nn

from tlx.callbacks.phases import Groups, listed
from tlx.layer_groups import LayerGroup
from tlx.network.modes import in_eval_mode


def gram(activations: Tensor) -> Tensor:
    """Inner products of all pairs of examples: (n, …) → (n, n), in double precision."""
    flat = activations.detach().flatten(1).double()
    return flat @ flat.T


def hsic(k: Tensor, m: Tensor) -> Tensor:
    """The unbiased estimate of the Hilbert-Schmidt independence criterion of two kernels (n, n), n > 3.

    Song et al. 2012, equation 5: with zero diagonals, (tr(KM) + 1ᵀK1 1ᵀM1 / ((n−1)(n−2)) − 2/(n−2) 1ᵀKM1) / (n(n−3)).
    """
    n = len(k)
    k, m = k - k.diag().diag(), m - m.diag().diag()
    cross = (k * m.T).sum() + k.sum() * m.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k.sum(0) @ m.sum(1))
    return cross / (n * (n - 3))


def linear_cka(k: Tensor, m: Tensor) -> float:
    """Linear CKA of two representations of the same n examples from their Gram matrices (n, n): HSIC(K, M), normalised.

    1: equal up to rotation and scale; about 0: unrelated. The estimate is unbiased (Nguyen et al. 2021, "wide and deep
    networks"), or with more features than examples everything would look alike. NaN where one of them is constant.

    Raises:
        ValueError: fewer than four examples.
    """
    if len(k) < 4:
        raise ValueError(f"CKA needs four examples or more; there are {len(k)}.")
    return float(hsic(k, m) / (hsic(k, k) * hsic(m, m)).sqrt())


def outputs(module: nn.Module, groups: Sequence[LayerGroup]) -> dict[str, list[str]]:
    """The modules that each layer group consists of: the largest ones with no parameter of another depth.

    Groups of one depth (adapters and what they adapt) count as one, under the first one's name.
    """
    parameters = dict(module.named_parameters())
    names: dict[int, str] = {}
    for group in groups:
        names.setdefault(group.depth, group.name)
    depths = {id(parameters[n]): group.depth for group in groups for n in group.parameters}
    found: dict[str, list[str]] = {name: [] for name in names.values()}
    taken: list[str] = []
    for name, part in module.named_modules():
        inside = {depths.get(id(p), -1) for p in part.parameters()}
        called = not isinstance(part, nn.ModuleList | nn.ModuleDict)
        if called and len(inside) == 1 and not any(name.startswith(f"{other}.") for other in taken):
            taken.append(name)
            found.get(names.get(inside.pop(), ""), []).append(name)
    return found


@contextmanager
def _last_grams(module: nn.Module, parts: dict[str, list[str]], mask: Tensor | None) -> Iterator[dict[str, Tensor]]:
    """Gram matrices of what each group gave last in the forward passes within this context."""
    grams: dict[str, Tensor] = {}

    def keep(group: str) -> Callable[..., None]:
        def hook(part: nn.Module, inputs: Any, output: Any) -> None:
            value = output[0] if isinstance(output, tuple | list) else output
            value = next(iter(value.values())) if isinstance(value, dict) else value
            if mask is not None and value.ndim == 3 and value.shape[:2] == mask.shape:
                value = value * mask.unsqueeze(-1)  # padding says nothing
            grams[group] = gram(value)

        return hook

    handles = [
        module.get_submodule(name).register_forward_hook(keep(group))
        for group, names in parts.items()
        for name in names
    ]
    try:
        yield grams
    finally:
        for handle in handles:
            handle.remove()


class DriftMeter(L.Callback):
    """Compares what each layer group makes of the same inputs before and after training, in any Trainer.

    `batch` is one batch of four examples or more, `forward(module, batch)` runs the network on it (default: calls the
    module), and `groups` lists the layer groups, or is a function of the module that does. `similarity` holds the
    linear CKA of each group afterwards. With `at_fit_end=False` the caller measures the end itself by `measure_after`.
    """

    def __init__(
        self,
        groups: Groups,
        batch: Any,
        forward: Callable[[Any, Any], Any] = lambda module, batch: module(batch),
        at_fit_end: bool = True,
    ) -> None:
        self.groups, self.batch, self.forward, self.at_fit_end = groups, batch, forward, at_fit_end
        self.before: dict[str, Tensor] = {}
        self._parts: dict[str, list[str]] = {}
        self.similarity: dict[str, float] = {}
        self._seen: weakref.ref[nn.Module] | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.measure_before(pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.at_fit_end:
            self.measure_after(pl_module)

    def measure_before(self, module: L.LightningModule) -> None:
        """Look at the network as it is now, unless that was done already; another module is looked at anew."""
        other = self._seen is not None and self._seen() is not module
        self._seen = weakref.ref(module)
        if not self.before or other:
            self._parts = outputs(module, listed(self.groups, module))
            self.before = self._grams(module)

    def measure_after(self, module: L.LightningModule) -> dict[str, float]:
        """Compare the network with what it was; returns the similarity of each layer group."""
        after = self._grams(module)
        self.similarity = {name: linear_cka(self.before[name], k) for name, k in after.items()}
        return self.similarity

    @torch.no_grad()
    def _grams(self, module: L.LightningModule) -> dict[str, Tensor]:
        batch = move_data_to_device(self.batch, module.device)
        mask = batch.get("attention_mask") if isinstance(batch, dict) else None
        with in_eval_mode(module), _last_grams(module, self._parts, mask) as grams:
            self.forward(module, batch)
        return {name: grams[name].cpu() for name in self._parts if name in grams}

    def state_dict(self) -> dict[str, Any]:
        return {"before": self.before, "parts": self._parts}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.before, self._parts = dict(state_dict["before"]), dict(state_dict["parts"])
        self._seen = None
