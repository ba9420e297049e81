"""What every way to train is given, and what it gives back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from tlx.cache.frozen_work import FrozenWork
from tlx.callbacks.divergence import Diverged
from tlx.callbacks.negative_transfer import NegativeTransferWarning
from tlx.data.loaders import Examples
from tlx.fit.compact import CompactTable
from tlx.fit.recording import Recording
from tlx.fit.time_profile import TimeProfile
from tlx.module import TransferModule


@dataclass(frozen=True, kw_only=True)
class Training:
    """A planned module and the data that it is about to be trained on.

    `watch` hears of each validation, `work` plays frozen layers back, `compact` leaves rows of the embedding table out;
    `earlier` is a checkpoint of this run to go on from.
    """

    config: dict[str, Any]
    folder: Path
    record: Recording
    module: TransferModule
    loaders: dict[str, Any]
    work: FrozenWork
    compact: CompactTable | None
    watch: NegativeTransferWarning
    earlier: Path | None
    profile: TimeProfile | None

    @property
    def examples(self) -> dict[str, Examples]:
        """The encoded examples of each part; to look at them is not to read the test part, as its loader counts."""
        return cast(dict[str, Examples], self.work.parts)


@dataclass(frozen=True)
class Fitted:
    """How a training ended.

    `state` is the part of the module's state that validation chose: None where a checkpoint holds it, {} where the
    module does. `scores` are those on validation for which it was chosen, where they are known. `error`: it has no
    result.
    """

    state: dict[str, Tensor] | None = None
    scores: dict[str, float] | None = None
    error: Diverged | None = None
