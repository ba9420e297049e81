"""What every backbone is: features, ordered layer groups, preprocessing, and a report of what was loaded."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tlx.data.preprocessing import Preprocessing
from tlx.errors import UserError
from tlx.layer_groups import LayerGroup, Layers, group_layers
from tlx.models.weights import fit_names, read_state_dict

LOADED_AT_LEAST = 0.95


@dataclass(frozen=True)
class LoadReport:
    """Which tensors of the backbone came from a file: share of its parameters and persistent buffers, by count."""

    share: float
    missing: tuple[str, ...]
    unused: tuple[str, ...]


class Backbone(nn.Module):
    """A network without its task head.

    A subclass builds `network` (randomly initialised) in its constructor and sets `feature_dim` (width of its
    features), `preprocessing` (how raw examples become a batch) and `layers` (see `tlx.layer_groups.group_layers`).
    Its `forward` takes a batch (a dict of tensors) and returns pooled features of shape (batch, feature_dim).
    """

    modality: ClassVar[str]  # "text", "image" or "audio"
    network: nn.Module
    feature_dim: int
    preprocessing: Preprocessing
    layers: Layers
    load_report: LoadReport | None = None
    # Regular expression over module names of `network` that LoRA adapts when the strategy names none.
    lora_targets: str | None = None

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        raise NotImplementedError

    def layer_groups(self) -> list[LayerGroup]:
        """Stem first; names relative to the backbone."""
        return [g.within("network") for g in group_layers(self.network, self.layers)]

    def token_rows(self, examples: Iterable[Any]) -> tuple[nn.Embedding, set[int]] | None:
        """The table with one row per token, and the rows that batches of these encoded examples look up.

        None: inputs are no tokens.
        """
        return None

    def read_weights(self, path: Path) -> dict[str, Tensor]:
        """The tensors in a file or folder, under the names of `network`. Subclasses adapt foreign formats."""
        return read_state_dict(path)

    def load(self, path: Path) -> LoadReport:
        """Load weights from a file or folder and remember the report.

        Raises:
            UserError: less than 95 % of the backbone's tensors found, one of another shape, or an unsafe file.
        """
        self.load_report = load_tensors(self.network, self.read_weights(path), path)
        return self.load_report


def folder_of(source: Path) -> Path:
    """Where to look for what belongs to the weights `source`: the folder itself, or the one that the file lies in."""
    return source if source.is_dir() else source.parent


def load_tensors(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> LoadReport:
    """Copy `tensors` into `network` by name; see `Backbone.load` for the rule and the error."""
    own = network.state_dict()
    tensors = fit_names(tensors, own.keys())
    fits = {n: t for n, t in tensors.items() if n in own and own[n].shape == t.shape}
    missing = tuple(n for n in own if n not in fits)
    unused = tuple(n for n in tensors if n not in fits)
    share = len(fits) / len(own)
    shapes = tuple(
        f"{n} ({tuple(tensors[n].shape)} in the file, {tuple(own[n].shape)} here)" for n in unused if n in own
    )
    if share < LOADED_AT_LEAST:
        raise UserError(
            f"only {share:.0%} of the backbone's {len(own)} tensors are in {path} ({LOADED_AT_LEAST:.0%} are needed). "
            f"Missing: {_some(missing)}. Not used: {_some(unused)}."
            + (f" Of another shape: {_some(shapes)}." if shapes else "")
            + " Is this the checkpoint of this architecture? For random weights say strategy.init=scratch."
        )
    if shapes:
        # One such tensor (a vocabulary, a first convolution, positions) would be random among pretrained ones.
        raise UserError(
            f"{path} holds tensors of another shape than this network's: {_some(shapes)}. The model's settings (image "
            "size, channels, vocabulary, config) must be those that the weights were made with."
        )
    if len(unused) > len(fits):
        raise UserError(
            f"{path} holds {len(unused)} tensors that this backbone has no place for, more than the {len(fits)} that "
            f"fit: {_some(unused)}. Is it a deeper network than this architecture?"
        )
    with torch.no_grad():
        network.load_state_dict(fits, strict=False)
    return LoadReport(share, missing, unused)


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "none"
