"""What the cells of a sweep share is composed once: configs of one shape differ in plain values alone.

Hydra composes a config from the yamls that the overrides choose, and sets their values in the end. To do the former
anew for each of ten thousand cells takes a quarter of an hour; here it is done once for each choice of yamls.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hydra.core.override_parser.types import Override, OverrideType
from omegaconf import DictConfig, OmegaConf, open_dict

from tlx.private import set_values

KEY = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")  # through dictionaries alone, no place in a list
REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*(?:\.\w+)*)\}")  # to a key from the top
ENVIRONMENT = re.compile(r"\$\{oc\.env:[^${}]*\}")
PLAIN = (str, int, float, bool, type(None))


def split(given: Sequence[Override], is_group: Callable[[str], bool]) -> tuple[tuple[str, ...], list[Override]]:
    """What makes the shape of a config, in the order given, and the plain values that are set in it.

    A value is plain where to set it means the same in whatever order, and leaves nothing behind when another is set:
    one value or a list of them at a key of its own, with no reference in it.
    """
    # Hydra chooses the yamls of groups first, wherever their words stand; only then it sets values.
    keys = [o.key_or_group for o in given if isinstance(o.value(), dict) or not is_group(o.key_or_group)]
    values = [
        o
        for o in given
        if o.type is OverrideType.CHANGE
        and o.package is None
        and o.key_or_group.partition(".")[0] != "hydra"
        and KEY.fullmatch(o.key_or_group)
        and not is_group(o.key_or_group)
        and _plain(o.value())
        and sum(_overlap(o.key_or_group, key) for key in keys) == 1  # itself
    ]
    own = {id(o) for o in values}
    return tuple(o.key_or_group if id(o) in own else str(o.input_line) for o in given), values


def _plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(_plain(part) and not isinstance(part, list) for part in value)
    return isinstance(value, PLAIN) and not (isinstance(value, str) and ("${" in value or "???" in value))


def _overlap(one: str, other: str) -> bool:
    """Whether two dotted keys, or groups, are one or lie within each other."""
    one, other = (key.replace("/", ".") for key in (one, other))
    return one == other or one.startswith(f"{other}.") or other.startswith(f"{one}.")


class Shape:
    """A composed config in which the plain values can be set again and again.

    What neither is set nor depends on what is set is resolved once, and its configs share it: nobody writes into a
    composed config.
    """

    def __init__(
        self, loaded: DictConfig, plain: dict[str, Any], choices: dict[str, str | None], set_: set[str]
    ) -> None:
        """`loaded` is as Hydra composes it for one cell of the shape, and is changed; `plain` is it resolved.

        `set_` are the keys of the plain values.
        """
        with open_dict(loaded):
            del loaded["hydra"]
        self.config, self.base, self.choices = loaded, plain, choices
        written: Any = OmegaConf.to_container(loaded)
        follows = References(written, set_)
        self.places = sorted({tuple(key.split(".")) for key in set_} | {p for p in _leaves(written) if follows(p)})

    def plain(self, values: Sequence[Override]) -> dict[str, Any]:
        """The resolved config with these values.

        Raises:
            HydraException, OmegaConfBaseException: one that cannot be set or resolved.
        """
        set_values(list(values), self.config)
        plain, own = dict(self.base), set()
        for place in self.places:
            node = plain
            for depth, key in enumerate(place[:-1], 1):
                if place[:depth] not in own:  # shared so far
                    own.add(place[:depth])
                    node[key] = dict(node[key])
                node = node[key]
            node[place[-1]] = _resolved(self.config, place)
        return plain


class References:
    """Which places of a config, as it is written, may come to something else when some keys are set."""

    def __init__(self, written: dict[str, Any], set_: set[str]) -> None:
        self.written, self.set = written, set_
        self.known: dict[tuple[str, ...], bool] = {}

    def __call__(self, place: tuple[str, ...]) -> bool:
        """Whether what lies there refers, directly or not, to a key that is set, or to what cannot be told."""
        if place not in self.known:
            self.known[place] = True  # in a circle it cannot be told
            self.known[place] = any(map(self._moves, _texts(_look(self.written, place))))
        return self.known[place]

    def _moves(self, text: str) -> bool:
        rest = ENVIRONMENT.sub("", text)
        if "${" in REFERENCE.sub("", rest):
            return True
        return any(
            any(_overlap(key, one) for one in self.set) or self(tuple(key.split(".")))
            for key in REFERENCE.findall(rest)
        )


def _leaves(node: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The places of what is no dictionary."""
    if isinstance(node, dict):
        for key, inner in node.items():
            yield from _leaves(inner, (*place, str(key)))
    else:
        yield place


def _texts(node: Any) -> list[str]:
    """The texts in a node that hold references."""
    if isinstance(node, dict | list):
        return [text for inner in (node.values() if isinstance(node, dict) else node) for text in _texts(inner)]
    return [node] if isinstance(node, str) and "${" in node else []


def _look(node: Any, place: tuple[str, ...]) -> Any:
    """What lies there; where nothing can be found, a reference that cannot be told."""
    for key in place:
        if not isinstance(node, dict) or key not in node:
            return "${?}"
        node = node[key]
    return node


def _resolved(config: DictConfig, place: tuple[str, ...]) -> Any:
    node: Any = config
    for key in place:
        node = node[key]
    return OmegaConf.to_container(node, resolve=True, throw_on_missing=True) if OmegaConf.is_config(node) else node
