"""Checking every run of a sweep before the first one starts: the user's mistakes cost seconds, not a night."""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.config.instantiate import instantiate
from tlx.errors import UserError, one_line
from tlx.record.remarks import Remark, largest, remarks
from tlx.sweeps.halving import check_halving
from tlx.sweeps.study import Planned

if TYPE_CHECKING:
    from tlx.data.preprocessing import Preprocessing


def check_runs(runs: Sequence[Planned]) -> None:
    """Read each data set, build each model with each strategy, and fit the phases into the training; trains nothing.

    Each different combination is checked once, and every training subset that a seed draws is decoded. What is
    remarkable about the examples is printed.

    Raises:
        UserError: the first impossible run; nothing was started.
    """
    from tlx.data.cuts import describe_cuts
    from tlx.data.dataset import Dataset
    from tlx.data.prepared import prepare_train

    checked: dict[str, Any] = {}
    decoded: set[str] = set()
    said: dict[str, list[list[Remark]]] = {}
    cuts: dict[str, dict[str, Any]] = {}  # of each combination: see tlx.data.cuts
    for run in runs:
        config, first = run.config, _key(_deciding(run.config))
        known = first in checked
        if not known:
            checked[first], about = check_run(config)
            cuts[first] = about.get("cut", {})
        draw = _key([config["dataset"], _subset_seed(config), checked[first].key()])
        if known and draw not in decoded:
            dataset: Dataset = instantiate(config["dataset"], "dataset")
            data = dataset.load(config["seed"], Path(config["paths"]["cache"]))
            train = {"train": prepare_train(config, data, checked[first])}
            about = data.about | {"cut": cuts[first] | describe_cuts(train, checked[first])}
        if draw not in decoded:
            of_it = said.setdefault(config["run"]["choices"]["dataset"], [])
            of_it.append(remarks(about, config["dataset"].get("train_size")))
        decoded.add(draw)
    for name, times in Counter(run.config["register"] for run in runs).items():
        if name and times > 1:
            raise UserError(f"register={name} with {times} runs: each would replace the entry of the one before.")
    for name, of_it in said.items():
        for sentence in largest(of_it):
            print(f"tlx: warning: {name}: {sentence}", file=sys.stderr)


def _key(content: Any) -> str:
    return json.dumps(content, sort_keys=True, default=str)


def _deciding(config: dict[str, Any]) -> dict[str, Any]:
    """The parts of a config that can be impossible together; the seed only draws, whichever it is."""
    kept = {k: config[k] for k in ("model", "dataset", "optimizer", "scheduler", "trainer", "logger", "register")}
    return kept | {"strategy": {k: v for k, v in config["strategy"].items() if k != "lr"}}


def _subset_seed(config: dict[str, Any]) -> int | None:
    """The run's seed where it draws the training examples."""
    drawn = config["dataset"].get("train_size") is not None and config["dataset"].get("subset_seed") is None
    return config["seed"] if drawn else None


def check_run(config: dict[str, Any]) -> "tuple[Preprocessing, dict[str, Any]]":
    """Check one run; returns how its model wants its inputs, and what its record will say of the examples.

    Raises:
        UserError: it is impossible.
    """
    from tlx.assembly import assemble, make_loaders
    from tlx.data.sampling import training_length
    from tlx.fit.loggers import check_loggers
    from tlx.network.compiled import check_compiled
    from tlx.processes.sharding import check_sharding
    from tlx.sweeps.first_step import check_optimizer, check_smallest_batch
    from tlx.tasks.metrics import check_monitor

    _check_trainer(config)
    check_compiled(config)
    check_loggers(config)
    _check_register(config)
    data, module = assemble(config)
    check_monitor(config, data.validation.labels)
    loaders = make_loaders(config, data, module)  # decodes every example
    preprocessing = module.backbone.preprocessing
    if augmentation := config["dataset"].get("augmentation"):
        preprocessing.check_augmentation(augmentation)
    total, per_epoch = training_length(config, len(data.train))
    module.plan.boundaries(total, per_epoch)
    check_halving(config, module)
    check_sharding(config, module)
    check_optimizer(module)
    try:
        float(module.schedule(0, total))
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise UserError(f"the scheduler does not work: {one_line(error)}.") from error
    check_smallest_batch(config, module, loaders["train"].dataset)
    return preprocessing, data.about


def _check_trainer(config: dict[str, Any]) -> None:
    """What the machine or Lightning cannot do together."""
    import torch

    options, gpu = config["trainer"], torch.cuda.is_available()
    if options["accelerator"] == "gpu" and not gpu:
        raise UserError("trainer.accelerator=gpu, but torch sees no GPU on this machine: say cpu or auto.")
    if options["accelerator"] != "cpu" and gpu and options["devices"] > torch.cuda.device_count():
        raise UserError(
            f"trainer.devices={options['devices']}, but torch sees {torch.cuda.device_count()} GPUs on this machine: "
            "ask for no more than these, or say trainer.accelerator=cpu."
        )
    if options["precision"] == "16-mixed":
        if options["accelerator"] == "cpu" or not gpu:
            raise UserError("trainer.precision=16-mixed needs a GPU: on a CPU say bf16-mixed or 32-true.")
        if options["gradient_clip"] is not None and config["optimizer"].get("fused"):
            raise UserError(
                "trainer.precision=16-mixed scales gradients, which a fused optimizer undoes itself, so they cannot be "
                "clipped: say optimizer.fused=false, trainer.gradient_clip=null or trainer.precision=bf16-mixed."
            )


def _check_register(config: dict[str, Any]) -> None:
    adapter = config["strategy"].get("adapter")
    if config["register"] and adapter and not adapter["merge"]:
        raise UserError("a registry entry has no adapters: register=NAME needs strategy.adapter.merge=true here.")


def writable(folder: Path) -> None:
    """Make a folder, or say why not.

    Raises:
        UserError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror}.") from error
