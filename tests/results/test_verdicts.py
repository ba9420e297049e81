"""Helps, hurts, or no evidence: from paired seeds, corrected over the table."""

import json
import struct

import pytest

from tlx.results import build_table, collect, compare, render
from tlx.results.statistics import holm, paired_t

BASE = [0.70, 0.74, 0.66, 0.71, 0.69]


def rows(study, **options) -> dict[str, dict]:
    return {row["strategy"]: row for row in build_table(collect(study.folder), **options).rows}


def shifted(study, strategy: str, *by: float) -> None:
    study.runs(strategy, [base + d for base, d in zip(BASE, by, strict=True)])


def test_helps_hurts_and_no_evidence(study) -> None:
    study.runs("scratch", BASE)
    shifted(study, "full", 0.10, 0.11, 0.09, 0.10, 0.12)
    shifted(study, "lora", -0.05, -0.06, -0.05, -0.04, -0.05)
    shifted(study, "mixout", 0.05, -0.03, 0.01, 0.02, -0.04)
    found = rows(study)
    assert {name: row["verdict"] for name, row in found.items()} == {
        "scratch": None,
        "full": "helps",
        "lora": "hurts",
        "mixout": "no evidence",
    }
    ps = [found[name]["gain_p"] for name in ("full", "lora", "mixout")]
    assert ps[0] == pytest.approx(paired_t([0.10, 0.11, 0.09, 0.10, 0.12]).p)
    assert [found[name]["gain_p_holm"] for name in ("full", "lora", "mixout")] == pytest.approx(holm(ps))
    full = found["full"]
    assert full["gain_low_holm"] < full["gain_low"] < full["gain"] < full["gain_high"] < full["gain_high_holm"]
    assert full["gain_low_holm"] > 0 > found["mixout"]["gain_low_holm"]


def test_the_correction_counts_all_gains_of_the_table(study) -> None:
    """One comparison with p = 0.03 helps; among five that show nothing it is no evidence any more."""
    study.runs("scratch", BASE)
    shifted(study, "full", 0.05, 0.02, 0.10, 0.02, 0.06)
    row = rows(study)["full"]
    assert 0.01 < row["gain_p"] == row["gain_p_holm"] < 0.05 and row["verdict"] == "helps"
    for name in ("a", "b", "c", "d"):
        shifted(study, name, 0.05, -0.03, 0.01, 0.02, -0.04)
    row = rows(study)["full"]
    assert row["gain_p_holm"] == pytest.approx(5 * row["gain_p"])
    assert row["verdict"] == "inconclusive after correction"
    assert row["gain_low"] > 0 > row["gain_low_holm"]
    assert (row["gain_coverage"], row["gain_coverage_holm"], row["gain_family"]) == (0.95, pytest.approx(0.99), 5)
    table = build_table(collect(study.folder))
    caption = table.caption
    assert (
        "Verdict (↑ helps, ↓ hurts) against scratch: the interval leaves out 0, at the level of its step in" in caption
    )
    assert "Holm's correction over the 5 gains of this table (in 95 % of studies no gain that is 0 is called" in caption
    assert "inconclusive after correction: only its own 95 % interval, not corrected, leaves out 0; else no" in caption
    assert "[paired t interval, corrected like the verdict]" in caption
    assert "Power: with 5 seeds such a test finds gains over" in caption
    shown = f"+0.050 [{row['gain_low_holm']:+.3f}, {row['gain_high_holm']:+.3f}]"
    for format in ("md", "html"):
        assert "gain over scratch [corrected]" in render(table, format) and shown in render(table, format)
    assert shown.split(" ")[1].strip("[,") in render(table, "latex") and "[corrected]" in render(table, "latex")


def test_one_gain_is_not_corrected_and_says_so(study) -> None:
    study.runs("scratch", BASE)
    shifted(study, "full", 0.05, 0.02, 0.10, 0.02, 0.06)
    table = build_table(collect(study.folder))
    row = table.rows[1]
    assert (row["gain_low"], row["gain_high"]) == (row["gain_low_holm"], row["gain_high_holm"])
    assert "gain over scratch [95 %]" in render(table) and "[95 % paired t interval]" in table.caption
    assert "the 95 % paired t interval leaves out 0; else no evidence." in table.caption and "Holm" not in table.caption


def test_an_end_that_is_not_zero_is_not_written_as_zero(study) -> None:
    study.runs("scratch", BASE)
    by = [0.05, 0.02, 0.10, 0.02, 0.06]
    t = paired_t(by)
    shifted(study, "full", *(value - t.low + 0.0002 for value in by))
    row = rows(study)["full"]
    assert 0 < row["gain_low"] < 0.0005 and row["verdict"] == "helps"
    assert "[+0.0002, +" in render(build_table(collect(study.folder)))


def test_controls_count_in_the_correction(study) -> None:
    """The correction goes over the table, so a gain that passes alone must pass beside its controls as well."""
    study.runs("scratch", BASE)
    shifted(study, "full", 0.05, 0.02, 0.10, 0.02, 0.06)
    alone = rows(study)["full"]
    assert alone["verdict"] == "helps"
    for name in ("scratch_long", "shuffled"):
        shifted(study, name, 0.05, -0.03, 0.01, 0.02, -0.04)
    found = rows(study)
    names = ("full", "scratch_long", "shuffled")
    ps = holm([found[name]["gain_p"] for name in names])
    assert [found[name]["gain_p_holm"] for name in names] == pytest.approx(ps)
    assert found["full"]["gain_p_holm"] == pytest.approx(3 * alone["gain_p"])
    assert found["full"]["verdict"] == "inconclusive after correction"
    assert found["full"]["detectable"] > alone["detectable"]
    caption = build_table(collect(study.folder)).caption
    assert "Holm's correction over the 3 gains of this table, controls included (in 95 %" in caption


def test_the_power_of_the_middle_row(study) -> None:
    study.runs("scratch", BASE)
    shifted(study, "full", 0.10, 0.11, 0.09, 0.10, 0.12)
    caption = build_table(collect(study.folder)).caption
    assert "in 80 % of studies, the uncertainty of the spread included." in caption, "a single gain is not corrected"
    shifted(study, "a", 0.05, -0.03, 0.01, 0.02, -0.04)
    seen = [row["detectable"] for row in build_table(collect(study.folder)).rows if row["detectable"]]
    low, high = (100 * value for value in sorted(seen))
    caption = build_table(collect(study.folder)).caption
    assert (
        f"over {(low + high) / 2:.1f} points (median of the rows, which range from {low:.1f} to {high:.1f})" in caption
    )


def test_two_seeds_can_show_no_gain_that_there_is(study) -> None:
    study.runs("scratch", [0.2, 0.5])
    study.runs("full", [0.9, 0.4])
    table = build_table(collect(study.folder))
    assert "Power: with 2 seeds such a test finds no gain that there can be in 80 % of studies." in table.caption
    assert table.rows[1]["detectable"] is None and table.rows[1]["gain_p"] is not None
    study.runs("lora", [0.21, 0.52])
    caption = build_table(collect(study.folder)).caption
    assert (
        "studies, correction and uncertainty of the spread included; in 1 of the 2 rows it would take more" in caption
    )


def test_one_seed_is_no_evidence_and_seeds_that_never_vary_cannot_judge(study) -> None:
    study.runs("scratch", BASE)
    study.run("full", 0, 0.99)
    shifted(study, "lora", 0.125, 0.125, 0.125, 0.125, 0.125)
    found = rows(study)
    assert (found["full"]["verdict"], found["full"]["gain_p"]) == ("no evidence", None)
    assert (found["lora"]["verdict"], found["lora"]["gain_p"]) == ("cannot be judged", None)
    assert found["lora"]["gain_low"] is found["lora"]["gain_low_holm"] is found["lora"]["gain_coverage"] is None
    caption = build_table(collect(study.folder)).caption
    assert "one seed only in tiny_vision × full" in caption
    assert "Cannot be judged: all seeds gain the same, so that the spread of seeds, which is none, says" in caption


def test_three_seeds_that_all_gain_two_examples_show_nothing_about_seeds(study) -> None:
    """In single precision their spread was 1e-8: p < 0.0001, and "gains over 0.0 points" were to be seen."""
    for seed, hits in enumerate((319, 322, 327)):
        for strategy, by in (("scratch", 0), ("full", 2), ("lora", 0)):
            score = struct.unpack("f", struct.pack("f", (hits + by) / 359))[0]
            study.run(strategy, seed, score, counts={"test_labels": 359})
    table = build_table(collect(study.folder))
    found = {row["strategy"]: row for row in table.rows}
    assert (found["full"]["verdict"], found["lora"]["verdict"]) == ("cannot be judged", "no evidence")
    assert found["full"]["gain"] == pytest.approx(2 / 359, abs=1e-7) and found["lora"]["gain"] == 0.0
    for row in (found["full"], found["lora"]):
        assert row["gain_p"] is row["gain_low"] is row["gain_low_holm"] is row["detectable"] is None
    assert "one of the 359 test examples is 0.28 points." in table.caption and "Power" not in table.caption
    assert "| +0.006 |" in " ".join(render(table).split()) and "[" not in render(table).split("\n\n")[0]
    text = str(compare(collect(study.folder), "full", "scratch"))
    assert "2_per_class: cannot be judged" in text and "all seeds differ by the same: their spread, which is" in text
    assert "p <" not in text and "power" not in text


def test_lower_is_better(study) -> None:
    for seed, base in enumerate(BASE):
        study.run("scratch", seed, metrics={"test/loss": base})
        study.run("full", seed, metrics={"test/loss": base - 0.1 - seed / 100})
    assert rows(study, metrics="loss")["full"]["verdict"] == "helps"
    caption = build_table(collect(study.folder), "loss").caption
    assert "points" not in caption and "finds gains over 0.0" in caption


def test_what_people_and_programs_see(study) -> None:
    study.runs("scratch", BASE)
    shifted(study, "full", 0.10, 0.11, 0.09, 0.10, 0.12)
    table = build_table(collect(study.folder))
    line = next(line for line in render(table).splitlines() if "| full" in line)
    assert [cell.strip() for cell in line.split("|")][7] == "helps"
    row = json.loads(render(table, "json"))["rows"][1]
    assert (row["verdict"], row["outliers"], row["unsealed"]) == ("helps", None, False)
    grid = build_table(collect(study.folder), rows="strategy", columns="dataset")
    assert "0.804 ± 0.036 (5) ↑ |" in render(grid)
    assert "Verdict (↑ helps, ↓ hurts) against scratch" in grid.caption
    assert r"\textbf{0.804} & $\pm$ & 0.036 (5) $\uparrow$" in render(grid, "latex")
    assert r"\textbf{0.804} & $\pm$ & 0.036 (5) $\uparrow$ & $+0.104$ & [" in render(table, "latex")


def test_a_published_order_that_five_seeds_invert_is_not_distinguishable(study) -> None:
    """B was published 0.8 points above A; here A has the higher mean, by 0.6, and the table does not call it better."""
    study.runs("a", [0.912, 0.921, 0.905, 0.917, 0.909])
    study.runs("b", [0.915, 0.901, 0.910, 0.899, 0.909])
    study.runs("scratch", BASE)
    found = rows(study)
    assert {name: row["against_best"] for name, row in found.items()} == {
        "scratch": "worse",
        "a": "best",
        "b": "not distinguishable",
    }
    assert found["a"]["verdict"] == found["b"]["verdict"] == "helps"
    table = build_table(collect(study.folder))
    assert (
        "Not distinguishable from the best of the same model, data set and size (multiple comparisons" in table.caption
    )
    assert "no row that is as good as the best is called worse): b from a." in table.caption
    latex = render(table, "latex")
    assert r"\textbf{0.913}" in latex and r"\underline{0.907}" in latex and r"\underline{0.700}" not in latex
    grid = render(build_table(collect(study.folder), rows="strategy"), "latex")
    assert r"\textbf{0.913}" in grid and r"\underline{0.907}" in grid


def test_all_that_is_not_distinguishable_is_named_by_what_varies(study) -> None:
    """A caption that ends in "and 3 more" cannot be cited."""
    for size in (10, 20):
        for place, name in enumerate("abcdefg"):
            study.runs(name, [0.9 - 0.001 * place, 0.8, 0.85], train_size=size)
    caption = build_table(collect(study.folder)).caption
    assert "): 10: b, c, d, e, f and g from a; 20: b, c, d, e, f and g from a." in caption


def test_the_best_and_its_baseline_are_judged_once(study) -> None:
    """The gain of the best passes its own correction, but not that of all pairs: the baseline is neither called worse
    there, by a rate that it has not passed, nor called indistinguishable from what helps."""
    study.runs("scratch", BASE)
    shifted(study, "full", 0.05, 0.02, 0.10, 0.02, 0.06)
    for place in range(5):
        study.runs(f"c{place}", [0.3 + 0.1 * place, 0.7, 0.9, 0.5, 0.6], dataset="letters")
    found = rows(study)
    assert (found["full"]["verdict"], found["full"]["against_best"]) == ("helps", "best")
    assert found["scratch"]["against_best"] is None
    assert "scratch from full" not in build_table(collect(study.folder)).caption


def test_what_the_gains_leave_open_no_other_test_decides(study) -> None:
    """Among 11 gains that of `full` is inconclusive; alone, against the best, it would pass."""
    study.runs("scratch", BASE)
    shifted(study, "full", 0.05, 0.02, 0.10, 0.02, 0.06)
    for place in range(10):
        study.runs(f"c{place}", [0.3 + 0.02 * place, 0.7, 0.9, 0.5, 0.6], dataset=f"set{place}")
        study.runs("scratch", [0.5, 0.6, 0.8, 0.5, 0.4], dataset=f"set{place}")
    found = {(row["strategy"], row["dataset"]): row for row in build_table(collect(study.folder)).rows}
    assert found["full", "digits"]["verdict"] == "inconclusive after correction"
    assert found["scratch", "digits"]["against_best"] == "not distinguishable"


def test_what_cannot_be_judged_is_not_called_indistinguishable(study) -> None:
    """Half a point more in each seed: no spread to judge by, which is no closeness."""
    study.runs("scratch", [0.25, 0.3125, 0.375, 0.25, 0.3125])
    study.runs("full", [0.75, 0.8125, 0.875, 0.75, 0.8125])
    study.runs("lora", [0.75, 0.8125, 0.875, 0.75, 0.8125])
    table = build_table(collect(study.folder))
    found = {row["strategy"]: row for row in table.rows}
    assert found["full"]["verdict"] == "cannot be judged" and found["scratch"]["against_best"] is None
    assert found["lora"]["against_best"] == "not distinguishable", "the same scores"
    assert "scratch from" not in table.caption


def test_without_gains_all_pairs_are_compared(study) -> None:
    study.runs("scratch", BASE)
    shifted(study, "full", 0.10, 0.11, 0.09, 0.10, 0.12)
    shifted(study, "lora", 0.09, 0.11, 0.10, 0.10, 0.12)
    found = rows(study, baseline="none")
    assert [found[name]["against_best"] for name in ("full", "lora", "scratch")] == [
        "best",
        "not distinguishable",
        "worse",
    ]


def test_the_best_by_its_direction_and_nothing_to_compare_with(study) -> None:
    for seed, base in enumerate(BASE):
        study.run("full", seed, metrics={"test/loss": base})
        study.run("lora", seed, metrics={"test/loss": base - 0.1 - seed / 100})
        study.run("mixout", seed + 10, metrics={"test/loss": base + 1})  # shares no seed with the best
    study.run("full", 0, metrics={"test/loss": 0.1}, dataset="letters")
    found = {
        (row["strategy"], row["dataset"]): row["against_best"]
        for row in build_table(collect(study.folder), "loss").rows
    }
    assert found == {
        ("full", "digits"): "worse",
        ("lora", "digits"): "best",
        ("mixout", "digits"): None,
        ("full", "letters"): None,
    }
