"""Registry entries: a folder with a card, the backbone's tensors, and the source task's head.

<registry>/<name>/card.json              what it is and how it was made
                  backbone.safetensors   tensors under the names of the backbone's network
                  head.safetensors       the source task's head
                  (tokenizer, config)    what the preprocessing needs, in the library's own format
"""

import hashlib
import json
import re
import secrets
import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tlx.network.adapters import plain_state
from tlx.record.hashes import file_hashes
from tlx.errors import UserError, unknown
from tlx.record.masking import masked
from tlx.registry.weight_files import WEIGHT_FILES, weights_hash

PREFIX = "registry:"
CARD = "card.json"
# What of a card its checksum covers: notes may be added to it.
COVERED = ("schema", "name", "weights", "files", "model", "dataset", "labels", "metrics", "run")


def entry_folder(registry: Path, name: str) -> Path:
    """Where the entry `name` is or would be."""
    return registry / name


def entry_to_make(config: dict[str, Any]) -> str | None:
    """The entry that a run starts from, where it is not there and the model's yaml says how to make it; else None."""
    init = config["strategy"]["init"]
    path = init if init.startswith(PREFIX) else config["model"].get("path") or ""
    name = path.removeprefix(PREFIX)
    known = bool(config["model"].get("pretrain")) and path.startswith(PREFIX)
    there = (entry_folder(Path(config["paths"]["registry"]), name) / "card.json").is_file()
    return name if known and not there else None


def names(registry: Path) -> list[str]:
    """The entries there are, sorted."""
    return sorted(p.parent.name for p in registry.glob("[!.]*/card.json"))


def find(registry: Path, name: str) -> Path:
    """The folder of an entry.

    Raises:
        UserError: no such entry (nearest match).
    """
    folder = entry_folder(registry, name)
    if not (folder / CARD).is_file():
        raise unknown(
            "registry entry",
            name,
            names(registry),
            f"Make one with `tlx train … register={name}` (registry: {registry}).",
        )
    return folder


def read_card(folder: Path) -> dict[str, Any]:
    """The card of an entry; UserError when it is damaged."""
    try:
        card = json.loads((folder / CARD).read_text())
        if not isinstance(card, dict):
            raise ValueError("it holds no keys")
        return card
    except (OSError, ValueError) as error:
        raise UserError(
            f"the registry entry {folder} has no readable card.json ({error}): remove that folder and make the entry again."
        ) from error


def source_card(place: Path) -> dict[str, Any] | None:
    """The card of weights that bring the task that they were trained on, and its head; None for others.

    Raises:
        UserError: the card is damaged.
    """
    if not (place / "head.safetensors").is_file() or not (place / CARD).is_file():
        return None
    card = read_card(place)
    return card if card.get("dataset") else None


def check(place: Path, cache: Path | None, weights: bool = True, again: str = "") -> None:
    """Compare an entry with its own card: the card itself, and each file's hash; without `weights` only the others.

    Of an entry of an earlier version, whose card has no hashes of files, only the backbone can be compared. What has no
    card is no entry. `cache` remembers the hashes of files; `again` says how the entry is made anew.

    Raises:
        UserError: the file that is not what the card says.
    """
    if not (place / CARD).is_file():
        return
    card = read_card(place)
    again = again or f"Make it again by the run that made it (register={place.name}), or copy it from where it is whole."
    if "checksum" in card and card["checksum"] != _checksum(card):
        raise UserError(
            f"the registry entry {place} is damaged: its {CARD} is not as it was written. {again} "
            "(Did you edit it? Then take its key 'checksum' away.)"
        )
    known: dict[str, str] | None = card.get("files")
    if known is None:
        if weights and card.get("weights") and card["weights"] != weights_hash(place, cache):
            raise UserError(f"the registry entry {place} is damaged: its weights are not those that {CARD} names. {again}")
        return
    wanted = [n for n in known if weights or not any(fnmatch(n, pattern) for pattern in WEIGHT_FILES)]
    if gone := [name for name in wanted if not (place / name).is_file()]:
        raise UserError(f"the registry entry {place} is damaged: {gone[0]} is gone. {again}")
    found = file_hashes([place / name for name in wanted], cache)
    if other := [name for name in wanted if found[place / name] != known[name]]:
        raise UserError(
            f"the registry entry {place} is damaged: {', '.join(other)} {'is' if len(other) == 1 else 'are'} not as "
            f"{CARD} describes. {again}"
        )


def _checksum(card: dict[str, Any]) -> str:
    covered = json.loads(json.dumps({key: card[key] for key in COVERED if key in card}))
    return hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()


def add(registry: Path, name: str, module: Any, card: dict[str, Any]) -> Path:
    """Write an entry from a trained TransferModule; all of it or nothing. An older entry of that name is replaced.

    `card` holds the source's data set, scores and identity; names, hashes and head are added here. Adapters must have
    been merged into their layers. Who may read the entry is as the umask says.

    Raises:
        UserError: an impossible name.
    """
    from safetensors.torch import save_file

    if not re.fullmatch(r"[\w][\w.-]*", name):
        raise UserError(f"register={name}: an entry's name has letters, digits, '.', '_' and '-'.")
    registry.mkdir(parents=True, exist_ok=True)
    draft = registry / f".making-{secrets.token_hex(6)}"
    draft.mkdir()
    try:
        save_file(plain_state(module.backbone.network), draft / "backbone.safetensors")
        save_file(plain_state(module.task), draft / "head.safetensors")
        save = getattr(module.backbone, "save_preprocessing", None)
        if save is not None:
            save(draft)
        files = {file.name: digest for file, digest in file_hashes(f for f in draft.iterdir() if f.is_file()).items()}
        card = masked({"schema": 1, "name": name, "weights": weights_hash(draft, None), **card, "files": files})
        (draft / CARD).write_text(json.dumps(card | {"checksum": _checksum(card)}, indent=1))
        mode = (draft / CARD).stat().st_mode
        for file in draft.iterdir():
            if file.is_file():
                file.chmod(mode)  # safetensors keeps its files to their owner
        folder = entry_folder(registry, name)
        older = draft.with_name(f"{draft.name}-older")
        if folder.exists():
            folder.rename(older)
        draft.rename(folder)
        shutil.rmtree(older, ignore_errors=True)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return folder
