"""How many runs this machine's cores carry at once."""

import os
from collections.abc import Sequence
from typing import Any

MOST = 8  # runs at once on the CPU, where nobody said how many


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def jobs_that_fit(configs: Sequence[dict[str, Any]]) -> int:
    """How many of these runs fit onto the cores at once; one, where a run takes all cores."""
    threads = max(
        config["trainer"]["threads"] * config["trainer"]["devices"] if config["trainer"]["threads"] else cores()
        for config in configs
    )
    return max(1, min(cores() // threads, MOST))


def threads_each(slots: int) -> int | None:
    """Torch's threads for each of `slots` runs, so that they do not fight for cores; None leaves it to torch."""
    return None if slots == 1 else max(1, cores() // slots)
