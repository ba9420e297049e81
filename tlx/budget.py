"""How long a run may train. No torch here."""

from typing import Any


def epochs(config: dict[str, Any]) -> int:
    """Epochs that a run trains at most: `trainer.max_epochs`, as many times as `strategy.longer` says."""
    return config["trainer"]["max_epochs"] * (config["strategy"]["longer"] or 1)


def patience(config: dict[str, Any]) -> int | None:
    """Epochs without a better validation score after which a run ends; None: it does not end early.

    A longer training goes on as long as it pays: no better score for the time of a usual one ends it.
    """
    own = config["trainer"]["patience"]
    return config["trainer"]["max_epochs"] if own is None and config["strategy"]["longer"] else own
