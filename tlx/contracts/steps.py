"""What optimizers, schedulers and trainers must do: steps over a plan, rates that are numbers, a short training."""

import copy
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tlx.assembly import assemble, make_loaders
from tlx.contracts.contract import Left, hold, some
from tlx.contracts.strategies import fit
from tlx.contracts.training import each_once
from tlx.contracts.workshop import STEPS
from tlx.fit.seeding import seed_everything
from tlx.module import TransferModule
from tlx.sweeps.check import check_run
from tlx.sweeps.first_step import check_optimizer


def optimizer_steps(config: dict[str, Any]) -> str:
    """The optimiser holds each parameter once, moves all that have a gradient, and its state comes back."""
    seed_everything(0)
    data, module = assemble(config)
    check_optimizer(module)
    batch = next(iter(make_loaders(config, data, module)["train"]))
    optimizer = _made(module)
    each_once(module, optimizer)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    losses = [_step(module, optimizer, batch) for _ in range(3)]
    hold(np.isfinite(losses).all(), f"three steps, and the loss is {some(losses)}")
    still = [
        n for n, p in module.named_parameters() if p.grad is not None and p.grad.any() and torch.equal(p, before[n])
    ]
    hold(not still, f"with a gradient, and not moved by three steps: {some(still)}")
    other = _made(module)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # which else stays its own
    kept = {name: p.detach().clone() for name, p in module.named_parameters()}
    ends = []
    for one in (optimizer, other):
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(kept[name])
        seed_everything(1)
        _step(module, one, batch)
        ends.append({name: p.detach().clone() for name, p in module.named_parameters()})
    apart = [name for name in kept if not torch.equal(ends[0][name], ends[1][name])]
    hold(not apart, f"with its state loaded, as after an interruption, it makes another step: {some(apart)}")
    return f"{len(optimizer.param_groups)} groups of parameters"


def _made(module: TransferModule) -> torch.optim.Optimizer:
    return module.make_optimizer(module.plan.optimizer_groups(module, module.lr, module.weight_decay))


def _step(module: TransferModule, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor]) -> float:
    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = module.train().task.loss(module(batch), batch)
        loss.backward()
        return loss.detach()

    return float(optimizer.step(closure))  # type: ignore[arg-type]


def rates_are_numbers(config: dict[str, Any]) -> str:
    """The factor on the learning rate is a finite number ≥ 0 in each step of short and long trainings, not always 0."""
    _, module = assemble(config)
    for total in (1, STEPS, 1000):
        factors = [float(module.schedule(step, total)) for step in range(total)]
        for step, factor in enumerate(factors):
            fine = math.isfinite(factor) and factor >= 0
            hold(fine, f"the factor on the learning rate is {factor} in step {step} of {total}")
        hold(total == 1 or any(factors), f"the factor on the learning rate is 0 in all of {total} steps")
    return f"from {factors[0]:.3g} over {max(factors):.3g} to {factors[-1]:.3g}"


def trains(config: dict[str, Any], folder: Path) -> str:
    """A short training on small data passes what is checked before a sweep, and its losses are numbers.

    Raises:
        Left: it needs several processes, or a GPU that is not here.
    """
    options = config["trainer"]
    if options["accelerator"] == "gpu" and not torch.cuda.is_available():
        raise Left("it asks for a GPU, and this machine has none")
    if options["devices"] > 1:
        raise Left(f"it asks for {options['devices']} processes: the first run tries them")
    check_run(config)
    losses = fit(config, folder)[1].losses
    hold(losses and np.isfinite(losses).all(), f"the losses of a short training are {some(losses)}")
    return f"{len(losses)} steps"
