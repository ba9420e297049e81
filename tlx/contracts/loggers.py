"""What every logger must do: be made for a run, and take what it logs without a failure."""

from pathlib import Path
from typing import Any

from tlx.contracts.contract import Broken, Left
from tlx.fit.loggers import check_loggers, close_loggers, make_loggers, stays_here


def logs(config: dict[str, Any], folder: Path) -> str:
    """The loggers of a config take metrics and results in `folder`, and end.

    Raises:
        Left: one of them writes elsewhere; nothing is sent to a server for a check.
    """
    check_loggers(config)
    away = [name for name, node in config["logger"].items() if node and not stays_here(name, node)]
    if away:
        raise Left(f"it can be made; {', '.join(away)} may write to a server, and nothing is sent there for a check")
    run = folder / "run"
    run.mkdir()
    about = {"identity": "0" * 64, "cell": "0" * 64, "choices": {}}
    loggers = make_loggers(config | {"run": about}, run)
    try:
        for step in (0, 1):
            for logger in loggers:
                logger.log_metrics({"epoch": 0, "train/loss": 1.0 / (step + 1)}, step)
        for logger in loggers:
            logger.finalize("success")
    finally:
        problems = close_loggers({"test/accuracy": 0.5}, failed=False, folder=run)
    for name, problem in problems.items():
        raise Broken(f"logger.{name} {problem}")
    return f"writes {', '.join(sorted(path.name for path in run.iterdir()))}"
