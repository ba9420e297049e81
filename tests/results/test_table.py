"""The table: a row is a cell, gains are paired, nothing that differs is averaged."""

import json

import pytest

from tlx.errors import UserError
from tlx.results import build_table, collect, list_runs, render, summary

KEYS = (
    "model strategy dataset train_size mean std n gain gain_low gain_high "
    "forgetting trainable_share seconds failed missing"
)


def table(study, **options):
    return build_table(collect(study.folder), **options)


def named(table) -> dict[str, dict]:
    return {row["strategy"]: row for row in table.rows}


def test_the_numbers_by_hand(study) -> None:
    study.runs("scratch", [0.5, 0.6, 0.5], seconds={"total": 2.0})
    for seed, score in enumerate([0.6, 0.8, 0.8]):
        metrics = {"test/accuracy": score, "forgetting/accuracy": 0.1 * seed, "forgetting/loss": 9.0}
        study.run("full", seed, metrics=metrics, counts={"trainable_share": 0.25}, seconds={"total": 1.0 + seed**2})
    study.run("full", 3, status="failed")
    study.run("full", 4, status="missing")
    study.run("full", 5, status="running")
    study.run("full", 6, status="interrupted")
    study.plan()
    built = table(study)
    assert [row["strategy"] for row in built.rows] == ["scratch", "full"]
    assert set(KEYS.split()) <= built.rows[0].keys()
    scratch, full = built.rows
    assert (scratch["mean"], scratch["std"], scratch["n"]) == (
        pytest.approx(1.6 / 3),
        pytest.approx(0.1 / 3**0.5),
        3,
    )
    assert scratch["gain"] is scratch["gain_low"] is scratch["transfer_ratio"] is scratch["forgetting"] is None
    assert full["mean"] == pytest.approx(2.2 / 3)
    assert full["gain"] == pytest.approx(0.2)
    assert full["gain_low"] == pytest.approx(-0.04841377)
    assert full["gain_high"] == pytest.approx(0.44841377)
    assert full["transfer_ratio"] == pytest.approx(2.2 / 1.6)
    assert full["forgetting"] == pytest.approx(0.1)
    assert full["trainable_share"] == 0.25
    assert full["seconds"] == 2.0  # the median of 1, 2 and 5
    assert (full["failed"], full["missing"], full["n"], full["gain_n"]) == (1, 3, 3, 3)
    assert (full["model"], full["dataset"], full["train_size"]) == ("tiny_vision", "digits", "2_per_class")
    assert built.keys == ["model", "strategy", "dataset", "train_size"]


def test_one_seed_has_no_spread_and_common_seeds_make_the_gain(study) -> None:
    study.runs("scratch", [0.5, 0.6])
    study.run("full", 1, 0.9)
    row = named(table(study))["full"]
    assert (row["std"], row["n"], row["gain"], row["gain_low"]) == (None, 1, pytest.approx(0.3), None)
    assert "the seeds of tiny_vision × full × digits × 2_per_class and of the baseline differ" in table(study).caption


def test_lower_is_better_turns_the_gain_and_has_no_ratio(study) -> None:
    for seed, (a, b) in enumerate([(2.0, 1.0), (3.0, 1.5)]):
        study.run("scratch", seed, metrics={"test/loss": a})
        study.run("full", seed, metrics={"test/loss": b})
    row = named(table(study, metrics="loss"))["full"]
    assert row["gain"] == pytest.approx(1.25)
    assert row["transfer_ratio"] is None
    assert "lower is better" in table(study, metrics="loss").caption


def test_a_direction_nobody_stated_gives_no_gain(study) -> None:
    study.run("scratch", 0, metrics={"test/odd": 1.0})
    study.run("full", 0, metrics={"test/odd": 2.0})
    built = table(study, metrics=["test/odd"])
    assert named(built)["full"]["gain"] is None
    assert "do not say whether higher or lower test/odd" in built.caption


def test_seed_zero_and_null_scores(study) -> None:
    study.runs("scratch", [0.5, None, 0.7])
    row = table(study).rows[0]
    assert (row["mean"], row["n"]) == (pytest.approx(0.6), 2)
    assert "no finite test/accuracy" in table(study).caption


def test_a_strategy_whose_every_run_diverged_is_not_passed_over(study) -> None:
    study.runs("scratch", [0.5, 0.6, 0.7])
    study.runs("full", [None, None, None])
    built = table(study)
    assert named(built)["full"]["mean"] is None
    assert "no completed run of tiny_vision × full × digits × 2_per_class has a finite test/accuracy." in built.caption


def test_nan_of_another_program_is_no_score(study) -> None:
    folder = study.run("full", 0, 0.5)
    study.run("full", 1, 0.7)
    record = folder / "record.json"
    record.write_text(record.read_text().replace('"test/accuracy": 0.5', '"test/accuracy": NaN'))
    row = table(study).rows[0]
    assert (row["mean"], row["n"]) == (0.7, 1)


def test_several_metrics(study) -> None:
    for strategy in ("scratch", "full"):
        for seed in (0, 1):
            study.run(strategy, seed, 0.5, metrics={"test/macro_f1": 0.25 + seed / 2})
    built = table(study, metrics="accuracy,test/macro_f1")
    assert built.metrics == ["test/accuracy", "test/macro_f1"]
    row = built.rows[1]
    assert (row["mean"], row["test/macro_f1.mean"], row["test/macro_f1.n"]) == (0.5, 0.5, 2)


def test_settings_that_vary_become_keys_and_rows(study) -> None:
    for lr in (0.1, 0.001, 0.01):
        study.runs("full", [lr, lr + 0.1], config={"optimizer.lr": lr})
    built = table(study)
    assert built.keys[4:] == ["optimizer.lr"]
    assert [row["optimizer.lr"] for row in built.rows] == [0.001, 0.01, 0.1]
    assert [row["n"] for row in built.rows] == [2, 2, 2]


def test_what_follows_from_the_choices_is_not_shown(study) -> None:
    study.runs("scratch", [0.5], config={"optimizer.lr": 0.01})
    study.runs("full", [0.5], config={"scheduler": {"name": "slanted", "cut": 0.1}})
    study.runs("full", [0.5], dataset="letters", config={"dataset.monitor": "macro_f1"})
    study.runs("full", [0.5], train_size=100)
    assert table(study).keys[4:] == []


def test_a_choice_of_another_group_stands_for_its_settings(study) -> None:
    study.runs("full", [0.5, 0.6], choices={"optimizer": "adamw"})
    study.runs("full", [0.5, 0.6], choices={"optimizer": "sgd"}, config={"optimizer": {"name": "sgd", "lr": 0.1}})
    built = table(study)
    assert built.keys[4:] == ["optimizer"]
    assert [row["optimizer"] for row in built.rows] == ["adamw", "sgd"]


def test_what_the_identity_leaves_out_is_no_key(study) -> None:
    """Paths and loggers vary between runs; a subset's seed follows the seed, even where no cell has two seeds."""
    study.run("full", 0, config={"paths.runs": "a"}, train_size=10)
    study.run("full", 1, config={"logger.name": "wandb", "optimizer.lr": 0.5}, train_size=10)
    assert table(study).keys[4:] == ["optimizer.lr"]


def test_cells_that_look_the_same_show_their_fingerprints_or_hash(study) -> None:
    study.run("full", 0, cell="one")
    study.run("full", 0, cell="two", fingerprints={"data": "d1"})
    built = table(study)
    assert built.keys[4:] == ["fingerprints.data"]
    assert [row["fingerprints.data"] for row in built.rows] == ["d0", "d1"]
    study.run("full", 0, cell="two")
    assert [row["cell"] for row in table(study).rows] == ["one", "two"]


def test_what_was_measured_splits_no_row_not_even_of_earlier_versions(study) -> None:
    """One more metric made another identity there; the training is the same."""
    more = {"dataset.metrics": ["accuracy", "auroc"], "trainer.eval_batch_size": 7, "measures": ["drift"]}
    study.runs("scratch", [0.5, 0.5, 0.5])
    study.runs("full", [0.7, 0.8])
    study.run("full", 1, 0.8, config=more, metrics={"test/auroc": 0.9})
    study.run("full", 2, 0.6, config=more, metrics={"test/auroc": 0.7})
    study.run("full", 3, status="missing", config=more | {"dataset.metrics": ["auroc"]})
    study.plan()
    rows = named(table(study))
    assert rows.keys() == {"scratch", "full"}
    assert (rows["full"]["mean"], rows["full"]["n"], rows["full"]["missing"]) == (pytest.approx(0.7), 3, 1)
    by_auroc = named(table(study, metrics="test/auroc"))["full"]
    assert (by_auroc["mean"], by_auroc["n"]) == (pytest.approx(0.8), 2)
    # What is trained still makes a row of its own, and so does what it is trained on.
    study.run("full", 0, 0.9, config=more | {"optimizer.lr": 0.5})
    study.run("full", 0, 0.9, config={"measures": ["recovery"]}, fingerprints={"data": "d1"})
    assert len(table(study).rows) == 4


def test_the_same_seed_twice_in_a_cell_is_refused(study) -> None:
    study.run("full", 0)
    study.run("full", 0, identity="another")
    with pytest.raises(UserError, match="the same cell and the same seed 0"):
        table(study)


def test_every_row_has_the_baseline_of_its_own_kind(study) -> None:
    for size, base in ((10, 0.5), (50, 0.7)):
        for dataset, more in (("digits", 0.0), ("letters", 0.1)):
            study.runs("scratch", [base, base], train_size=size, dataset=dataset)
            study.runs("full", [base + 0.1 + more] * 2, train_size=size, dataset=dataset)
    study.runs("full", [0.9, 0.9], train_size=50, config={"dataset.split_seed": 1})
    built = table(study)
    gains = {
        (r["train_size"], r["dataset"], r["dataset.split_seed"]): r["gain"]
        for r in built.rows
        if r["strategy"] == "full"
    }
    assert gains == {
        (10, "digits", 0): pytest.approx(0.1),
        (50, "digits", 0): pytest.approx(0.1),
        (10, "letters", 0): pytest.approx(0.2),
        (50, "letters", 0): pytest.approx(0.2),
        (50, "digits", 1): None,
    }
    assert "no scratch cell equals tiny_vision × full × digits × 50 in everything" in built.caption


def test_baselines_may_differ_in_the_strategys_own_settings_only(study) -> None:
    study.runs("scratch", [0.5, 0.5], config={"optimizer.lr": 0.01, "scheduler.warmup": 0.0, "objective": None})
    study.runs("mixout", [0.7, 0.7], config={"objective.mixout.p": 0.9})
    study.runs("full", [0.7, 0.7], config={"optimizer.betas": [0.5, 0.5]})
    rows = named(table(study))
    assert rows["mixout"]["gain"] == pytest.approx(0.2)
    assert rows["full"]["gain"] is None


def test_baselines_are_made_of_the_same_data_whatever_the_weights(study) -> None:
    study.runs("scratch", [0.5, 0.5], fingerprints={"data": "d0", "preprocessing": ""})
    study.runs("scratch", [0.3, 0.3], fingerprints={"data": "d1"}, cell="other")
    study.runs("full", [0.7, 0.7])
    rows = [row for row in table(study).rows if row["strategy"] == "full"]
    assert [row["gain"] for row in rows] == [pytest.approx(0.2)]


def test_alike_networks_from_other_files_have_their_own_baselines(study) -> None:
    for file, base in (("a", 0.3), ("b", 0.5)):
        for strategy, score in (("scratch", base), ("full", 0.7)):
            prints = {"preprocessing": file, "weights": f"{strategy}-{file}"}
            study.run(strategy, 0, score, fingerprints=prints, cell=f"{strategy}-{file}")
    built = table(study)
    gains = {row["fingerprints.preprocessing"]: row["gain"] for row in built.rows if row["strategy"] == "full"}
    assert gains == {"a": pytest.approx(0.4), "b": pytest.approx(0.2)}


def test_several_baselines_the_one_with_the_same_rate_or_none(study) -> None:
    for lr, score in ((0.1, 0.3), (0.01, 0.5)):
        study.runs("scratch", [score, score], config={"optimizer.lr": lr})
    study.runs("full", [0.6, 0.6], config={"optimizer.lr": 0.01})
    study.runs("full", [0.6, 0.6], config={"optimizer.lr": 0.001})
    built = table(study)
    gains = {row["optimizer.lr"]: row["gain"] for row in built.rows if row["strategy"] == "full"}
    assert gains == {0.01: pytest.approx(0.1), 0.001: None}
    assert "--tune-over optimizer.lr picks one" in built.caption
    assert "the baseline is" in built.caption


def test_another_baseline_and_none(study) -> None:
    study.runs("full", [0.5, 0.6])
    study.runs("lora", [0.6, 0.7])
    assert "no scratch runs, so there is no gain" in table(study).caption
    assert named(table(study, baseline="full"))["lora"]["gain"] == pytest.approx(0.1)
    bare = table(study, baseline="none")
    assert bare.baseline is None and "gain" not in bare.caption
    with pytest.raises(UserError, match=r"unknown baseline 'ful'. Did you mean 'full'"):
        table(study, baseline="ful")


def test_a_study_without_a_completed_run_still_has_a_table(study) -> None:
    study.run("full", 0, status="missing")
    study.run("full", 1, status="failed")
    study.plan()
    row = table(study).rows[0]
    assert (row["mean"], row["n"], row["failed"], row["missing"], row["seconds"]) == (None, 0, 1, 1, None)


def test_warnings(study) -> None:
    study.runs("scratch", [0.5, 0.5, 0.5])
    study.run("full", 0, 0.6, versions={"code": "def", "dirty": True}, machine={"threads": 8})
    study.run("full", 1, 0.7, counts={"test_reads": 2})
    caption = table(study).caption
    assert (
        "all seeds have the same test/accuracy in tiny_vision × scratch × digits × 2_per_class, below its ceiling"
        in caption
    )
    assert "mix code versions (abc × 4, def × 1); within tiny_vision × full × digits × 2_per_class." in caption
    assert "mix thread counts (2 × 4, 8 × 1)" in caption
    assert "mix devices" not in caption
    assert "1 runs were made by code with uncommitted changes" in caption
    assert "read more than once, or before training ended, in tiny_vision × full" in caption


def test_a_grid_keeps_its_order_where_places_are_empty(study) -> None:
    study.run("full", 0, train_size=10)
    study.run("full", 0, train_size=2, model="other")
    study.run("scratch", 0, train_size=10, model="other")
    grid = table(study, rows="model,strategy", columns="train_size").pivot
    assert grid is not None
    assert grid.down_values == [("other", "scratch"), ("other", "full"), ("tiny_vision", "full")]
    assert grid.across_values == [(2,), (10,)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metrics": "acuracy"}, "unknown metric 'test/acuracy'. Did you mean 'test/accuracy'"),
        ({"metrics": "f1"}, "unknown metric 'test/f1'.*Allowed: test/accuracy, val/accuracy"),
        ({"group_by": "optimiser.lr"}, "unknown setting for --group-by 'optimiser.lr'. Did you mean 'optimizer.lr'"),
        ({"rows": "strategie"}, "Did you mean 'strategy'"),
        ({"columns": "seed"}, "varies from seed to seed"),
        ({"group_by": "dataset.subset_seed"}, "varies from seed to seed"),
        ({"tune_over": "lr"}, "unknown setting for --tune-over"),
        ({"metrics": [""]}, "--metric was given and is empty"),
        ({"group_by": ""}, "--group-by was given and is empty"),
        ({"tune_over": ","}, "--tune-over was given and is empty"),
        ({"rows": " "}, "--rows was given and is empty"),
        ({"columns": ""}, "--columns was given and is empty"),
        ({"rows": "strategy", "columns": "strategy"}, "both name strategy"),
    ],
)
def test_bad_names(study, options: dict, message: str) -> None:
    study.runs("full", [0.5, 0.6])
    with pytest.raises(UserError, match=message):
        table(study, **options)


def test_nothing_to_tabulate(study) -> None:
    with pytest.raises(UserError, match="no runs"):
        build_table([])
    (study.run("full", 0) / "record.json").write_text("{")
    with pytest.raises(UserError, match=r"no runs .*record\.json is damaged"):
        table(study)


def test_grid(study) -> None:
    for size in ("10_per_class", "2_per_class"):
        study.runs("scratch", [0.5, 0.6], train_size=size)
    study.runs("full", [0.75], train_size="2_per_class")
    built = table(study, rows="strategy", columns="train_size")
    grid = built.pivot
    assert grid is not None
    assert grid.down_values == [("scratch",), ("full",)]
    assert grid.across_values == [("2_per_class",), ("10_per_class",)]
    assert [[row and row["n"] for row in line] for line in grid.places] == [[2, 2], [1, None]]
    assert table(study, columns="train_size").pivot == grid
    assert json.loads(render(built, "json"))["grid"]["places"] == [[0, 2], [1, None]]


def test_a_place_never_holds_two_cells(study) -> None:
    study.runs("full", [0.5], config={"optimizer.lr": 0.1})
    study.runs("full", [0.5], config={"optimizer.lr": 0.2})
    with pytest.raises(UserError, match=r"differ in optimizer.lr and are never averaged"):
        table(study, rows="strategy", columns="train_size")


def test_list_of_runs(study) -> None:
    study.run("full", 0, seconds={"total": 4.5})
    study.run("full", 1, status="failed", error={"type": "ValueError", "message": "bad\nworse", "traceback": "…"})
    study.run("full", 2, status="missing")
    study.plan()
    runs = collect(study.folder)
    listed = list_runs(runs)
    assert listed["total"] == 3
    assert {state: n for state, n in listed["counts"].items() if n} == {"completed": 1, "failed": 1, "missing": 1}
    assert [run["error"] for run in listed["runs"]] == [None, "ValueError: bad", None]
    assert [run["seconds"] for run in listed["runs"]] == [4.5, 3.0, None]
    assert summary(runs) == "1 of 3 runs done, 1 failed, 1 missing"
