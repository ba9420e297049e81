"""The report: one page that holds everything it shows and needs no network."""

from collections.abc import Sequence
from pathlib import Path

from tlx.record.atomic import atomic
from tlx.results.collect import collect
from tlx.results.findings import findings
from tlx.results.out import check_out
from tlx.results.price import price
from tlx.results.report.page import render_page


def write_report(
    paths: Sequence[str | Path] | str | Path,
    out: str | Path,
    metric: str = "test/accuracy",
    baseline: str = "scratch",
    tune_over: str | None = None,
    prices: Path | None = None,
    tune_seeds: str | None = None,
) -> int:
    """Write the page on the runs below `paths` to the file `out` and return its size in bytes.

    Args:
        metric, baseline, tune_over, tune_seeds: as for `tlx.results.build_table`.
        prices: a table of prices instead of configs/prices.yaml.

    Raises:
        UserError: `out` is a folder or cannot be written; no runs; an unknown metric, baseline or setting; no table of
            prices.
        OSError: the file cannot be written; an older one is untouched.
    """
    check_out(Path(out), "report.html")
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    runs = collect(paths)
    cost = price(runs, prices) if prices else price(runs)
    found = findings(runs, metric, baseline, tune_over, tune_seeds)
    arguments = [str(path) for path in paths]
    for option, value, default in (("metric", metric, "test/accuracy"), ("baseline", baseline, "scratch")):
        arguments += [f"--{option}", value] if value != default else []
    arguments += ["--tune-over", tune_over] if tune_over else []
    arguments += ["--tune-seeds", tune_seeds] if tune_seeds else []
    arguments += ["--prices", str(prices)] if prices else []
    page = render_page(found, arguments, cost).encode()
    with atomic(Path(out)) as file:
        file.write(page)
    return len(page)
