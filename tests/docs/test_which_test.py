"""docs/which-test-when.md: its numbers are those of the functions, its names and options are there."""

import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))

from pages import DOCS, ROOT, tables

from tlx.results.seed_warnings import unseen_rate
from tlx.results.statistics import t_quantile
from tlx.results.statistics.exact import DRAWS, EXACT, can_decide
from tlx.results.statistics.examples import METRICS, UNITS, binomial_margin
from tlx.results.statistics.outliers import CUTOFFS
from tlx.results.statistics.over_datasets import SEEDS
from tlx.results.statistics.power import detectable_difference
from tlx.results.statistics.resampling import ENOUGH

PAGE = " ".join((DOCS / "which-test-when.md").read_text().split())


def test_seeds_that_exact_tests_need() -> None:
    (row,) = tables("which-test-when.md", "Gains in the table")
    for gains, seeds in row.items():
        if gains.isdecimal():
            n = int(seeds)
            assert can_decide([1.0] * n, 0.05 / int(gains)) and not can_decide([1.0] * (n - 1), 0.05 / int(gains))
    assert f"Up to {EXACT} seeds all signs are tried; beyond, {DRAWS:,} of them are drawn" in PAGE
    assert f"{next(n for n in range(1, 20) if can_decide([1.0] * n))} seeds alone" in PAGE


def test_detectable_differences() -> None:
    rows = tables("which-test-when.md", "Seeds")
    assert [row["Seeds"] for row in rows] == ["3", "5", "10", "20"]
    for row in rows:
        for column, gains in (("one gain", 1), ("4 gains in the table", 4), ("8 gains in the table", 8)):
            assert row[column] == f"{detectable_difference(1.0, int(row['Seeds']), 0.05 / gains):.2f}"


def test_numbers_in_sentences() -> None:
    widths = [t_quantile(0.95, n - 1) / n**0.5 for n in (3, 5, 10)]
    assert (
        "{:.2f} standard deviations to each side with 3 of them, {:.2f} with 5, {:.2f} with 10".format(*widths) in PAGE
    )
    assert f"± {100 * binomial_margin(0.9, 500):.1f} points" in PAGE
    shares = [round(100 * unseen_rate(n)) for n in (3, 5, 10)]
    assert "{} % at 3 seeds, {} % at 5, {} % at 10".format(*shares) in PAGE
    words = {2: "two", 3: "three", 4: "four"}
    assert f"prints it from {ENOUGH} seeds on" in PAGE and f"and {UNITS} examples or groups" in PAGE
    assert (
        f"**Needs** {words[SEEDS]} seeds for each data set" in PAGE and f"from {words[min(CUTOFFS)]} seeds on" in PAGE
    )
    assert len(METRICS) == 5


def test_what_is_simulated_is_simulated() -> None:
    """The numbers of seeds and examples behind "simulated" are those of the loops of benchmarks/intervals.py."""
    source = (ROOT / "benchmarks/intervals.py").read_text()
    for loop in (
        "for n in (3, 5, 10):\n        for helping",
        "for n in (3, 5, 10):\n            for ties in (8, 3)",
        "for comparisons in (1, 8, 21):\n        for n in (2, 3, 5, 10)",
        "in ((3, 4), (5, 2), (5, 4), (5, 10), (10, 4))",
        "for n in (20, 40)",
        "for examples in (40, 150)",
        "for speakers in (8, 20)",
        "for n in (3, 5):",
    ):
        assert loop in source


def test_options_and_figures_are_there() -> None:
    from tlx.results.figures.paper import KINDS

    options = set(re.findall(r"--[a-z][a-z-]+", PAGE))
    known = (DOCS / "reference/command-line.md").read_text()
    assert options and all(f"`{option}" in known for option in options)
    assert all(kind in KINDS for kind in re.findall(r"tlx plot ([\w-]+)", PAGE))
    assert all(kind in KINDS for kind in re.findall(r"figure `([\w-]+)`", PAGE))
