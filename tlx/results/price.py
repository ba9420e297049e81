"""What runs cost: hours of cores and GPUs, and an estimate of money and energy from a table of prices."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlx.config.place import CONFIG_DIR
from tlx.errors import UserError, one_line
from tlx.results.collect import Run
from tlx.results.naming import lookup


@dataclass(frozen=True)
class Price:
    """Hours of all runs, their unfinished sittings included, and what they cost at a table of prices."""

    core_hours: float
    gpu_hours: float
    money: float
    currency: str
    kwh: float
    table: str

    @property
    def sentence(self) -> str:
        hours = [f"{self.core_hours:.2g} core hours"] if self.core_hours or not self.gpu_hours else []
        hours += [f"{self.gpu_hours:.2g} GPU hours"] if self.gpu_hours else []
        return (
            f"All runs together took {' and '.join(hours)}: about {self.money:.2g} {self.currency} and "
            f"{self.kwh:.2g} kWh at the prices of {self.table}."
        )


def price(runs: Iterable[Run], table: Path = CONFIG_DIR / "prices.yaml") -> Price:
    """Add up what the runs took: seconds × threads of the CPU, or × devices where these were GPUs.

    Energy is nominal power × time; what a machine draws while others use it, too, is not known.

    Raises:
        UserError: the table of prices cannot be read, or lacks a price.
    """
    prices = _read(table)
    cores = gpus = 0.0
    for run in runs:
        hours = (run.record.get("seconds", {}).get("total") or 0.0) / 3600
        machine, devices = run.record.get("machine", {}), _number(lookup(run.config, "trainer.devices"))
        if machine.get("gpu"):
            gpus += hours * devices
        else:
            cores += hours * devices * _number(machine.get("threads"))
    money = cores * prices["core"]["hour"] + gpus * prices["gpu"]["hour"]
    kwh = (cores * prices["core"]["watts"] + gpus * prices["gpu"]["watts"]) / 1000
    return Price(cores, gpus, money, prices["currency"], kwh, table.name)


def _number(value: Any) -> float:
    """How many; 1 where the record does not say ("auto")."""
    return value if isinstance(value, int) and value > 0 else 1


def _read(table: Path) -> dict[str, Any]:
    import yaml

    try:
        prices = yaml.safe_load(table.read_text())
        for part in ("core", "gpu"):
            for name in ("hour", "watts"):
                prices[part][name] = float(prices[part][name])
        prices["currency"] = str(prices["currency"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{table} is no table of prices ({type(error).__name__}: {one_line(error)}): it needs currency, and core "
            "and gpu with hour and watts. configs/prices.yaml is one."
        ) from error
    return prices
