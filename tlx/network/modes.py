"""Train and eval mode of a network's parts."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def in_eval_mode(module: nn.Module) -> Iterator[None]:
    """Every part of `module` is in eval mode within this context, and in its own mode again afterwards."""
    with as_before(module):
        module.eval()
        yield


@contextmanager
def as_before(module: nn.Module) -> Iterator[None]:
    """After this context every part of `module` is in the mode that it was in, whatever was called within.

    Whether parameters want gradients is as before, too: Lightning's `freeze` changes both.
    """
    modes = [(part, part.training) for part in module.modules()]
    gradients = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
        for parameter, wanted in gradients:
            if parameter.requires_grad != wanted:
                parameter.requires_grad_(wanted)
