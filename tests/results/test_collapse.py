"""Runs that learnt nothing are named, and no sure gain is built on them; failed seeds are no seeds that never were."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.results import build_table, collect, compare, render
from tlx.results.collapse import GUESSING, MAJORITY, ONE_CLASS, predictions_summary
from tlx.results.findings import findings
from tlx.results.report.sentences import verdict
from tlx.results.seed_warnings import unseen_rate

BASE = [0.70, 0.74, 0.66, 0.71, 0.69]
TEN = list("0123456789")


def table(study, **options):
    return build_table(collect(study.folder), **options)


def summary(examples=1000, classes=2, majority=0.9, predicted=2, most=0.6) -> dict:
    numbers = {"examples": examples, "classes": classes, "majority": majority}
    return numbers | {"predicted_classes": predicted, "most_predicted": most}


def cell(study, strategy: str, scores, **more) -> None:
    study.runs(strategy, scores, counts={"test_labels": 1000}, **more)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_the_summary_of_predictions(pairs) -> None:
    labels, predicted = (np.array(side) for side in zip(*pairs, strict=True))
    found = predictions_summary(labels, predicted)
    assert found["examples"] == len(pairs) and found["classes"] == len(set(labels.tolist()))
    assert found["majority"] == max(np.mean(labels == c) for c in labels)
    assert found["predicted_classes"] == len(set(predicted.tolist()))
    assert found["most_predicted"] == max(np.mean(predicted == c) for c in predicted)
    json.dumps(found, allow_nan=False)


def test_the_majority_is_no_result_however_high(study) -> None:
    """Nine of ten examples have one label: 0.91 is guessing, 0.95 is not."""
    cell(study, "scratch", [0.90, 0.91, 0.90, 0.91, 0.90], predictions=summary())
    cell(study, "full", [0.95, 0.96, 0.955, 0.96, 0.95], predictions=summary())
    built = table(study)
    scratch, full = built.rows
    assert scratch["collapsed"] == dict.fromkeys(range(5), MAJORITY) and full["collapsed"] is None
    assert full["verdict"] == "helps" and full["baseline_collapsed"] is True
    assert "§ collapsed runs, kept in every number: tiny_vision × scratch × digits × 2_per_class all 5 seeds" in (
        built.caption
    )
    assert "the baseline of tiny_vision × full × digits × 2_per_class collapsed" in built.caption
    assert "0.904 ± 0.005 (5)§" in render(built) and r"$^{\S}$" in render(built, "latex")
    said = verdict(findings(collect(study.folder)))
    assert "that is sure" not in said and "over a baseline that collapsed" in said


def test_predictions_of_one_class_balanced_or_not(study) -> None:
    for seed, score in enumerate(BASE):
        stuck = seed in (1, 3)
        study.run(
            "full", seed, score, counts={"test_labels": 1000}, predictions=summary(majority=0.6, predicted=2 - stuck)
        )
    (row,) = table(study).rows
    assert row["collapsed"] == {1: ONE_CLASS, 3: ONE_CLASS}
    assert "2_per_class seeds 1, 3 of 5 (predicts one class only)" in table(study).caption
    lower = table(study, metrics="val/accuracy")
    assert lower.rows[0]["collapsed"] is None, "predictions are of the test part"


def test_a_test_part_of_one_class_is_no_collapse(study) -> None:
    cell(study, "full", BASE, predictions=summary(classes=1, majority=1.0, predicted=1, most=1.0))
    assert table(study).rows[0]["collapsed"] is None


def test_metrics_have_guesses_of_their_own(study) -> None:
    """0.52 in balanced accuracy is guessing among two classes, 0.7 is not, though both lie below the majority's 0.9."""
    for seed in range(3):
        metrics = {"test/accuracy": 0.97, "test/balanced_accuracy": 0.52, "test/macro_f1": 0.7}
        study.run("full", seed, metrics=metrics, predictions=summary(), directions={"balanced_accuracy": "higher"})
    assert table(study).rows[0]["collapsed"] is None
    assert table(study, metrics="balanced_accuracy").rows[0]["collapsed"] == dict.fromkeys(range(3), GUESSING)
    assert table(study, metrics="macro_f1").rows[0]["collapsed"] is None


def test_a_sure_gain_is_one_over_a_baseline_that_learnt(study) -> None:
    for size, base in (("2_per_class", [0.5, 0.51, 0.5, 0.49, 0.5]), ("10_per_class", BASE)):
        more = {"train_size": size, "predictions": summary(majority=0.5), "counts": {"test_labels": 1000}}
        study.runs("scratch", base, **more)
        study.runs("full", [score + 0.1 + 0.001 * i for i, score in enumerate(base)], **more)
    rows = {(row["strategy"], row["train_size"]): row for row in table(study).rows}
    assert rows["full", "2_per_class"]["verdict"] == rows["full", "10_per_class"]["verdict"] == "helps"
    said = verdict(findings(collect(study.folder)))
    assert "Largest gain that is sure: +0.102" in said and "10_per_class" in said.partition("sure: ")[2]
    assert "without 1 row over a baseline that collapsed" in said


def test_an_earlier_record_is_read_with_the_predictions_beside_it(study) -> None:
    for seed in range(3):
        folder = study.run("full", seed, 0.8, counts={"test_labels": 10})
        frame = pd.DataFrame({"id": list("abcdefghij"), "label": [0] * 8 + [1] * 2, "predicted": [0] * 10})
        frame.to_parquet(folder / "predictions.parquet")
    built = table(study)
    assert built.rows[0]["collapsed"] == dict.fromkeys(range(3), ONE_CLASS) and "Not known of" not in built.caption
    (folder / "predictions.parquet").write_bytes(b"no parquet")
    from tlx.results import collapse

    collapse._read.cache_clear()
    assert "Not known of 1 of 3 runs, whose records are of an earlier version" in table(study).caption


def test_an_earlier_record_alone_says_what_it_cannot(study) -> None:
    cell(study, "full", [0.9, 0.91, 0.92], labels=TEN)
    cell(study, "lora", [0.1, 0.11, 0.115], labels=TEN)
    built = table(study, baseline="full")
    assert [row["collapsed"] for row in built.rows] == [None, dict.fromkeys(range(3), GUESSING)]
    assert "Not known of 6 of 6 runs" in built.caption and "how common the commonest label is" in built.caption


def test_a_guess_at_the_reason_is_offered_where_it_is_so(study) -> None:
    def caption(scores, **more) -> str:
        one = study.beside(f"study{len(list(study.folder.parent.iterdir())) if study.folder.parent.exists() else 0}")
        one.runs("full", scores, **more)
        return table(one).caption

    ceiling = caption([1.0] * 4, predictions=summary())
    assert "2_per_class: 1, its ceiling." in ceiling and "replicates" not in ceiling
    below = caption([0.97] * 4, predictions=summary())
    assert "ceiling, and their weights differ or are not known" in below
    again = caption([0.97] * 4, predictions=summary(), checkpoint="abc")
    assert "seeds are no replicates" in again and "(1 of 4 runs are of their own)" in again and "below its" not in again
    stuck = caption([0.9] * 4, predictions=summary(predicted=1))
    assert "predicts one class only" in stuck and "the same test/accuracy" not in stuck


def test_only_a_score_has_a_ceiling(study) -> None:
    """A loss of 1 is no ceiling, and a frozen backbone forgets nothing, as it must."""
    for seed in range(4):
        study.run("full", seed, metrics={"test/loss": 1.0})
    caption = table(study, metrics="loss").caption
    assert "ceiling" not in caption and "all seeds have the same test/loss in tiny_vision × full" in caption
    kept = study.beside("kept")
    metrics, directions = {"test/accuracy": 0.9, "forgetting/accuracy": 0.0}, {"forgetting/accuracy": "lower"}
    for strategy, trainable in (("feature_extraction", ["head"]), ("full", ["stem", "head"])):
        plan = {"phases": [{"start": 0, "trainable": trainable}]}
        for seed in range(4):
            kept.run(strategy, seed, metrics=metrics, directions=directions, plan=plan)
    caption = table(kept, metrics="forgetting/accuracy").caption
    assert "all seeds have the same forgetting/accuracy in tiny_vision × full × digits × 2_per_class, and" in caption
    assert "ceiling" not in caption


def test_a_solver_on_the_same_examples_has_no_replicates(study) -> None:
    """Its weights may differ in the last bits; its examples do not."""
    config = {"strategy.solver": {"_target_": "tlx.probes.logistic.Logistic"}}
    for seed in range(3):
        study.run("logistic_probe", seed, 0.9, config=config, split="one", checkpoint=f"c{seed}")
        study.run("full", seed, 0.9 + seed / 100, split="one", checkpoint=f"f{seed}")
    caption = table(study).caption
    assert "seeds are no replicates in tiny_vision × logistic_probe × digits × 2_per_class:" in caption
    other = study.beside("other")
    for seed in range(3):
        other.run("logistic_probe", seed, 0.9 + seed / 100, config=config, split=f"{seed}", checkpoint=f"c{seed}")
    assert "replicates" not in table(other).caption


@pytest.mark.parametrize(("n", "rate"), [(1, 0.95), (5, 0.4507), (10, 0.2589), (300, 0.00994)])
def test_what_seeds_cannot_see(n: int, rate: float) -> None:
    assert unseen_rate(n) == pytest.approx(rate, abs=5e-5)
    assert (1 - unseen_rate(n)) ** n == pytest.approx(0.05)


def test_what_seeds_cannot_see_is_said(study) -> None:
    cell(study, "full", BASE)
    assert "5 seeds without one leave open that up to 45 % of runs collapse or fail (95 %)." in table(study).caption


def test_what_few_and_many_seeds_cannot_see(study) -> None:
    cell(study, "full", BASE)
    cell(study, "lora", BASE[:2])
    said = "2 to 5 seeds without one leave open that up to 78 % (at 2 seeds) and up to 45 % (at 5) of runs collapse or"
    assert said in table(study).caption


def fail(study, strategy: str, seed: int, kind: str = "Diverged", **more) -> Path:
    return study.run(strategy, seed, status="failed", error={"type": kind, "message": "nan"}, labels=TEN, **more)


def with_survivors(study, kind: str = "Diverged", labels=TEN) -> None:
    study.runs("scratch", [0.50, 0.52, 0.48, 0.51, 0.49, 0.50], labels=labels)
    study.runs("full", [0.60, 0.625, 0.58, 0.615], labels=labels)
    for seed in (4, 5):
        fail(study, "full", seed, kind)


def test_survivors_alone_do_not_help(study) -> None:
    with_survivors(study)
    built = table(study)
    row = built.rows[1]
    assert row["gain"] == pytest.approx(0.1025) and row["gain_low"] > 0 and row["verdict"] == "no evidence"
    # (0.41 + (0.1 − 0.49) + (0.1 − 0.5)) ÷ 6
    assert row["gain_itt"] == pytest.approx(-0.38 / 6) and row["gain_itt_n"] == 6
    assert row["gain_itt_low"] < row["gain_itt"] < row["gain_itt_high"]
    assert "seeds failed in tiny_vision × full × digits × 2_per_class seeds 4, 5 of 6 (Diverged)" in built.caption
    assert "failed = guessing" in render(built)
    (pair,) = compare(collect(study.folder), "full", "scratch").pairs
    assert pair.verdict == "not distinguishable"


def test_a_gain_that_outweighs_its_failures_stands(study) -> None:
    """Against a baseline at chance a failure costs nothing, and the many seeds that learnt decide."""
    n = 12
    study.runs("scratch", [0.11 + 0.001 * (i % 3) for i in range(n)], labels=TEN)
    study.runs("full", [0.60 + 0.01 * (i % 3) for i in range(n - 1)], labels=TEN)
    fail(study, "full", n - 1)
    row = table(study).rows[1]
    assert row["verdict"] == "helps" and row["gain_itt_low"] > 0


def test_where_guessing_is_not_known_survivors_do_not_help_either(study) -> None:
    for seed in range(4):
        study.run("scratch", seed, metrics={"test/loss": 1.0 + seed / 100})
        study.run("full", seed, metrics={"test/loss": 0.5 + seed / 90})
    study.run("scratch", 4, metrics={"test/loss": 1.0})
    fail(study, "full", 4)
    row = table(study, metrics="loss").rows[1]
    assert row["gain"] > 0 and row["verdict"] == "no evidence" and row["gain_itt"] is None


def test_a_loss_that_is_no_number_is_a_failed_seed(study) -> None:
    study.runs("scratch", [0.50, 0.52, 0.48, 0.51, 0.49], labels=TEN)
    study.runs("full", [0.60, 0.625, 0.58, 0.615, None], labels=TEN)
    row = table(study).rows[1]
    assert row["verdict"] == "no evidence" and row["gain_itt_n"] == 5


def test_a_run_ended_from_outside_is_no_failure_of_the_method(study) -> None:
    with_survivors(study, "Killed")
    row = table(study).rows[1]
    assert row["verdict"] == "helps" and row["gain_itt"] is None


def test_a_baseline_of_survivors_does_not_win(study) -> None:
    study.runs("scratch", [0.60, 0.625, 0.58, 0.615], labels=TEN)
    for seed in (4, 5):
        fail(study, "scratch", seed)
    study.runs("full", [0.50, 0.52, 0.48, 0.51, 0.49, 0.50], labels=TEN)
    row = table(study).rows[1]
    assert row["gain_high"] < 0 and row["verdict"] == "no evidence" and row["gain_itt"] == pytest.approx(0.38 / 6)


def test_no_row_is_worse_than_survivors(study) -> None:
    """Three seeds of five at 0.96: the two that failed are not asked, so that nothing is sure of the others."""
    study.runs("scratch", [0.30, 0.32, 0.31, 0.33, 0.29], labels=TEN)
    study.runs("feature_extraction", [0.70, 0.72, 0.71, 0.73, 0.70], labels=TEN)
    for seed, score in enumerate((0.95, 0.96, 0.97), start=2):
        study.run("full", seed, score, labels=TEN)
    for seed in (0, 1):
        fail(study, "full", seed)

    def standing() -> dict:
        return {row["strategy"]: row["against_best"] for row in table(study, baseline="none").rows}

    near = "not distinguishable"
    assert standing() == {"full": "best", "feature_extraction": near, "scratch": "worse"}, "by feature_extraction"
    fail(study, "feature_extraction", 5)
    assert standing() == {"full": "best", "feature_extraction": near, "scratch": near}
    for strategy in ("scratch", "full"):  # what failed everywhere tells no two of them apart
        fail(study, strategy, 5)
    assert standing()["scratch"] == "worse"


def test_survivors_are_worse_than_what_never_failed(study) -> None:
    with_survivors(study)
    study.runs("lora", [0.90, 0.92, 0.885, 0.92, 0.90, 0.91], labels=TEN)
    found = {row["strategy"]: row["against_best"] for row in table(study, baseline="none").rows}
    assert found == {"lora": "best", "full": "worse", "scratch": "worse"}


def test_a_column_is_spoken_of_where_it_is(study) -> None:
    with_survivors(study)
    said = "The column beside the gain takes them at the score of guessing."
    assert said in table(study).caption
    grid = table(study, rows="strategy", columns="train_size")
    assert "seeds failed in" in grid.caption and said not in grid.caption
    other = study.beside("other")
    for seed in range(4):
        other.run("scratch", seed, metrics={"test/loss": 1.0 + seed / 100})
        other.run("full", seed, metrics={"test/loss": 0.5 + seed / 90})
    fail(other, "full", 4)
    caption = table(other, metrics="loss").caption
    assert "seeds failed in" in caption and said not in caption


def test_a_baseline_that_failed_is_not_asked_for_again(study) -> None:
    study.runs("full", BASE, labels=TEN)
    for seed in range(5):
        fail(study, "scratch", seed)
    caption, answer = table(study).caption, verdict(findings(collect(study.folder)))
    assert (
        "all runs of the baseline of tiny_vision × full × digits × 2_per_class failed, so there is no gain" in caption
    )
    assert "gains use the common ones" not in caption
    assert answer == "There is no answer, as all 5 runs of scratch failed: see why, and run scratch again."


def test_a_baseline_without_the_metric_or_the_seeds_gives_no_gain(study) -> None:
    for seed in range(3):
        study.run("full", seed, metrics={"test/accuracy": 0.7 + seed / 100, "forgetting/accuracy": 0.1 + seed / 100})
        study.run("scratch", seed + 3, 0.5 + seed / 100)
    caption = table(study, metrics="forgetting/accuracy").caption
    full = "tiny_vision × full × digits × 2_per_class"
    assert f"no run of the baseline of {full} has forgetting/accuracy, so there is no gain." in caption
    assert "common ones" not in caption
    answer = verdict(findings(collect(study.folder), "forgetting/accuracy"))
    assert answer == "There is no answer in forgetting/accuracy, which no run of scratch has."
    caption = table(study).caption
    assert f"the seeds of {full} and of the baseline have none in common, so there is no gain." in caption
    planned = study.beside("planned")
    planned.runs("full", BASE)
    planned.run("scratch", 0, status="missing")
    planned.plan()
    assert f"no run of the baseline of {full} has completed, so there is no gain yet." in table(planned).caption
    assert "no run of scratch has completed with" in verdict(findings(collect(planned.folder)))


def test_one_collapsed_seed_is_not_the_whole_baseline(study) -> None:
    more = {"predictions": summary(majority=0.5), "counts": {"test_labels": 1000}}
    study.runs("scratch", [0.70, 0.74, 0.50, 0.71, 0.69], **more)
    study.runs("full", [0.90, 0.93, 0.80, 0.91, 0.89], **more)
    study.runs("lora", [0.80, 0.83, 0.70, 0.80, 0.79], **more)
    built = table(study)
    full = built.rows[1]
    assert (full["baseline_collapsed"], full["baseline_collapsed_n"], full["verdict"]) == (False, 1, "helps")
    rows = "tiny_vision × full × digits × 2_per_class, tiny_vision × lora × digits × 2_per_class"
    assert f"1 of 5 baseline seeds of {rows} collapsed: part of a gain over them says that these failed." in (
        built.caption
    )
    assert "not that transfer helps" not in built.caption
    said = verdict(findings(collect(study.folder)))
    assert "Largest gain that is sure: +0.218" in said and "over a baseline of which 1 of 5 seeds collapsed." in said
    assert "no gain of transfer" not in said


def test_half_of_the_seeds_are_the_baseline(study) -> None:
    more = {"predictions": summary(majority=0.5), "counts": {"test_labels": 1000}}
    study.runs("scratch", [0.70, 0.50, 0.50, 0.71], **more)
    study.runs("full", [0.90, 0.93, 0.80, 0.91], **more)
    built = table(study)
    assert built.rows[1]["baseline_collapsed"] is True
    assert "collapsed, in half of its seeds or more: a gain over it says that the baseline failed" in built.caption
    assert "which makes it no gain of transfer" in verdict(findings(collect(study.folder)))
