"""The first step of a training, tried before it: whether the optimiser can do one, and on the smallest batch."""

from typing import Any

import torch
from torch import nn

from tlx.data.loaders import Examples
from tlx.data.sampling import EpochBatchSampler
from tlx.errors import UserError, one_line
from tlx.module import TransferModule
from tlx.plan import apply_phase
from tlx.private import BatchNorm


def check_optimizer(module: TransferModule) -> None:
    """Build the optimiser of a planned module, and let another like it do one step on a parameter of its own.

    Raises:
        UserError: it cannot be built, or does not work: some look at their options (the number of betas) in a step.
    """
    parameter = nn.Parameter(torch.ones(2, 2))

    def closure() -> Any:
        parameter.grad = torch.ones(2, 2)
        return torch.ones(())

    group = {"params": [parameter], "name": "trial", "lr": module.lr, "weight_decay": module.weight_decay}
    try:
        module.make_optimizer(module.plan.optimizer_groups(module, module.lr, module.weight_decay))
        optimizer = module.make_optimizer([group])
        closure()
        optimizer.step(closure)
    except Exception as error:  # each optimiser has its own
        raise UserError(f"the optimizer cannot be used: {type(error).__name__}: {one_line(error)}.") from error
    if not torch.isfinite(parameter).all():
        raise UserError("the optimizer cannot be used: a step along a gradient of ones gives no finite number.")


def check_smallest_batch(config: dict[str, Any], module: TransferModule, train: Examples) -> None:
    """Where a batch of the training holds one example, see that batch normalisation can compute with it.

    It can where an example has several values per channel, as the pixels of an image are. Puts the module into the
    phases that train such layers.

    Raises:
        UserError: it cannot.
    """
    if _smallest_batch(config, len(train)) > 1:
        return
    modules = dict(module.named_modules())
    batch = train.collate([(train.examples[0], 0, 0)])
    for number, phase in enumerate(module.plan.phases):
        trained = (n for group in module.plan.groups if group.name in phase.trainable for n in group.modules)
        norms = [name for name in trained if isinstance(modules[name], BatchNorm)]
        if not norms:
            continue
        apply_phase(module.train(), module.plan, number)
        try:
            with torch.no_grad(), torch.random.fork_rng():
                module(batch)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            options = config["trainer"]
            cause, remedy = (
                ("there is one training example", "Give more (dataset.train_size)")
                if len(train) == 1
                else (f"trainer.batch_size={options['batch_size']}", "Give trainer.batch_size=2 or more")
                if options["batch_size"] == 1
                else (
                    f"{len(train)} examples are shared by {options['devices']} devices",
                    "Use fewer (trainer.devices)",
                )
            )
            raise UserError(
                f"a batch of one example cannot be trained on: {cause}, and the batch normalisation that is trained "
                f"({norms[0]} and {len(norms) - 1} more) has one value per channel then, with no variance. {remedy}, "
                "or a strategy that leaves these layers frozen (strategy=feature_extraction)."
            ) from error


def _smallest_batch(config: dict[str, Any], count: int) -> int:
    """Examples in the smallest batch that a process computes on: of the first epoch, and so of all."""
    options = config["trainer"]
    world = options["devices"]
    samplers = (
        EpochBatchSampler(count, options["batch_size"] * world, 0, None, rank, world, options["accumulate"])
        for rank in range(world)
    )
    return min(len(batch) for sampler in samplers for batch in sampler)
