"""What a table must say against itself: splits, budgets, selection, the sealed test split, outlier seeds."""

import pytest

from tlx.errors import UserError
from tlx.results import build_table, collect, render
from tlx.results.busy import runs_at_once

BASE = [0.70, 0.74, 0.66, 0.71, 0.69]


def table(study, **options):
    return build_table(collect(study.folder), **options)


def test_mixed_splits_are_not_paired(study) -> None:
    for seed, score in enumerate(BASE):
        study.run("scratch", seed, score, split=f"one-{seed}")
        study.run("full", seed, score + 0.1, split=f"one-{seed}" if seed else "two")
        study.run("lora", seed, score + 0.1 + seed / 100, split=f"one-{seed}")
    built = table(study)
    gains = {row["strategy"]: row["gain"] for row in built.rows}
    assert gains["full"] is None and gains["lora"] == pytest.approx(0.12)
    assert (
        "tiny_vision × full × digits × 2_per_class and the scratch cell were trained or tested on different examples"
    ) in built.caption
    assert "runs mix splits: one seed was trained or tested" in built.caption
    assert "no scratch cell equals" not in built.caption


def test_records_without_a_split_contradict_nothing(study) -> None:
    study.runs("scratch", BASE, split="one")
    study.runs("full", [score + 0.1 for score in BASE])
    assert table(study).rows[1]["gain"] == pytest.approx(0.1)
    assert "mix splits" not in table(study).caption


def test_test_sets_of_different_sizes(study) -> None:
    study.runs("scratch", BASE, counts={"test_labels": 359})
    study.runs("full", BASE, counts={"test_labels": 100})
    caption = table(study).caption
    assert "runs mix test sets: tiny_vision × scratch" in caption
    assert "test examples, the same for all seeds" not in caption


def test_a_cell_whose_seeds_had_other_test_sets(study) -> None:
    """Training subsets follow the seed; the test set must not."""
    for seed, score in enumerate(BASE):
        study.run("full", seed, score, split=f"{seed}", splits={"train": f"{seed}", "test": "one"})
    assert "mix" not in table(study).caption
    study.run("full", 5, 0.7, split="5", splits={"train": "5", "test": "two"})
    assert "runs mix test sets: tiny_vision × full × digits × 2_per_class were not all" in table(study).caption


def test_the_size_of_the_test_set(study) -> None:
    study.runs("full", [0.9, 0.9, 0.9, 0.9], counts={"test_labels": 500})
    assert (
        "The 500 test examples, the same for all seeds, alone leave ± 2.9 points open (95 %)." in table(study).caption
    )
    whole = study.beside("whole")
    whole.runs("full", [1.0, 1.0, 1.0], counts={"test_labels": 500})
    assert "alone leave ± 0.8 points open (95 %)." in table(whole).caption


def test_budgets(study) -> None:
    study.runs("scratch", BASE, counts={"train_labels": 20, "epochs": 30})
    study.runs("scratch_long", BASE, counts={"train_labels": 20, "epochs": 90})
    caption = table(study).caption
    assert (
        "rows mix budgets (training examples seen): 1800 in tiny_vision × scratch_long × digits × 2_per_class, 600 in "
        "the other." in caption
    )
    study.runs("scratch", BASE, counts={"train_labels": 100, "epochs": 30}, train_size=100)
    assert table(study).caption.count("3000 in") == 0  # another train_size has another budget by its name
    for seed, epochs in enumerate((40, 50)):
        study.run("shuffled", seed, 0.5, counts={"train_labels": 20, "epochs": epochs})
    study.runs("full", BASE, counts={"train_labels": 20, "epochs": 30})
    assert (
        "up to 1000 in tiny_vision × shuffled × digits × 2_per_class, 1800 in tiny_vision × scratch_long × digits × "
        "2_per_class, 600 in the others." in table(study).caption
    )


def test_selection_modes(study) -> None:
    study.runs("scratch", BASE)
    study.runs("full", BASE, selection="last")
    caption = table(study).caption
    assert "Selection: best (checkpoint with the best validation score) and last (weights after the" in caption
    assert "Warning: runs mix selection modes (best × 5, last × 5)." in caption


@pytest.mark.parametrize("mode", ["test", "best_test", "oracle"])
def test_selection_on_test_is_refused(study, mode: str) -> None:
    study.runs("scratch", BASE)
    folder = study.run("full", 0, 0.99, selection=mode)
    with pytest.raises(UserError, match=f"selection={mode}.*{folder.name}.*selection=best"):
        table(study)


def test_a_monitor_on_test_is_refused(study) -> None:
    study.runs("scratch", BASE)
    study.run("full", 0, 0.99, config={"dataset.monitor": "test/accuracy"})
    with pytest.raises(UserError, match="monitor=test/accuracy"):
        table(study)


def test_the_test_split_is_sealed(study) -> None:
    study.runs("scratch", BASE)
    study.run("full", 0, 0.8, counts={"test_reads": 2})
    study.run("lora", 0, 0.8, counts={"test_reads_early": 1})
    built = table(study)
    assert {row["strategy"]: row["unsealed"] for row in built.rows} == {"scratch": False, "full": True, "lora": True}
    assert "0.800 (1)† |" in render(built) and "Warning: † the test split was read more than once" in built.caption
    assert "0.800 (1)† |" in render(table(study, rows="strategy"))
    assert r"\textbf{0.800} &  & (1)$^{\dagger}$" in render(built, "latex")


def test_a_collapsed_seed_is_flagged_and_kept(study) -> None:
    study.runs("scratch", BASE, counts={"test_labels": 359}, labels=list("0123456789"))
    study.runs("full", [0.95, 0.96, 0.1, 0.94, 0.955], counts={"test_labels": 359}, labels=list("0123456789"))
    built = table(study)
    assert [row["outliers"] for row in built.rows] == [None, {2: "at chance"}]
    assert built.rows[1]["n"] == 5 and built.rows[1]["mean"] == pytest.approx(0.781)
    assert (
        "‡ outlier seeds, kept in every number: tiny_vision × full × digits × 2_per_class seed 2 (0.100, at chance)"
        in (built.caption)
    )
    assert "0.781 ± 0.381 (5)‡" in render(built)


def test_only_test_scores_are_judged_by_the_size_of_the_test_set(study) -> None:
    scores = [0.95, 0.96, 0.1, 0.94, 0.955]
    counts = {"test_labels": 359, "selection_labels": 100}
    for seed, score in enumerate(scores):
        metrics = {"val/accuracy": score, "forgetting/accuracy": score}
        study.run("full", seed, metrics=metrics, counts=counts, labels=list("0123456789"))
    built = table(study, metrics="val/accuracy")
    assert built.rows[0]["outliers"] == {2: "at chance"} and "test examples" not in built.caption
    assert table(study, metrics="forgetting/accuracy").rows[0]["outliers"] == {2: "far below"}


def test_a_missing_baseline_comes_with_its_command(study) -> None:
    study.runs("full", BASE)
    study.runs("lora", BASE)
    study.runs("lora", BASE, train_size=10)
    caption = table(study).caption
    assert "there are no scratch runs, so there is no gain. This makes it: tlx train -m model=tiny_vision" in caption
    assert "seed=0,1,2,3,4 (and 1 more such cell)" in caption, "three cells have two baselines"
    study.runs("scratch", BASE, train_size=10)
    caption = table(study).caption
    assert "no scratch cell equals tiny_vision × full" in caption and "strategy=scratch dataset=digits" in caption
    assert "more such cell" not in caption


def test_budgets_of_what_takes_no_steps(study) -> None:
    """A solver's iterations are no epochs: each of them sees all examples, and the last changes nothing."""
    study.runs("full", BASE, counts={"train_labels": 20, "epochs": 30})
    config = {"strategy.solver": {"_target_": "tlx.probes.logistic.Logistic"}}
    study.runs("logistic_probe", BASE, counts={"train_labels": 20, "epochs": 111}, config=config)
    assert "mix budgets" not in table(study).caption


@pytest.mark.parametrize(
    ("scratch", "ratio"),
    [([0.001, 0.002, 0.001, 0.0, 0.001], None), ([0.3, -0.2, 0.1, -0.1, 0.05], None), (BASE, (0.8 / 0.7))],
)
def test_a_ratio_over_nothing_is_none(study, scratch, ratio) -> None:
    for seed, score in enumerate(scratch):
        study.run("scratch", seed, metrics={"test/matthews": score}, directions={"matthews": "higher"})
        study.run("full", seed, metrics={"test/matthews": 0.8}, directions={"matthews": "higher"})
    found = table(study, metrics="matthews").rows[1]["transfer_ratio"]
    assert found == (None if ratio is None else pytest.approx(ratio))


def sitting(start: float, end: float, pid: int, host: str = "here") -> dict:
    started, ended = (f"2026-01-01T00:{int(t) // 60:02d}:{t % 60:06.3f}+00:00" for t in (start, end))
    return {"started": started, "ended": ended, "pid": pid, "host": host}


def test_runs_at_once(study) -> None:
    """Two minutes of one run; in the second of them two others, done by one process, and one on another machine."""
    study.run("full", 0, sittings=[sitting(0, 120, 1)])
    study.run("full", 1, sittings=[sitting(60, 90, 2)])
    study.run("full", 2, sittings=[sitting(70, 120, 2)])
    study.run("full", 3, sittings=[sitting(60, 120, 1, "there")])
    study.run("full", 4)
    study.run("full", 5, sittings=[{"started": "2026-01-01T00:00:00+00:00", "ended": None, "host": "here", "pid": 9}])
    found = runs_at_once(collect(study.folder))
    assert found == [pytest.approx(1.5), pytest.approx(2), pytest.approx(2), pytest.approx(1), None, None]


def test_quiet_and_busy_runs(study) -> None:
    """Seconds of runs that shared their cores with three others are no costs of a method."""
    for seed, score in enumerate(BASE[:4]):
        study.run("scratch", seed, score, sittings=[sitting(100 * seed, 100 * seed + 90, 1)])
        study.run("full", seed, score, sittings=[sitting(1000, 1090, 10 + seed)])
    assert (
        "Warning: seconds are of quieter and busier machines: 4.0 runs at once in tiny_vision × full × digits × "
        "2_per_class, 1.0 in tiny_vision × scratch × digits × 2_per_class." in table(study).caption
    )
    alike = study.beside("alike")
    for seed, score in enumerate(BASE[:4]):
        for place, strategy in enumerate(("scratch", "full")):
            alike.run(strategy, seed, score, sittings=[sitting(100 * seed, 100 * seed + 90, place)])
    assert "busier" not in table(alike).caption
