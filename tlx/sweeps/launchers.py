"""From a launcher's options (`configs/hydra/launcher/*.yaml`) to the backend that carries a study out."""

import os
from collections.abc import Sequence
from typing import Any

from tlx.errors import UserError, unknown
from tlx.sweeps.engine import Backend
from tlx.sweeps.worker import Place, gpus

OURS = "hydra_plugins.tlx_launcher.TlxLauncher"
OPTIONS = ("backend", "n_jobs", "devices", "runs_per_gpu", "memory_gb", "on_error", "retries")
BACKENDS = ("local", "in_process")
MOST = 8  # runs at once on the CPU, where nobody said how many


def own_launcher(node: dict[str, Any]) -> dict[str, Any] | None:
    """The options of our launcher; None where the config names one of Hydra's own.

    Raises:
        UserError: an option that our launcher does not have.
    """
    if node.get("_target_") != OURS:
        return None
    options = {key: value for key, value in node.items() if key != "_target_"}
    for key in options:
        if key not in OPTIONS:
            raise unknown("option in hydra.launcher", key, OPTIONS)
    for key in ("n_jobs", "runs_per_gpu"):
        if options[key] is not None and (not isinstance(options[key], int) or options[key] < 1):
            raise UserError(f"hydra.launcher.{key}={options[key]} must be a whole number ≥ 1.")
    return options


def make_backend(options: dict[str, Any], configs: Sequence[dict[str, Any]]) -> Backend:
    """The backend that these options name, warming up for runs of these configs.

    Raises:
        UserError: an unknown backend, or GPUs asked for where there are none.
    """
    name = options["backend"]
    if name not in BACKENDS:
        raise unknown("backend", name, BACKENDS)
    if name == "in_process":
        from tlx.sweeps.in_process import InProcessBackend

        return InProcessBackend()
    from tlx.sweeps.local import LocalBackend

    devices = _devices(options["devices"], configs)
    if devices:
        most = max(map(gpus, configs))
        if most > len(devices):
            raise UserError(
                f"trainer.devices={most}, but there are {len(devices)} GPUs to share out ({', '.join(devices)}): "
                "ask for no more than these, or give hydra.launcher.devices=[…] more."
            )
        # Where runs need unequally many, some wait for their GPUs in a process that has done nothing yet.
        slots = max(1, len(devices) * options["runs_per_gpu"] // min(map(gpus, configs)))
    else:
        slots = options["n_jobs"] or jobs_that_fit(configs)
    memory = None if options["memory_gb"] is None else int(options["memory_gb"] * 2**30)
    place = Place(devices, options["runs_per_gpu"], threads_each(slots), memory)
    backend = LocalBackend(min(slots, len(configs)), place)
    backend.warm_up(configs)
    return backend


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


def _devices(given: Any, configs: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """The GPUs to share out: the names given, or all that torch sees where a run wants one."""
    if given is not None:
        return tuple(str(device) for device in (given if isinstance(given, list | tuple) else [given]))
    if all(config["trainer"]["accelerator"] == "cpu" for config in configs):
        return ()
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name for name in visible.split(",") if name] if visible is not None else None
    count = torch.cuda.device_count()  # asks the driver without making a context
    return tuple(names[:count] if names is not None else map(str, range(count)))
