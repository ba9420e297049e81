"""Recording a run while it happens, so that its folder tells the truth whatever happens."""

import bisect
import hashlib
import os
import platform
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.errors import Killed, full_disk, out_of_space
from tlx.record.atomic import atomic
from tlx.record.predictions_summary import predictions_summary
from tlx.record.record import FULL, KILLED, left_unfinished, read_record, write_record
from tlx.record.remarks import remarks
from tlx.record.versions import versions

if TYPE_CHECKING:
    from tlx.cache.frozen_work import FrozenWork
    from tlx.data.dataset import Data
    from tlx.module import TransferModule
    from tlx.tasks.classification import ClassificationMeter


class Recording:
    """Writes `record.json` as "running" on entry and as completed, failed or interrupted on exit.

    A run that was left unfinished and is taken up again is the same attempt; its `sittings` list when it was worked on.
    """

    def __init__(self, config: dict[str, Any], folder: Path) -> None:
        self.config, self.folder = config, folder
        self.identity: str = config["run"]["identity"]
        self.metrics: dict[str, float] = {}
        self.directions: dict[str, str] = {}
        self.counts: dict[str, Any] = {}
        self.seconds: dict[str, Any] = {}
        self.shared = 0.0  # seconds of work that other runs have done for this one
        self.busy: float | None = None  # seconds of this process that were this run's, where it does several at once
        self.ended = False
        self.cost: dict[str, float] = {}
        self.details: dict[str, Any] = {}
        self.written: dict[str, Any] = {}

    def __enter__(self) -> "Recording":
        self.folder.mkdir(parents=True, exist_ok=True)
        earlier = read_record(self.folder)
        self.attempt, self.earlier_seconds = 1, 0.0
        self.started = _now()
        sittings = []
        if earlier and left_unfinished(earlier):
            self.attempt, self.started = earlier["attempt"], earlier["started"]
            self.earlier_seconds = earlier.get("seconds", {}).get("total") or 0.0
            sittings = earlier.get("sittings", [])
        elif earlier:
            self.attempt = earlier["attempt"] + 1
        self.sitting = {
            "started": _now(),
            "ended": None,
            "host": platform.node(),
            "pid": os.getpid(),
            "lease": self.config["run"].get("lease"),
            "resumed": False,
        }
        self.details["sittings"] = [*sittings, self.sitting]
        self.began = time.perf_counter()
        self._write("running")
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self.end(error)

    def end(self, error: BaseException | None = None) -> None:
        """Write how the run ended: completed, or with this error; what was written first stays."""
        from tlx.fit.loggers import close_loggers

        if self.ended:
            return
        self.ended = True
        spent = time.perf_counter() - self.began if self.busy is None else self.busy
        self.seconds["total"] = self.earlier_seconds + spent
        self.sitting["ended"] = _now()
        status = "completed"
        if error is not None:
            status = "interrupted" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"
            text = "".join(traceback.format_exception(error))
            self.details["error"] = {"type": _kind(error), "message": _reason(error), "traceback": text}
        try:
            self._write(status)  # before loggers are closed, which may wait for a server
            if error is None:
                shutil.rmtree(self.folder / "checkpoints", ignore_errors=True)  # only a resume needs them
        finally:
            problems = close_loggers(self.metrics, failed=error is not None, folder=self.folder)
        if problem := problems.pop("wandb", None):
            self.details["wandb_problem"] = problem
        if said := [f"logger.{name} {why}" for name, why in problems.items()]:
            self.details["warnings"] = [*self.details.get("warnings", []), *said]
        if problem or said:
            self._write(status)

    @contextmanager
    def clock(self, name: str) -> Iterator[None]:
        """Count the wall-clock seconds of a part of the run."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    @contextmanager
    def working(self) -> Iterator[None]:
        """This process works for this run alone; whoever opens one such context opens one for all that is done."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.busy = (self.busy or 0.0) + time.perf_counter() - start

    def shared_work(self, name: str, seconds: float, among: int) -> None:
        """Note work that was done for so many runs at once; this one pays its part."""
        self.seconds[name] = seconds / among
        self.shared += seconds - seconds / among
        if self.busy is not None:
            self.busy += seconds / among

    def describe(self, module: "TransferModule", data: "Data", frozen: str) -> None:
        """Note what is about to be trained on what."""
        from tlx.data.sampling import training_length
        from tlx.fit.coverage import coverage

        plan = module.plan
        self.counts |= {
            "parameters": sum(p.numel() for p in module.parameters()),
            **_trainable(module, plan.trained),
            "train_labels": data.spec.sizes["train"],
            "selection_labels": data.spec.sizes["validation"] if self.config["selection"] == "best" else 0,
            "test_labels": data.spec.sizes["test"],
        }
        report = module.backbone.load_report
        self.details["loaded"] = (
            None
            if report is None
            else {"share": report.share, "missing": list(report.missing), "unused": list(report.unused)}
        )
        self.details["labels"] = list(data.spec.label_names)
        self.details["data"] = data.about
        self.details["warnings"] = [r.sentence for r in remarks(data.about, self.config["dataset"].get("train_size"))]
        self.details["split"] = data.spec.split_hash
        self.details["splits"] = data.spec.part_hashes
        self.details["preprocessing"] = module.backbone.preprocessing.key()
        self.details["frozen"] = {"before": frozen}
        self.details["plan"] = plan.summary(module.lr, *training_length(self.config, len(data.train)))
        self.details["coverage"] = coverage(module)

    def resumes(self, checkpoint: Path | None) -> None:
        """Note whether this sitting goes on from a checkpoint."""
        self.sitting["resumed"] = checkpoint is not None
        self._write("running")

    def reached(self, module: "TransferModule", starts: Sequence[float], phase: int, chosen: int | None) -> str | None:
        """Note when the phases of the training began in fact (`starts`, in optimiser steps), and what it trained.

        `phase` is the last one that was entered, `chosen` the optimiser step after which validation found its best
        score. Returns what must be said where phases were left out.
        """
        plan, noted = module.plan, self.details["plan"]
        if len(plan.phases) == 1:
            return None
        for start, written in zip(starts, noted["phases"], strict=True):
            if start != written["start"]:
                written |= {"start": start, "planned_start": written["start"]}
        selected = None if chosen is None else bisect.bisect_left(starts, chosen) - 1
        noted |= {"ended_in": phase, "selected_in": selected}
        self.counts |= _trainable(module, plan.trained_until(phase))
        if phase == len(plan.phases) - 1:
            return None
        never = plan.ever_trainable - frozenset().union(*(p.trainable for p in plan.phases[: phase + 1]))
        names = ", ".join(group.name for group in plan.groups if group.name in never)
        return f"the training ended in phase {phase + 1} of {len(plan.phases)}: never trained were {names or 'none'}."

    def trained(self, steps: int, epochs: int) -> None:
        """Note how long was trained, and how fast: examples a second include the validations between the epochs."""
        self.counts |= {"steps": steps, "epochs": epochs}
        examples = epochs * self.counts["train_labels"]
        self.cost["examples_per_second"] = examples / self.seconds["train"] if self.seconds["train"] else 0.0

    def played_back(self, work: "FrozenWork") -> None:
        """Note what was kept of the frozen layers' work, what encoding took here, and what it takes a run alone."""
        self.details["cache"] = work.summary()
        self.seconds["encode"] = work.seconds
        encoded = sum(getattr(part.examples, "shared", 0.0) for part in work.parts.values())
        self.shared += work.seconds_alone - work.seconds + encoded

    def add_metrics(self, prefix: str, values: dict[str, float]) -> None:
        """Put {name: value} into the metrics as prefix/name."""
        self.metrics |= {f"{prefix}/{name}": value for name, value in values.items()}

    def check_frozen(self, frozen: str) -> None:
        """Note the hash of the frozen part after training.

        Raises:
            RuntimeError: a frozen tensor changed.
        """
        self.details["frozen"]["after"] = frozen
        if frozen != self.details["frozen"]["before"]:
            raise RuntimeError("a frozen parameter or buffer changed during training: this run's numbers are void")

    def keep_last(self, module: "TransferModule") -> None:
        """Keep the weights at the end of training, where `keep_checkpoints` asks for them."""
        if self.config["keep_checkpoints"] in ("last", "both"):
            self._save_weights(module, "last.safetensors")

    def keep(self, module: "TransferModule", test: "ClassificationMeter", data: "Data") -> None:
        """Keep the weights that were tested, as far as `keep_checkpoints` asks for them, and the test predictions."""
        import pandas as pd

        self.details["checkpoint"] = hashlib.sha256(_serialised(module)).hexdigest()
        if self.config["keep_checkpoints"] in ("best", "both"):
            self._save_weights(module, "best.safetensors")
        logits, labels = test.predictions()
        predicted = logits.argmax(1).numpy()
        self.details["predictions"] = predictions_summary(labels.numpy(), predicted)
        frame = pd.DataFrame({"id": data.test.ids, "label": labels.numpy(), "predicted": predicted})
        if data.test.groups is not None:
            frame["group"] = data.test.groups
        frame["logits"] = list(logits.numpy())
        with atomic(self.folder / "predictions.parquet") as file:
            frame.to_parquet(file, compression="zstd")

    def _save_weights(self, module: "TransferModule", name: str) -> None:
        with atomic(self.folder / name) as file:
            file.write(_serialised(module))

    def _write(self, status: str) -> None:
        run = self.config["run"]
        self.written = {
            "schema": 1,
            "identity": run["identity"],
            "cell": run["cell"],
            "status": status,
            "choices": run["choices"],
            "fingerprints": run["fingerprints"],
            "config": {k: v for k, v in self.config.items() if k != "run"},
            "metrics": self.metrics,
            "directions": self.directions,
            "counts": self.counts,
            "seconds": self.seconds,
            "seconds_alone": {name: s + self.shared for name, s in self.seconds.items() if name == "total"},
            "memory": _memory(),
            "cost": self.cost,
            "versions": versions() | run.get("libraries", {}),
            "config_dir": run.get("config_dir"),
            "machine": _machine(self.config),
            "selection": self.config["selection"],
            "halvings": run.get("halvings", 0),
            "attempt": self.attempt,
            "started": self.started,
            "error": None,
            **self.details,
        }
        write_record(self.folder, self.written)


def _serialised(module: "TransferModule") -> bytes:
    """What training changed, as a safetensors file."""
    from safetensors.torch import save

    return save({n: t.detach().cpu().contiguous().clone() for n, t in module.trained_state().items()})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _kind(error: BaseException) -> str:
    """The error's type; one of `tlx.record.record` where that lets the run be taken up again."""
    if out_of_space(error):
        return FULL
    return KILLED if isinstance(error, Killed) else type(error).__name__


def _reason(error: BaseException) -> str:
    """The error's message; a full disk or memory is named as such."""
    if full := out_of_space(error):
        return full_disk(full)
    text = str(error) or type(error).__name__
    if isinstance(error, MemoryError) or "can't allocate memory" in text or "out of memory" in text:
        return f"out of memory: {text}"
    return text


def _trainable(module: "TransferModule", names: Iterable[str]) -> dict[str, float]:
    """How many parameters these are, and which share of the module's."""
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    count = sum(sizes[name] for name in names)
    return {"trainable": count, "trainable_share": count / sum(sizes.values())}


def _memory() -> dict[str, int]:
    """Peaks of this process in bytes."""
    peak = {"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available() and torch.cuda.is_initialized():
        peak["peak_gpu_bytes"] = torch.cuda.max_memory_allocated()
    return peak


def _machine(config: dict[str, Any]) -> dict[str, Any]:
    torch = sys.modules.get("torch")
    gpu = bool(torch and config["trainer"]["accelerator"] != "cpu" and torch.cuda.is_available())
    return {
        "threads": torch.get_num_threads() if torch else None,
        "device": config["trainer"]["accelerator"],
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch and gpu else None,
    }
