"""The identity of a run: a hash of everything that can change its result. No torch here."""

import hashlib
import json
import re
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlx.errors import UserError
from tlx.models.location import locate, weights_hash
from tlx.registry.entries import read_card

# Where things lie, how they are shown and what they are kept as changes no result. `lr` and `pretrain` are sources of
# other keys; paths are replaced by the hashes of what lies there. batch_size, devices and accumulate all stay: together
# they are the global batch, and how it is split decides the dropout masks and what batch normalisation sees.
WITHOUT_EFFECT = (
    "paths",
    "study",
    "register",
    "force",
    "cache_limit",
    "profile",
    "logger",
    "experiment",
    "keep_checkpoints",
    "skip_if",
    "trainer.workers",
    "trainer.threads",
    "trainer.accelerator",
    "trainer.strategy",
    "trainer.checkpoint_seconds",
    "trainer.detect_anomaly",
    "trainer.on_out_of_memory",
    "model.path",
    "model.revision",
    "model.lr",
    "model.pretrain",
    "strategy.lr",
    "dataset.path",
    "dataset.make",
    "dataset.revision",
    "seed",
)
CHOICES = ("model", "strategy", "dataset")


@dataclass(frozen=True)
class Identity:
    """`run` and `cell` are hashes (the cell's leaves out the seed); `folder` is the readable name of its folder."""

    run: str
    cell: str
    folder: str
    fingerprints: dict[str, str]


def identify(config: dict[str, Any], choices: dict[str, Any]) -> Identity:
    """Name a run by its content.

    Raises:
        UserError: weights or data that the config names are not there.
    """
    prints = {"data": _data(config), **_weights(config), **_source(config)}
    rest = deepcopy(config)
    for key in WITHOUT_EFFECT:
        _drop(rest, key.split("."))
    content = {"config": rest, "choices": {k: choices[k] for k in CHOICES}, "fingerprints": prints}
    cell = _hash(content)
    run = _hash(content | {"seed": config["seed"]})
    parts = [choices["model"], choices["strategy"], choices["dataset"]]
    size = config["dataset"].get("train_size")
    parts += [str(size)] if size is not None else []
    readable = re.sub(r"[^\w.-]+", "_", "-".join([*map(str, parts), f"seed{config['seed']}"]))
    return Identity(run, cell, f"{readable}-{run[:10]}", prints)


def _data(config: dict[str, Any]) -> str:
    from tlx.instantiate import instantiate

    dataset = instantiate(config["dataset"], "dataset")
    return dataset.fingerprint(Path(config["paths"]["cache"]))


def weights_place(config: dict[str, Any]) -> Path | None:
    """Where the run's initial weights, or for scratch at least its tokenizer and settings, come from; None: nowhere.

    Raises:
        UserError: nothing lies there.
    """
    init, path = config["strategy"]["init"], config["model"].get("path")
    registry = Path(config["paths"]["registry"])
    if init.startswith("registry:"):
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


def _weights(config: dict[str, Any]) -> dict[str, str]:
    place = weights_place(config)
    if place is None:
        return {}
    cache = Path(config["paths"]["cache"]) / "fingerprints.json"
    prints = {"preprocessing": weights_hash(place, cache, weights=False)}
    if config["strategy"]["init"] != "scratch":
        prints["weights"] = weights_hash(place, cache)
    return prints


def _source(config: dict[str, Any]) -> dict[str, str]:
    """What the weights were trained on, and the head that they had: an objective may ask for both."""
    place = weights_place(config) if config["strategy"].get("objectives") else None
    if place is None or not (place / "head.safetensors").is_file():
        return {}
    from tlx.instantiate import instantiate

    cache, source = Path(config["paths"]["cache"]), read_card(place).get("dataset")
    if source is None:
        return {}
    prints = [instantiate(source, "dataset").fingerprint(cache), weights_hash(place / "head.safetensors", None)]
    settings = {k: v for k, v in source.items() if k not in ("path", "make", "revision")}
    return {"source": _hash([settings, *prints])}


def _drop(config: dict[str, Any], parts: list[str]) -> None:
    for part in parts[:-1]:
        config = config.get(part) or {}
    config.pop(parts[-1], None)


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
