"""What a yaml may name (`_target_`, `make`, `features`, …): parts of runs, never just any function of the machine.

A folder of configs may come from a stranger. What it names is called with the arguments that it gives, so it may name

- parts of tlx that runs are made of: public classes in ROOMS, public functions in FUNCTIONS;
- classes of torch, and of packages that depend on it, that are networks, optimizers, schedules or loggers of
  Lightning's kind, and the functions that build a network by its name: `timm.create_model`, timm's entry points,
  torchvision's builders of models, and what torchaudio.models exports. Their arguments that read weights or write a
  download (LOADING) are refused, as `model.path` says where weights come from;
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
from collections.abc import Iterator, Mapping
from importlib.metadata import requires
from typing import Any

from tlx.config.own_code import distributions, installed, places
from tlx.errors import UserError

ROOMS = (
    *("tlx.models", "tlx.data", "tlx.tasks", "tlx.strategies", "tlx.objectives", "tlx.callbacks", "tlx.probes"),
    *("tlx.schedules", "tlx.measures.measures", "hydra_plugins"),
)
# Others read and write files, whose names and contents a yaml could choose.
FUNCTIONS = ("tlx.models", "tlx.data.bundled", "tlx.schedules")
OURS = ("tlx", "hydra_plugins")
BUILDERS = ("timm", "torchvision", "torchaudio")  # the last needs torch, and its package does not say so
KNOWING = ("torch", "lightning", "pytorch-lightning", "tlx")  # packages that need one of these may know parts of runs
# Arguments of libraries' functions that unpickle a file, or put what an address holds into a folder of one's choice.
LOADING = (
    *("pretrained", "pretrained_backbone", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"),
    *("weights", "weights_backbone"),
)
# Of any part of a library: code that comes with weights.
CODE = ("trust_remote_code",)


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
        fine = unknown or top in BUILDERS or is_users_own(top) or any(_depends_on(top, p) for p in KNOWING)
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
        rooms = FUNCTIONS if inspect.isroutine(found) else ROOMS
        fine = _within(home, rooms) and not dotted.rpartition(".")[2].startswith("_")
    elif is_users_own(top) or _depends_on(top, "tlx"):
        # What it has imported from elsewhere is not its own.
        fine = home.partition(".")[0] not in sys.stdlib_module_names or not callable(found)
    else:
        fine = _is_part(found)
    if not fine:
        raise _refused(dotted, key)


def check_given(found: Any, given: Mapping[str, Any], key: str) -> None:
    """Refuse arguments of a library's part, named or in `_args_`, with which it would read weights or run their code.

    `given` are the keys of the config node `key`, of which `found` is the target.

    Raises:
        UserError: names the argument.
    """
    top = (getattr(found, "__module__", None) or "").partition(".")[0]
    if top in OURS or is_users_own(top) or _depends_on(top, "tlx"):
        return
    placed = given.get("_args_") or []
    if not isinstance(placed, list):
        raise UserError(f"{key}._args_={placed} is not allowed: give a list.")
    names = [n for n, p in inspect.signature(found).parameters.items() if p.kind is not p.VAR_KEYWORD]
    refuse_loading(
        {**given, **dict(zip(names, placed, strict=False))}, key, LOADING + CODE if inspect.isfunction(found) else CODE
    )


def refuse_loading(given: Mapping[str, Any], key: str, names: tuple[str, ...] = LOADING) -> None:
    """Refuse each of the arguments `names` of a builder of networks, unless it says that nothing is loaded.

    Raises:
        UserError: names the argument.
    """
    for name in names:
        if given.get(name) not in (None, False):
            raise UserError(
                f"{key}.{name}={given[name]} is not allowed: a yaml's networks begin with random weights, and run no "
                f"code of others. Leave {name} out; model.path=FOLDER_OR_FILE says which weights are loaded."
            )


def is_users_own(top: str) -> bool:
    """Whether the top-level module `top` lies outside of the standard library, of installed packages and of tlx."""
    if top in OURS or top in sys.stdlib_module_names:
        return False
    where = places(top)
    return top == "__main__" or (bool(where) and not any(map(installed, where)))


def _is_part(found: Any) -> bool:
    """Whether it is a class that runs are made of, or builds a network by its name."""
    if inspect.isfunction(found):
        return any(found is builder for builder in _builders(found))
    if not inspect.isclass(found):
        return False
    import torch

    kinds = (torch.nn.Module, torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler)
    return issubclass(found, kinds) or _is_logger(found)


def _is_logger(found: type) -> bool:
    """Whether it is a logger of Lightning's kind; whoever made one has imported Lightning."""
    loggers = sys.modules.get("lightning.pytorch.loggers")
    return loggers is not None and issubclass(found, loggers.Logger)


def _builders(found: Any) -> Iterator[Any]:
    """What a library that builds networks has under the name of the function `found`."""
    library, name = found.__module__.partition(".")[0], found.__name__
    if library == "timm":
        import timm

        yield timm.create_model
        if timm.is_model(name):
            yield timm.model_entrypoint(name)
    elif library == "torchvision":
        from torchvision import models

        yield from map(models.get_model_builder, models.list_models())
    elif library == "torchaudio":
        from torchaudio import models as exported

        if name in exported.__all__:
            yield getattr(exported, name)


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
        f"{key}={dotted} is not allowed: a config may name parts of tlx ({', '.join(ROOMS[:7])}, …), networks, "
        "optimizers and builders of models of libraries (timm.create_model, torchvision.models.resnet18), and your own "
        "code (on PYTHONPATH, or installed as editable), so that a yaml alone runs no other. A function of your own "
        "may call it."
    )
