"""Which runs of a study one process carries out: most often one, and the probes of one cell together. No torch here."""

import json
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlx.sweeps.study import Planned

PROBE = "tlx.strategies.freezing.FrozenBackbone"  # the rule after which nothing but the head is trained
SEVERAL = ("lightning.pytorch.loggers.TensorBoardLogger", "lightning.pytorch.loggers.CSVLogger")
MOST = 32  # runs in one job: the other cores want work too, and a process that dies takes them all with it
# What heads that are trained in the same steps may differ in.
FREE = (("run",), ("seed",), ("optimizer", "lr"), ("optimizer", "weight_decay"), ("strategy", "lr"))


@dataclass(frozen=True)
class Job:
    """Runs that one process carries out; what it prints goes to the log of the first."""

    runs: tuple[Planned, ...]

    @property
    def folder(self) -> Path:
        return self.runs[0].folder

    @property
    def config(self) -> dict[str, Any]:
        return self.runs[0].config


def as_jobs(runs: Sequence[Planned]) -> list[Job]:
    """The jobs of these runs, in the order of their first ones.

    Runs that train the head of one frozen pretrained backbone alone, and differ in seeds, learning rates and weight
    decays, are one job of at most MOST runs: their heads can be trained in the same steps.
    """
    together: dict[str, list[Planned]] = {}
    for run in runs:
        key = _alike(run.config) if _is_probe(run.config) else run.config["run"]["identity"]
        together.setdefault(key, []).append(run)
    return [Job(tuple(members[i : i + MOST])) for members in together.values() for i in range(0, len(members), MOST)]


def _is_probe(config: dict[str, Any]) -> bool:
    """Whether a run can be one of several that are trained together, as far as its config tells."""
    strategy, options = config["strategy"], config["trainer"]
    return (
        strategy["freezing"]["_target_"] == PROBE
        and strategy["init"] not in ("scratch", "shuffled")  # then each seed has a backbone of its own
        and config["cache"] != "off"
        and options["devices"] == 1
        and all(_takes_several(node) for node in config["logger"].values())
    )


def _takes_several(logger: dict[str, Any] | None) -> bool:
    """Whether several runs of one process may have this logger open: wandb, and who knows which, think of one."""
    return logger is None or logger.get("_target_") in SEVERAL


def _alike(config: dict[str, Any]) -> str:
    rest = deepcopy(config)
    for *outer, last in FREE:
        inner = rest
        for key in outer:
            inner = inner[key]
        inner.pop(last, None)
    return json.dumps(rest, sort_keys=True, default=str)
