"""Probes in whole runs: in the same steps they are, bit for bit, what each is alone, and what a Trainer makes of it."""

import json
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from tlx.config.composer import composer
from tlx.processes.interruption import Interrupted
from tlx.sweeps.study import Planned, plan_run

PROBE = ["strategy=feature_extraction", "trainer.max_epochs=4", "dataset.train_size=5_per_class"]


@pytest.fixture(autouse=True)
def worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks as small as those of the tests are worth keeping, too."""
    from tlx.cache import frozen_work

    monkeypatch.setattr(frozen_work, "WORTH", {"cpu": 0.0})


def planned(tlx, study: str, seeds: list[int], *words: str) -> list[Planned]:
    with composer() as compose:
        runs = [plan_run(compose([*tlx.quick, *PROBE, *words, f"study={study}", f"seed={s}"])) for s in seeds]
    for run in runs:
        run.folder.mkdir(parents=True, exist_ok=True)
    return runs


def record(run: Planned) -> dict[str, Any]:
    return json.loads((run.folder / "record.json").read_text())


def history(run: Planned) -> str:
    return (run.folder / "metrics.csv").read_text()


def together(runs: list[Planned]) -> None:
    from tlx.sweeps.at_once import run_together

    run_together([(run.config, run.folder) for run in runs], [[] for _ in runs])


SLOW = pytest.mark.slow
SETTINGS = [
    [],
    ["dataset.sampler=length_buckets", "trainer.batch_size=7", "selection=last", "scheduler=cosine"],
    pytest.param(["trainer.batch_size=7", "trainer.head_dropout=0.5", "trainer.gradient_clip=0.1"], marks=SLOW),
    pytest.param(
        ["trainer.gradient_clip=null", "optimizer=sgd", "optimizer.lr=0.1", "trainer.head_dropout=0"], marks=SLOW
    ),
    pytest.param(["trainer.patience=1", "optimizer.lr=0.3", "trainer.max_epochs=12"], marks=SLOW),
]


@pytest.mark.parametrize("words", SETTINGS, ids=lambda words: "-".join(words) or "defaults")
def test_together_as_alone_as_in_a_trainer(tlx, words: list[str]) -> None:
    from tlx.train import run

    seeds = [0, 1, 2]
    for one in planned(tlx, "trainer", seeds, *words):
        run(one.config, one.folder, [L.Callback()])  # it may want anything of a Trainer: so it gets one
    for one in planned(tlx, "alone", seeds, *words):
        run(one.config, one.folder)
    together(planned(tlx, "together", seeds, *words))
    different = set()
    studies = (planned(tlx, study, seeds, *words) for study in ("trainer", "alone", "together"))
    for trainer, alone, shared in zip(*studies, strict=True):
        true, own, joint = record(trainer), record(alone), record(shared)
        assert own["cache"]["used"] and joint["status"] == "completed"
        assert joint["metrics"] == own["metrics"] and joint["checkpoint"] == own["checkpoint"]
        assert history(shared) == history(alone)
        assert own["counts"] == joint["counts"] == true["counts"]
        assert own["metrics"] == pytest.approx(true["metrics"], abs=1e-5)
        assert own["plan"] == true["plan"] and own["warnings"] == true["warnings"]
        assert [line.split(",")[:2] for line in history(alone).splitlines()] == [
            line.split(",")[:2] for line in history(trainer).splitlines()
        ]
        different.add(joint["checkpoint"])
    assert len(different) == len(seeds)


def test_learning_rates_and_decays_are_each_ones_own(tlx) -> None:
    from tlx.train import run

    axes = [("optimizer.lr=0.01", "optimizer.weight_decay=0"), ("optimizer.lr=0.001", "optimizer.weight_decay=0.5")]
    for words in axes:
        for one in planned(tlx, "alone", [0, 1], *words):
            run(one.config, one.folder)
    together([one for words in axes for one in planned(tlx, "together", [0, 1], *words)])
    for words in axes:
        for alone, joint in zip(*(planned(tlx, s, [0, 1], *words) for s in ("alone", "together")), strict=True):
            assert record(alone)["checkpoint"] == record(joint)["checkpoint"]


def test_one_that_diverges_ends_alone(tlx) -> None:
    from tlx.callbacks.divergence import Diverged

    bad = planned(tlx, "adhoc", [0], "optimizer=sgd", "optimizer.lr=1e38", "trainer.gradient_clip=null")
    good = planned(tlx, "adhoc", [1], "optimizer=sgd", "optimizer.lr=0.1", "trainer.gradient_clip=null")
    with pytest.raises(Diverged, match="layer group head is not finite"):
        together([*bad, *good])
    failed, fine = record(bad[0]), record(good[0])
    assert (
        failed["status"] == "failed" and failed["error"]["type"] == "Diverged" and "test/loss" not in failed["metrics"]
    )
    assert fine["status"] == "completed" and fine["counts"]["test_reads"] == 1
    assert failed["counts"]["test_reads"] == 0


def test_what_was_shared_is_shared_out(tlx) -> None:
    runs = planned(tlx, "adhoc", [0, 1, 2, 3])
    together(runs)
    for seconds, alone in ((record(run)["seconds"], record(run)["seconds_alone"]) for run in runs):
        assert alone["total"] >= seconds["total"] - seconds["encode"] + 3 * seconds["train"] - 0.5
        assert seconds["total"] < 10


def test_a_signal_ends_all_that_are_not_over(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    import tlx.sweeps.at_once as training

    runs = planned(tlx, "adhoc", [0, 1, 2])
    finish, done = training.finish, []

    def interrupted(one: Any, fitted: Any) -> None:
        if done:
            raise Interrupted("SIGTERM", 143)
        done.append(one)
        finish(one, fitted)

    monkeypatch.setattr(training, "finish", interrupted)
    with pytest.raises(Interrupted):
        together(runs)
    assert [record(run)["status"] for run in runs] == ["completed", "interrupted", "interrupted"]
    monkeypatch.undo()
    from tlx.sweeps.jobs import Job
    from tlx.sweeps.worker import do_job

    do_job(Job(tuple(runs)))  # as the sweep does when it is started again
    assert [record(run)["status"] for run in runs] == ["completed"] * 3
    assert [record(run)["attempt"] for run in runs] == [1, 1, 1]
    assert len(record(runs[0])["sittings"]) == 1 and len(record(runs[1])["sittings"]) == 2


def test_what_is_over_stays_so_when_a_signal_comes(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    import tlx.sweeps.at_once as training

    runs = planned(tlx, "adhoc", [0, 1], "cache=off")  # no probes: one after the other
    begin = training.begin

    def interrupted(config: dict, *rest: Any, **further: Any) -> Any:
        if config["seed"] == 1:
            raise Interrupted("SIGTERM", 143)
        return begin(config, *rest, **further)

    monkeypatch.setattr(training, "begin", interrupted)
    with pytest.raises(Interrupted):
        together(runs)
    assert [record(run)["status"] for run in runs] == ["completed", "interrupted"]


def test_a_failure_while_one_is_prepared_is_its_own(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    import tlx.sweeps.at_once as training

    begin = training.begin

    def broken(config: dict, folder: Path, *rest: Any, **further: Any) -> Any:
        if config["seed"] == 1:
            raise ArithmeticError("this seed does not add up")
        return begin(config, folder, *rest, **further)

    monkeypatch.setattr(training, "begin", broken)
    runs = planned(tlx, "adhoc", [0, 1, 2])
    with pytest.raises(ArithmeticError):
        together(runs)
    assert [record(run)["status"] for run in runs] == ["completed", "failed", "completed"]


@pytest.mark.parametrize(
    "words",
    [
        ["trainer.accumulate=2"],
        ["trainer.detect_anomaly=true"],
        pytest.param(["cache=off"], marks=SLOW),
        pytest.param(["strategy=partial"], marks=SLOW),
        ["strategy=lp_ft"],
    ],
    ids=" ".join,
)
def test_what_is_no_probe_has_a_trainer_and_the_same_end(tlx, words: list[str]) -> None:
    from tlx.train import run

    runs = planned(tlx, "adhoc", [0, 1], *words)
    together(runs)
    for one, alone in zip(runs, planned(tlx, "alone", [0, 1], *words), strict=True):
        run(one.config, alone.folder)
        assert record(one)["status"] == "completed"
        assert record(one)["checkpoint"] == record(alone)["checkpoint"]


def test_a_profile_says_where_the_time_went(tlx) -> None:
    found = tlx.record(*PROBE, "profile=true")["seconds"]
    parts = found["profile"]
    assert {name for name, seconds in parts.items() if seconds > 0} >= {
        "data", "forward", "backward", "optimiser", "validation",
    }  # fmt: skip
    assert sum(parts.values()) == pytest.approx(found["train"], rel=0.3)


def test_seeds_hold_one_copy_of_what_is_frozen(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    import tlx.sweeps.at_once as training

    seen: list[Any] = []
    fit_heads = training.fit_heads

    def look(runs: Any, probes: Any) -> Any:
        seen.extend(zip(runs, probes, strict=True))
        return fit_heads(runs, probes)

    monkeypatch.setattr(training, "fit_heads", look)
    together(planned(tlx, "adhoc", [0, 1, 2], "dataset.subset_seed=0"))
    assert len(seen) == 3
    for part in ("train", "validation"):
        assert len({getattr(probe, part).features.data_ptr() for _, probe in seen}) == 1
        assert len({id(run.work.parts[part]) for run, _ in seen}) == 1
    backbones = [[p.data_ptr() for p in one.module.backbone.parameters()] for one, _ in seen]
    assert backbones[0] == backbones[1] == backbones[2]
    heads = {one.module.task.linear.weight.data_ptr() for one, _ in seen}
    assert len(heads) == 3
