"""What a config may grow to: a few lines of yaml can stand for more memory than there is. No torch here."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from tlx.errors import UserError, one_line

MOST = 1_000_000  # nodes and characters that a config may come to; ours have a few thousand
REFERENCE = re.compile(r"\$\{\s*(\.*[\w.\[\]-]+)\s*\}")


def check_yaml(file: Path) -> None:
    """Check a yaml before its aliases are written out.

    Raises:
        UserError: it holds itself, or comes to more than MOST nodes. What is no yaml is left to whoever reads it.
    """
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except RecursionError as error:
        raise UserError(f"{file}: lists or keys lie too deep in each other.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return
    if root is not None and _nodes(root, {}, file) > MOST:
        raise UserError(f"{file} comes to more than {MOST:,} values by its aliases (*name): write fewer.")


def _nodes(node: yaml.Node, known: dict[int, int | None], file: Path) -> int:
    """How many nodes there are with aliases written out; each is visited once."""
    if id(node) in known:
        count = known[id(node)]
        if count is None:
            raise UserError(f"{file}, line {node.start_mark.line + 1}: what an alias (*name) names holds the alias.")
        return count
    known[id(node)] = None
    if isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    else:
        inner = node.value if isinstance(node, yaml.SequenceNode) else []
    try:
        known[id(node)] = count = 1 + sum(_nodes(part, known, file) for part in inner)
    except RecursionError as error:
        raise UserError(
            f"{file}, line {node.start_mark.line + 1}: lists or keys lie too deep in each other."
        ) from error
    return count


def check_size(config: Any) -> None:
    """Check a composed config, references (`${key}`) still as they are written, before they are written out.

    Raises:
        UserError: it comes to more than MOST values and characters.
    """
    known: dict[Hashable, int | None] = {}
    if _size(config, (), config, known) > MOST:
        raise UserError(
            f"the configuration comes to more than {MOST:,} values by its references (${{key}}): use fewer."
        )


def _size(node: Any, place: tuple[str, ...], root: Any, known: dict[Hashable, int | None]) -> int:
    if place in known:
        return known[place] or 0  # None: a circle, which Hydra words itself
    known[place] = None
    if isinstance(node, dict):
        size = 1 + sum(_size(value, (*place, str(key)), root, known) for key, value in node.items())
    elif isinstance(node, list):
        size = 1 + sum(_size(value, (*place, str(number)), root, known) for number, value in enumerate(node))
    else:
        text = str(node)
        size = len(text)
        for reference in REFERENCE.findall(text):
            target = _target(reference, place)
            size += _size(_at(root, target), target, root, known) if target else 0
    known[place] = size
    return size


def _target(reference: str, place: tuple[str, ...]) -> tuple[str, ...]:
    """The place that `${reference}` at `place` names: a.b.0, a.b[0], or relative with leading dots."""
    dots = len(reference) - len(reference.lstrip("."))
    parts = tuple(re.findall(r"[^.\[\]]+", reference))
    return (*place[: len(place) - dots], *parts) if dots else parts


def _at(root: Any, place: tuple[str, ...]) -> Any:
    for part in place:
        if isinstance(root, dict) and part in root:
            root = root[part]
        elif isinstance(root, list) and part.isdigit() and int(part) < len(root):
            root = root[int(part)]
        else:
            return None
    return root


def too_deep(error: RecursionError) -> UserError:
    """What to say where Hydra or OmegaConf ran out of depth."""
    return UserError(
        "the configuration cannot be composed: a yaml's `defaults` leads back to itself, or a value holds itself "
        f"({one_line(error)})."
    )
