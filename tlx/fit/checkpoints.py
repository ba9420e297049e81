"""Checkpoints that survive: written whole, checked before they are used, the one before kept until then.

A run keeps two kinds in `<run folder>/checkpoints` while it lasts: `best.ckpt` (the weights that validation chose) and
`last.ckpt` (everything that a resume needs), with `last-previous.ckpt` beside it.
"""

import time
import zipfile
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from tlx.fit.loggers import MetricsFile
from tlx.fit.time_profile import TimeProfile
from tlx.private import log_step_now
from tlx.processes.distributed import total, world_size
from tlx.processes.interruption import Interruption
from tlx.record.atomic import atomic

BEST, LAST, PREVIOUS = "best.ckpt", "last.ckpt", "last-previous.ckpt"


def is_whole(path: Path) -> bool:
    """Whether a checkpoint is there and unharmed: torch writes zip archives, which hold a checksum of every part."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError):
        return False


def resume_point(checkpoints: Path) -> Path | None:
    """The checkpoint to go on from: the last one, or the one before when that is damaged; None: begin anew.

    Without whole best weights, once there were any, nothing can be taken up: a later epoch may not beat them.
    """
    if (checkpoints / BEST).exists() and not is_whole(checkpoints / BEST):
        return None
    return next((path for name in (LAST, PREVIOUS) if is_whole(path := checkpoints / name)), None)


class SafeCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint files, flushed to disk before they take their place; read without unpickling objects."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        with atomic(path) as file:
            torch.save(checkpoint, file)
            if path.name == LAST and path.exists():
                path.replace(path.with_name(PREVIOUS))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)


class BestWeights(ModelCheckpoint):
    """Keeps the weights of the best validation score as `best.ckpt`; the run's folder may be moved between sittings.

    `scores` and `last_scores`: what validation found with these weights, and in its last pass, by metric. `step`: the
    optimiser steps that made these weights.
    """

    def __init__(self, folder: Path, monitor: str, mode: str) -> None:
        self.scores: dict[str, float] = {}
        self.last_scores: dict[str, float] = {}
        self.step: int | None = None
        super().__init__(
            folder,
            Path(BEST).stem,
            monitor=monitor,
            mode=mode,
            save_weights_only=True,
            enable_version_counter=False,
            save_on_train_epoch_end=False,  # at the end of validation, whose score it follows
        )

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        before = self.best_model_score
        super().on_validation_end(trainer, pl_module)
        found = trainer.callback_metrics.items()
        self.last_scores = {name.removeprefix("val/"): float(s) for name, s in found if name.startswith("val/")}
        if self.best_model_score is not before:
            self.scores, self.step = self.last_scores, trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"scores": self.scores, "last_scores": self.last_scores, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.scores, self.last_scores = state_dict.get("scores", {}), state_dict.get("last_scores", {})
        self.step = state_dict.get("step")
        here = str(Path(str(self.dirpath)) / BEST)
        moved: dict[str, Any] = {"dirpath": self.dirpath}
        if state_dict["best_model_path"]:
            moved |= {"best_model_path": here, "kth_best_model_path": here}
            moved |= {"best_k_models": {here: state_dict["best_model_score"]}}
        super().load_state_dict(state_dict | moved)


class ResumePoint(L.Callback):
    """Writes `last.ckpt` every `every` seconds, and when the run is asked to leave, which it then does.

    `interruption` holds the request (a signal). `seconds` is the time spent in training up to now, earlier sittings
    included; a `profile` counts the same time.

    Raises:
        Interrupted: from the training loop, after the checkpoint was written.
    """

    def __init__(
        self, folder: Path, every: float, interruption: Interruption, profile: TimeProfile | None = None
    ) -> None:
        self.file, self.every, self.interruption, self.profile = folder / LAST, every, interruption, profile
        self._earlier, self._asked = 0.0, False
        self._began = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        return self._earlier + time.monotonic() - self._began

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._began = self._saved = time.monotonic()
        if self.profile:
            self.profile.begin()
        self.interruption.wait_for_a_good_moment()  # after Lightning put up a handler of its own

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        # Not after an epoch's last batch: Lightning would resume in the next epoch, and never validate this one.
        if not trainer.is_last_batch and self._is_time(trainer):
            # This batch's row in the metrics belongs to the checkpoint; Lightning writes it after this hook.
            log_step_now(trainer)
            self._write(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # What stops early must not be taken up behind its end.
        if not trainer.should_stop and self._is_time(trainer):
            self._write(trainer)

    def _is_time(self, trainer: L.Trainer) -> bool:
        self._asked = self.interruption.requested is not None
        due = self._asked or time.monotonic() - self._saved >= self.every
        if world_size() > 1:  # all write and leave together, or none
            wishes = total(torch.tensor([self._asked, due], dtype=torch.int, device=trainer.strategy.root_device))
            self._asked, due = (wish > 0 for wish in wishes.tolist())
        return due

    def _write(self, trainer: L.Trainer) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, MetricsFile):
                logger.write()
        trainer.save_checkpoint(self.file)
        self._saved = time.monotonic()
        if self._asked:
            self.interruption.leave()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.interruption.leave_at_once()
        self._is_time(trainer)
        if self._asked:  # during the last validation
            self.interruption.leave()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self.interruption.leave_at_once()

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds} | ({"profile": self.profile.seconds()} if self.profile else {})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._earlier = state_dict["seconds"]
        if self.profile:
            self.profile.earlier = state_dict.get("profile", {"not profiled": self._earlier})
