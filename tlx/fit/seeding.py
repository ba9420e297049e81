"""Seeds: everything random in a run follows from one number, and its state can be saved and restored."""

import random
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from tlx.private import begin_pass_again, is_accumulating
from tlx.processes.distributed import from_checkpoint, in_checkpoint, in_shares, own_share
from tlx.streams import Purpose, seed_of


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices), each with a stream of its own. 0 is a seed like any other.

    torch gets `seed` itself, as in anybody's script. NumPy's global generator would draw the same numbers from it.
    """
    random.seed(seed_of(seed, "python"))
    np.random.seed(seed_of(seed, "numpy", bits=32))  # noqa: NPY002 -- libraries draw from the global generator
    torch.manual_seed(seed)


def seed_rank(seed: int, rank: int) -> None:
    """Seed process `rank` of a run that several share: their dropout masks must differ. Rank 0 goes on as if alone."""
    if rank > 0:
        seed_everything(seed_of(seed, "process", rank))


def torch_stream(seed: int, purpose: Purpose) -> torch.Generator:
    """torch's generator, on the CPU, for one purpose of one seed: see `tlx.streams`."""
    return torch.Generator().manual_seed(seed_of(seed, purpose))


def generator_now(device: torch.device, seed: int) -> torch.Generator:
    """A generator of one's own on `device` that draws what the global one would draw next there.

    On the CPU it goes on where the global one is. On other devices that is at its beginning, where `seed_everything`
    has put it: networks are made on the CPU.
    """
    generator = torch.Generator(device)
    return generator.set_state(torch.get_rng_state()) if device.type == "cpu" else generator.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """The state of all generators as tensors, numbers and lists: loads under torch's weights_only."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": [version, list(internal), gauss],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: dict[str, Any]) -> None:
    """Put all generators back into a state from `random_state`."""
    torch.set_rng_state(state["torch"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])


class RandomState(L.Callback):
    """Saves the generators' states in every checkpoint and restores them on resume, which Lightning does not.

    Of several processes, each gets its own state back.

    Two more things that Lightning leaves out belong to an exact resume. Gradients that are being accumulated go into
    the checkpoint. And the first pass over the training data is begun anew: Lightning begins it before it knows the
    epoch and the state of the generators and, where `estimated_stepping_batches` was asked for, the place of a stateful
    loader (Lightning-AI/pytorch-lightning#20550).
    """

    def __init__(self) -> None:
        self._restored: dict[str, Any] | None = None
        self._gradients: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        return in_checkpoint(random_state())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = from_checkpoint(state_dict)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        if is_accumulating(trainer):
            gradients = {n: p.grad for n, p in pl_module.named_parameters() if p.grad is not None}
            if trainer.world_size > 1:  # each process has its own until the optimiser steps, or its share
                gradients = in_checkpoint({n: own_share(g).cpu() for n, g in gradients.items()})
            checkpoint["gradients"] = gradients

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        self._gradients = from_checkpoint(checkpoint["gradients"]) if "gradients" in checkpoint else {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # The latest hook before the first batch: everything that draws during set-up has drawn.
        if self._restored is None:
            return
        if trainer.fit_loop.restarting:  # in mid-epoch: the pass had begun before the state was saved
            begin_pass_again(trainer, in_mid_epoch=True)
            restore_random_state(self._restored)
        else:  # the pass begins after it
            restore_random_state(self._restored)
            begin_pass_again(trainer, in_mid_epoch=False)
        for name, gradient in self._gradients.items():
            parameter = pl_module.get_parameter(name)
            parameter.grad = in_shares(gradient.to(parameter.device), parameter)
        self._restored, self._gradients = None, {}
