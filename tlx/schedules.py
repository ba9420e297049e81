"""Learning-rate schedules as pure functions of the optimiser step: a factor in [0, 1] on every learning rate."""

import math

from tlx.errors import UserError


def linear(step: int, total: int, warmup: float = 0.1) -> float:
    """Linear warm-up over `warmup` (a share of `total` steps), then linear decay to 0."""
    return _warm(step, total, warmup) or max(0.0, (total - step) / max(1, total - _steps(warmup, total)))


def cosine(step: int, total: int, warmup: float = 0.1) -> float:
    """Linear warm-up, then half a cosine down to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983, without restarts)."""
    start = _steps(warmup, total)
    return _warm(step, total, warmup) or 0.5 * (
        1 + math.cos(math.pi * min(1.0, (step - start) / max(1, total - start)))
    )


def constant(step: int, total: int, warmup: float = 0.0) -> float:
    """Linear warm-up, then 1."""
    return _warm(step, total, warmup) or 1.0


def slanted_triangular(step: int, total: int, cut: float = 0.1, ratio: float = 32.0) -> float:
    """A short linear rise over the share `cut` of the steps, then a long linear fall from 1 to 1/ratio.

    (1 + p · (ratio − 1)) / ratio with p the height of the triangle at this step: Howard & Ruder 2018, eq. 3.
    """
    if not 0 <= cut <= 1 or ratio < 1:
        raise UserError(f"scheduler.cut={cut} must lie in [0, 1], and scheduler.ratio={ratio} be at least 1.")
    top = max(1, math.floor(total * cut))
    height = step / top if step < top else 1 - (step - top) / max(1, total - top)
    return (1 + max(0.0, height) * (ratio - 1)) / ratio


def _steps(warmup: float, total: int) -> int:
    if not 0 <= warmup <= 1:
        raise UserError(f"scheduler.warmup={warmup} is a share of all steps and must lie in [0, 1].")
    return round(warmup * total)


def _warm(step: int, total: int, warmup: float) -> float:
    """The factor within the warm-up, whose first step is not 0; 0 after it."""
    steps = _steps(warmup, total)
    return (step + 1) / (steps + 1) if step < steps else 0.0
