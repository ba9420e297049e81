"""The Ray backend: each job is a Ray task, which does it in a process of its own, forked warm on the task's node."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlx.errors import RunFailed, UserError
from tlx.private import ray_services
from tlx.record.masking import masked
from tlx.sweeps.control import Control, NotShared
from tlx.sweeps.jobs import Job
from tlx.sweeps.local import LocalBackend, modules_for, start_server
from tlx.sweeps.study import Planned
from tlx.sweeps.worker import NOT_BEGUN, Place

LOST = -9  # a task whose worker or node is gone: like a killed process
LOOK = 0.5  # seconds between two looks at whether the sweep wants its runs to leave
COUNT_AGAIN = 5.0  # seconds between two counts of what the cluster has room for
# Ray's place for objects; ours are configs. By default it takes a third of the memory.
OBJECTS = 100 * 2**20


class RayBackend:
    """Runs on the nodes of a Ray cluster, or of a Ray of our own on this machine (`address` null).

    A run takes `num_cpus`, `num_gpus` (fractions share a GPU) and `resources` of its node, and Ray shares these out.
    `slots` is how many runs the cluster has room for now, or `n_jobs`: a cluster that grows on demand needs it.

    Raises:
        UserError: Ray is not installed, no cluster is at the address, or no node has what one run takes.
    """

    def __init__(self, options: dict[str, Any], n_jobs: int | None, configs: Sequence[dict[str, Any]], place: Place):
        try:
            import ray
        except ImportError as error:
            raise UserError("hydra/launcher=ray needs Ray: pip install 'tlx[ray]'.") from error
        self.ray, self.n_jobs, self.place = ray, n_jobs, place
        self.needs = {"CPU": options["num_cpus"], "GPU": options["num_gpus"], **(options["resources"] or {})}
        self.modules = modules_for(configs)
        self.most = len(configs)
        self.ours = connect(options["address"])
        self._counted = float("-inf")
        self._room = 0
        self._running: dict[Any, Job] = {}
        self._control: Control | None = None
        if n_jobs is None and self._count() < 1:
            has = {name: n for name, n in ray.cluster_resources().items() if name in ("CPU", "GPU", *self.needs)}
            self.close()
            raise UserError(
                f"no node of this Ray cluster has room for a run, which takes {self.needs}; together they have {has}. "
                "Lower hydra.launcher.ray.num_cpus or num_gpus, or give hydra.launcher.n_jobs if nodes come on demand."
            )
        # max_retries=0: a lost run is started again by the engine, which says so and counts. max_calls=0: workers with
        # GPUs stay warm, too; they never touch the GPU themselves.
        task = ray.remote(
            num_cpus=options["num_cpus"],
            num_gpus=options["num_gpus"],
            resources=options["resources"] or {},
            max_retries=0,
            max_calls=0,
            scheduling_strategy="SPREAD",
        )
        self.task = task(do_on_node)

    @property
    def slots(self) -> int:
        return min(self.n_jobs or max(1, self._count()), self.most)

    def start(self, job: Job) -> None:
        """Hand a job to Ray, as plain data."""
        if self._control is None:
            self._control = Control.make(job.folder.parent)
        runs = [(run.config, str(run.folder.absolute())) for run in job.runs]
        self._running[self.task.remote(runs, self.place, self.modules, self._control.place)] = job

    def poll(self, timeout: float) -> list[tuple[Job, int]]:
        """The jobs that ended, with their exit codes; waits `timeout` seconds for one at most.

        Raises:
            RunFailed: a node cannot do runs at all.
        """
        if not self._running:
            time.sleep(timeout)
            return []
        ready, _ = self.ray.wait(list(self._running), num_returns=1, timeout=timeout)
        return [(self._running.pop(ref), code) for ref in ready for code in [self._code(ref)]]

    def stop(self, number: signal.Signals) -> None:
        """Ask all runs to checkpoint and leave, as this signal would."""
        if self._control is not None:
            self._control.stop(number)

    def recall(self) -> None:
        """Ask the runs that Ray has not begun not to begin."""
        if self._control is not None:
            self._control.recall()

    def close(self) -> None:
        """End what still runs, and our own Ray."""
        for ref in self._running:
            self.ray.cancel(ref, force=True)  # the worker dies, and its run with it
        self._running.clear()
        if self.ours:
            self.ray.shutdown()
        if self._control is not None:
            self._control.remove()
            self._control = None

    def _code(self, ref: Any) -> int:
        job = self._running[ref]
        try:
            return self.ray.get(ref)
        except self.ray.exceptions.RayTaskError as error:
            raise RunFailed(f"a Ray node cannot do runs: {error.cause or error}") from error
        except self.ray.exceptions.RayError as error:
            job.folder.mkdir(parents=True, exist_ok=True)
            with (job.folder / "log.txt").open("a") as log:
                log.write(masked(f"{type(error).__name__}: {' '.join(str(error).split())}\n"))
            return LOST

    def _count(self) -> int:
        """How many runs the living nodes have room for, whoever else uses them."""
        if time.monotonic() - self._counted > COUNT_AGAIN:
            nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
            self._room = sum(room(node, self.needs) for node in nodes)
            self._counted = time.monotonic()
        return self._room


def room(node: dict[str, float], needs: dict[str, float]) -> int:
    """How many runs that each take `needs` a node with these resources has room for; fractions of a GPU do not span."""
    counts = []
    for name, need in needs.items():
        has = node.get(name, 0.0)
        if 0 < need < 1:
            counts.append(int(has) * int(1 / need + 1e-9))
        elif need > 0:
            counts.append(int(has / need + 1e-9))
    return min(counts, default=1)


def do_on_node(runs: list[tuple[dict[str, Any], str]], place: Place, modules: list[str], control: Path) -> int:
    """Do a job in a process of its own on this node and return its exit code; what a Ray task calls.

    `runs` are the configs and folders of its runs.

    Raises:
        NotShared: this node does not see the study's folder.
    """
    sweep = Control(control)
    sweep.check()
    if place.cwd is not None and not Path(place.cwd).is_dir():
        raise NotShared(f"{place.cwd} is not there: start the sweep in a folder that every node sees.")
    if sweep.recalled:
        return NOT_BEGUN
    # The fork server has the environment of its start: what Ray gives to this task goes with the run.
    place = replace(
        place, visible=os.environ.get("CUDA_VISIBLE_DEVICES", "") if place.visible is None else place.visible
    )
    start_server(modules)
    backend = LocalBackend(1, place)
    backend.start(Job(tuple(Planned(config, Path(folder)) for config, folder in runs)))
    asked = False
    try:
        while True:
            for _, code in backend.poll(LOOK):
                return code
            number = sweep.stopped
            if number is not None and not asked:
                asked = True
                backend.stop(number)
    finally:
        backend.close()


def connect(address: str | None) -> bool:
    """Connect to a cluster, or start a Ray of our own; true where it is ours to end.

    Raises:
        UserError: nothing answers at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # as later versions do; silences a warning
    import ray

    if ray.is_initialized():
        return False  # a notebook's
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    with _loopback_stays():
        if address is None:
            from tlx.sweeps.capacity import cores

            local: dict[str, Any] = {"num_cpus": cores(), "include_dashboard": False, "object_store_memory": OBJECTS}
            # "local": not a cluster that RAY_ADDRESS or an earlier `ray start` names.
            ray.init("local", **local, **quiet, _node_ip_address="127.0.0.1")
            return True
        try:
            ray.init(address, **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(
                f"no Ray cluster at hydra.launcher.ray.address={address} ({' '.join(str(error).split())}). Start one "
                "with `ray start --head`, or leave the address out."
            ) from error
    return True


@contextmanager
def _loopback_stays() -> Iterator[None]:
    """Keep Ray from replacing 127.0.0.1 by this machine's address, at which its servers are open to the network."""
    services = ray_services()
    before = getattr(services, "resolve_ip_for_localhost", None)
    if before is None:
        yield
        return
    services.resolve_ip_for_localhost = lambda host: host
    try:
        yield
    finally:
        services.resolve_ip_for_localhost = before
