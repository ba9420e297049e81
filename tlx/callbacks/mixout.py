"""Mixout: randomly put weights back to their pretrained values while training (Lee et al. 2020, arXiv:1909.11299)."""

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn


def mixout(weight: Tensor, pretrained: Tensor, p: float, generator: torch.Generator | None = None) -> Tensor:
    """(M ⊙ pretrained + (1 − M) ⊙ weight − p · pretrained) / (1 − p) with M ~ Bernoulli(p) per input neuron.

    weight, pretrained: (out, in, …); one draw per input column, shared by all outputs, as dropout of neurons does and
    the paper defines. The expectation over M is `weight`, and the gradient to `weight` is (1 − M) / (1 − p). p = 0
    gives `weight`, p = 1 gives `pretrained`.
    """
    if p == 0:
        return weight
    if p == 1:
        return pretrained + 0 * weight
    shape = (1, weight.shape[1], *(1 for _ in weight.shape[2:]))
    mask = torch.empty(shape, device=weight.device, dtype=weight.dtype).bernoulli_(p, generator=generator)
    # The same as pretrained + (weight − pretrained) · (1 − M) / (1 − p): one pass over the weights, and one backward.
    return torch.lerp(pretrained, weight, (1 - mask) / (1 - p))


class Mixout(L.Callback):
    """Applies `mixout` with probability `p` to the weights of linear and convolutional layers in train mode.

    Each weight's value at the start of the first fit is its pretrained value. `select(name, layer)` says which layers
    take part; give it to leave out a new head (default: every layer). Layers keep their parameters and their names in
    checkpoints: the mixed weight exists only during the layer's forward pass.
    """

    def __init__(self, p: float, select: Callable[[str, nn.Module], bool] = lambda name, layer: True) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"mixout p={p} is a probability and must lie in [0, 1]")
        self.p, self.select = p, select
        self.pretrained: dict[str, Tensor] = {}
        self._handles: list[Any] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for name, layer in pl_module.named_modules():
            # A weight that is computed from other parameters (weight norm) is no parameter to put back.
            own = isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)) and "weight" in dict(
                layer.named_parameters(recurse=False)
            )
            if own and self.select(name, layer):
                # On resume the checkpoint's copy was loaded before: the live weights have moved by then.
                kept = self.pretrained.setdefault(name, layer.weight.detach().clone())
                self.pretrained[name] = kept.to(layer.weight.device)
                self._hook(layer, self.pretrained[name])

    def _hook(self, layer: nn.Module, pretrained: Tensor) -> None:
        # The mixed weight shadows the parameter as an attribute of the instance: the parameter stays registered, so
        # that names, order and checkpoints do not change even in the midst of the pass.
        def before(module: nn.Module, inputs: Any) -> None:
            if module.training and self.p > 0:
                weight = module.get_parameter("weight")
                vars(module)["weight"] = mixout(weight, pretrained, self.p)

        def after(module: nn.Module, inputs: Any, output: Any) -> None:
            vars(module).pop("weight", None)

        self._handles += [
            layer.register_forward_pre_hook(before),
            layer.register_forward_hook(after, always_call=True),
        ]

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.on_fit_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {"pretrained": self.pretrained}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.pretrained = dict(state_dict["pretrained"])
