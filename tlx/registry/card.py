"""What a registry entry's card says of the run that made it."""

from typing import Any



def card(config: dict[str, Any], labels: list[str], metrics: dict[str, float], identity: str) -> dict[str, Any]:
    """What an entry's card says of the run that made it."""
    return {
        "model": {k: v for k, v in config["model"].items() if k != "pretrain"},
        "dataset": config["dataset"],
        "labels": labels,
        "metrics": {n: v for n, v in metrics.items() if n.startswith(("val/", "test/"))},
        "run": identity,
    }
