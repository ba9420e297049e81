"""From dotted names in a yaml to the Python objects they name, and whether a yaml's keys and values fit them."""

import importlib
import inspect
import types
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Union, get_args, get_origin, get_type_hints

from tlx.config.trusted import check_before_import, check_given, check_named
from tlx.errors import UserError, nearest, unknown


def resolve(dotted: str, key: str) -> Any:
    """The object called `dotted` (package.module.name); `key` is the config key that named it, for the message.

    Raises:
        UserError: no such module or name, or none that a config may name (`tlx.config.trusted`).
    """
    module, _, name = str(dotted).rpartition(".")
    if not module:
        raise UserError(f"{key}={dotted} is not a dotted name: write package.module.name.")
    check_before_import(dotted, key)
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{key}={dotted}: the module '{module}' cannot be imported ({error}).") from error
    if not hasattr(found, name):
        match = nearest(name, vars(found))
        raise UserError(
            f"{key}={dotted}: '{module}' has no '{name}'" + (f"; did you mean '{match}'?" if match else ".")
        )
    check_named(getattr(found, name), dotted, key)
    return getattr(found, name)


def hold_targets(node: Any, key: str, skip: bool = False) -> None:
    """Check every `_target_` within a node that somebody else will build; with `skip` not that of the node itself.

    Raises:
        UserError: one that a config may not name, or with an argument that it may not give (`tlx.config.trusted`).
    """
    if isinstance(node, dict):
        if "_target_" in node and not skip:
            check_given(resolve(node["_target_"], f"{key}._target_"), node, key)
        for name, inner in node.items():
            hold_targets(inner, f"{key}.{name}")
    elif isinstance(node, list):
        for number, inner in enumerate(node):
            hold_targets(inner, f"{key}.{number}")


def check_arguments(target: Any, node: Mapping[str, Any], key: str, given: Collection[str] = ()) -> None:
    """Check the keys of a config node against the arguments of the class or function `target`.

    `given` are arguments that the code gives. Of a node with `_partial_: true` the arguments without a default are
    given later. Simple types (numbers, words, true and false, lists, dicts, null) are checked as `target` annotates
    them.

    Raises:
        UserError: a key that it does not take (nearest match), a value of another type, or one that a config may not
            give (`tlx.config.trusted`).
    """
    check_given(target, node, key)
    parameters = inspect.signature(target).parameters
    hints = _hints(target)
    later = {n for n, p in parameters.items() if p.default is p.empty} if node.get("_partial_") else set()
    allowed = [n for n in parameters if n != "self" and n not in given and n not in later]
    free = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name, value in node.items():
        if name.startswith("_"):
            continue
        if name not in allowed and not free:
            raise unknown(f"key in {key}", name, allowed)
        # A nested node stands for the object that it describes.
        if not (isinstance(value, dict) and "_target_" in value) and not fits(value, hints.get(name, Any)):
            raise UserError(f"{key}.{name}={value} is not allowed: give {in_words(hints[name])}.")


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value, as yaml has it, can be what `hint` says; True where `hint` is nothing that yaml knows."""
    origin = get_origin(hint) or hint
    if origin in (Union, types.UnionType):
        return any(fits(value, option) for option in get_args(hint))
    if origin in (None, type(None)):
        return value is None
    if origin is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if origin is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin in (str, bool):
        return isinstance(value, origin)
    if origin in (list, tuple, Sequence):
        return isinstance(value, (list, tuple))
    if origin in (dict, Mapping):
        return isinstance(value, dict)
    return True


_WORDS = {
    float: "a number",
    int: "a whole number",
    str: "a word (in quotes where it looks like a number)",
    bool: "true or false",
    list: "a list",
    tuple: "a list",
    Sequence: "a list",
    dict: "keys with values",
    Mapping: "keys with values",
    type(None): "null",
    None: "null",
}


def in_words(hint: Any) -> str:
    """An annotation as users would say it: "a number or null"."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    words = dict.fromkeys(_WORDS.get(get_origin(o) or o, "") for o in options)
    return " or ".join(w for w in words if w)


def _hints(target: Any) -> dict[str, Any]:
    try:
        return get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError):  # annotations of a library that only its type checker can resolve
        return {}
