"""Registry entries: a folder with a card, the backbone's tensors, and the source task's head.

<registry>/<name>/card.json              what it is and how it was made
                  backbone.safetensors   tensors under the names of the backbone's network
                  head.safetensors       the source task's head
                  (tokenizer, config)    what the preprocessing needs, in the library's own format
"""

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tlx.errors import UserError, unknown
from tlx.masking import masked
from tlx.models.location import weights_hash

PREFIX = "registry:"


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
    if not (folder / "card.json").is_file():
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
        return json.loads((folder / "card.json").read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"the registry entry {folder} has no readable card.json: {error}") from error


def source_card(place: Path) -> dict[str, Any] | None:
    """The card of weights that bring the task that they were trained on, and its head; None for others.

    Raises:
        UserError: the card is damaged.
    """
    if not (place / "head.safetensors").is_file() or not (place / "card.json").is_file():
        return None
    card = read_card(place)
    return card if card.get("dataset") else None


def add(registry: Path, name: str, module: Any, card: dict[str, Any]) -> Path:
    """Write an entry from a trained TransferModule; all of it or nothing. An older entry of that name is replaced.

    `card` holds the source's data set, scores and identity; names, fingerprint and head are added here. Adapters must
    have been merged into their layers.

    Raises:
        UserError: an impossible name.
    """
    from safetensors.torch import save_file

    if not re.fullmatch(r"[\w][\w.-]*", name):
        raise UserError(f"register={name}: an entry's name has letters, digits, '.', '_' and '-'.")
    registry.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=registry, prefix=".making-"))
    try:
        save_file(_plain(module.backbone.network), draft / "backbone.safetensors")
        save_file(_plain(module.task), draft / "head.safetensors")
        save = getattr(module.backbone, "save_preprocessing", None)
        if save is not None:
            save(draft)
        card = {"schema": 1, "name": name, "weights": weights_hash(draft, None), **card}
        (draft / "card.json").write_text(json.dumps(masked(card), indent=1))
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


def _plain(network: Any) -> dict[str, Any]:
    """Copies of all tensors on the CPU, without adapters: these are folded into the layers they wrap (`merge`)."""
    from tlx.strategies.lora import MARK

    state = {n: t for n, t in network.state_dict().items() if not MARK.search(n)}
    return {n.replace(".base_layer.", "."): t.detach().cpu().contiguous().clone() for n, t in state.items()}
