"""Mixout: randomly put weights back to their pretrained values while training (Lee et al. 2020, arXiv:1909.11299)."""

import inspect
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from tlx.errors import UserError
from tlx.private import Convolution, TransposedConvolution

# Parameters with a matrix that multiplies inputs.
NAMES = ("weight", "in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")


def mixout(
    weight: Tensor,
    pretrained: Tensor,
    p: float,
    generator: torch.Generator | None = None,
    inputs: int = 1,
    groups: int = 1,
) -> Tensor:
    """(M ⊙ pretrained + (1 − M) ⊙ weight − p · pretrained) / (1 − p) with M ~ Bernoulli(p) per input neuron.

    weight, pretrained: (out, in, …), or (in, out, …) where `inputs`, the dimension of the input neurons, is 0; one draw
    per input neuron, shared by all outputs, as dropout of neurons does and the paper defines. In a convolution of
    several `groups`, (out, in / groups, …), each has input neurons of its own. The expectation over M is `weight`, and
    the gradient to `weight` is (1 − M) / (1 − p). p = 0 gives `weight`, p = 1 gives `pretrained`.
    """
    if p == 0:
        return weight
    if p == 1:
        return pretrained + 0 * weight
    shape = [1] * weight.ndim
    shape[0], shape[inputs] = groups, weight.shape[inputs]
    mask = torch.empty(shape, device=weight.device, dtype=weight.dtype).bernoulli_(p, generator=generator)
    if groups > 1:
        mask = mask.repeat_interleave(weight.shape[0] // groups, 0)
    # The same as pretrained + (weight − pretrained) · (1 − M) / (1 − p): one pass over the weights, and one backward.
    return torch.lerp(pretrained, weight, (1 - mask) / (1 - p))


def matrices(layer: nn.Module) -> dict[str, tuple[int, int]]:
    """The layer's own parameters that `mixout` is defined for: {name: (dimension of the input neurons, groups)}.

    Those of linear layers, transformers' Conv1D (which is linear, and holds (in, out)), attention with its projections
    in one parameter, and convolutions. Not embeddings, whose rows are looked up and not summed over, as in the paper's
    code; not a weight that is computed from other parameters (weight norm), which is no parameter to put back; not
    recurrent layers.
    """
    own = dict(layer.named_parameters(recurse=False))
    conv1d = getattr(sys.modules.get("transformers.pytorch_utils"), "Conv1D", ())
    inputs, groups = 1, 1
    if isinstance(layer, (TransposedConvolution, conv1d)):
        inputs = 0
    elif isinstance(layer, Convolution):
        groups = layer.groups
    elif not isinstance(layer, (nn.Linear, nn.MultiheadAttention)):
        return {}
    return {name: (inputs, groups) for name in NAMES if name in own}


class Mixout(L.Callback):
    """Applies `mixout` with probability `p` to the weights of linear and convolutional layers in train mode.

    Each weight's value at the start of a module's first fit is its pretrained value. `select(name, layer)` says which
    layers take part; give it to leave out a new head (default: every layer). Layers keep their parameters and their
    names in checkpoints: the mixed weight exists only during the forward pass of the layer, or of the module above it
    where that reads the weight without calling the layer (WavLM's attention).

    Raises:
        ValueError: p is no probability.
        UserError: from `fit`: no layer takes part, or the network uses a weight in a way that cannot be mixed.
    """

    def __init__(self, p: float, select: Callable[[str, nn.Module], bool] = lambda name, layer: True) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"mixout p={p} is a probability and must lie in [0, 1]")
        self.p, self.select = p, select
        self.pretrained: dict[str, Tensor] = {}  # by parameter
        self._seen: weakref.ref[nn.Module] | None = None  # the module that they are of
        self._handles: list[Any] = []
        self._unmixed: dict[str, nn.Parameter] = {}  # what takes part and was not mixed yet

    def parts(self, module: nn.Module) -> Iterator[tuple[str, nn.Module, str]]:
        """(parameter's name, layer, its name in the layer) of all that takes part."""
        for name, layer in module.named_modules():
            found = matrices(layer)
            if found and self.select(name, layer):
                yield from ((f"{name}.{own}" if name else own, layer, own) for own in found)

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        parts = list(self.parts(pl_module))
        if not parts:
            raise UserError(
                "mixout mixes the weights of linear and convolutional layers, and none takes part: this network has "
                "none, or `select` takes none of them."
            )
        if self._seen is not None and self._seen() is not pl_module:
            self.pretrained = {}
        self._seen = weakref.ref(pl_module)
        above = {id(child): module for module in pl_module.modules() for child in module.children()}
        for name, layer, own in parts:
            parameter = layer.get_parameter(own)
            # On resume the checkpoint's copy was loaded before: the live weights have moved by then.
            kept = self.pretrained.setdefault(name, parameter.detach().clone())
            self.pretrained[name] = kept.to(parameter.device)
            self._unmixed[name] = parameter
            self._hook(layer, self.pretrained[name], own, name)
            owner = above.get(id(layer))
            if owner is not None and _reads(owner, layer, own):
                self._hook(layer, self.pretrained[name], own, name, owner)

    def _hook(
        self, layer: nn.Module, pretrained: Tensor, own: str = "weight", name: str = "", owner: nn.Module | None = None
    ) -> None:
        """Mix the layer's parameter during the forward pass of `owner`, or its own."""
        inputs, groups = matrices(layer)[own]
        mixed_here: list[bool] = []  # of passes within passes

        # The mixed weight shadows the parameter as an attribute of the instance: the parameter stays registered, so
        # that names, order and checkpoints do not change even in the midst of the pass.
        def before(module: nn.Module, inputs_of_pass: Any) -> None:
            mixes = layer.training and self.p > 0 and own not in vars(layer)
            mixed_here.append(mixes)
            if layer.training:
                self._unmixed.pop(name, None)
            if mixes:
                vars(layer)[own] = mixout(layer.get_parameter(own), pretrained, self.p, inputs=inputs, groups=groups)

        def after(module: nn.Module, inputs_of_pass: Any, output: Any) -> None:
            if mixed_here.pop():
                vars(layer).pop(own, None)

        caller = owner or layer
        self._handles += [
            caller.register_forward_pre_hook(before),
            caller.register_forward_hook(after, always_call=True),
        ]

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        gradients = ((name, parameter.grad) for name, parameter in self._unmixed.items() if self.p > 0)
        used = [name for name, gradient in gradients if gradient is not None and gradient.any()]
        if used:
            raise UserError(
                f"mixout cannot mix {used[0]} ({len(used)} such weights): the network reads it without calling its "
                "layer. Leave such layers out (`select`), or train without mixout."
            )

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._unmixed.clear()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.on_fit_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        return {"pretrained": self.pretrained}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.pretrained, self._seen = dict(state_dict["pretrained"]), None


def _reads(owner: nn.Module, layer: nn.Module, own: str) -> bool:
    """Whether some method of `owner` may use this parameter of its child without calling it: it speaks of both."""
    names = {name for name, child in owner.named_children() if child is layer}
    kinds = [kind for kind in type(owner).__mro__ if kind is not nn.Module]
    methods = (inspect.unwrap(m) for kind in kinds for m in vars(kind).values() if inspect.isfunction(m))
    spoken = (set(method.__code__.co_names) for method in methods)
    return any(own in words and names & words for words in spoken)
