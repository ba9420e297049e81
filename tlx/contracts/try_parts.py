"""The contracts of the yamls of smaller parts: optimizers, schedulers, trainers, loggers, Hydra's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlx.config.composer import Composer
from tlx.config.names import hold_targets
from tlx.contracts import loggers, steps, workshop
from tlx.contracts.folder import Yaml
from tlx.contracts.tally import Tally

MODEL = "tiny_vision"


def _config(compose: Composer, yaml: Yaml, work: Path, *overrides: str) -> dict[str, Any]:
    choice = f"{yaml.group}={yaml.name}"
    return workshop.composed(compose, work.parent, MODEL, choice, "strategy=full", *overrides)


def _tried(compose: Composer, yaml: Yaml, work: Path, tally: Tally, contract: str, check: Callable[..., Any]) -> None:
    fine, config = tally.tries("composes", _config, compose, yaml, work)
    if fine:
        tally.tries(contract, check, config)


def try_optimizer(compose: Composer, yaml: Yaml, work: Path, tally: Tally) -> None:
    """Compose, and make some steps."""
    _tried(compose, yaml, work, tally, "steps", steps.optimizer_steps)


def try_scheduler(compose: Composer, yaml: Yaml, work: Path, tally: Tally) -> None:
    """Compose, and look at the factor in every step."""
    _tried(compose, yaml, work, tally, "rates are numbers", steps.rates_are_numbers)


def try_trainer(compose: Composer, yaml: Yaml, work: Path, tally: Tally) -> None:
    """Compose as it stands, and train for an epoch on small data."""
    fine, _ = tally.tries("composes", lambda: compose([f"trainer={yaml.name}"]).config)
    if fine:
        config = _config(compose, yaml, work, "trainer.max_epochs=1")
        tally.tries("trains", steps.trains, config, work)


def try_logger(compose: Composer, yaml: Yaml, work: Path, tally: Tally) -> None:
    """Compose, make it, and let it log where that stays on this machine."""
    fine, config = tally.tries("composes", _config, compose, yaml, work)
    if fine:
        tally.tries("logs", loggers.logs, config, work)


def try_hydra(compose: Composer, yaml: Yaml, work: Path, tally: Tally) -> None:
    """Compose a launcher or sweeper of Hydra's, and see that it may be named."""
    key = yaml.group.replace("/", ".")

    def composes() -> None:
        node = {"launcher": compose.launcher, "sweeper": compose.sweeper}[key.partition(".")[2]]
        hold_targets(node([f"{yaml.group}={yaml.name}"]), key, skip=True)

    tally.tries("composes", composes)
