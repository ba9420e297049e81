"""--tune-over: chosen on validation, never on test, and said in the caption."""

import pytest

from tlx.errors import UserError
from tlx.results import build_table, collect, compare
from tlx.results.findings import findings


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


def scored(study, strategy: str, lr: float, vals: dict[int, float], test: float = 0.5) -> None:
    for seed, val in vals.items():
        metrics = {"val/accuracy": val, "test/accuracy": test + seed / 1000}
        study.run(strategy, seed, metrics=metrics, config={"optimizer.lr": lr})


def test_the_choice_goes_by_the_seeds_that_all_have(study) -> None:
    """The rate of 0.1 lost its worst seed: by survivors it had 0.9 on average, by the common seeds it is the worse."""
    scored(study, "full", 0.1, {0: 0.6, 1: 1.2})
    scored(study, "full", 0.01, {0: 0.7, 1: 1.25, 2: 0.1})
    study.run("full", 2, config={"optimizer.lr": 0.1}, status="failed", error={"type": "Diverged", "message": "nan"})
    table = tuned(study)
    assert [(row["optimizer.lr"], row["n"]) for row in table.rows] == [(0.01, 3)]
    assert "Warning: 1 of the candidates' runs failed, and the score of guessing is not known: only" in table.caption


def test_candidates_without_a_common_seed_are_not_compared(study) -> None:
    scored(study, "full", 0.1, {0: 0.6})
    scored(study, "full", 0.01, {1: 0.7})
    with pytest.raises(UserError, match=r"no seed in common \(optimizer.lr=0.01: seeds 1; optimizer.lr=0.1: seeds 0\)"):
        tuned(study)


def test_seeds_that_choose_are_kept_apart(study) -> None:
    """Seeds 10 and 11 prefer 0.1, those that are shown would have preferred 0.01."""
    for strategy in ("scratch", "full"):
        scored(study, strategy, 0.1, {10: 0.9, 11: 0.8, 0: 0.1, 1: 0.2, 2: 0.1}, 0.4 + 0.1 * (strategy == "full"))
        scored(study, strategy, 0.01, {10: 0.5, 11: 0.5, 0: 0.6, 1: 0.7, 2: 0.6})
    runs = collect(study.folder)
    apart = build_table(runs, tune_over="optimizer.lr", tune_seeds="10,11")
    assert [(row["optimizer.lr"], row["n"], row["gain_n"]) for row in apart.rows] == [(0.1, 3, 0), (0.1, 3, 3)]
    assert apart.rows[1]["gain"] == pytest.approx(0.1)
    assert "by the mean of val/accuracy over the seeds 10, 11, which no row has, from {0.01, 0.1}." in apart.caption
    assert "have chosen, too" not in apart.caption
    together = build_table(runs, tune_over="optimizer.lr")
    assert [row["n"] for row in together.rows] == [
        5,
        5,
    ] and "The seeds that are shown have chosen, too" in together.caption
    points = findings(runs, tune_over="optimizer.lr", tune_seeds="10,11").points
    assert [len(point.scores) for point in points] == [3, 3]
    (pair,) = compare(runs, "full", "scratch", tune_over="optimizer.lr", tune_seeds="10,11").pairs
    assert pair.gain.t.n == 3


def test_seeds_that_choose_must_be_there(study) -> None:
    scored(study, "full", 0.1, {0: 0.6, 10: 0.5})
    scored(study, "full", 0.01, {0: 0.6, 10: 0.7})
    scored(study, "lora", 0.1, {0: 0.6})
    scored(study, "lora", 0.01, {0: 0.6})
    runs = collect(study.folder)
    with pytest.raises(UserError, match=r"unknown seed for --tune-seeds '12'. .*Allowed: 0, 10"):
        build_table(runs, tune_over="optimizer.lr", tune_seeds="12")
    with pytest.raises(UserError, match=r"no completed run of tiny_vision × lora .* has one of the seeds 10"):
        build_table(runs, tune_over="optimizer.lr", tune_seeds="10")
    with pytest.raises(UserError, match="say with --tune-over what they choose"):
        build_table(runs, tune_seeds="10")


def test_a_choice_that_was_run_with_no_other_seeds_has_no_row(study) -> None:
    scored(study, "full", 0.1, {0: 0.6, 10: 0.5})
    scored(study, "full", 0.01, {10: 0.7})
    scored(study, "lora", 0.1, {0: 0.6})
    table = build_table(collect(study.folder), tune_over="optimizer.lr", tune_seeds="10")
    assert [row["strategy"] for row in table.rows] == ["lora"]
    assert (
        "has no seeds but those that chose, and no row: run the chosen optimizer.lr=0.01 with others" in table.caption
    )


def test_no_verdict_on_the_score_that_chose(study) -> None:
    for strategy, more in (("scratch", 0.0), ("full", 0.1)):
        for lr in (0.1, 0.01):
            scored(study, strategy, lr, {seed: 0.5 + more + lr / 10 + seed**2 / 1000 * (1 + more) for seed in range(5)})
    runs = collect(study.folder)
    table = build_table(runs, metrics="val/accuracy", tune_over="optimizer.lr")
    assert all(row["gain"] is row["verdict"] is row["against_best"] is None for row in table.rows)
    assert "Warning: val/accuracy chose the settings of these rows with the very seeds that are shown" in table.caption
    with pytest.raises(UserError, match="val/accuracy chose the settings"):
        compare(runs, "full", "scratch", "val/accuracy", tune_over="optimizer.lr")
    other = build_table(runs, metrics="val/accuracy", tune_over="optimizer.lr", tune_seeds="0,1")
    assert other.rows[1]["verdict"] == "helps" and "chose the settings" not in other.caption
    assert "val/accuracy chose the checkpoints of" in other.caption
    assert tuned(study).rows[1]["verdict"] is not None


def test_grids_of_different_size_are_told(study) -> None:
    for lr in (0.1, 0.01, 0.001):
        add(study, "full", lr, val=lr, test=0.5)
    add(study, "scratch", 0.1, val=0.5, test=0.4)
    caption = tuned(study).caption
    assert "rows were tuned over grids of different size (3 for full; 1 for scratch settings)" in caption
    for lr in (0.01, 0.001):
        add(study, "scratch", lr, val=lr, test=0.5)
    assert "different size" not in tuned(study).caption


def test_no_setting_is_chosen_by_its_survivor(study) -> None:
    """Four of five seeds diverge at 0.1; the fifth was lucky, and was all that chose."""
    ten, error = list("0123456789"), {"type": "Diverged", "message": "nan"}
    for seed in range(5):
        study.run("full", seed, 0.8 + seed / 100, config={"optimizer.lr": 0.01}, labels=ten)
    study.run("full", 0, 0.95, config={"optimizer.lr": 0.1}, labels=ten)
    for seed in range(1, 5):
        study.run("full", seed, config={"optimizer.lr": 0.1}, labels=ten, status="failed", error=error)
    built = build_table(collect(study.folder), tune_over="optimizer.lr", baseline="none")
    assert [row["optimizer.lr"] for row in built.rows] == [0.01]
    assert "failed runs count at the score of guessing in the choice: 4 among the candidates." in built.caption
    assert "different seeds" not in built.caption


def test_where_guessing_is_not_known_the_fewest_failures_choose(study) -> None:
    more = {"error": {"type": "Diverged", "message": "nan"}, "status": "failed"}
    for seed in range(3):
        study.run("full", seed, 0.8, config={"optimizer.lr": 0.01})
    study.run("full", 0, 0.95, config={"optimizer.lr": 0.1})
    for seed in (1, 2):
        study.run("full", seed, config={"optimizer.lr": 0.1}, **more)
    built = build_table(collect(study.folder), tune_over="optimizer.lr", baseline="none")
    assert [row["optimizer.lr"] for row in built.rows] == [0.01]


def test_how_many_seeds_chose(study) -> None:
    study.runs("full", [0.8, 0.8, 0.8], config={"optimizer.lr": 0.01})
    study.run("full", 0, 0.95, config={"optimizer.lr": 0.1})
    caption = build_table(collect(study.folder), tune_over="optimizer.lr", baseline="none").caption
    said = "in 1 row the candidates have different seeds; the choice goes by those that all of them have, 1 seed."
    assert said in caption
