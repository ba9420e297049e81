"""How long a run may train. No torch here."""

from typing import Any


def epochs(config: dict[str, Any]) -> int:
    """Epochs that a run trains at most: `trainer.max_epochs`, as many times as `strategy.longer` says."""
    return config["trainer"]["max_epochs"] * (config["strategy"]["longer"] or 1)
