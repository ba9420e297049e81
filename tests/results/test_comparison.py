"""One comparison with its tests in words: `tlx table --compare A B` and `r.compare`."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import tlx.results as r
from tlx.cli import main
from tlx.errors import UserError
from tlx.results.comparison_text import render

BASE = [0.70, 0.74, 0.66, 0.71, 0.69]


def compare(study, first: str = "lora", second: str = "full", **options) -> r.Comparison:
    return r.compare(r.collect(study.folder), first, second, **options)


def predictions(folder: Path, hits: list[bool], confident: float = 4.0, groups: list | None = None) -> float:
    """Write predictions of two classes in which `hits` are right, and return their accuracy."""
    labels = np.arange(len(hits)) % 2
    sign = np.where(labels == 1, 1.0, -1.0) * np.where(hits, 1.0, -1.0) * confident / 2
    frame = pd.DataFrame({"id": [f"test/{i}" for i in range(len(hits))], "label": labels})
    frame["predicted"] = (sign > 0).astype(int)
    frame["logits"] = list(np.stack([-sign, sign], axis=1).astype("float32"))
    if groups is not None:
        frame["group"] = groups
    frame.to_parquet(folder / "predictions.parquet")
    return float(np.mean(hits))


def with_predictions(study, strategy: str, hits: np.ndarray, groups: list | None = None, **more) -> None:
    """One run a row of `hits` (seeds, examples)."""
    for seed, row in enumerate(hits.tolist()):
        predictions(study.run(strategy, seed, float(np.mean(row)), **more), row, groups=groups)


def test_an_inverted_published_order_is_not_distinguishable(study) -> None:
    """B was published as better than A by 0.8 points; in these five seeds A is ahead by 0.6."""
    a = [0.912, 0.921, 0.905, 0.917, 0.909]
    study.runs("lora", a)
    study.runs("full", [0.915, 0.901, 0.910, 0.899, 0.909])
    found = compare(study)
    assert np.mean(a) > found.pairs[0].second.mean
    assert found.pairs[0].verdict == "not distinguishable"
    words = str(found)
    assert "tiny_vision × digits × 2_per_class: not distinguishable" in words
    assert "cannot decide at this n (no p below 0.12, 0.05 is needed)" in words  # one of the five pairs is a draw
    assert "with 5 seeds, differences over 2.5 points are found in 80 % of studies, the uncertainty of the" in words
    study.runs("scratch", BASE)
    rows = {row["strategy"]: row for row in r.build_table(r.collect(study.folder), baseline="full").rows}
    assert rows["lora"]["verdict"] == "no evidence"


def test_an_empty_metric_is_none(study) -> None:
    study.runs("full", BASE)
    study.runs("lora", BASE)
    with pytest.raises(UserError, match="--metric was given and is empty"):
        compare(study, metric="")


def test_the_numbers(study) -> None:
    study.runs("full", BASE)
    by = [0.05, 0.04, 0.06, 0.05, 0.07]
    study.runs("lora", [base + d for base, d in zip(BASE, by, strict=True)])
    found = compare(study)
    (pair,) = found.pairs
    assert (found.first, found.second, found.direction, pair.verdict) == ("lora", "full", "higher", "lora is better")
    row = found.frame().iloc[0]
    assert row["difference"] == pytest.approx(0.054) and row["n"] == 5
    assert (row["low"], row["high"]) == (pair.gain.t.low, pair.gain.t.high)
    assert row["cohens_dz"] == pytest.approx(0.054 / np.std(by, ddof=1))
    assert row["p"] == row["p_holm"]
    assert found.frame()["permutation_p"].isna().all()
    assert row["verdict"] == "lora is better"
    assert compare(study, "full", "lora").pairs[0].verdict == "lora is better"
    assert "Holm" not in str(found)
    for said in ("standard deviation (ddof 1), n = 5 paired seeds (0, 1, 2, 3, 4)", "Selection: best (checkpoint with"):
        assert said in str(found)


def test_permutation_where_it_can_decide(study) -> None:
    study.runs("full", [0.5 + i / 100 for i in range(8)])
    study.runs("lora", [0.55 + i / 90 for i in range(8)])
    (pair,) = compare(study).pairs
    assert pair.permutation_p == pair.wilcoxon_p == 2 / 2**8
    assert "paired permutation test p = 0.0078, Wilcoxon's signed ranks p = 0.0078" in str(compare(study))


def test_holm_over_the_pairs(study) -> None:
    for size, by in ((10, 0.1), (50, 0.0)):
        study.runs("full", BASE, train_size=size)
        study.runs("lora", [b + by + i / 100 * (-1) ** i for i, b in enumerate(BASE)], train_size=size)
    found = compare(study)
    assert [pair.settings["train_size"] for pair in found.pairs] == [10, 50]
    assert found.pairs[0].gain.p_holm == pytest.approx(2 * found.pairs[0].gain.t.p)
    assert [pair.verdict for pair in found.pairs] == ["lora is better", "not distinguishable"]
    assert "Holm's correction over 2 comparisons" in str(found)
    assert found.overall is None  # one data set


def test_compare_says_what_the_table_says(study) -> None:
    """One comparison with p = 0.03 was "better" by itself, and "no evidence" in the table it was taken from."""
    rng = np.random.default_rng(0)
    for size in (10, 50):
        study.runs("scratch", BASE, train_size=size)
        for place, name in enumerate("abcdef"):
            noise = rng.normal(0.01 * place, 0.012, 5)
            study.runs(name, [base + float(by) for base, by in zip(BASE, noise, strict=True)], train_size=size)
    runs = r.collect(study.folder)
    words = {"helps": "{0} is better", "hurts": "{1} is better", "no evidence": "not distinguishable"}
    seen = set()
    for baseline in ("scratch", "a"):
        table = r.build_table(runs, baseline=baseline)
        for row in table.rows:
            if row["strategy"] in (baseline, "scratch"):
                continue
            found = compare(study, row["strategy"], baseline)
            pair = next(pair for pair in found.pairs if pair.settings["train_size"] == row["train_size"])
            flat = found.frame().iloc[found.pairs.index(pair)]
            assert pair.verdict == words.get(row["verdict"], row["verdict"]).format(row["strategy"], baseline)
            assert (flat["low_holm"], flat["high_holm"]) == (row["gain_low_holm"], row["gain_high_holm"])
            assert (flat["low"], flat["p_holm"]) == (row["gain_low"], row["gain_p_holm"])
            assert flat["family"] == row["gain_family"] == 12 and flat["detectable"] == row["detectable"]
            assert found.family == f"12 comparisons, all gains over {baseline} in the table of these runs"
            assert f"Holm's correction over {found.family}: p " in str(found)
            seen.add(row["verdict"])
    assert seen == {"helps", "no evidence", "inconclusive after correction"}
    forth, back = compare(study, "f", "scratch"), compare(study, "scratch", "f")
    assert [pair.verdict for pair in forth.pairs] == [pair.verdict for pair in back.pairs]
    assert forth.family == back.family
    assert [pair.gain.p_holm for pair in forth.pairs] == [pair.gain.p_holm for pair in back.pairs]
    narrowed = compare(study, "strategy=f,model=tiny_vision", "strategy=scratch,model=tiny_vision")
    assert [pair.gain.p_holm for pair in narrowed.pairs] == [pair.gain.p_holm for pair in forth.pairs]


def test_test_examples_are_resampled(study) -> None:
    rng = np.random.default_rng(0)
    full = rng.random((5, 300)) < 0.8
    lora = full | (rng.random((5, 300)) < 0.3)
    with_predictions(study, "full", full)
    with_predictions(study, "lora", lora)
    (pair,) = compare(study).pairs
    assert pair.examples is not None and pair.test_labels == 300
    low, high = pair.examples
    gains = (lora.astype(float) - full).mean(axis=0)
    half = 1.96 * gains.std() / 300**0.5
    assert (low, high) == (
        pytest.approx(gains.mean() - half, abs=0.004),
        pytest.approx(gains.mean() + half, abs=0.004),
    )
    assert "with other test examples (300 resampled, the same trained models), 95 %: [+" in str(compare(study))


def test_examples_of_one_speaker_are_drawn_together(study) -> None:
    """12 speakers of 25 clips, each got right by one side or the other as a whole: 300 clips are 12 draws."""
    rng = np.random.default_rng(0)
    speakers = np.repeat(np.arange(12), 25)
    full = np.tile((rng.random(12) < 0.5)[speakers], (5, 1))
    lora = np.tile((rng.random(12) < 0.7)[speakers], (5, 1))
    lora[:, :5] ^= rng.random((5, 5)) < 0.5
    names = [f"speaker {number}" for number in speakers]
    with_predictions(study, "full", full, names, config={"dataset.groups": "speaker"}, counts={"test_labels": 300})
    with_predictions(study, "lora", lora, names, config={"dataset.groups": "speaker"}, counts={"test_labels": 300})
    with_predictions(study.beside("alone"), "full", full)
    with_predictions(study.beside("alone"), "lora", lora)
    (pair,) = compare(study).pairs
    (alone,) = r.compare(r.collect(study.folder.with_name("alone")), "lora", "full").pairs
    assert (pair.test_labels, pair.test_groups, alone.test_groups) == (300, 12, None)
    assert pair.examples is not None and alone.examples is not None
    gains = (lora.astype(float) - full).mean(axis=0).reshape(12, 25).mean(axis=1)
    half = stats.t.ppf(0.975, 11) * gains.std(ddof=1) / 12**0.5
    assert pair.examples == (
        pytest.approx(gains.mean() - half, abs=0.05),
        pytest.approx(gains.mean() + half, abs=0.05),
    )
    assert pair.examples[1] - pair.examples[0] > 3.5 * (alone.examples[1] - alone.examples[0])
    assert "(300 resampled in 12 whole groups, the same trained models)" in str(compare(study))
    caption = r.build_table(r.collect(study.folder), baseline="full", examples=True).caption
    assert "drawn anew, in whole groups (12 of them) where the data set names groups (the same" in caption
    assert "open (95 %; more, as they come in groups by speaker)." in caption


def test_groups_that_are_too_few_or_not_the_same(study) -> None:
    rng = np.random.default_rng(0)
    hits = rng.random((2, 3, 40)) < 0.7
    with_predictions(study, "full", hits[0], ["a"] * 20 + ["b"] * 20)
    with_predictions(study, "lora", hits[1], ["a"] * 20 + ["b"] * 20)
    assert compare(study).pairs[0].examples_problem == "2 groups of examples are too few to draw from"
    other = study.beside("other")
    with_predictions(other, "full", hits[0], list(range(40)))
    with_predictions(other, "lora", hits[1], [0, *range(39)])
    (pair,) = r.compare(r.collect(other.folder), "lora", "full").pairs
    assert pair.examples is None and "different groups" in (pair.examples_problem or "")
    ungrouped = study.beside("ungrouped")  # an example without a group is one by itself
    with_predictions(ungrouped, "full", hits[0], [None] * 38 + ["a", "a"])
    with_predictions(ungrouped, "lora", hits[1], [None] * 38 + ["a", "a"])
    (pair,) = r.compare(r.collect(ungrouped.folder), "lora", "full").pairs
    assert pair.examples is not None and pair.test_groups == 39


def test_sides_that_agree_on_every_example_say_nothing_of_others(study) -> None:
    hits = np.random.default_rng(0).random((3, 40)) < 0.7
    with_predictions(study, "full", hits)
    with_predictions(study, "lora", hits)
    (pair,) = compare(study).pairs
    assert pair.examples is None and pair.examples_problem == (
        "no draw of its 40 examples changes the difference, which says nothing of others"
    )


def test_a_sure_difference_on_a_small_test_set(study) -> None:
    """Every seed wins by the same two of 30 questions, give or take: sure over seeds, not over questions."""
    full = np.ones((5, 30), dtype=bool)
    full[:, :5] = False
    lora = full.copy()
    lora[:, :2] = True
    lora[0, 2] = True
    with_predictions(study, "full", full)
    with_predictions(study, "lora", lora)
    found = compare(study)
    assert found.pairs[0].verdict == "lora is better"
    assert "another test set of this size could say otherwise" in str(found)


def test_the_same_interval_in_a_table(study) -> None:
    rng = np.random.default_rng(1)
    full = rng.random((5, 300)) < 0.8
    with_predictions(study, "full", full)
    with_predictions(study, "lora", full | (rng.random((5, 300)) < 0.3))
    study.runs("mixout", [0.1, 0.2, 0.1, 0.2, 0.3])
    runs = r.collect(study.folder)
    table = r.build_table(runs, baseline="full", examples=True)
    lora = next(row for row in table.rows if row["strategy"] == "lora")
    assert (lora["examples_low"], lora["examples_high"]) == compare(study).pairs[0].examples
    assert f"| [+{lora['examples_low']:.3f}, +" in r.render(table) and "other examples" in r.render(table)
    assert "Other examples: the gain's 95 % interval when the test examples are drawn anew" in table.caption
    assert "test examples of 1 gains could not be resampled; the first:" in table.caption
    plain = r.build_table(runs, baseline="full")
    assert all(row["examples_low"] is None for row in plain.rows) and "other examples" not in r.render(plain)


def test_why_examples_are_not_resampled(study) -> None:
    study.runs("full", BASE)
    study.runs("lora", [b + 0.1 * i for i, b in enumerate(BASE)])
    assert "has no predictions.parquet" in (compare(study).pairs[0].examples_problem or "")
    for run in r.collect(study.folder):
        predictions(run.folder, [True, False])
    assert "give test/accuracy 0.5000, its record 0.7" in (compare(study).pairs[0].examples_problem or "")


def test_a_collapsed_seed_is_flagged(study) -> None:
    study.runs("full", BASE)
    study.runs("lora", [0.80, 0.81, 0.10, 0.79, 0.80], counts={"test_labels": 359}, labels=list("0123456789"))
    found = compare(study)
    assert found.pairs[0].outliers == ({2: "at chance"}, {})
    assert "outlier: seed 2 of lora (0.100, at chance); kept in every number" in str(found)
    assert found.pairs[0].first.n == 5


def test_one_seed(study) -> None:
    study.run("full", 0, 0.7)
    study.run("lora", 0, 0.8)
    assert compare(study).pairs[0].verdict == "not distinguishable"
    assert "+10.0 points; one seed only: no interval and no test" in str(compare(study))


def test_seeds_that_only_one_side_has_are_left_out(study) -> None:
    study.runs("full", BASE[:4])
    study.runs("lora", [b + i / 100 for i, b in enumerate(BASE)])
    study.runs("lora", BASE, train_size=10)
    found = compare(study)
    assert found.pairs[0].gain.t.n == found.pairs[0].first.n == 4
    assert "the two sides have different seeds in tiny_vision × lora × digits × 2_per_class; the common" in str(found)
    assert "tiny_vision × lora × digits × 10 has no counterpart and is left out" in str(found)


def test_lower_is_better(study) -> None:
    for seed, base in enumerate(BASE):
        study.run("full", seed, metrics={"test/loss": base})
        study.run("lora", seed, metrics={"test/loss": base - 0.1 - seed / 100})
    found = compare(study, metric="loss")
    assert found.pairs[0].verdict == "lora is better" and found.pairs[0].gain.t.mean == pytest.approx(0.12)
    assert "differences are full − lora, positive = lora is better" in str(found)
    assert "points" not in str(found)


def test_several_data_sets(study) -> None:
    for number, dataset in enumerate(("digits", "letters", "trec", "fsdd")):
        study.runs("full", BASE, dataset=dataset)
        study.runs("lora", [b + 0.02 * number + i / 100 for i, b in enumerate(BASE)], dataset=dataset)
    overall = compare(study).overall
    assert overall is not None
    assert overall.first.shape == (5, 4) and overall.datasets == ["digits", "fsdd", "letters", "trec"]
    assert overall.improvement > 0.6 and overall.improvement_interval is not None
    assert overall.improvement_interval[0] < overall.improvement < overall.improvement_interval[1]
    profile = overall.profiles([0.0, 0.72, 1.0])
    assert [part.tolist()[::2] for part in profile] == [[1, 0], [1, 0]] and profile[0][1] > profile[1][1]
    assert "Over 4 data sets (4 pairs of cells, 5 seeds each; 95 % intervals)" in str(compare(study))


def test_one_seed_a_data_set_has_no_interval_over_all(study) -> None:
    """25 data sets with one seed were 25 runs: an interval without width, [0.500, 0.500]."""
    for place in range(25):
        study.run("full", 0, 0.5, dataset=f"set{place}")
        study.run("lora", 0, 0.6, dataset=f"set{place}")
    overall = compare(study).overall
    assert overall is not None and overall.improvement == 1.0
    assert overall.first_interval is overall.second_interval is overall.improvement_interval is None
    assert "1.000; fewer than 3 seeds a task, so no intervals" in str(compare(study))


def test_data_sets_with_different_seeds_count_in_full(study) -> None:
    """Two of five runs a cell were used where one study had seeds 0 to 4 and the other 3 to 7."""
    for dataset, first in (("digits", 0), ("letters", 3)):
        for seed, base in enumerate(BASE, first):
            study.run("full", seed, base, dataset=dataset)
            study.run("lora", seed, base + 0.1, dataset=dataset)
    study.run("lora", 9, 0.99, dataset="letters")  # has no partner
    overall = compare(study).overall
    assert overall is not None and overall.first.shape == overall.second.shape == (5, 2)
    assert sorted(overall.first[:, 1]) == sorted(score for score in overall.first[:, 0])
    assert 0.99 not in overall.first and 0.99 not in overall.second


def test_settings_instead_of_strategies(study) -> None:
    for model, more in (("tiny_vision", 0.0), ("resnet", 0.1)):
        for strategy in ("full", "lora"):
            scores = [b + more + i / 100 for i, b in enumerate(BASE)]
            study.runs(strategy, scores, model=model, config={"optimizer.lr": 0.1 + more, "model.width": 8 + more})
    found = compare(study, "model=resnet", "model=tiny_vision")
    assert [pair.settings["strategy"] for pair in found.pairs] == ["full", "lora"]
    assert found.family == "those of these sides"
    (pair,) = compare(study, "strategy=lora,model=resnet", "strategy=full,model=tiny_vision").pairs
    assert pair.gain.t.mean == pytest.approx(0.1)


def test_tuned_on_validation(study) -> None:
    for lr, val in ((0.1, 0.6), (0.01, 0.8)):
        for strategy in ("full", "lora"):
            for seed in range(3):
                metrics = {"val/accuracy": val, "test/accuracy": val + seed / 100}
                study.run(strategy, seed, metrics=metrics, config={"optimizer.lr": lr})
    with pytest.raises(UserError, match="--tune-over"):
        compare(study, "strategy=lora", "strategy=full", tune_over="dataset.monitor,optimizer.l")
    found = compare(study, tune_over="optimizer.lr")
    assert len(found.pairs) == 1 and "optimizer.lr was chosen for each row" in str(found)


def test_mixed_splits_are_refused(study) -> None:
    for seed, score in enumerate(BASE):
        study.run("full", seed, score, split=f"one-{seed}")
        study.run("lora", seed, score, split=f"two-{seed}")
    with pytest.raises(UserError, match=r"trained or tested on different examples.*`split` differs"):
        compare(study)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("lroa", "full", r"unknown strategy for --compare 'lroa'. Did you mean 'lora'\?((?!This makes it).)*$"),
        ("gradual_unfreezing", "full", r"unknown strategy for --compare.*This makes it.*strategy=gradual_unfreezing"),
        ("full", "full", "both sides are the same"),
        ("strategy=lora", "model=tiny_vision", "both have to name the same settings"),
        ("strategy=lora,", "full", "names no side"),
        ("strategie=lora", "strategie=full", "Did you mean 'strategy'"),
        ("model=tiny_vison", "model=tiny_vision", "Did you mean 'tiny_vision'"),
        ("seed=0", "seed=1", "varies from seed to seed"),
        ("train_size=10", "train_size=2_per_class", "no two cells are equal|unknown train_size"),
        ("lora", "mixout", "no two completed runs with the same seed"),
    ],
)
def test_bad_sides(study, first: str, second: str, message: str) -> None:
    study.runs("full", BASE)
    study.runs("lora", BASE)
    study.run("mixout", 7, 0.5)
    with pytest.raises(UserError, match=message):
        compare(study, first, second)


def test_bad_metrics_and_nothing_at_all(study) -> None:
    study.runs("full", BASE)
    study.runs("lora", BASE)
    with pytest.raises(UserError, match=r"unknown metric 'test/acuracy'.*Allowed: test/accuracy, val/accuracy"):
        compare(study, metric="acuracy")
    with pytest.raises(UserError, match="no runs to compare"):
        r.compare([], "a", "b")


def test_formats(study) -> None:
    study.runs("full", BASE)
    study.runs("lora", [b + i / 100 for i, b in enumerate(BASE)])
    found = compare(study)
    data = json.loads(render(found, "json"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (data["first"], data["pairs"][0]["n"], data["overall"]) == ("lora", 5, None)
    assert render(found, "csv").splitlines()[0].startswith("model,dataset,train_size,n,first_mean")
    assert render(found) == str(found)
    with pytest.raises(UserError, match="unknown format for --compare 'latex'"):
        render(found, "latex")


def test_the_command_line(study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    study.runs("full", BASE)
    study.runs("lora", [b + i / 100 for i, b in enumerate(BASE)])

    def table(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["tlx", "table", str(study.folder), *words])
        with pytest.raises(SystemExit) as left:
            main()
        return int(left.value.code or 0)

    assert table("--compare", "lora", "full") == 0
    assert capsys.readouterr().out == str(compare(study))
    assert table("--compare", "lor", "full") == 2
    assert "Did you mean 'lora'" in capsys.readouterr().err
    assert table("--compare", "lora", "full", "--rows", "model") == 2
    assert "one metric" in capsys.readouterr().err


def with_failed_seeds(study, metric: str = "accuracy", **more) -> None:
    """Three seeds of full at 0.96 and two that failed, beside five of each other at 0.31 and 0.71."""
    for strategy, scores in {"scratch": [0.31, 0.32, 0.30, 0.33, 0.29], "lora": [0.70, 0.72, 0.71, 0.73, 0.70]}.items():
        for seed, score in enumerate(scores):
            study.run(strategy, seed, metrics={f"test/{metric}": score}, **more)
    for seed, score in enumerate((0.95, 0.96, 0.97), start=2):
        study.run("full", seed, metrics={f"test/{metric}": score}, **more)
    for seed in (0, 1):
        study.run("full", seed, status="failed", error={"type": "Diverged", "message": "nan"}, **more)


def test_failed_seeds_are_counted_where_they_decide(study) -> None:
    with_failed_seeds(study, labels=list("0123456789"))
    found = compare(study, "full", "scratch")
    (pair,) = found.pairs
    assert pair.verdict == "not distinguishable"
    words = str(found)
    (holm,) = [line for line in words.splitlines() if "Holm's correction" in line]
    assert holm.endswith("of the survivors alone")
    (line,) = [line for line in words.splitlines() if "intention to treat" in line]
    # (0.1 − 0.31) + (0.1 − 0.32) + 0.65 + 0.63 + 0.68 over 5
    assert line.startswith(
        "- failed seeds (full 0, 1) at the score of guessing, 0.1 (intention to treat, n = 5): mean difference +30.6 "
        "points, 97.5 % paired t interval ["
    )
    assert line.endswith(", by which the verdict is")
    row = json.loads(render(found, "json"))["pairs"][0]
    assert (row["difference_itt"], row["n_itt"]) == (pytest.approx(0.306), 5)
    assert row["difference_itt_low"] < 0 < row["difference_itt_high"]
    assert (row["first_failed"], row["second_failed"]) == (["0", "1"], [])
    table = {row["strategy"]: row for row in r.build_table(r.collect(study.folder)).rows}
    assert row["difference_itt_low"] == table["full"]["gain_itt_low"]


def test_failed_seeds_of_the_side_that_loses_leave_the_verdict(study) -> None:
    with_failed_seeds(study, labels=list("0123456789"))
    for seed, score in enumerate((0.98, 0.99, 0.985, 0.98, 0.99)):
        study.run("mixout", seed, score, labels=list("0123456789"))
    found = compare(study, "mixout", "full")
    assert "by which the verdict is" in next(line for line in str(found).splitlines() if "Holm's" in line)
    assert not next(line for line in str(found).splitlines() if "failed seeds" in line).endswith("the verdict is")


def test_failed_seeds_where_guessing_is_not_known(study) -> None:
    with_failed_seeds(study, "auc", directions={"auc": "higher"})
    words = str(compare(study, "full", "scratch", metric="auc"))
    assert (
        "failed seeds (full 0, 1) count for nothing above, as what guessing scores in test/auc is not known: no "
        "verdict rests on the survivors alone" in words
    )


def test_one_seed_over_data_sets_has_no_intervals(study) -> None:
    for dataset, score in (("digits", 0.5), ("letters", 0.6)):
        study.run("full", 0, score, dataset=dataset)
        study.run("lora", 0, score + 0.1, dataset=dataset)
    words = str(compare(study))
    assert "Over 2 data sets (2 pairs of cells, 1 seed each)" in words and "so no intervals" in words
