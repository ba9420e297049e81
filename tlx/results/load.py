"""A trained model from a run's folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from tlx.errors import UserError
from tlx.results.record import read_record

if TYPE_CHECKING:
    from tlx.module import TransferModule


def load_model(folder: str | Path) -> "TransferModule":
    """The module of a completed run with the weights that its test score was computed with, in eval mode.

    It is built from the record's config (so the base weights must still lie where they were, or be the same elsewhere
    under the same `model.path`), and gets the trained tensors of `best.safetensors`.

    Raises:
        UserError: no completed run in `folder`, one that kept no weights, or other base weights than the run's.
    """
    from safetensors.torch import load_file

    from tlx.assembly import assemble
    from tlx.strategies.lora import merge

    folder = Path(folder)
    record = read_record(folder)
    if record is None or record["status"] != "completed":
        raise UserError(f"{folder} holds no completed run: {'no record' if record is None else record['status']}.")
    config = record["config"]
    if not (folder / "best.safetensors").is_file():
        raise UserError(
            f"{folder} kept no weights (keep_checkpoints={config.get('keep_checkpoints')}): run it again with "
            "keep_checkpoints=best force=true."
        )
    _check_base(config, record)
    _, module = assemble(config)
    state = load_file(folder / "best.safetensors")
    if state.keys() != module.trained_state().keys():
        raise UserError(f"{folder / 'best.safetensors'} does not hold the tensors that this run trained.")
    module.load_state_dict(state, strict=False)
    if config["strategy"]["adapter"] and config["strategy"]["adapter"]["merge"]:
        merge(module)
    return module.eval()


def _check_base(config: dict, record: dict) -> None:
    from tlx.identity import weights_place
    from tlx.models.location import weights_hash

    place, known = weights_place(config), record["fingerprints"].get("weights")
    if known and place is not None and weights_hash(place, None) != known:
        raise UserError(f"the weights at {place} are not those that this run started from.")
