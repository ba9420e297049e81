"""From a launcher's options (`configs/hydra/launcher/*.yaml`) to the backend that carries a study out."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlx.errors import UserError, unknown
from tlx.sweeps.capacity import jobs_that_fit, threads_each
from tlx.sweeps.engine import Backend
from tlx.sweeps.worker import Place, gpus

OURS = "hydra_plugins.tlx_launcher.TlxLauncher"
OPTIONS = ("backend", "n_jobs", "devices", "runs_per_gpu", "memory_gb", "on_error", "retries")
BACKENDS = ("local", "in_process", "ray", "slurm")
SECTIONS = {  # the further options of the backend of that name, and which of them are numbers ≥ 0
    "ray": (("address", "num_cpus", "num_gpus", "resources"), ("num_cpus", "num_gpus")),
    "slurm": (
        (
            *("executor", "timeout_min", "signal_delay_s", "requeues", "at_once"),
            *("cpus_per_task", "gpus_per_node", "mem_gb", "sbatch", "setup"),
        ),
        ("timeout_min", "signal_delay_s", "requeues", "cpus_per_task"),
    ),
}


def own_launcher(node: dict[str, Any]) -> dict[str, Any] | None:
    """The options of our launcher; None where the config names one of Hydra's own.

    Raises:
        UserError: an option that our launcher does not have.
    """
    if node.get("_target_") != OURS:
        return None
    options = {key: value for key, value in node.items() if key != "_target_"}
    for key in options:
        if key not in (*OPTIONS, *SECTIONS):
            raise unknown("option in hydra.launcher", key, (*OPTIONS, *SECTIONS))
    for key in ("n_jobs", "runs_per_gpu"):
        if options[key] is not None and (not isinstance(options[key], int) or options[key] < 1):
            raise UserError(f"hydra.launcher.{key}={options[key]} must be a whole number ≥ 1.")
    for name in SECTIONS:
        if name in options:
            _check_section(name, options[name])
    return options


def _check_section(name: str, section: dict[str, Any]) -> None:
    known, numbers = SECTIONS[name]
    for key in section:
        if key not in known:
            raise unknown(f"option in hydra.launcher.{name}", key, known)
    for key in numbers:
        value = section[key]
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            raise UserError(f"hydra.launcher.{name}.{key}={value} must be a number ≥ 0.")


def make_backend(options: dict[str, Any], configs: Sequence[dict[str, Any]]) -> Backend:
    """The backend that these options name, warming up for jobs, one of each of these configs.

    Raises:
        UserError: an unknown backend, or GPUs asked for where there are none.
    """
    name = options["backend"]
    if name not in BACKENDS:
        raise unknown("backend", name, BACKENDS)
    if name == "in_process":
        from tlx.sweeps.in_process import InProcessBackend

        return InProcessBackend()
    if name in SECTIONS:
        return _on_cluster(name, options, configs)
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
    place = Place(devices, options["runs_per_gpu"], threads_each(slots), _memory(options))
    backend = LocalBackend(min(slots, len(configs)), place)
    backend.warm_up(configs)
    return backend


def _on_cluster(name: str, options: dict[str, Any], configs: Sequence[dict[str, Any]]) -> Backend:
    if name not in options:
        raise UserError(f"hydra.launcher.backend={name}: say hydra/launcher={name}, which has its options.")
    if options["devices"] is not None or options["runs_per_gpu"] != 1:
        shared = "hydra.launcher.ray.num_gpus" if name == "ray" else "hydra.launcher.slurm.gpus_per_node"
        raise UserError(f"hydra.launcher.devices and runs_per_gpu are for this machine: here {shared} shares GPUs out.")
    section, cwd = options[name], str(Path.cwd())
    if name == "ray":
        from tlx.sweeps.on_ray import RayBackend

        place = Place(
            threads=max(1, int(section["num_cpus"])),
            memory=_memory(options),
            visible=None if section["num_gpus"] else "",
            cwd=cwd,
        )
        return RayBackend(section, options["n_jobs"], configs, place)
    from tlx.sweeps.on_slurm import SlurmBackend

    place = Place(threads=max(1, int(section["cpus_per_task"])), memory=_memory(options), cwd=cwd)
    return SlurmBackend(section, options["n_jobs"], configs, place)


def _memory(options: dict[str, Any]) -> int | None:
    return None if options["memory_gb"] is None else int(options["memory_gb"] * 2**30)


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
