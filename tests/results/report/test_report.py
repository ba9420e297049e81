"""The page as text: what it says, that nothing in it is markup of a record's, and what it says of bad input."""

import html
import json
import re
from pathlib import Path

import pytest

from tlx.results.collect import collect
from tlx.results.findings import findings
from tlx.results.report import write_report
from tlx.results.report.sentences import question, verdict
from tlx.results.report.settings import shared_settings

EVIL = '</script><script>alert("x")</script><img src=x onerror=alert(1)>'


def page(study, tmp_path: Path, **options) -> str:
    file = tmp_path / "report.html"
    assert write_report(study.folder, file, **options) == file.stat().st_size
    return file.read_text()


def data(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])


def section(text: str, name: str) -> str:
    return html.unescape(re.search(rf'<section id="{name}".*?</section>', text, re.DOTALL)[0])


def said(study, **options) -> str:
    return verdict(findings(collect(study.folder), **options))


def test_a_full_study(rich_study, tmp_path: Path) -> None:
    text = page(rich_study, tmp_path)
    shown = data(text)
    assert list(shown["figures"]) == [
        "seeds", "learning-curves", "sample-efficiency", "controls", "forgetting", "drift", "unfreezing", "cost",
    ]  # fmt: skip
    assert "Left out" not in text
    assert "Does transferring tiny_vision to digits with 2_per_class and 10_per_class beat scratch" in text
    failed = section(text, "incomplete")
    assert "ValueError: the loss is nan <b>at step 3</b>" in failed and "and more" not in failed
    assert "planned, never started" in failed
    runs = collect(rich_study.folder)
    assert len(shown["runs"]) == len(runs) == 50
    for run, kept in zip(runs, shown["runs"], strict=True):  # every run's config is there to the last value
        settings = {**shown["common"], **kept["set"]}
        assert {name: settings[name] for name in settings if name not in kept["lack"]} == _flat(run.config)
    assert text == page(rich_study, tmp_path)  # the same records give the same bytes


def test_no_record_can_write_markup(study, tmp_path: Path) -> None:
    study.runs("scratch", [0.5, 0.6])
    study.runs(EVIL, [0.6, 0.8], model=EVIL, config={"optimizer.name": EVIL}, metrics={f"test/{EVIL}": 1.0})
    study.run("full", 5, status="failed", error={"type": EVIL, "message": EVIL, "traceback": EVIL})
    text = page(study, tmp_path)
    assert EVIL not in text
    ours = re.sub(r"<script>.*?</script>", "<script>", text, flags=re.DOTALL)
    assert ours.count("<script") == 3  # the data, vega and the page's own
    assert "<img" not in ours
    assert any(run["error"] == EVIL for run in data(text)["runs"])


def test_nothing_is_fetched(rich_study, tmp_path: Path) -> None:
    text = page(rich_study, tmp_path)
    own = re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", own)
    policy = html.unescape(re.search(r'Content-Security-Policy" content="(.*?)"', own)[1])
    assert policy.startswith("default-src 'none'; ") and "unsafe-eval" not in policy and "http" not in policy


def test_verdicts(study) -> None:
    study.runs("scratch", [0.50, 0.60, 0.55, 0.52, 0.58])
    assert "add another strategy" in said(study)
    study.runs("full", [0.70, 0.81, 0.76, 0.72, 0.79])
    study.runs("bad", [0.30, 0.41, 0.36, 0.32, 0.37])
    study.runs("odd", [0.40, 0.70, 0.50, 0.60, 0.53])
    study.runs("shuffled", [0.51, 0.61, 0.55, 0.53, 0.58])  # a control is no way of transferring
    text = said(study)
    assert text.startswith("Of 3 rows compared with scratch, 1 helps, 1 hurts, 1 shows no evidence. Largest gain")
    assert "(full)" in text and "(bad)" in text
    assert said(study, baseline="none") == "Nothing was compared: no baseline was asked for."
    assert question(findings(collect(study.folder), baseline="none")).startswith("How do tiny_vision do on digits")


def test_one_seed_is_no_verdict(study, tmp_path: Path) -> None:
    study.runs("scratch", [0.5])
    study.runs("full", [0.7])
    assert said(study).startswith("One seed cannot tell: the largest gain over scratch is +0.200 (full)")
    text = page(study, tmp_path)
    assert "One seed cannot tell" in text and "[" not in section(text, "table").split("<tbody>")[1].split("</tbody>")[0]


def test_without_scratch(study, tmp_path: Path) -> None:
    study.runs("full", [0.7, 0.8])
    assert said(study) == "There is no answer without scratch: add strategy=scratch with the same seeds."
    text = page(study, tmp_path)
    assert "there are no scratch runs, so there is no gain" in text
    assert "Left out: no record says what was forgotten" in section(text, "forgetting")


def test_nothing_has_completed_yet(study, tmp_path: Path) -> None:
    study.run("full", 0, status="missing")
    study.run("full", 1, status="failed", error={"type": "E", "message": "why", "traceback": ""})
    study.plan()
    text = page(study, tmp_path)
    assert "No run has completed" in text and "E: why" in text


def test_tuned_rows(study, tmp_path: Path) -> None:
    for rate, score in ((0.1, 0.5), (0.01, 0.7)):
        study.runs("full", [score, score + 0.1], config={"optimizer.lr": rate})
        study.runs("scratch", [score - 0.1, score - 0.2], config={"optimizer.lr": rate})
    text = page(study, tmp_path, tune_over="optimizer.lr")
    assert section(text, "table").count("<tr") == 3
    assert "tlx report" in text and "--tune-over optimizer.lr" in text


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("report EMPTY", "is empty"),
        ("report OTHER", "no record.json and no study.json below it"),
        ("report RUNS --metric test/acuracy", "Did you mean 'test/accuracy'?"),
        ("report RUNS --baseline scrach", "Did you mean 'scratch'?"),
        ("report RUNS --tune-over optimizer.l", "optimizer.lr"),
        ("report RUNS -o other", "-o other is a folder: name the file to write, such as other/report.html"),
        ("report RUNS -o other/notes.txt/report.html", "notes.txt is a file, not a folder"),
        ("report EMPTY -o other", "is a folder"),  # said before anything is read
        ("report RUNS --metric=", "--metric was given and is empty"),
        ("report RUNS --tune-over=", "--tune-over was given and is empty"),
        ("report", "Missing argument"),
    ],
)
def test_mistakes(verbs, study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, part: str) -> None:
    study.runs("scratch", [0.5, 0.6])
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    for name, folder in (("EMPTY", "empty"), ("OTHER", "other"), ("RUNS", study.folder)):
        words = words.replace(name, str(folder))
    assert part in verbs(*words.split()).complaint
    assert not (tmp_path / "report.html").exists()


def test_the_command(verbs, study, tmp_path: Path) -> None:
    study.runs("scratch", [0.5, 0.6])
    outcome = verbs("report", str(study.folder), "-o", str(tmp_path / "a" / "b.html"))
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{tmp_path / 'a' / 'b.html'} (1.0 MB)\n" or outcome.out.endswith("MB)\n")


def test_settings_in_little_space(study) -> None:
    for seed in range(4):
        study.run("full", seed, config={"optimizer.extra": 1} if seed == 3 else None)
    common, differing, lacking = shared_settings(collect(study.folder))
    assert common["optimizer.lr"] == 0.001 and "optimizer.extra" not in common
    assert differing[3]["optimizer.extra"] == 1 and differing[3]["seed"] == 3 and lacking == [[]] * 4


def _flat(config: dict) -> dict:
    from tlx.results.naming import flatten

    return flatten(config)


def test_numbers_of_labels_are_told_as_such(study) -> None:
    """ "Does it beat scratch with 1, 5 and 25" and a panel called "25" ask: of what?"""
    for size in (1, 5, 25):
        study.runs("scratch", [0.5, 0.6], train_size=size)
        study.runs("full", [0.7, 0.8], train_size=size)
    found = findings(collect(study.folder))
    assert question(found).startswith("Does transferring tiny_vision to digits with 1, 5 and 25 labels beat scratch")
    assert [point.panel for point in found.points][::2] == ["1 label", "5 labels", "25 labels"]


def test_several_data_sets_are_told_together(study, tmp_path: Path) -> None:
    for dataset in ("digits", "letters"):
        study.runs("scratch", [0.5, 0.6], dataset=dataset)
        study.runs("full", [0.7, 0.8], dataset=dataset)
    text = page(study, tmp_path)
    assert "Over several data sets" in text and "profiles" in data(text)["figures"]
    one = study.beside("one")
    one.runs("full", [0.5, 0.6])
    assert "several data sets" not in page(one, tmp_path), "a page on one data set lacks nothing"


def test_the_best_and_what_is_not_told_from_it_are_marked(study, tmp_path: Path) -> None:
    study.runs("scratch", [0.50, 0.51, 0.52])
    study.runs("full", [0.80, 0.82, 0.81])
    study.runs("lora", [0.82, 0.81, 0.83])
    table = section(page(study, tmp_path), "table")
    assert re.search(r'class="number best"[^>]*>0.8', table) and re.search(r'class="number near"[^>]*>0.8', table)
    assert "Bold: the best mean" in table and len(re.findall('class="number (?:best|near)"', table)) == 2
    alone = study.beside("alone")
    alone.runs("full", [0.5, 0.6])
    assert "Bold: the best" not in page(alone, tmp_path)


def test_where_no_row_gains_no_loss_is_the_largest_gain(study) -> None:
    study.runs("scratch", [0.70, 0.74, 0.66])
    study.runs("full", [0.67, 0.73, 0.63])
    study.runs("lora", [0.60, 0.70, 0.60])
    assert "No row gains; the least loss: -0.023" in said(study) and "argest gain" not in said(study)
    one = study.beside("one")
    one.run("scratch", 0, 0.7)
    one.run("full", 0, 0.6)
    assert "no row gains over scratch, and the least loss is -0.100 (full)" in said(one)
