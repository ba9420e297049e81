"""Where a model's weights are: a local folder or file, a registry entry, or a snapshot from the hub. No torch here."""

import os
import re
from pathlib import Path
from typing import Any

from tlx.errors import UserError
from tlx.registry.entries import PREFIX, find

def locate(path: str, revision: str | None, registry: Path) -> Path:
    """The local place of `path`: itself, the entry of `registry:NAME`, or a download of `hub:owner/name`.

    Raises:
        UserError: nothing there; what to do.
    """
    if path.startswith(PREFIX):
        return find(registry, path.removeprefix(PREFIX))
    if path.startswith("hub:"):
        return _snapshot(path.removeprefix("hub:"), revision)
    local = Path(path).expanduser()
    if not local.exists():
        hint = (
            f" For a model of the hub write model.path=hub:{path}."
            if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", path)
            else ""
        )
        raise UserError(f"no such file or folder: model.path={path}.{hint} (registry entries: registry:NAME)")
    return local


def weights_place(config: dict[str, Any]) -> Path | None:
    """Where the run's initial weights, or for scratch at least its tokenizer and settings, come from; None: nowhere.

    Raises:
        UserError: nothing lies there.
    """
    init, path = config["strategy"]["init"], config["model"].get("path")
    registry = Path(config["paths"]["registry"])
    if init.startswith(PREFIX):
        return locate(init, None, registry)
    if path is None:
        if init == "scratch":
            return None
        raise UserError(
            "this model has no weights of its own: give model.path=FOLDER_OR_FILE (or registry:NAME), "
            "or train from random weights with strategy=scratch."
        )
    # A network is known by its name, a tokenizer only by its files: scratch needs the hub for text alone.
    if init == "scratch" and path.startswith("hub:") and config["model"]["modality"] != "text":
        return None
    return locate(path, config["model"].get("revision"), registry)


def _snapshot(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "pytorch_model.bin"]
    offline = os.environ.get("HF_HUB_OFFLINE") == "1"
    try:
        # What was downloaded before needs no network; a first download does.
        try:
            folder = snapshot_download(name, revision=revision, allow_patterns=wanted, local_files_only=True)
        except Exception:
            if offline:
                raise
            folder = snapshot_download(name, revision=revision, allow_patterns=wanted, etag_timeout=5)
    except Exception as error:
        raise UserError(
            f"the model '{name}' is not on this machine and the hub cannot be reached ({type(error).__name__}). "
            f"Download it where there is a network (`hf download {name} --local-dir DIR`), copy DIR here and give "
            "model.path=DIR."
        ) from error
    return Path(folder)
