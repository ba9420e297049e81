"""--tune-over: chosen on validation, never on test, and said in the caption."""

import pytest

from tlx.errors import UserError
from tlx.results import build_table, collect


def add(study, strategy: str, lr: float, val: float, test: float, seeds: int = 2, **more) -> None:
    for seed in range(seeds):
        metrics = {"val/accuracy": val, "test/accuracy": test}
        config = {"optimizer.lr": lr, **more}
        study.run(strategy, seed, metrics=metrics, config=config)


def tuned(study, over="optimizer.lr"):
    return build_table(collect(study.folder), tune_over=over)


def test_the_best_on_validation_stays(study) -> None:
    add(study, "scratch", 0.1, val=0.5, test=0.9)
    add(study, "scratch", 0.01, val=0.6, test=0.4)
    add(study, "full", 0.1, val=0.7, test=0.5)
    add(study, "full", 0.01, val=0.6, test=0.99)
    table = tuned(study)
    assert [(r["strategy"], r["optimizer.lr"], r["mean"]) for r in table.rows] == [
        ("scratch", 0.01, 0.4),
        ("full", 0.1, 0.5),
    ]
    assert table.rows[1]["gain"] == pytest.approx(0.1)  # the rates differ: each side has its own best
    assert "optimizer.lr was chosen for each row by the mean of val/accuracy over its seeds, from {0.01, 0.1}." in (
        table.caption
    )


def test_rows_that_differ_elsewhere_are_tuned_apart(study) -> None:
    for wd in (0.0, 0.1):
        for lr in (0.1, 0.01):
            add(study, "full", lr, val=lr + wd, test=0.5, **{"optimizer.weight_decay": wd})
    rows = tuned(study).rows
    assert [(row["optimizer.weight_decay"], row["optimizer.lr"]) for row in rows] == [(0.0, 0.1), (0.1, 0.1)]
    [row] = tuned(study, "optimizer.lr,optimizer.weight_decay").rows
    assert (row["optimizer.lr"], row["optimizer.weight_decay"]) == (0.1, 0.1)


def test_a_copy_of_the_tuned_setting_is_chosen_with_it(study) -> None:
    for lr in (0.1, 0.01):
        add(study, "full", lr, val=lr, test=0.5, **{"scheduler.peak": lr})
    assert [row["optimizer.lr"] for row in tuned(study).rows] == [0.1]


def test_the_monitor_decides_and_its_direction(study) -> None:
    for lr, loss in ((0.1, 2.0), (0.01, 1.0)):
        metrics = {"val/loss": loss, "val/accuracy": loss, "test/accuracy": lr}
        study.run("full", 0, metrics=metrics, config={"optimizer.lr": lr, "dataset.monitor": "loss"})
    assert [row["optimizer.lr"] for row in tuned(study).rows] == [0.01]


def test_ties_go_to_the_smaller_value(study) -> None:
    for lr in (0.1, 0.01):
        add(study, "full", lr, val=0.5, test=0.5)
    assert [row["optimizer.lr"] for row in tuned(study).rows] == [0.01]


def test_what_is_not_there_yet(study) -> None:
    add(study, "scratch", 0.1, val=0.5, test=0.5)
    study.run("scratch", 0, config={"optimizer.lr": 0.01}, status="missing")
    study.run("full", 0, config={"optimizer.lr": 0.1}, status="missing")
    study.run("full", 0, config={"optimizer.lr": 0.01}, status="failed")
    study.plan()
    table = tuned(study)
    assert [(r["strategy"], r["optimizer.lr"], r["n"], r["failed"], r["missing"]) for r in table.rows] == [
        ("scratch", 0.1, 2, 0, 0),
        ("full", None, 0, 1, 1),
    ]
    assert "3 runs among the candidates failed or are missing" in table.caption


def test_no_validation_score_no_choice(study) -> None:
    for lr in (0.1, 0.01):
        study.run("full", 0, metrics={"val/accuracy": None}, config={"optimizer.lr": lr})
    with pytest.raises(UserError, match="no completed run has val/accuracy"):
        tuned(study)


def test_nothing_to_choose_is_said(study) -> None:
    add(study, "full", 0.1, val=0.5, test=0.5)
    assert "there was nothing to choose" in tuned(study).caption
