"""Low-rank adaptation of a backbone's layers, through peft."""

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tlx.errors import UserError
from tlx.models.backbone import Backbone
from tlx.network.adapters import MARK

MERGE_BOUND = 1e-3


@dataclass(frozen=True)
class LoRA:
    """W + (alpha / rank) · B A with W frozen and B = 0 at the start (Hu et al. 2022, arXiv:2106.09685).

    `targets` is a regular expression over whole module names of the network; the default is the architecture family's
    own. `merge` folds the adapters into W before the final evaluation.

    Raises:
        UserError: no targets for this architecture, targets that match nothing, or a rank, alpha or dropout out of
            range.
    """

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.0
    targets: str | None = None
    merge: bool = False

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise UserError(f"strategy.adapter.rank={self.rank} must be at least 1.")
        if not self.alpha > 0:
            raise UserError(f"strategy.adapter.alpha={self.alpha} must be positive.")
        if not 0 <= self.dropout < 1:
            raise UserError(f"strategy.adapter.dropout={self.dropout} must lie in [0, 1).")

    def inject(self, backbone: Backbone) -> None:
        """Wrap the targeted layers of `backbone.network` in place."""
        from peft import LoraConfig, inject_adapter_in_model

        targets = self.targets or backbone.lora_targets
        if not targets:
            raise UserError(
                "this model names no layers for LoRA: set strategy.adapter.targets to a regular expression."
            )
        try:
            re.compile(targets)
        except re.error as error:
            raise UserError(f"strategy.adapter.targets={targets!r} is no regular expression: {error}.") from error
        if not any(re.fullmatch(targets, name) for name, _ in backbone.network.named_modules()):
            names = [n for n, m in backbone.network.named_modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
            raise UserError(
                f"strategy.adapter.targets={targets!r} matches no layer of this network. Its layers are, for example, "
                f"{', '.join(names[:6])}."
            )
        config = LoraConfig(r=self.rank, lora_alpha=self.alpha, lora_dropout=self.dropout, target_modules=targets)
        try:
            inject_adapter_in_model(config, backbone.network)
        except ValueError as error:
            raise UserError(f"LoRA cannot adapt these layers: {error}") from error

    def is_own(self, name: str) -> bool:
        """Whether a parameter, buffer or module was added by this adapter."""
        return bool(MARK.search(name))


def merge_adapters(module: nn.Module, probe: dict[str, Tensor]) -> float:
    """Fold all peft adapters below `module` into their base weights and return the largest change of its output.

    `probe` is a batch for `module`.

    Raises:
        RuntimeError: the merged network's output differs from the unmerged one's by more than 1e-3; the adapters are
            then apart again.
    """
    with torch.no_grad():
        before = module(probe)
        merge(module)
        gap = float((module(probe) - before).abs().max())
    if not gap <= MERGE_BOUND:
        for layer in adapted_layers(module):
            layer.unmerge()
        raise RuntimeError(
            f"merging the adapters changed the output by {gap:.2e}, over the bound of {MERGE_BOUND:.0e}."
        )
    return gap


def merge(module: nn.Module) -> None:
    """Fold all peft adapters below `module` into their base weights."""
    for layer in adapted_layers(module):
        layer.merge(safe_merge=True)


def adapted_layers(module: nn.Module) -> list[Any]:
    """peft's wrappers below `module`, each a layer with its adapter."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [layer for layer in module.modules() if isinstance(layer, BaseTunerLayer)]
