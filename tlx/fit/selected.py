"""The weights that a run is scored with."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tlx.fit.checkpoints import BEST
from tlx.fit.compact import CompactTable
from tlx.fit.training import Fitted, Training
from tlx.module import TransferModule
from tlx.plan import frozen_hash
from tlx.strategies.lora import merge_adapters


def take_selected(run: Training, fitted: Fitted) -> None:
    """Put the weights that a run is scored with into its module, adapters merged where the strategy says so.

    Raises:
        RuntimeError: a frozen tensor changed during the training.
    """
    config, module, record = run.config, run.module, run.record
    run.work.finish()
    record.keep_last(module)
    load_selected(config, module, run.folder, run.compact, fitted.state)
    record.check_frozen(frozen_hash(module, module.plan))
    if (adapter := config["strategy"]["adapter"]) and adapter["merge"]:
        merge_adapters(module.eval(), next(iter(run.loaders["validation"])))
        module.frozen_work = None  # it knows the network as it was


def load_selected(
    config: dict[str, Any],
    module: TransferModule,
    folder: Path,
    compact: CompactTable | None = None,
    best: dict[str, Tensor] | None = None,
) -> None:
    """Put the weights that were best on validation into the module; selection=last leaves the last ones.

    They are `best`, or those of the checkpoint; `compact` is what the embedding table was while that was made.
    """
    if config["selection"] == "last":
        return
    if best is not None:
        module.load_state_dict(best, strict=False)
    else:
        state = torch.load(folder / "checkpoints" / BEST, map_location="cpu", weights_only=True)["state_dict"]
        module.load_state_dict(compact.whole_state(state) if compact else state, strict=False)
