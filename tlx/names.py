"""From a dotted name in a yaml to the Python object it names."""

import importlib
from typing import Any

from tlx.errors import UserError, nearest


def resolve(dotted: str, key: str) -> Any:
    """The object called `dotted` (package.module.name); `key` is the config key that named it, for the message.

    Raises:
        UserError: no such module or name.
    """
    module, _, name = str(dotted).rpartition(".")
    if not module:
        raise UserError(f"{key}={dotted} is not a dotted name: write package.module.name.")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{key}={dotted}: the module '{module}' cannot be imported ({error}).") from error
    if not hasattr(found, name):
        match = nearest(name, vars(found))
        raise UserError(f"{key}={dotted}: '{module}' has no '{name}'" + (f"; did you mean '{match}'?" if match else "."))
    return getattr(found, name)
