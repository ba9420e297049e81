"""The identity of a run: a hash of everything that can change its result. No torch here."""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlx.config.own_code import code_hash, dotted_names
from tlx.errors import UserError
from tlx.record.hashes import file_hash
from tlx.registry.entries import PREFIX, source_card
from tlx.registry.entries import check as check_entry
from tlx.registry.location import weights_place
from tlx.registry.weight_files import weights_hash

# Where things lie, how they are shown and what they are kept as changes no result, and what is measured of the trained
# weights, in batches of whatever size, changes none of them. `lr` and `pretrain` are sources of other keys; paths are
# replaced by the hashes of what lies there. batch_size, devices and accumulate all stay: together they are the global
# batch, and how it is split decides the dropout masks and what batch normalisation sees.
MEASURED = ("measures", "dataset.metrics", "trainer.eval_batch_size")
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
    "dataset.untrained_labels",
    "seed",
    *MEASURED,
)
# What of a source task's data set changes neither its examples nor its head.
SOURCE_WITHOUT_EFFECT = ("path", "make", "revision", "metrics", "monitor")
DRAWN = ("train_size", "val_size", "subset_seed", "split_seed")  # of a data set: which examples are drawn of its files
CONTENTS = {
    "data": "the data set",
    "weights": "the weights that it starts from",
    "preprocessing": "the files beside the weights that shape its inputs",
    "source": "the source task of the weights",
    "code": "the own code behind the config's names",
}
CHOICES = ("model", "strategy", "dataset")


@dataclass(frozen=True)
class Identity:
    """`run` and `cell` are hashes (the cell's leaves out the seed); `folder` is the readable name of its folder."""

    run: str
    cell: str
    folder: str
    fingerprints: dict[str, str]


def identify(config: dict[str, Any], choices: dict[str, Any], prints: dict[str, str] | None = None) -> Identity:
    """Name a run by its content; `prints` are its `fingerprints`, where they are known.

    Raises:
        UserError: weights or data that the config names are not there.
    """
    prints = fingerprints(config) if prints is None else prints
    rest = {key: dict(node) if isinstance(node, dict) else node for key, node in config.items()}
    if rest["strategy"]["init"].startswith(PREFIX):  # a name; what it points to is among the fingerprints
        rest["strategy"]["init"] = "pretrained"
    for section, _, key in (dotted.partition(".") for dotted in WITHOUT_EFFECT):
        (rest.get(section) or {} if key else rest).pop(key or section, None)
    if rest["dataset"].get("overlap") != "drop":  # the others are about what is said, not about what is trained
        rest["dataset"].pop("overlap", None)
    content = {"config": rest, "choices": {k: choices[k] for k in CHOICES}, "fingerprints": prints}
    cell = _hash(content)
    run = _hash(content | {"seed": config["seed"]})
    parts = [choices["model"], choices["strategy"], choices["dataset"]]
    size = config["dataset"].get("train_size")
    parts += [str(size)] if size is not None else []
    readable = re.sub(r"[^\w.-]+", "_", "-".join([*map(str, parts), f"seed{config['seed']}"]))
    return Identity(run, cell, f"{readable}-{run[:10]}", prints)


def fingerprints(config: dict[str, Any]) -> dict[str, str]:
    """Hashes of the contents that a run is made of, as they are now.

    `data` of its data set; `weights` that it starts from, and `preprocessing` of the files beside them that shape its
    inputs; `source` of the task that these weights were trained on: data set, labels and head; `code` of the user's own
    modules that the config names (see `tlx.config.own_code`).

    Raises:
        UserError: something of it is not there.
    """
    code = code_hash(own_names(config))
    prints = {"data": _data(config), **_weights(config), **_source(config)}
    return prints | ({} if code is None else {"code": code})


def contents_key(config: dict[str, Any]) -> str:
    """Equal for configs that have the same `fingerprints` and `own_names` while no file changes."""
    data = {key: value for key, value in config["dataset"].items() if key not in DRAWN}
    parts = [data, config["model"], config["strategy"]["init"], config["paths"], sorted(dotted_names(config))]
    return json.dumps(parts, sort_keys=True, default=str)


class ContentsChanged(UserError):
    """What a run was planned with is not what it finds."""


@contextmanager
def contents_as_planned(config: dict[str, Any]) -> Iterator[None]:
    """What is read in this context is what the run was planned with; looked at when it has been read.

    An error in it that other contents explain is told as their change.

    Raises:
        ContentsChanged: something was replaced since.
    """
    try:
        yield
    except Exception as error:
        try:
            check_contents(config)
        except ContentsChanged as changed:
            raise changed from error
        except UserError:  # something is gone, as the first error says
            pass
        raise
    check_contents(config)


def check_contents(config: dict[str, Any]) -> None:
    """Compare the contents that a planned run finds with those that its identity was made of.

    Raises:
        ContentsChanged: with the names of those that differ.
        UserError: something is gone.
    """
    planned, found = config["run"]["fingerprints"], fingerprints(config)
    changed = [name for name in CONTENTS if planned.get(name) != found.get(name)]
    if changed:
        listed = ", ".join(
            f"{CONTENTS[name]} ({name}: {planned.get(name, 'none')[:10]} → {found.get(name, 'none')[:10]})"
            for name in changed
        )
        raise ContentsChanged(
            f"changed since the run was planned: {listed}. It would be recorded as a run on what is no longer there; "
            "the same command again plans it anew, as another run."
        )


def own_names(config: dict[str, Any]) -> list[str]:
    """The names of Python objects in a config and in what the card of its weights says of their source task."""
    place = None if config["strategy"]["init"] in ("scratch", "shuffled") else weights_place(config)
    card = None if place is None else source_card(place)
    named = dotted_names({key: node for key, node in config.items() if key != "logger"})  # which change nothing
    return sorted({*named, *dotted_names(card["dataset"] if card else None)})


def _data(config: dict[str, Any]) -> str:
    from tlx.config.instantiate import data_set

    dataset = data_set(config["dataset"])
    return dataset.fingerprint(Path(config["paths"]["cache"]))


def _weights(config: dict[str, Any]) -> dict[str, str]:
    place = weights_place(config)
    if place is None:
        return {}
    cache = Path(config["paths"]["cache"]) / "fingerprints.json"
    anew = f"Remove that folder, and the same command makes it anew ({config['model']['path']})."
    made_here = config["model"].get("pretrain") and config["model"].get("path") == PREFIX + place.name
    check_entry(place, cache, config["strategy"]["init"] != "scratch", anew if made_here else "")
    prints = {"preprocessing": weights_hash(place, cache, weights=False)}
    if config["strategy"]["init"] != "scratch":
        prints["weights"] = weights_hash(place, cache)
    return prints


def _source(config: dict[str, Any]) -> dict[str, str]:
    """What the weights were trained on, and the head that they had: forgetting is measured on it, and an objective may
    ask for both.
    """
    if config["strategy"]["init"] in ("scratch", "shuffled"):
        return {}
    place = weights_place(config)
    card = None if place is None else source_card(place)
    if place is None or card is None:
        return {}
    from tlx.config.instantiate import data_set

    cache, source = Path(config["paths"]["cache"]), card["dataset"]
    try:
        data = data_set(source).fingerprint(cache)
    except UserError as error:
        raise UserError(f"the source task of {place}, as its card.json describes it: {error}") from error
    head = file_hash(place / "head.safetensors", cache / "fingerprints.json")
    settings = {key: value for key, value in source.items() if key not in SOURCE_WITHOUT_EFFECT}
    return {"source": _hash([settings, card.get("labels"), data, head])}


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
