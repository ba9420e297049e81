"""What people and programs read."""

import csv
import io
import json
from html.parser import HTMLParser

import pytest
from rich.console import Console

from tlx.errors import UserError
from tlx.results import build_table, collect, print_runs, render


@pytest.fixture
def small(study):
    study.runs("scratch", [0.5, 0.6, 0.5])
    for seed, score in enumerate([0.6, 0.8, 0.8]):
        metrics = {"test/accuracy": score, "forgetting/accuracy": -0.0125}
        study.run("feature_extraction", seed, metrics=metrics, counts={"trainable_share": 0.01234}, train_size=None)
        study.run("full", seed, score, counts={"trainable_share": 1.0}, seconds={"total": 1234.5})
    study.run("full", 3, status="missing")
    study.plan()
    return study


def test_markdown(small) -> None:
    text = render(build_table(collect(small.folder)), "md")
    lines = text.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:5]]
    assert cells[0][:6] == ["model", "strategy", "dataset", "train_size", "test/accuracy", "gain over scratch [95 %]"]
    assert cells[0][6:] == ["verdict", "forgetting", "trainable", "seconds", "missing"]  # nothing failed
    assert cells[2][1:] == ["scratch", "digits", "2_per_class", "0.533 ± 0.058 (3)", "–", "–", "–", "100 %", "3.0", "0"]
    assert cells[3][4:7] == ["0.733 ± 0.115 (3)", "+0.200 [-0.048, +0.448]", "no evidence"]
    assert cells[3][9:] == ["1234", "1"]
    assert cells[4][3:] == ["all", "0.733 ± 0.115 (3)", "–", "–", "-0.013", "1.23 %", "3.0", "0"]
    assert len({len(line) for line in lines[:5]}) == 1
    assert "standard deviation over seeds (ddof 1)" in text
    assert "[95 % paired t interval]" in text
    assert "Selection: best" in text
    assert text.endswith("\n")


def test_one_seed_prints_no_spread(study) -> None:
    study.run("full", 0, 0.5)
    text = render(build_table(collect(study.folder)))
    assert "| 0.500 (1) " in " ".join(text.split())
    assert "±" not in text.splitlines()[2]


def test_latex(small) -> None:
    text = render(build_table(collect(small.folder)), "latex")
    for part in (r"\toprule", r"\midrule", r"\bottomrule", r"tiny\_vision & full", r"feature\_extraction"):
        assert part in text
    assert r"\textbf{0.733} & $\pm$ & 0.115 (3) & $+0.200$ & [$-0.048$, $+0.448$]" in text
    assert r"100 \%" in text and r"{llllr@{ }c@{ }lr@{ }lrrrr}" in text
    assert r"\multicolumn{3}{c}{test/accuracy} & \multicolumn{2}{c}{gain over scratch [95 \%]} & forgetting" in text
    assert r"\underline{0.533} & $\pm$ & 0.058 (3) & -- &  & --" in text  # three seeds cannot tell it from the best
    assert text.count("{") == text.count("}")
    rows = [line for line in text.splitlines() if line.startswith("tiny")]
    assert {line.count("&") for line in rows} == {12}
    assert "Bold: the best mean of each model, data set and size; underlined: not" in text
    for said in (
        "n = 3",
        "ddof 1",
        "test/accuracy as mean",
        "Selection: best",
        "the 95 \\% paired t interval leaves out 0",
    ):
        assert said in text


def test_the_best_of_each_metric_by_its_direction(study) -> None:
    for strategy, accuracy, loss in (("scratch", 0.5, 1.0), ("full", 0.75, 2.0)):
        study.run(strategy, 0, metrics={"test/accuracy": accuracy, "test/loss": loss})
        study.run(strategy, 0, metrics={"test/accuracy": 0.25, "test/loss": 3.0}, dataset=f"only_{strategy}")
    text = render(build_table(collect(study.folder), "accuracy,loss"), "latex")
    assert r"\textbf{0.750}" in text and r"\textbf{1.000}" in text
    assert "test/accuracy (higher is better), test/loss (lower is better) as mean" in text
    assert "underlined: not distinguishable from it in test/accuracy." in text
    assert text.count("textbf") == 2  # the only strategy of a data set beats none


def test_html_is_one_page_that_escapes_everything(study) -> None:
    study.runs("scratch", [0.5, 0.6, 0.5])
    study.runs("full", [0.6, 0.8, 0.8], model="<script>alert('x')</script>", config={"optimizer.b&b": '"<i>"'})
    study.runs("full", [0.7, 0.7, 0.7], model="<script>alert('x')</script>", config={"optimizer.b&b": "<img src=x>"})
    text = render(build_table(collect(study.folder), group_by="model"), "html")
    assert text.startswith("<!doctype html>") and text.endswith("</html>\n")
    assert "<script" not in text and "<i>" not in text and "<img" not in text
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;" in text and "optimizer.b&amp;b" in text
    assert "http" not in text
    tags: list[str] = []

    class Parser(HTMLParser):
        def handle_starttag(self, tag, attrs) -> None:
            tags.append(tag)

        def handle_endtag(self, tag) -> None:
            tags.append(f"/{tag}")

    Parser().feed(text)
    for tag in ("table", "thead", "tbody", "tr", "th", "td", "strong", "h2", "p", "style", "title", "html"):
        assert tags.count(tag) == tags.count(f"/{tag}") > 0, tag
    assert tags.count("table") == 2 and tags.count("tr") == 2 + 3
    assert '<p class="warning">Warning: ' in text and "<strong>0.733 ± 0.115 (3)</strong>" in text
    assert "<u>0.700 ± 0.000 (3)</u>" in text


def test_csv_is_flat_and_whole(small) -> None:
    rows = list(csv.DictReader(io.StringIO(render(build_table(collect(small.folder)), "csv"))))
    assert [row["strategy"] for row in rows] == ["scratch", "full", "feature_extraction"]
    assert float(rows[1]["gain"]) == pytest.approx(0.2)
    assert rows[0]["gain"] == ""


def test_json_is_one_strict_object(small) -> None:
    text = render(build_table(collect(small.folder)), "json")
    data = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (data["metric"], data["baseline"]) == ("test/accuracy", "scratch")
    assert [row["n"] for row in data["rows"]] == [3, 3, 3]
    assert data["rows"][0]["gain"] is None
    assert data["caption"]


def test_sections(small) -> None:
    table = build_table(collect(small.folder), group_by="train_size")
    text = render(table, "md")
    assert text.index("**train_size = 2_per_class**") < text.index("**train_size = all**")
    assert text.count("| model") == 2
    latex = render(table, "latex")
    assert latex.count(r"\begin{tabular}") == 1 and latex.count(r"\textit{train\_size") == 2


def test_grid(small) -> None:
    table = build_table(collect(small.folder), rows="strategy", columns="train_size")
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in render(table).splitlines()[2:7]]
    assert lines[0] == ["strategy", "train_size 2_per_class", "train_size all"]
    assert lines[4] == ["full", "0.733 ± 0.115 (3) [1 missing]", "–"]
    assert "Gain" not in table.caption and "Forgetting" not in table.caption  # the grid has no such columns
    assert "metric,strategy,train_size 2_per_class" in render(table, "csv")


def test_unknown_format(small) -> None:
    with pytest.raises(UserError, match="unknown format 'markdwn'"):
        render(build_table(collect(small.folder)), "markdwn")


def test_text_that_means_something_to_the_format(study) -> None:
    study.run("full", 0, model="a|b_{c}&d")
    table = build_table(collect(study.folder))
    assert r"a\|b_{c}&d" in render(table, "md")
    study.run("<script>", 0)
    assert r"| \<script>" in render(build_table(collect(study.folder)), "md")
    assert r"a\textbar{}b\_\{c\}\&d" in render(table, "latex")


def test_printed_runs(small) -> None:
    small.run("lora", 0, status="failed", error={"type": "RuntimeError", "message": "[red] out of\nmemory"})
    console = Console(file=io.StringIO(), width=160)
    print_runs(collect(small.folder), console)
    text = console.file.getvalue()
    assert "RuntimeError: [red] out of" in text and "memory" not in text
    assert "9 of 11 runs done, 1 failed, 1 missing" in text
