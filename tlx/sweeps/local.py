"""The local backend: every job in a process of its own, forked from a server that has done the imports."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

from tlx.config.own_code import is_own
from tlx.sweeps import worker
from tlx.sweeps.jobs import Job

# What each modality's runs import. The server imports it once; it never runs a torch operator or touches a GPU, so
# that its children may do both.
HEAVY = {
    "image": ("timm", "PIL.PngImagePlugin", "PIL.JpegImagePlugin", "PIL.GifImagePlugin", "torchvision.transforms.v2"),
    "text": ("transformers.models.auto", "transformers.modeling_layers", "tokenizers"),
    "audio": ("transformers.models.auto", "transformers.modeling_layers", "torchaudio", "soundfile"),
}


def modules_for(configs: Sequence[dict[str, Any]]) -> list[str]:
    """The modules that runs of these configs import."""
    found = ["tlx.train", "tlx.data.dataset", "torch.optim", "torch.utils.serialization.config"]
    found += ["pyarrow.parquet", "pyarrow.pandas_compat", "safetensors.torch"]
    for config in configs:
        found += HEAVY[config["model"]["modality"]]
        if config["strategy"]["adapter"]:
            found.append("peft")
        if config["dataset"].get("metrics", ["accuracy"]) != ["accuracy"]:
            found.append("sklearn.metrics")
        if config["strategy"].get("solver"):
            found.append("sklearn.linear_model")
        if config["logger"].get("wandb"):
            found.append("wandb")
        for part in ("model", "dataset", "strategy", "scheduler"):
            target = config[part]["_target_"]
            if not is_own(target):  # each run reads the user's own code as it stands when the run begins
                found.append(target.rpartition(".")[0])
    return [*dict.fromkeys(found), "tlx.sweeps.frozen_imports"]


def start_server(modules: Sequence[str]) -> None:
    """Start this process's fork server, unless it runs already; it begins to import these modules."""
    from multiprocessing.forkserver import ensure_running

    multiprocessing.get_context("forkserver").set_forkserver_preload(list(modules))
    ensure_running()


@contextmanager
def _without_main() -> Iterator[None]:
    """Keep multiprocessing from importing the main program of this process into a new one.

    A run needs nothing of it; a script without `if __name__ == "__main__"` would start its sweep again, and the main
    program of a Ray worker takes a second.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class LocalBackend:
    """Jobs on this machine, `slots` at once."""

    def __init__(self, slots: int, place: worker.Place) -> None:
        self.slots, self.place = slots, place
        self.context = multiprocessing.get_context("forkserver")
        self._running: dict[int, tuple[Job, BaseProcess]] = {}

    def warm_up(self, configs: Sequence[dict[str, Any]]) -> None:
        """Start the server, which begins to import while the study is still being checked."""
        start_server(modules_for(configs))

    def start(self, job: Job) -> None:
        """Begin a job."""
        process = self.context.Process(target=worker.main, args=(job, self.place), name=job.folder.name)
        with _without_main():
            process.start()
        self._running[process.sentinel] = job, process

    def poll(self, timeout: float) -> list[tuple[Job, int]]:
        """The jobs that ended, with their exit codes; waits `timeout` seconds for one at most."""
        ended = []
        for sentinel in connection.wait(list(self._running), timeout):
            assert isinstance(sentinel, int)
            job, process = self._running.pop(sentinel)
            process.join()
            assert process.exitcode is not None
            ended.append((job, process.exitcode))
        return ended

    def stop(self, number: signal.Signals) -> None:
        """Pass a signal on to all runs, which checkpoint and leave."""
        for _, process in self._running.values():
            assert process.pid is not None
            try:
                os.kill(process.pid, number)
            except ProcessLookupError:
                continue  # it left by itself

    def recall(self) -> None:
        """Nothing: what was started has begun."""

    def close(self) -> None:
        """End what still runs."""
        for _, process in self._running.values():
            process.kill()
            process.join()
        self._running.clear()
