"""A finished run as a registry entry: what its card says, and the entry made of the weights that the run kept."""

from pathlib import Path
from typing import Any

from tlx.registry import entries
from tlx.record.record import read_record


def card(config: dict[str, Any], labels: list[str], metrics: dict[str, float], identity: str) -> dict[str, Any]:
    """What an entry's card says of the run that made it."""
    return {
        "model": {k: v for k, v in config["model"].items() if k != "pretrain"},
        "dataset": config["dataset"],
        "labels": labels,
        "metrics": {n: v for n, v in metrics.items() if n.startswith(("val/", "test/"))},
        "run": identity,
    }


def register_kept(config: dict[str, Any], folder: Path) -> Path | None:
    """Make the entry that `config` asks for of the completed run in `folder`, without training; returns its folder.

    The tensors are those of an entry that the run itself makes. None where the run kept no weights.

    Raises:
        UserError: what the run started from is no longer there.
    """
    from tlx.results.load import load_model

    record = read_record(folder)
    assert record is not None and record["status"] == "completed"
    if not (folder / "best.safetensors").is_file():
        return None
    module = load_model(folder, config)
    described = card(config, record["labels"], record["metrics"], record["identity"])
    return entries.add(Path(config["paths"]["registry"]), config["register"], module, described)
