"""Runs on a Ray cluster of two nodes, simulated on this machine: the same numbers, and accidents that cost a retry."""

import importlib.util
import os
import signal
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from tlx.sweeps.control import Control, NotShared

_spec = importlib.util.spec_from_file_location("processes", Path(__file__).with_name("processes.py"))
assert _spec and _spec.loader
processes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(processes)

pytest.importorskip("ray")
SMALL = 80 * 2**20  # bytes for Ray's objects on a node


@pytest.fixture(scope="module")
def ray_words() -> Iterator[list[str]]:
    """Overrides that send a sweep to a cluster of a head without CPUs and two nodes with one each, all on loopback."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    common = {"node_ip_address": "127.0.0.1", "object_store_memory": SMALL}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **common})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, **common)
        yield ["hydra/launcher=ray", "hydra.launcher.backend=ray", f"hydra.launcher.ray.address='{cluster.address}'"]
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_two_nodes_give_the_numbers_of_one_machine(same_as_local, ray_words: list[str]) -> None:
    same_as_local(*ray_words)


@pytest.mark.slow
def test_a_lost_process_and_a_lost_worker_cost_a_retry(tlx, ray_words: list[str]) -> None:
    study = tlx.runs / "adhoc"
    words = ["-m", "strategy=scratch", "seed=0,1"]
    with (
        processes.Accident(lambda: processes.running(study, 0), processes.kill) as first,
        processes.Accident(lambda: processes.running(study, 1), processes.kill_worker) as second,
    ):
        outcome = tlx.train(*words, *ray_words, "hydra.launcher.retries=1")
    assert first.happened and second.happened
    assert outcome.code == 0, outcome.err
    assert "again:" in outcome.err
    assert [len(record["sittings"]) for record in tlx.records()] == [2, 2]
    assert tlx.train(*words, "study=undisturbed").code == 0
    assert [r["metrics"] for r in tlx.records()] == [r["metrics"] for r in tlx.records("undisturbed")]


@pytest.mark.slow
def test_the_demo_ends_in_the_same_table_though_a_worker_dies(tlx, demo, table_of, ray_words: list[str]) -> None:
    study = tlx.runs / "ray"
    look = lambda: processes.running(study, 1, epoch=1) if processes.completed(study) >= 4 else None  # noqa: E731
    with processes.Accident(look, processes.kill_worker) as accident:
        outcome = demo("ray", *ray_words, "hydra.launcher.retries=1")
    assert accident.happened and outcome.code == 0, outcome.err
    assert "failed:" not in outcome.err
    assert sorted(len(record["sittings"]) for record in tlx.records("ray")) == [1] * 9 + [2]
    assert demo("local", "hydra.launcher.n_jobs=2").code == 0
    table = table_of("ray")
    assert [row["n"] for row in table] == [2] * 5 and table == table_of("local")


@pytest.mark.slow
def test_runs_leave_when_the_sweep_is_asked_to(tlx, ray_words: list[str]) -> None:
    words = ["strategy=scratch", "seed=0", "trainer.max_epochs=100"]
    look = lambda: processes.running(tlx.runs / "adhoc", 0, epoch=3)  # noqa: E731
    with processes.Accident(look, lambda _: os.kill(os.getpid(), signal.SIGINT)):
        outcome = tlx.train("-m", *words, *ray_words)
    assert outcome.code == 130, outcome.err
    (record,) = tlx.records()
    assert (record["status"], record["error"]["message"]) == ("interrupted", "left on SIGINT")
    assert not (tlx.runs / "adhoc/.sweeps").exists()
    assert tlx.train(*words).code == 0
    (record,) = tlx.records()
    assert [sitting["resumed"] for sitting in record["sittings"]] == [False, True]


def test_ray_still_has_what_keeps_it_on_loopback() -> None:
    from ray._private import services

    assert callable(getattr(services, "resolve_ip_for_localhost", None)), (
        "this Ray has no resolve_ip_for_localhost, which tlx.sweeps.on_ray replaces so that a Ray of our own listens "
        "on loopback only: find out what makes it do so now"
    )


@pytest.mark.slow
def test_a_ray_of_our_own_listens_on_loopback_only() -> None:
    import psutil
    import ray

    from tlx.sweeps.on_ray import connect

    def descendants() -> set[psutil.Process]:
        return set(psutil.Process().children(recursive=True))

    def sockets(process: psutil.Process) -> set[tuple[str, str, int]]:
        found = [c.laddr for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        return {(process.name(), address.ip, address.port) for address in found}

    children, before = descendants(), sockets(psutil.Process())
    assert connect(None)
    try:
        ray.get(ray.remote(lambda: None).remote())  # a worker has servers, too
        found = set().union(*map(sockets, [psutil.Process(), *descendants() - children])) - before
    finally:
        ray.shutdown()
    assert {"gcs_server", "raylet"} <= {name for name, _, _ in found}, found
    is_open = {place for place in found if not ip_address(place[1].removeprefix("::ffff:")).is_loopback}
    assert not is_open, f"open to the network: {is_open}; see tlx.sweeps.on_ray._loopback_stays"


def test_room_on_a_node() -> None:
    from tlx.sweeps.on_ray import room

    node = {"CPU": 8.0, "GPU": 2.0, "a100": 1.0}
    assert room(node, {"CPU": 1, "GPU": 0}) == 8
    assert room(node, {"CPU": 3, "GPU": 0}) == 2
    assert room(node, {"CPU": 1, "GPU": 0.3}) == 6  # three on each: a fraction lies on one GPU
    assert room(node, {"CPU": 1, "GPU": 1, "a100": 1}) == 1
    assert room({"CPU": 8.0}, {"CPU": 1, "GPU": 1}) == 0
    assert room({}, {"CPU": 0.5, "GPU": 0}) == 0


def test_a_node_that_does_not_see_the_study(tmp_path: Path) -> None:
    with pytest.raises(NotShared, match="every node sees"):
        Control(tmp_path / "elsewhere").check()


def test_what_a_sweep_asks_of_its_runs_elsewhere(tmp_path: Path) -> None:
    control = Control.make(tmp_path)
    there = Control(control.place)
    assert there.stopped is None and not there.recalled
    control.stop(signal.SIGINT)
    assert there.stopped == signal.SIGINT and there.recalled
    control.stop(signal.SIGKILL)
    assert there.stopped == signal.SIGKILL
    control.remove()
    assert there.stopped is None and not (tmp_path / ".sweeps").exists()


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("hydra.launcher.ray.num_gpus=-1", ["num_gpus=-1", "≥ 0"]),
        ("hydra.launcher.devices=[0]", ["num_gpus shares GPUs out"]),
        ("+hydra.launcher.ray.num_cpu=1", ["'num_cpu'", "'num_cpus'"]),
    ],
)
def test_options_that_cannot_be(tlx, words: str, parts: list[str]) -> None:
    message = tlx.train("-m", "seed=0", "hydra/launcher=ray", "hydra.launcher.backend=ray", words).complaint
    assert all(part in message for part in parts), message
