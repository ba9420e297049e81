"""A registry entry of a run that is finished, made of the weights that it kept."""

from pathlib import Path
from typing import Any

from tlx.record.record import read_record
from tlx.registry.card import register
from tlx.results.load import load_model


def register_kept(config: dict[str, Any], folder: Path) -> Path | None:
    """Make the entry that `config` asks for of the completed run in `folder`, without training; returns its folder.

    The tensors are those of an entry that the run itself makes. None where the run kept no weights.

    Raises:
        UserError: what the run started from is no longer there.
    """
    record = read_record(folder)
    assert record is not None and record["status"] == "completed"
    if not (folder / "best.safetensors").is_file():
        return None
    module = load_model(folder, config)
    return register(config, module, record["labels"], record["metrics"], record["identity"])
