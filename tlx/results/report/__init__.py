"""The report: one page that holds everything it shows and needs no network."""

from collections.abc import Sequence
from pathlib import Path

from tlx.atomic import atomic
from tlx.results.collect import collect
from tlx.results.findings import findings
from tlx.results.report.page import render_page
from tlx.results.table import words


def write_report(
    paths: Sequence[str | Path] | str | Path,
    out: str | Path,
    metric: str = "test/accuracy",
    baseline: str = "scratch",
    tune_over: str | None = None,
) -> int:
    """Write the page on the runs below `paths` to the file `out` and return its size in bytes.

    Args:
        metric, baseline, tune_over: as for `tlx.results.build_table`.

    Raises:
        UserError: no runs; an unknown metric, baseline or setting.
        OSError: the file cannot be written; an older one is untouched.
    """
    paths = [paths] if isinstance(paths, str | Path) else list(paths)
    found = findings(collect(paths), metric, baseline, words(tune_over))
    arguments = [str(path) for path in paths]
    for option, value, default in (("metric", metric, "test/accuracy"), ("baseline", baseline, "scratch")):
        arguments += [f"--{option}", value] if value != default else []
    arguments += ["--tune-over", tune_over] if tune_over else []
    page = render_page(found, arguments).encode()
    with atomic(Path(out)) as file:
        file.write(page)
    return len(page)
