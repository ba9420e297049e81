"""A run as a registry entry, and what its card says of the run that made it."""

from pathlib import Path
from typing import Any

from tlx.registry import entries



def card(config: dict[str, Any], labels: list[str], metrics: dict[str, float], identity: str) -> dict[str, Any]:
    """What an entry's card says of the run that made it."""
    return {
        "model": {k: v for k, v in config["model"].items() if k != "pretrain"},
        "dataset": config["dataset"],
        "labels": labels,
        "metrics": {n: v for n, v in metrics.items() if n.startswith(("val/", "test/"))},
        "run": identity,
    }


def register(
    config: dict[str, Any], module: Any, labels: list[str], metrics: dict[str, float], identity: str
) -> Path | None:
    """Make the entry that a run's config asks for of its trained module; returns its folder.

    None where it asks for none.

    Raises:
        UserError: an impossible name.
    """
    name = config["register"]
    if not name:
        return None
    return entries.add(Path(config["paths"]["registry"]), name, module, card(config, labels, metrics, identity))
