"""A trained model from a run's folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.errors import UserError
from tlx.record.masking import unmasked
from tlx.record.record import read_record

if TYPE_CHECKING:
    from tlx.module import TransferModule


def load_model(folder: str | Path, config: dict[str, Any] | None = None) -> "TransferModule":
    """The module of a completed run with the weights that its test score was computed with, in eval mode.

    It is built from the record's config (so the base weights must still lie where they were, or be the same elsewhere
    under the same `model.path`), or from `config`, the same with other paths; what was random in it and never trained
    is drawn again from the run's seed. It gets the trained tensors of `best.safetensors`.

    Raises:
        UserError: no completed run in `folder`, one that kept no weights, or other base weights or code than the run's.
    """
    from lightning.pytorch.utilities.seed import isolate_rng
    from safetensors.torch import load_file

    from tlx.assembly import assemble
    from tlx.fit.seeding import seed_everything
    from tlx.plan import frozen_hash
    from tlx.strategies.lora import merge

    folder = Path(folder)
    record = read_record(folder)
    if record is None or record["status"] != "completed":
        raise UserError(f"{folder} holds no completed run: {'no record' if record is None else record['status']}.")
    config = config or unmasked(record["config"])
    if not (folder / "best.safetensors").is_file():
        raise UserError(
            f"{folder} kept no weights (keep_checkpoints={config.get('keep_checkpoints')}): run it again with "
            "keep_checkpoints=best force=true."
        )
    _check_base(config, record)
    with isolate_rng():
        seed_everything(config["seed"])
        _, module = assemble(config)
    state = load_file(folder / "best.safetensors")
    if state.keys() != module.trained_state().keys():
        raise UserError(f"{folder / 'best.safetensors'} does not hold the tensors that this run trained.")
    module.load_state_dict(state, strict=False)
    frozen = (record.get("frozen") or {}).get("before")
    if frozen and frozen_hash(module, module.plan) != frozen:
        raise UserError(f"what {folder} left frozen cannot be had again: this tlx, its libraries or its files differ.")
    if config["strategy"]["adapter"] and config["strategy"]["adapter"]["merge"]:
        merge(module)
    return module.eval()


def _check_base(config: dict, record: dict) -> None:
    from tlx.config.own_code import code_hash
    from tlx.identity import own_names, weights_place
    from tlx.registry.weight_files import weights_hash

    place, known = weights_place(config), record["fingerprints"].get("weights")
    if known and place is not None and weights_hash(place, None) != known:
        raise UserError(f"the weights at {place} are not those that this run started from.")
    code = record["fingerprints"].get("code")
    if code and code_hash(own_names(config)) != code:
        raise UserError("the own code behind this run's config is not what it was when the run was done.")
