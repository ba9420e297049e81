"""A comparison in words."""

import json
from collections.abc import Sequence

from tlx.errors import unknown
from tlx.results.compared import Compared, Pair, row
from tlx.results.gains import LEVEL
from tlx.results.naming import amount, setting
from tlx.results.overall import Overall
from tlx.results.statistics.exact import smallest_p
from tlx.results.statistics.over_datasets import SEEDS
from tlx.results.statistics.power import Power

FORMATS = ("md", "csv", "json")


def render(comparison: Compared, format: str = "md") -> str:
    """The comparison in words (md), one row a pair (csv), or one JSON object with the same numbers.

    Raises:
        UserError: another format.
    """
    if format not in FORMATS:
        raise unknown("format for --compare", format, FORMATS)
    if format == "csv":
        import pandas

        return pandas.DataFrame([row(pair) for pair in comparison.pairs]).to_csv(index=False)
    if format == "json":
        return json.dumps(as_object(comparison), ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    return text(comparison)


def as_object(comparison: Compared) -> dict:
    """The comparison as plain values, fit for JSON."""
    overall = comparison.overall
    return {
        "metric": comparison.metric,
        "direction": comparison.direction,
        "first": comparison.first,
        "second": comparison.second,
        "family": comparison.family,
        "pairs": [row(pair) for pair in comparison.pairs],
        "overall": overall
        and {
            "datasets": overall.datasets,
            "first_interquartile_mean": overall.first_mean,
            "first_interval": overall.first_interval,
            "second_interquartile_mean": overall.second_mean,
            "second_interval": overall.second_interval,
            "probability_of_improvement": overall.improvement,
            "improvement_interval": overall.improvement_interval,
        },
        "notes": comparison.notes,
    }


def text(comparison: Compared) -> str:
    """The whole comparison for people, ending in a line break."""
    c = comparison
    sides = (c.first, c.second) if c.direction == "higher" else (c.second, c.first)
    points = c.direction == "higher" and all(
        side.mean is not None and 0 <= side.mean <= 1 for pair in c.pairs for side in (pair.first, pair.second)
    )
    parts = [
        f"{c.first} against {c.second}: {c.metric}, {c.direction} is better; "
        f"differences are {' − '.join(sides)}, positive = {c.first} is better."
    ]
    parts += ["\n- ".join([_verdict(pair), *_numbers(pair, c, points)]) for pair in c.pairs]
    if c.overall:
        parts.append("\n- ".join(_overall(c.overall, c)))
    if c.notes:
        parts.append("\n".join(c.notes))
    return "\n\n".join(parts) + "\n"


def _verdict(pair: Pair) -> str:
    return f"{' × '.join(setting(key, value) for key, value in pair.settings.items())}: {pair.verdict}"


def _numbers(pair: Pair, c: Compared, points: bool) -> list[str]:
    seeds = ", ".join(map(str, pair.gain.by_seed))
    return [
        f"{c.first} {_spread(pair.first)}, {c.second} {_spread(pair.second)}: mean ± standard deviation (ddof 1), "
        f"n = {pair.gain.t.n} paired seed{'s' * (pair.gain.t.n > 1)} ({seeds})",
        *_tests(pair, c, points),
        *_failures(pair, c, points),
        _examples(pair, points),
        *_outliers(pair, c),
    ]


def _tests(pair: Pair, c: Compared, points: bool) -> list[str]:
    t, comparisons = pair.gain.t, pair.gain.family
    assert t.mean is not None
    difference = f"mean difference {_signed(t.mean, points)}{' points' if points else ''}"
    if t.n < 2:
        return [f"{difference}; one seed only: no interval and no test"]
    if t.low is None or t.high is None:
        return [f"{difference}; all seeds differ by the same: their spread, which is none, cannot judge it"]
    difference += f", 95 % paired t interval {_interval((t.low, t.high), points)}"
    assert t.p is not None
    corrected = pair.gain.corrected
    single = "" if comparisons < 2 else " (not corrected)"
    said = [f"{difference}, p {_p(t.p)}{single}"]
    if comparisons > 1 and corrected and pair.gain.p_holm is not None:
        interval = _interval((corrected.low, corrected.high), points)
        said.append(
            f"Holm's correction over {c.family}: p {_p(pair.gain.p_holm)}, interval {interval}, "
            + ("of the survivors alone" if _of_survivors(pair) else "by which the verdict is")
        )
    said.append(_exact(pair))
    if pair.bootstrap:
        said.append(f"bootstrap over seeds, 95 %: {_interval(pair.bootstrap, points)}")
    hedges = f", Hedges' g_z = {pair.gz:.2f}" if pair.gz is not None else ""
    said.append(f"effect size: Cohen's d_z = {pair.dz:.2f} of the paired differences{hedges}")
    if pair.power:
        said.append(f"power: {power_line(pair.power, points)}{' (correction included)' if comparisons > 1 else ''}")
    return said


def _of_survivors(pair: Pair) -> bool:
    """Whether seeds failed on the side that would win by the others, so that these alone decide nothing."""
    corrected, mean = pair.gain.corrected, pair.gain.t.mean
    return corrected is not None and corrected.sure and bool(pair.failed[0 if (mean or 0) > 0 else 1])


def _failures(pair: Pair, c: Compared, points: bool) -> list[str]:
    """The difference over all seeds that began, where some failed, and whether the verdict is by that."""
    sides = zip((c.first, c.second), pair.failed, strict=True)
    names = [f"{name} {', '.join(map(str, seeds))}" for name, seeds in sides if seeds]
    if not names:
        return []
    found, decides = pair.intended, _of_survivors(pair)
    if found is None or found.t.mean is None:
        return [
            f"failed seeds ({'; '.join(names)}) count for nothing above, as what guessing scores in {c.metric} is not "
            f"known{': no verdict rests on the survivors alone' if decides else ''}"
        ]
    said = (
        f"failed seeds ({'; '.join(names)}) at the score of guessing, {found.guess:.3g} (intention to treat, n = "
        f"{found.t.n}): mean difference {_signed(found.t.mean, points)}{' points' if points else ''}"
    )
    if found.t.low is not None and found.t.high is not None:
        coverage = 100 * (1 - (pair.gain.level if pair.gain.family else LEVEL))
        said += f", {coverage:.4g} % paired t interval {_interval((found.t.low, found.t.high), points)}"
    return [said + (", by which the verdict is" if decides else "")]


def _outliers(pair: Pair, c: Compared) -> list[str]:
    said = []
    for name, found, cell in zip((c.first, c.second), pair.outliers, (pair.gain.cell, pair.gain.partner), strict=True):
        scores = cell.scores(c.metric)
        for seed, why in found.items():
            whom = "" if why == "at chance" else " the others"
            said.append(f"outlier: seed {seed} of {name} ({scores[seed]:.3f}, {why}{whom}); kept in every number")
    return said


def power_line(power: Power, points: bool) -> str:
    """`with 5 seeds, differences over 2.1 points are found in 80 % of studies, the uncertainty of the spread …; …`."""
    unit = " points" if points else ""
    if power.detectable is None:
        line = f"with {power.n} seeds no difference that there can be is found in 80 % of studies"
    else:
        line = (
            f"with {power.n} seeds, differences over {amount(power.detectable, points)}{unit} are found in 80 % of "
            "studies, the uncertainty of the spread included"
        )
        if power.low is not None and power.high is not None:
            ends = f"{amount(power.low, points)} and {amount(power.high, points)}"
            line += f" ({ends} for a spread known to be at the ends of its 95 % interval)"
    if power.seeds is None or power.finer is None:
        return line
    return f"{line}; {power.seeds} seeds would show {amount(power.finer, points)}"


def _exact(pair: Pair) -> str:
    if pair.permutation_p is None or pair.wilcoxon_p is None:
        least = smallest_p(list(pair.gain.by_seed.values()))
        needed = f"no p below {least:.2g}, {pair.level:.2g} is needed"
        return f"permutation and Wilcoxon tests: cannot decide at this n ({needed})"
    return f"paired permutation test p {_p(pair.permutation_p)}, Wilcoxon's signed ranks p {_p(pair.wilcoxon_p)}"


def _examples(pair: Pair, points: bool) -> str:
    if pair.examples is None:
        return f"test examples were not resampled: {pair.examples_problem}"
    low, high = pair.examples
    whole = "" if pair.test_groups is None else f" in {pair.test_groups} whole groups"
    said = (
        f"with other test examples ({pair.test_labels} resampled{whole}, the same trained models), 95 %: "
        f"{_interval(pair.examples, points)}"
    )
    unsure = low <= 0 <= high and pair.gain.corrected is not None and pair.gain.corrected.sure
    return said + ("; another test set of this size could say otherwise" if unsure else "")


def _overall(overall: Overall, c: Compared) -> list[str]:
    runs, tasks = overall.first.shape

    def shown(value: float, interval: tuple[float, float] | None) -> str:
        return f"{value:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")

    none = "" if runs >= SEEDS else f"; fewer than {SEEDS} seeds a task, so no intervals"
    intervals = (overall.first_interval, overall.second_interval, overall.improvement_interval)
    which = "; 95 % intervals" if any(intervals) else ""
    return [
        f"Over {len(overall.datasets)} data sets ({tasks} pairs of cells, {runs} seed{'s' * (runs > 1)} each{which})",
        f"interquartile mean: {c.first} {shown(overall.first_mean, overall.first_interval)}, "
        f"{c.second} {shown(overall.second_mean, overall.second_interval)}",
        f"probability that a run of {c.first} is better than one of {c.second}: "
        f"{shown(overall.improvement, overall.improvement_interval)}{none}",
    ]


def _spread(spread: Sequence) -> str:
    mean, std, _ = spread
    return f"{mean:.3f}" if std is None else f"{mean:.3f} ± {std:.3f}"


def _signed(value: float, points: bool) -> str:
    return f"{100 * value:+.1f}" if points else f"{value:+.3g}"


def _interval(interval: Sequence, points: bool) -> str:
    low, high = interval
    return f"[{_signed(low, points)}, {_signed(high, points)}]"


def _p(p: float) -> str:
    return f"= {p:.2g}" if p >= 0.0001 else "< 0.0001"
