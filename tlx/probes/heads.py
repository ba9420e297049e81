"""Linear heads trained at once, each as it would be alone."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from tlx.module import TransferModule

# What these make of a tensor depends on that tensor alone, so heads may share one of them.
SEPARABLE = (
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.Adamax,
    torch.optim.Adagrad,
    torch.optim.Adadelta,
    torch.optim.Adafactor,
    torch.optim.RMSprop,
)
Clock = Callable[[str], AbstractContextManager[None]]


def no_clock(name: str) -> AbstractContextManager[None]:
    """A context that counts nothing."""
    return nullcontext()


class Heads:
    """The heads of S modules, whose tasks have a linear one each, stacked: weights (S, C, D) and biases (S, C).

    The optimiser sees each head's slices, in groups of equal learning rate and weight decay. The loss is cross-entropy.
    `clip` is the largest norm of one head's gradient.
    """

    def __init__(self, modules: Sequence[TransferModule], clip: float | None, device: torch.device) -> None:
        self.clip = clip
        linear = [module.task.linear for module in modules]
        self.weight = torch.stack([layer.weight.detach() for layer in linear]).to(device)
        self.bias = torch.stack([layer.bias.detach() for layer in linear]).to(device)
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for whole, name in ((self.weight, "weight"), (self.bias, "bias")):
            gradient = torch.zeros_like(whole)
            whole.requires_grad_().grad = gradient
            for number, module in enumerate(modules):
                part = nn.Parameter(whole.detach()[number])
                part.grad = gradient[number]
                groups.setdefault(_settings(module, getattr(linear[number], name)), []).append(part)
        parts = [{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()]
        self.optimizer = modules[0].make_optimizer(parts)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]

    def step(self, features: Tensor, labels: Tensor, share: Tensor, factor: float, part: Clock = no_clock) -> Tensor:
        """One optimiser step with `factor` on the learning rates; returns the losses (S,) before it.

        features (S, B, D), labels (S, B); share (S, B): what each example counts in its head's loss, whose sum is 1.
        `part` opens a context for what is done with the name that `tlx.fit.time_profile` has for it.
        """
        with part("forward"):
            logits = torch.baddbmm(self.bias.unsqueeze(1), features, self.weight.transpose(1, 2))
            each = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
            losses = (each.view_as(share) * share).sum(1)
        with part("backward"):
            self._gradients[0].zero_()
            self._gradients[1].zero_()
            losses.sum().backward()
        with part("optimiser"):
            if self.clip is not None:
                self._clip(self.clip)
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = rate * factor
            self.optimizer.step()
        return losses.detach()

    def values(self) -> list[tuple[Tensor, Tensor]]:
        """Weight (C, D) and bias (C,) of each head now, in the order of the modules; later steps do not change them."""
        return list(zip(self.weight.detach().clone(), self.bias.detach().clone(), strict=True))

    @property
    def _gradients(self) -> tuple[Tensor, Tensor]:
        weight, bias = self.weight.grad, self.bias.grad
        assert weight is not None and bias is not None
        return weight, bias

    def _clip(self, limit: float) -> None:
        """What `torch.nn.utils.clip_grad_norm_` does, for each head by itself."""
        weight, bias = self._gradients
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in (weight, bias)], 1).norm(dim=1)
        factors = (limit / (norms + 1e-6)).clamp(max=1.0)
        weight.mul_(factors.view(-1, 1, 1))
        bias.mul_(factors.view(-1, 1))


def _settings(module: TransferModule, parameter: Tensor) -> tuple[float, float]:
    """Learning rate and weight decay of a parameter, by the module's plan."""
    groups = module.plan.optimizer_groups(module, module.lr, module.weight_decay)
    return next((g["lr"], g["weight_decay"]) for g in groups if any(p is parameter for p in g["params"]))
