"""The page as text: what the records say, put into the template. Nothing in it comes from the network."""

import base64
import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlx.record.versions import VERSION
from tlx.results.commands import commands
from tlx.results.findings import Findings
from tlx.results.naming import setting
from tlx.results.price import Price
from tlx.results.report.charts import page_figures
from tlx.results.report.rows import page_table
from tlx.results.report.sentences import question, verdict
from tlx.results.report.settings import shared_settings
from tlx.results.runs import first_line, summary, varying

HERE = Path(__file__).parent
# vega's marks in the legend, as SVG paths around (13, 6).
MARKS = {
    "circle": "M9 6a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "square": "M9.5 2.5h7v7h-7z",
    "triangle-up": "M13 2l4.4 7.6h-8.8z",
    "diamond": "M13 1.2l4.4 4.8l-4.4 4.8l-4.4 -4.8z",
    "cross": "M11.6 2h2.8v2.6h2.6v2.8h-2.6v2.6h-2.8v-2.6h-2.6v-2.8h2.6z",
    "triangle-down": "M13 10l4.4 -7.6h-8.8z",
}


def render_page(findings: Findings, arguments: Sequence[str], cost: Price) -> str:
    """The whole page; `arguments` are those of `tlx report` but for -o, to tell how the page was made."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    figures = page_figures(findings)
    page = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    scripts = [(HERE / "page.js").read_text()]
    if any(figure.data for figure in figures):
        scripts.insert(0, _vega())
    style = (HERE / "page.css").read_text()
    data = {"figures": {figure.kind: figure.data for figure in figures if figure.data}, **_runs(findings)}
    notes = findings.table.notes
    names = varying(findings.runs)
    return page.get_template("page.html.j2").render(
        title=", ".join(dict.fromkeys(run.study for run in findings.runs)),
        question=question(findings),
        verdict=verdict(findings),
        summary=summary(findings.runs),
        cost=cost.sentence,
        warnings=[note.removeprefix("Warning: ") for note in notes if note.startswith("Warning:")],
        notes=[note for note in notes if not note.startswith("Warning:")] + _on_marks(findings),
        table=page_table(findings),
        figures=figures,
        incomplete=[(i, run, first_line(run)) for i, run in enumerate(findings.runs) if run.status != "completed"],
        runs=list(enumerate(findings.runs)),
        names=names,
        setting=setting,
        metric=findings.metric,
        commands=[("this page", ["report", *arguments, "-o", "report.html"]), ("the table", ["table", *arguments])],
        shell=lambda words: shlex.join(["tlx", *words]),
        version=VERSION,
        marks=MARKS,
        style=Markup(style),
        scripts=[Markup(script) for script in scripts],
        policy="; ".join(
            [
                "default-src 'none'",
                "img-src data: blob:",  # saving a chart as a picture
                "style-src 'unsafe-inline'",  # vega's tooltips
                f"script-src {' '.join(_hash(script) for script in scripts)}",
            ]
        ),
        data=Markup(_json(data)),
    )


def _on_marks(findings: Findings) -> list[str]:
    """What bold and underlined scores are, where there are any."""
    if not any(row["against_best"] for row in findings.table.rows):
        return []
    return ["Bold: the best mean of each model, data set and size; underlined: not distinguishable from it."]


def _runs(findings: Findings) -> dict[str, Any]:
    """What a click on a run or a row shows: settings, choices, scores, errors and the command that makes it again."""
    runs = findings.runs
    common, differing, lacking = shared_settings(runs)
    found = commands([point.cell for point in findings.points])
    cells = {}
    for point in findings.points:
        command = found[point.cell.id]
        seeds = [run.seed for run in point.cell.runs]
        cells[point.cell.id] = {
            "name": ", ".join(filter(None, [point.series, point.panel])),
            "command": command.line(seeds),
            "one": command.line(["SEED"]),
            "problem": command.problem,
            "scores": [[setting("seed", seed), score] for seed, score in point.scores.items()],
        }
    told = [
        {
            "cell": run.cell,
            "seed": run.seed,
            "folder": str(run.folder),
            "status": run.status,
            "error": (run.record.get("error") or {}).get("message") or run.problem,
            "metrics": {name: _six(v) for name, v in run.record.get("metrics", {}).items() if v is not None},
            "set": extra,
            "lack": absent,
        }
        for run, extra, absent in zip(runs, differing, lacking, strict=True)
    ]
    return {"common": common, "runs": told, "cells": cells, "metric": findings.metric}


def _six(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _json(data: Any) -> str:
    """JSON for a script element: no `<` in it, so that no record can end the element or open another."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _vega() -> str:
    """vega, vega-lite and vega-embed as one script that needs no network."""
    import vl_convert

    bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg]
    return bundle.replace("</script", "<\\/script")


def _hash(script: str) -> str:
    """The word of a content security policy that allows just this script, whatever a record may smuggle in."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
