"""Where a training's time goes: a Lightning profiler that gives every second of it to exactly one part."""

import functools
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch.profilers import Profiler

OTHER = "other"
PARTS = ("data", "forward", "backward", "optimiser", "callbacks", "checkpoint", "validation", OTHER)
# Lightning's names of what it does -> the part. What is not named here belongs to what it lies within.
_ACTIONS = {
    r"\[_TrainingEpochLoop\]\.train_dataloader_next|\[Strategy\]\w+\.batch_to_device": "data",
    r"\[Strategy\]\w+\.training_step": "forward",
    r"\[Strategy\]\w+\.backward": "backward",
    r"\[LightningModule\]\w+\.(optimizer_step|optimizer_zero_grad|configure_gradient_clipping|lr_scheduler_step)": (
        "optimiser"
    ),
    r"save_checkpoint|\[Callback\].*\.on_save_checkpoint": "checkpoint",
    r"\[Callback\].*": "callbacks",
}
# A validation has no name of its own: it lasts from the first of these to the end of the second.
_VALIDATION = "validation"
_BEGINS = re.compile(r"\[LightningModule\]\w+\.on_validation_model_(zero_grad|eval)")
_ENDS = re.compile(r"\[Strategy\]\w+\.on_validation_end")


@functools.cache
def part(action: str) -> str | None:
    """The part of a training that an action of Lightning's belongs to; None: the part that it lies within."""
    return next((found for pattern, found in _ACTIONS.items() if re.fullmatch(pattern, action)), None)


class TimeProfile(Profiler):
    """Shares out the seconds of a training: `Trainer(profiler=TimeProfile())`, then `seconds()`.

    An action's time is its own, without that of the actions within it, so the parts add up to the whole. `forward` is
    the training step with its loss, and what hangs on the layers (mixout); `optimiser` the update, clipping and
    schedule; `callbacks` their hooks wherever they come, without the checkpoints that they write; `validation` all that
    happens in it but those two; `other` Lightning's loops, the loggers, and waiting for other processes. On a GPU each
    part waits for what it has started, which makes the training a little slower.
    """

    def __init__(self) -> None:
        super().__init__()
        self.earlier: dict[str, float] = {}  # what former sittings of the training add
        self._open: list[tuple[str, str]] = []  # (action, part), outermost first
        self._part = OTHER
        self.begin()

    def begin(self) -> None:
        """Count from now on; what lies before is forgotten."""
        self._spent = dict.fromkeys(PARTS, 0.0)
        self._since = time.monotonic()

    def seconds(self) -> dict[str, float]:
        """Seconds of each part up to now, former sittings included."""
        self._count()
        return {name: self._spent.get(name, 0.0) + self.earlier.get(name, 0.0) for name in self._spent | self.earlier}

    def start(self, action_name: str) -> None:
        if _BEGINS.fullmatch(action_name) and (_VALIDATION, _VALIDATION) not in self._open:
            self._open.append((_VALIDATION, _VALIDATION))
        within = self._open[-1][1] if self._open else OTHER
        own = part(action_name)
        if own == "data" and within == _VALIDATION:  # only training's batches count as data
            own = None
        self._open.append((action_name, own or within))
        self._switch()

    def stop(self, action_name: str) -> None:
        self._close(action_name)
        if _ENDS.fullmatch(action_name):
            self._close(_VALIDATION)
        self._switch()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what is done in this context as this part, where no Trainer says what it does."""
        self._open.append((name, name))
        self._switch()
        try:
            yield
        finally:
            self._close(name)
            self._switch()

    def _close(self, action: str) -> None:
        """Close an action, and with it what an exception left open within it."""
        names = [name for name, _ in self._open]
        if action in names:
            del self._open[len(names) - 1 - names[::-1].index(action) :]

    def _switch(self) -> None:
        now = self._open[-1][1] if self._open else OTHER
        if now != self._part:
            self._count()
            self._part = now

    def _count(self) -> None:
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            torch.cuda.synchronize()  # what was only started is not yet done
        moment = time.monotonic()
        self._spent[self._part] += moment - self._since
        self._since = moment
