"""Which runs of a sweep share a process, and that its records and table do not show it."""

import json

import pytest

from tlx.config.composer import composer
from tlx.sweeps.jobs import MOST, as_jobs
from tlx.sweeps.study import compose_all, plan_run


def jobs_of(tlx, *words: str) -> list[list[tuple]]:
    """(strategy, seed, learning rate) of the runs of each job."""
    with composer() as compose:
        runs = [plan_run(run) for run in compose_all(compose, [*tlx.quick, *words], multirun=True)]
    return [
        [(r.config["run"]["choices"]["strategy"], r.config["seed"], r.config["optimizer"]["lr"]) for r in job.runs]
        for job in as_jobs(runs)
    ]


def test_the_probes_of_a_cell_are_one_job(tlx) -> None:
    found = jobs_of(tlx, "strategy=feature_extraction,full", "seed=0,1,2", "optimizer.lr=0.1,0.01")
    assert [len(job) for job in found] == [6, 1, 1, 1, 1, 1, 1]
    assert {strategy for strategy, *_ in found[0]} == {"feature_extraction"}


@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        (["optimizer.weight_decay=0,0.1", "seed=0,1"], [4]),
        (["strategy.lr=0.1,0.2", "seed=0,1"], [4]),
        (["dataset.train_size=2_per_class,3_per_class", "seed=0,1"], [2, 2]),
        (["trainer.batch_size=8,16", "seed=0,1"], [2, 2]),
        (["cache=off", "seed=0,1"], [1, 1]),
        (["trainer.devices=2", "seed=0,1"], [1, 1]),
        (["strategy=random_features", "seed=0,1"], [1, 1]),
        (["strategy=lp_ft", "seed=0,1"], [1, 1]),
        (["logger=wandb", "seed=0,1"], [1, 1]),
        (["logger=[tensorboard,csv]", "seed=0,1"], [2]),
        (["+logger.mine._target_=my_tracker.Logger", "seed=0,1"], [1, 1]),
        ([f"seed=range({MOST + 3})"], [MOST, 3]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and isinstance(value[0], str) else "",
)
def test_what_shares_a_job(tlx, words: list[str], sizes: list[int]) -> None:
    assert [len(job) for job in jobs_of(tlx, "strategy=feature_extraction", *words)] == sizes


def test_a_sweep_in_which_one_was_done_before(tlx) -> None:
    words = ["strategy=feature_extraction", "trainer.max_epochs=2"]
    before = tlx.train(*words, "seed=1")
    assert before.code == 0, before.err
    (first,) = tlx.records()
    assert tlx.train("-m", *words, "seed=0,1,2", "hydra.launcher.backend=local").code == 0
    records = tlx.records()
    assert [r["config"]["seed"] for r in records] == [0, 1, 2]
    assert records[1] == first
    assert len({r["sittings"][0]["pid"] for r in (records[0], records[2])}) == 1, "one process did both"
    logs = [
        (tlx.runs / "adhoc" / f).read_text()
        for f in sorted(p.name + "/log.txt" for p in (tlx.runs / "adhoc").glob("*seed2*"))
    ]
    assert "done together with tiny_vision-feature_extraction-digits-2_per_class-seed0" in logs[0]
    rows = json.loads(tlx("table", str(tlx.runs / "adhoc"), "--format", "json").out)["rows"]
    assert [(row["strategy"], row["n"]) for row in rows] == [("feature_extraction", 3)]
