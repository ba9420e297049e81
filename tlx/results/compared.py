"""What a comparison of two sides found: numbers and verdicts, pair by pair."""

from dataclasses import dataclass, field
from typing import Any

from tlx.results.gains import LEVEL, Gain
from tlx.results.overall import Overall
from tlx.results.statistics import Spread
from tlx.results.statistics.power import Power
from tlx.results.survivors import Intended


@dataclass(frozen=True)
class Pair:
    """The two cells of one model, data set and size: every difference is first − second, positive = first better.

    - `settings`: what both cells are, by name; `first`, `second`: mean, std (ddof 1) and n over the common seeds;
    - `gain`: the paired differences, their 95 % t interval and p, plain and corrected over the comparison's family;
    - `permutation_p`, `wilcoxon_p`: exact tests; None where so few pairs cannot reach `level`, Holm's strictest step;
    - `examples`: 95 % interval over draws of the `test_labels` test examples, or of their `test_groups`; None where
      `examples_problem` says why there is none;
    - `bootstrap`: 95 % bootstrap interval over seeds, None below 20 of them;
    - `dz`, `gz`: Cohen's d_z and Hedges' g_z of the paired differences; `power`: what so many seeds can show;
    - `outliers`: per side seed → why its score does not belong to the others;
    - `failed`: per side seed → why it has no score; `intended`: where some failed, the difference over all seeds that
      began, those that failed at the score of guessing (None where that is not known), at Holm's strictest level;
    - `verdict`: "A is better", "B is better", "inconclusive after correction", "cannot be judged" or "not
      distinguishable", by the corrected interval: what the table says of the same gain.
    """

    settings: dict[str, Any]
    first: Spread
    second: Spread
    gain: Gain
    level: float
    permutation_p: float | None
    wilcoxon_p: float | None
    examples: tuple[float, float] | None
    examples_problem: str | None
    test_labels: int | None
    test_groups: int | None
    bootstrap: tuple[float, float] | None
    dz: float | None
    gz: float | None
    power: Power | None
    outliers: tuple[dict[Any, str], dict[Any, str]]
    failed: tuple[dict[Any, str], dict[Any, str]]
    intended: Intended | None
    verdict: str


@dataclass(frozen=True)
class Compared:
    """Two sides compared, pair by pair and, where there are several data sets, `overall`.

    `family` says over which comparisons Holm's correction goes.
    """

    metric: str
    direction: str
    first: str
    second: str
    pairs: list[Pair]
    overall: Overall | None
    family: str
    notes: list[str] = field(default_factory=list)


def row(pair: Pair) -> dict[str, Any]:
    """The pair as one flat row, plain numbers only."""
    t, power = pair.gain.t, pair.power
    itt = pair.intended and pair.intended.t
    low, high = pair.examples or (None, None)
    boot_low, boot_high = pair.bootstrap or (None, None)
    corrected = pair.gain.corrected
    return {
        **pair.settings,
        "n": t.n,
        "first_mean": pair.first.mean,
        "first_std": pair.first.std,
        "second_mean": pair.second.mean,
        "second_std": pair.second.std,
        "difference": t.mean,
        "low": t.low,
        "high": t.high,
        "p": t.p,
        "p_holm": pair.gain.p_holm,
        "low_holm": corrected and corrected.low,
        "high_holm": corrected and corrected.high,
        "coverage": None if t.low is None else 1 - LEVEL,
        "coverage_holm": corrected and corrected.coverage,
        "family": pair.gain.family if corrected else None,
        "difference_itt": itt and itt.mean,
        "difference_itt_low": itt and itt.low,
        "difference_itt_high": itt and itt.high,
        "n_itt": itt and itt.n,
        "permutation_p": pair.permutation_p,
        "wilcoxon_p": pair.wilcoxon_p,
        "examples_low": low,
        "examples_high": high,
        "test_labels": pair.test_labels,
        "test_groups": pair.test_groups,
        "bootstrap_low": boot_low,
        "bootstrap_high": boot_high,
        "cohens_dz": pair.dz,
        "hedges_gz": pair.gz,
        "detectable": power and power.detectable,
        "detectable_low": power and power.low,
        "detectable_high": power and power.high,
        "first_outliers": sorted(map(str, pair.outliers[0])),
        "second_outliers": sorted(map(str, pair.outliers[1])),
        "first_failed": sorted(map(str, pair.failed[0])),
        "second_failed": sorted(map(str, pair.failed[1])),
        "verdict": pair.verdict,
    }
