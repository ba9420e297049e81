"""Runs as SLURM jobs: on submitit's stand-in for SLURM, and what would be asked of the real one."""

import importlib.util
import os
import signal
from pathlib import Path

import pytest

from tlx.sweeps.jobs import Job
from tlx.sweeps.study import Planned
from tlx.sweeps.worker import NOT_BEGUN, Place

_spec = importlib.util.spec_from_file_location("processes", Path(__file__).with_name("processes.py"))
assert _spec and _spec.loader
processes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(processes)

pytest.importorskip("submitit")
LOCAL = ["hydra/launcher=slurm", "hydra.launcher.backend=slurm", "hydra.launcher.slurm.executor=local"]


@pytest.mark.slow
def test_jobs_give_the_numbers_of_one_machine(same_as_local, tlx) -> None:
    same_as_local(*LOCAL)
    assert not (tlx.runs / "other/.sweeps").exists()


@pytest.mark.slow
def test_a_killed_run_costs_a_retry_and_a_preempted_one_a_sitting(tlx) -> None:
    study = tlx.runs / "adhoc"
    words = ["-m", "strategy=scratch", "seed=0,1", "trainer.max_epochs=30"]

    def preempt(pid: int) -> None:
        os.kill(processes.parent_of(pid), signal.SIGUSR2)  # as SLURM does; the parent is submitit's process

    with (
        processes.Accident(lambda: processes.running(study, 0), processes.kill) as first,
        processes.Accident(lambda: processes.running(study, 1, epoch=2), preempt) as second,
    ):
        outcome = tlx.train(*words, *LOCAL, "hydra.launcher.retries=1")
    assert first.happened and second.happened
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("again:") == 1
    killed, preempted = tlx.records()
    assert len(killed["sittings"]) == 2
    assert [sitting["resumed"] for sitting in preempted["sittings"]] == [False, True]
    assert tlx.train(*words, "study=undisturbed").code == 0
    assert [r["metrics"] for r in tlx.records()] == [r["metrics"] for r in tlx.records("undisturbed")]


@pytest.mark.slow
def test_the_demo_ends_in_the_same_table(demo, table_of) -> None:
    assert demo("jobs", *LOCAL, "hydra.launcher.n_jobs=2").code == 0
    assert demo("local", "hydra.launcher.n_jobs=2").code == 0
    table = table_of("jobs")
    assert [row["n"] for row in table] == [2] * 5 and table == table_of("local")


@pytest.mark.slow
def test_runs_leave_when_the_sweep_is_asked_to(tlx) -> None:
    words = ["-m", "strategy=scratch", "seed=0", "trainer.max_epochs=100"]
    sweep = processes.launch(tlx, *words, *LOCAL)
    processes.wait_for(lambda: processes.running(tlx.runs / "adhoc", 0, epoch=3), sweep)
    processes.ask(sweep, signal.SIGINT)
    _, err = sweep.communicate(timeout=60)
    assert sweep.returncode == 130 and "left on SIGINT" in err, err
    (record,) = tlx.records()
    assert (record["status"], record["error"]["message"]) == ("interrupted", "left on SIGINT")
    assert not (tlx.runs / "adhoc/.sweeps").exists()


@pytest.mark.slow
def test_a_sweep_that_breaks_off_ends_its_jobs(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    from tlx.sweeps.on_slurm import SlurmBackend

    poll, found = SlurmBackend.poll, []

    def broken(self: SlurmBackend, timeout: float) -> list:
        ended = poll(self, timeout)
        if pid := processes.running(tlx.runs / "adhoc", 0, epoch=1):
            found.append(pid)
            raise ZeroDivisionError
        return ended

    monkeypatch.setattr(SlurmBackend, "poll", broken)
    outcome = tlx.train("-m", "strategy=scratch", "seed=0", "trainer.max_epochs=300", *LOCAL)
    assert outcome.code == 1 and "ZeroDivisionError" in outcome.err
    assert not Path(f"/proc/{found[0]}").exists()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A SLURM of four scripts: `asked` holds what was asked of it, and the test says in `states` how its jobs are."""
    scripts = {
        "srun": "",
        "sbatch": f'cp "$1" {tmp_path}/batch; echo Submitted batch job 42',
        "sacct": f"cat {tmp_path}/states",
        "scancel": f"echo scancel $@ >> {tmp_path}/asked",
    }
    (tmp_path / "bin").mkdir()
    for name, text in scripts.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_what_is_asked_of_slurm(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tlx.sweeps import on_slurm

    monkeypatch.setattr(on_slurm, "GRACE", 0.0)
    (cluster / "states").write_text("JobID|State|NodeList\n42_0|RUNNING|n1\n42_[1-2]|PENDING|\n")
    options = {
        "executor": "slurm",
        "timeout_min": 90,
        "signal_delay_s": 100,
        "requeues": 3,
        "at_once": 2,
        "cpus_per_task": 4,
        "gpus_per_node": 1,
        "mem_gb": 8,
        "sbatch": {"partition": "gpu"},
        "setup": ["module load cuda"],
    }
    configs = [{"seed": seed} for seed in range(3)]
    runs = [Planned(config, cluster / f"study/run{i}") for i, config in enumerate(configs)]
    backend = on_slurm.SlurmBackend(options, None, configs, Place(threads=4, cwd=str(cluster)))
    assert backend.slots == 3
    for run in runs:
        backend.start(Job((run,)))
    assert backend.poll(0) == []
    batch = (cluster / "batch").read_text()
    for line in (
        "array=0-2%2",
        "time=90",
        "signal=USR2@100",
        "partition=gpu",
        "cpus-per-task=4",
        "mem=8192MB",
        "requeue",
    ):
        assert f"#SBATCH --{line}\n" in batch, batch
    assert "module load cuda" in batch

    backend.recall()
    assert (cluster / "asked").read_text() == "scancel --state=PENDING 42\n"
    (cluster / "states").write_text("JobID|State|NodeList\n42_0|NODE_FAIL|n1\n42_1|CANCELLED by 0|\n42_2|CANCELLED|\n")
    (cluster / "study/run0").mkdir(parents=True)
    (cluster / "study/run0/record.json").write_text("{}")
    assert {run.folder.name: code for run, code in backend.poll(1)} == {
        "run0": -9,
        "run1": NOT_BEGUN,
        "run2": NOT_BEGUN,
    }
    assert "NODE_FAIL" in (cluster / "study/run0/log.txt").read_text()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("hydra.launcher.slurm.executor=slurm", ["srun", "executor=local"]),
        ("hydra.launcher.slurm.executor=slrm", ["'slrm'", "'slurm'"]),
        ("hydra.launcher.slurm.timeout_min=soon", ["timeout_min=soon"]),
        ("hydra.launcher.runs_per_gpu=2", ["gpus_per_node shares GPUs out"]),
    ],
)
def test_options_that_cannot_be(tlx, words: str, parts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    message = tlx.train("-m", "seed=0", *LOCAL, words).complaint
    assert all(part in message for part in parts), message
