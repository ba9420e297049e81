"""What a yaml may name (`_target_`, `make`, `features`, …): parts of runs, never just any function of the machine.

A folder of configs may come from a stranger. What it names is called with the arguments that it gives, so it may name

- parts of tlx that runs are made of (the rooms in ROOMS);
- classes of torch, and of packages that depend on it, that are networks, optimizers or schedules, and the functions of
  LIBRARIES that build networks;
- the user's own code: modules that lie outside of the standard library and of installed packages, which means that
  somebody put them on PYTHONPATH or installed them as editable; and installed packages that depend on tlx.

So a yaml alone runs no code that did not come with tlx or from the user. Code that comes with a stranger's folder runs
only where the user puts that folder on PYTHONPATH.
"""

import functools
import importlib.util
import inspect
import re
import sys
from importlib.metadata import requires
from typing import Any

from tlx.errors import UserError
from tlx.own_code import distributions, installed, places

ROOMS = (
    *("tlx.models", "tlx.data", "tlx.tasks", "tlx.strategies", "tlx.objectives", "tlx.callbacks", "tlx.probes"),
    *("tlx.schedules", "tlx.measures", "hydra_plugins"),
)
OURS = ("tlx", "hydra_plugins")
LIBRARIES = ("timm", "torchvision.models", "torchaudio.models")


def check_before_import(dotted: str, key: str) -> None:
    """Refuse modules of the standard library and of packages that know no networks: to import them is to run them.

    Raises:
        UserError: what the config key `key` names is not for a yaml.
    """
    top = dotted.partition(".")[0]
    if top in OURS:
        fine = _within(dotted, ROOMS)
    elif top in sys.stdlib_module_names:
        fine = False
    else:
        unknown = top not in sys.modules and importlib.util.find_spec(top) is None  # the import will say so
        fine = unknown or is_users_own(top) or _depends_on(top, "torch") or _depends_on(top, "tlx")
    if not fine:
        raise _refused(dotted, key)


def check_named(found: Any, dotted: str, key: str) -> None:
    """Refuse what was found under the name `dotted` unless it is one of the kinds above.

    Raises:
        UserError: as `check_before_import`.
    """
    home, top = getattr(found, "__module__", None) or dotted, dotted.partition(".")[0]
    if inspect.ismodule(found):
        fine = False
    elif top in OURS:
        fine = _within(home, ROOMS)
    elif is_users_own(top) or _depends_on(top, "tlx"):
        # What it has imported from elsewhere is not its own.
        fine = home.partition(".")[0] not in sys.stdlib_module_names or not callable(found)
    else:
        fine = _is_part(found, home)
    if not fine:
        raise _refused(dotted, key)


def is_users_own(top: str) -> bool:
    """Whether the top-level module `top` lies outside of the standard library, of installed packages and of tlx."""
    if top in OURS or top in sys.stdlib_module_names:
        return False
    where = places(top)
    return top == "__main__" or (bool(where) and not any(map(installed, where)))


def _is_part(found: Any, home: str) -> bool:
    """Whether it is a class that runs are made of, or builds networks."""
    if inspect.isfunction(found):
        return _within(home, LIBRARIES)
    if not inspect.isclass(found):
        return False
    import torch

    kinds = (torch.nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
    return issubclass(found, kinds)


@functools.cache
def _depends_on(top: str, package: str) -> bool:
    """Whether the installed top-level module `top` is `package`, or of a distribution that needs it."""
    if top == package:
        return True
    needed = [requirement for name in distributions(top) for requirement in requires(name) or ()]
    return any(re.match(rf"{package}(?![\w.-])", requirement) for requirement in needed)


def _within(dotted: str, packages: tuple[str, ...]) -> bool:
    return any(dotted == package or dotted.startswith(f"{package}.") for package in packages)


def _refused(dotted: str, key: str) -> UserError:
    return UserError(
        f"{key}={dotted} is not allowed: a config may name parts of tlx ({', '.join(ROOMS[:7])}, …), networks and "
        "optimizers of libraries, and your own code (on PYTHONPATH, or installed as editable), so that a yaml alone "
        "runs no other. A function of your own may call it."
    )
