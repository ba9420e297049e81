"""What this machine has for tlx: versions, devices, write access, optional packages and how to get them."""

import importlib.util
import os
import platform
import tempfile
from pathlib import Path

from tlx.config.place import CONFIG_DIR

OPTIONAL = {
    "wandb": "logger=wandb (pip install 'tlx[wandb]')",
    "tensorboard": "logger=tensorboard (pip install 'tlx[tensorboard]')",
    "datasets": "data sets by hub id (pip install 'tlx[hub]')",
    "ray": "hydra/launcher=ray (pip install 'tlx[ray]')",
    "submitit": "hydra/launcher=slurm (pip install 'tlx[slurm]')",
    "optuna": "hydra/sweeper=optuna (pip install 'tlx[search]')",
}


def examine() -> tuple[list[str], bool]:
    """Lines to print, and whether everything that is needed is there."""
    from tlx.record.versions import PACKAGES, versions

    lines = [f"python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"]
    found = versions()
    healthy = True
    for package in PACKAGES:
        lines.append(f"{'ok ' if found[package] else 'NO '} {package} {found[package] or 'is missing: make setup'}")
        healthy &= bool(found[package])
    for package, what in OPTIONAL.items():
        present = importlib.util.find_spec(package) is not None
        lines.append(f"ok  {package}" if present else f"--  {package} is missing; needed for {what}")
    if found["torch"]:
        import torch

        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        lines.append(f"ok  devices: cpu ({torch.get_num_threads()} threads){''.join(', ' + d for d in devices)}")
    for folder in ("runs", "registry", ".cache"):
        place = next(p for p in (Path(folder), Path()) if p.is_dir())
        try:
            with tempfile.TemporaryFile(dir=place):
                lines.append(f"ok  {folder}/ can be written in {Path().resolve()}")
        except OSError as error:
            lines.append(f"NO  {folder}/ cannot be written: {error.strerror}; choose paths.{folder.strip('.')}=FOLDER")
            healthy = False
    own = os.environ.get("TLX_CONFIG_DIR") or "--config-dir DIR or TLX_CONFIG_DIR"
    lines.append(f"ok  configs: {CONFIG_DIR}; your own: {own}")
    return lines, healthy
