"""The SLURM backend: the jobs of a study as one job array, through submitit."""

import signal
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from tlx.errors import UserError, unknown
from tlx.record.jsonfile import write_json
from tlx.record.masking import masked
from tlx.sweeps.control import Control
from tlx.sweeps.jobs import Job
from tlx.sweeps.slurm_job import SlurmJob
from tlx.sweeps.worker import NO_WORD, NOT_BEGUN, Place

EXECUTORS = ("slurm", "local", "debug")
LOST = -9  # a job that ended without a word: like a killed process
LOOK = 0.2  # seconds between two looks at the jobs' result files
ASK_SLURM = 30.0  # seconds between two questions to sacct, one for all jobs
GRACE = 20.0  # seconds that a shared file system may take to show a result after SLURM says that the job is over


class SlurmBackend:
    """Jobs of SLURM, or with the executor `local` or `debug` submitit's stand-ins on this machine.

    What is started together is one job array. The folder of a sweep, `<study>/.sweeps/<time>`, holds a JSON file for
    each run, and submitit's files and logs; it stays where a job was lost.

    Raises:
        UserError: submitit is not installed, an unknown executor, no SLURM here, or an option that it does not take.
    """

    def __init__(self, options: dict[str, Any], n_jobs: int | None, configs: Sequence[dict[str, Any]], place: Place):
        try:
            import submitit
        except ImportError as error:
            raise UserError("hydra/launcher=slurm needs submitit: pip install 'tlx[slurm]'.") from error
        from tlx.sweeps.capacity import jobs_that_fit

        if options["executor"] not in EXECUTORS:
            raise unknown("hydra.launcher.slurm.executor", options["executor"], EXECUTORS)
        self.submitit, self.options, self.place = submitit, options, place
        self.on_cluster = options["executor"] == "slurm"
        if options["executor"] == "debug":
            slots = 1
        else:  # SLURM has a queue of its own; submitit's `local` starts all at once
            slots = n_jobs or (len(configs) if self.on_cluster else jobs_that_fit(configs))
        self.slots = min(slots, len(configs))
        self._executor: Any = None
        self._control: Control | None = None
        self._fresh: list[Job] = []
        self._running: list[tuple[Job, Any]] = []
        self._over: dict[str, float] = {}  # jobs without a result, and since when they are over
        self._asked = float("-inf")
        self._recalled = self._trouble = False
        if self.on_cluster:
            import shutil

            missing = [name for name in ("sbatch", "srun", "sacct", "scancel") if shutil.which(name) is None]
            if missing:
                raise UserError(
                    f"{', '.join(missing)} not found: start the sweep on a machine of the cluster, or try it here "
                    "with hydra.launcher.slurm.executor=local."
                )

    def start(self, job: Job) -> None:
        """Put a job into the next array."""
        self._fresh.append(job)

    def poll(self, timeout: float) -> list[tuple[Job, int]]:
        """Submit what was started, and return the jobs that ended with their exit codes.

        Waits `timeout` seconds for one at most, but for as long as a run takes with the executor `debug`.
        """
        if self._fresh:
            self._submit()
        until = time.monotonic() + timeout
        while True:
            if self.on_cluster and self._running and time.monotonic() - self._asked > ASK_SLURM:
                self._running[0][1].watcher.update()
                self._asked = time.monotonic()
            codes = [(pair, self._code(*pair)) for pair in self._running]
            ended = [(pair, code) for pair, code in codes if code is not None]
            if ended or time.monotonic() >= until:
                break
            time.sleep(LOOK)
        for pair, code in ended:
            self._running.remove(pair)
            self._trouble |= code < 0 or code == NO_WORD  # then submitit's logs may tell more than the run's
        return [(ours, code) for (ours, _), code in ended]

    def stop(self, number: signal.Signals) -> None:
        """Ask all runs to checkpoint and leave, as this signal would, and take what waits out of the queue."""
        if self._control is not None:
            self._control.stop(number)
        self.recall()

    def recall(self) -> None:
        """Take what waits out of the queue."""
        if self._control is None or self._recalled:
            return
        self._recalled = True
        self._control.recall()
        if self.on_cluster and self._running:
            import subprocess

            arrays = {job.job_id.partition("_")[0] for _, job in self._running}
            subprocess.run(["scancel", "--state=PENDING", *sorted(arrays)], check=False)
            self._asked = float("-inf")

    def close(self) -> None:
        """End what still runs; remove the sweep's folder unless a job was lost."""
        if self._running and self._control is not None and not self.on_cluster:
            self._control.stop(signal.SIGKILL)
        for _, job in self._running:
            self._trouble = True
            if self.on_cluster:
                job.cancel(check=False)
            else:
                job._process.wait()
        self._running.clear()
        if self._control is not None and not self._trouble:
            self._control.remove()

    def _submit(self) -> None:
        ours, self._fresh = self._fresh, []
        if self._control is None:
            self._control = Control.make(ours[0].folder.parent)
            self._executor = self._make_executor(self._control)
        files = []
        for mine in ours:
            files.append(self._control.place / f"{mine.folder.name}.json")
            runs = [{"config": masked(run.config), "folder": str(run.folder.absolute())} for run in mine.runs]
            write_json(files[-1], {"runs": runs, "place": asdict(self.place)})
        job = SlurmJob(verdict=self.options["signal_delay_s"] if self.on_cluster else 0.0)
        # A blocked signal stays blocked in what is started. So Ctrl-C does not reach the jobs of the executor `local`,
        # which would leave their runs alone, but the sweep, which asks the runs to leave.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            jobs = self._executor.map_array(job, [str(file) for file in files])
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._running += zip(ours, jobs, strict=True)

    def _make_executor(self, control: Control) -> Any:
        """The submitit executor with this study's options.

        Raises:
            UserError: an option that it does not take.
        """
        options, folder = self.options, control.place / "jobs"
        if options["executor"] == "debug":
            return self.submitit.DebugExecutor(folder)
        wanted = {
            "gpus_per_node": options["gpus_per_node"],
            "signal_delay_s": options["signal_delay_s"],
            "setup": options["setup"],
        }
        if self.on_cluster:
            make: Any = self.submitit.SlurmExecutor
            wanted |= {
                "job_name": "tlx",
                "time": options["timeout_min"],
                "cpus_per_task": options["cpus_per_task"],
                "mem": None if options["mem_gb"] is None else f"{int(options['mem_gb'] * 1024)}MB",
                "array_parallelism": options["at_once"],
                "additional_parameters": {"requeue": True, **(options["sbatch"] or {})},
            }
        else:
            make = self.submitit.LocalExecutor
            wanted |= {"timeout_min": options["timeout_min"]}
        try:
            executor = make(folder, max_num_timeout=options["requeues"])
            executor.update_parameters(**{name: value for name, value in wanted.items() if value is not None})
        except (ValueError, TypeError, RuntimeError) as error:
            raise UserError(f"hydra.launcher.slurm: {' '.join(str(error).split())}") from error
        return executor

    def _code(self, run: Job, job: Any) -> int | None:
        """A job's exit code; None while it waits or runs."""
        if job.paths.result_pickle.exists() or self.options["executor"] == "debug":
            return self._result(run, job)
        over = job.watcher.is_done(job.job_id, mode="cache") if self.on_cluster else job.done()
        if not over:
            return None
        since = self._over.setdefault(job.job_id, time.monotonic())
        if job.paths.result_pickle.exists() or time.monotonic() - since < (GRACE if self.on_cluster else 0.0):
            return None  # there is a result, or it may still appear
        if self._recalled and not (run.folder / "record.json").exists():
            return NOT_BEGUN
        self._note(
            run, f"the job {job.job_id} ended without a word; SLURM says {job.state}. Its log: {job.paths.stderr}"
        )
        return LOST

    def _result(self, run: Job, job: Any) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return job.result()
            except self.submitit.core.utils.UncompletedJobError as error:
                lines = [line for line in str(error).splitlines() if line.strip(" -")]
                self._note(run, "\n".join(lines))
                return NO_WORD

    def _note(self, run: Job, text: str) -> None:
        run.folder.mkdir(parents=True, exist_ok=True)
        with (run.folder / "log.txt").open("a") as log:
            log.write(masked(text.rstrip() + "\n"))
