"""What the values of a composed config may be: the keys, types and ranges that hold for every run. No torch here."""

import functools
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from tlx.config.place import CONFIG_DIR
from tlx.errors import UserError, unknown
from tlx.tasks.metrics import check_metrics

_ABSENT = object()


def _whole(value: Any, least: int, most: float = math.inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _numbers(value: Any, count: int) -> bool:
    return isinstance(value, list) and len(value) == count and all(map(_number, value))


def _text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _name(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[\w][\w.-]*", value) is not None


def _part(value: Any) -> bool:
    return isinstance(value, dict) and _text(value.get("_target_"))


_PART = ("keys with `_target_`, the dotted name of a class or function", _part)
_FOLDER = ("a folder", _text)
# dotted key -> (what is allowed, in words; the test)
VALUES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "seed": ("a whole number from 0 to 4294967295", lambda v: _whole(v, 0, 2**32 - 1)),
    "force": ("true or false", lambda v: isinstance(v, bool)),
    "profile": ("true or false", lambda v: isinstance(v, bool)),
    "measures": (
        "a list of drift, recovery, train and flops",
        lambda v: isinstance(v, list) and all(_text(m) and m in ("drift", "recovery", "train", "flops") for m in v),
    ),
    "selection": ("best or last", lambda v: v in ("best", "last")),
    "skip_if": ("a list of conditions such as [{strategy: lora}]", lambda v: isinstance(v, list)),
    "keep_checkpoints": ("best, last, both or none", lambda v: v in ("best", "last", "both", "none")),
    "deterministic": ("true, false or warn", lambda v: isinstance(v, bool) or v == "warn"),
    "cache": ("on, bf16 or off", lambda v: v in ("on", "bf16", "off")),
    "cache_limit": ("a number of gigabytes ≥ 0", lambda v: _number(v) and v >= 0),
    "study": ("a folder name of letters, digits, '.', '_' and '-'", lambda v: v is None or _name(v)),
    "register": ("a name of letters, digits, '.', '_' and '-'", lambda v: v is None or _name(v)),
    "paths.runs": _FOLDER,
    "paths.registry": _FOLDER,
    "paths.cache": _FOLDER,
    "model": _PART,
    "model.modality": ("text, image or audio", lambda v: v in ("text", "image", "audio")),
    "model.path": ("a folder, a file, registry:NAME, hub:OWNER/NAME or null", lambda v: v is None or _text(v)),
    "dataset": _PART,
    "dataset.modality": ("text, image or audio", lambda v: v in ("text", "image", "audio")),
    "dataset.metrics": (
        "a list of names of metrics, as [accuracy, macro_f1]",
        lambda v: isinstance(v, list) and all(map(_text, v)),
    ),
    "dataset.monitor": ("the name of a metric", _text),
    "dataset.split_seed": ("a whole number ≥ 0", lambda v: _whole(v, 0)),
    "dataset.subset_seed": ("a whole number ≥ 0, or null", lambda v: v is None or _whole(v, 0)),
    "strategy": _PART,
    "strategy.init": (
        "pretrained, scratch, shuffled or registry:NAME",
        lambda v: v in ("pretrained", "scratch", "shuffled") or (_text(v) and v.startswith("registry:")),
    ),
    "strategy.freezing": _PART,
    "strategy.learning_rates": _PART,
    "strategy.adapter": ("null, or " + _PART[0], lambda v: v is None or _part(v)),
    "strategy.mixout": ("a number or null", lambda v: v is None or _number(v)),
    "strategy.objectives": (
        "a list of parts, each with `_target_`, the dotted name of a class",
        lambda v: isinstance(v, list) and all(map(_part, v)),
    ),
    "strategy.longer": ("a whole number ≥ 2, or null", lambda v: v is None or _whole(v, 2)),
    "strategy.solver": (_PART[0], _part),
    "strategy.calibrate": ("true or false", lambda v: isinstance(v, bool)),
    "optimizer": _PART,
    "optimizer.lr": ("a number > 0", lambda v: _number(v) and v > 0),
    "optimizer.weight_decay": ("a number ≥ 0", lambda v: _number(v) and v >= 0),
    "scheduler": _PART,
    "trainer.max_epochs": ("a whole number ≥ 1", lambda v: _whole(v, 1)),
    "trainer.batch_size": ("a whole number ≥ 1", lambda v: _whole(v, 1)),
    "trainer.eval_batch_size": ("a whole number ≥ 1", lambda v: _whole(v, 1)),
    "trainer.accumulate": ("a whole number ≥ 1", lambda v: _whole(v, 1)),
    "trainer.gradient_clip": ("a number > 0, or null", lambda v: v is None or (_number(v) and v > 0)),
    "trainer.precision": ("32-true, bf16-mixed or 16-mixed", lambda v: v in ("32-true", "bf16-mixed", "16-mixed")),
    "trainer.patience": ("a whole number ≥ 1, or null", lambda v: v is None or _whole(v, 1)),
    "trainer.accelerator": ("cpu, gpu or auto", lambda v: v in ("cpu", "gpu", "auto")),
    "trainer.devices": ("a whole number ≥ 1", lambda v: _whole(v, 1)),
    "trainer.strategy": ("auto, ddp or fsdp", lambda v: v in ("auto", "ddp", "fsdp")),
    "trainer.threads": ("a whole number ≥ 1, or null", lambda v: v is None or _whole(v, 1)),
    "trainer.workers": ("a whole number ≥ 0, or null", lambda v: v is None or _whole(v, 0)),
    "trainer.checkpoint_seconds": ("a number ≥ 0", lambda v: _number(v) and v >= 0),
    "trainer.detect_anomaly": ("true or false", lambda v: isinstance(v, bool)),
    "trainer.compile": ("true or false", lambda v: isinstance(v, bool)),
    "trainer.on_out_of_memory": ("fail or halve", lambda v: v in ("fail", "halve")),
    "trainer.head_dropout": ("a number in [0, 1)", lambda v: _number(v) and 0 <= v < 1),
    "logger.wandb.mode": ("offline or online", lambda v: v in ("offline", "online")),
    "logger.wandb.project": ("a name", _text),
}
# Of torch's own optimisers, whichever of them takes the key; those of others may mean something else by these words.
OPTIMIZER: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "betas": ("two numbers in [0, 1), as [0.9, 0.999]", lambda v: _numbers(v, 2) and all(0 <= b < 1 for b in v)),
    "momentum": ("a number in [0, 1)", lambda v: _number(v) and 0 <= v < 1),
    "dampening": ("a number in [0, 1)", lambda v: _number(v) and 0 <= v < 1),
    "alpha": ("a number in [0, 1)", lambda v: _number(v) and 0 <= v < 1),
    "rho": ("a number in [0, 1)", lambda v: _number(v) and 0 <= v < 1),
    "lr_decay": ("a number ≥ 0", lambda v: _number(v) and v >= 0),
    "initial_accumulator_value": ("a number ≥ 0", lambda v: _number(v) and v >= 0),
    "etas": ("two numbers, 0 < a < 1 < b", lambda v: _numbers(v, 2) and 0 < v[0] < 1 < v[1]),
    "step_sizes": ("two numbers, 0 < a < b", lambda v: _numbers(v, 2) and 0 < v[0] < v[1]),
    "maximize": ("false: a loss is minimised", lambda v: v is False),
} | dict.fromkeys(
    ("nesterov", "amsgrad", "fused", "foreign", "capturable", "differentiable", "decoupled_weight_decay", "centered"),
    ("true, false or null", lambda v: v is None or isinstance(v, bool)),
)
# Where a yaml may leave the key out: its class has a default, or nothing is asked for.
OPTIONAL = (
    "strategy.solver",
    "strategy.calibrate",
    "model.path",
    "dataset.metrics",
    "dataset.split_seed",
    "dataset.subset_seed",
    "logger.wandb.mode",
    "logger.wandb.project",
)


def _choices(group: str) -> list[str]:
    """The names that our yamls give to a group's choices."""
    return sorted(file.stem for file in (CONFIG_DIR / group).glob("*.yaml"))


def check_values(config: dict[str, Any]) -> None:
    """Check the keys and values that every run has, and that model and data set go together.

    What belongs to one class alone (a strategy's rank, a model's pooling) is checked where it is built.

    Raises:
        UserError: the key, the value given and what is allowed.
    """
    for section, allowed in known_keys().items():
        node = _look(config, section) if section else config
        if not isinstance(node, dict):
            if node is None or (node is _ABSENT and section == "logger.wandb"):
                continue
            raise UserError(f"{section} must hold the keys {', '.join(allowed)}.")
        for key in node:
            if key not in allowed:
                raise unknown(f"key in {section}" if section else "key", key, allowed)
        for key in allowed:
            if key not in node and not section and (CONFIG_DIR / key).is_dir():
                raise UserError(f"{key} is missing: say {key}=NAME, one of {', '.join(_choices(key))}.")
            if key not in node:
                raise UserError(
                    f"{f'{section}.{key}'.lstrip('.')} is missing. A yaml of your own may begin with one of ours: "
                    "`defaults: [NAME, _self_]`."
                )
    for key, (words, fits) in VALUES.items():
        value = _look(config, key)
        if value is _ABSENT and key in OPTIONAL:
            continue
        if value is _ABSENT:
            raise UserError(f"{key} is missing: give {words}.")
        if not fits(value):
            raise UserError(f"{key}={_shown(value)} is not allowed: give {words}.")
    if "metrics" in config["dataset"]:
        check_metrics(config["dataset"]["metrics"], config["dataset"]["monitor"])
    _check_optimizer(config["optimizer"])
    _check_loggers(config["logger"])
    for key, value in _leaves(config):
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{key}={value} is not allowed: give a finite number.")
    have, want = config["model"]["modality"], config["dataset"]["modality"]
    if have != want:
        raise UserError(
            f"the model takes {have} and the data set holds {want}: choose a model and a data set of one modality."
        )


def _check_optimizer(node: dict[str, Any]) -> None:
    if not node["_target_"].startswith("torch.optim."):
        return
    for key, (words, fits) in OPTIMIZER.items():
        if key in node and not fits(node[key]):
            raise UserError(f"optimizer.{key}={_shown(node[key])} is not allowed: give {words}.")
    # Adafactor has two of them.
    eps = node.get("eps")
    for number in eps if isinstance(eps, list) else [eps]:
        if number is not None and not (_number(number) and number > 0):
            raise UserError(f"optimizer.eps={_shown(eps)} is not allowed: give a finite number > 0, as 1.0e-8.")
    if node.get("nesterov") and not (node.get("momentum") and not node.get("dampening")):
        raise UserError(
            "optimizer.nesterov=true looks ahead along the momentum: it needs optimizer.momentum > 0 (0.9 is usual) "
            "and optimizer.dampening=0."
        )


def _check_loggers(node: Any) -> None:
    """Each key of `logger` is wandb, or the name of a logger that a class makes; null: not asked for."""
    if not isinstance(node, dict):
        raise UserError(
            "logger must hold loggers by their names, as `logger: {mine: {_target_: my_package.MyLogger}}`."
        )
    for name, part in node.items():
        if part is not None and name != "wandb" and not _part(part):
            raise UserError(
                f"unknown key 'logger.{name}': under logger stand wandb, and loggers of your own, each a key with "
                f"`_target_`, as logger.{name}._target_=lightning.pytorch.loggers.CSVLogger. Options of a logger stand "
                "under its name: logger.NAME.KEY."
            )


@functools.cache
def known_keys() -> dict[str, list[str]]:
    """The keys of the sections that have no class to check them ("" is the top), read from our own yamls."""
    import yaml

    def read(name: str) -> dict[str, Any]:
        return yaml.safe_load((CONFIG_DIR / name).read_text())

    train = read("train.yaml")
    groups = [
        g for entry in train["defaults"] if isinstance(entry, dict) for g in entry if g != "experiment" and " " not in g
    ]
    wandb = read("logger/wandb.yaml")
    return {
        "": [k for k in train if k not in ("defaults", "hydra")] + groups,
        "paths": list(train["paths"]),
        "trainer": list(read("trainer/default.yaml")),
        "logger.wandb": list(wandb["wandb"]),
    }


def _look(config: Any, dotted: str) -> Any:
    """The value at a dotted key, or _ABSENT."""
    for part in dotted.split("."):
        if not isinstance(config, dict) or part not in config:
            return _ABSENT
        config = config[part]
    return config


def _leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _leaves(value, f"{key}.{number}")
    else:
        yield key, node


def _shown(value: Any) -> str:
    """A value as the user would write it on the command line."""
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
