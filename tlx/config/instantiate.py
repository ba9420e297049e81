"""From a node of a config to the object that it describes."""

import inspect
import json
from collections.abc import Collection
from functools import lru_cache
from typing import Any

from tlx.errors import UserError, one_line


def instantiate(node: dict[str, Any], key: str, **extra: Any) -> Any:
    """The object that a config node describes: `_target_` called with the node's other keys and `extra`.

    Nested nodes are built first; `_partial_: true` gives a function that waits for the rest of its arguments. `extra`
    arguments that the target does not take are left out.

    Raises:
        UserError: the target does not exist, does not take one of the keys (with the nearest that it takes), or takes
            values of another type.
    """
    import hydra

    from tlx.config.names import resolve

    _check_nodes(node, key, extra)
    taken = inspect.signature(resolve(node["_target_"], f"{key}._target_")).parameters
    fitting = {name: value for name, value in extra.items() if name in taken}
    try:
        return hydra.utils.instantiate(node, **fitting, _convert_="all")
    except hydra.errors.InstantiationException as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, UserError):
                raise cause from error
            cause = cause.__cause__
        raise UserError(f"{key} ({node['_target_']}) cannot be built: {one_line(error.__cause__ or error)}.") from error


def data_set(node: dict[str, Any]) -> Any:
    """The data set that a config node describes; of tlx's own class one for all who ask, as nobody changes it.

    Raises:
        UserError: as `instantiate`.
    """
    if node.get("_target_") != "tlx.data.dataset.Dataset":
        return instantiate(node, "dataset")
    return _data_set(json.dumps(node))


@lru_cache(maxsize=64)  # a run asks several times, and Hydra takes milliseconds
def _data_set(text: str) -> Any:
    return instantiate(json.loads(text), "dataset")


def _check_nodes(node: Any, key: str, given: Collection[str] = ()) -> None:
    """Check the keys of a node and of the nodes within it against the arguments of their targets."""
    for number, item in enumerate(node if isinstance(node, list) else ()):
        _check_nodes(item, f"{key}.{number}")
    if not isinstance(node, dict):
        return
    for name, value in node.items():
        _check_nodes(value, f"{key}.{name}")
    if "_target_" in node:
        from tlx.config.names import check_arguments, resolve

        check_arguments(resolve(node["_target_"], f"{key}._target_"), node, key, given)
