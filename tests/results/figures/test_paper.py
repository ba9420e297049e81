"""`tlx plot`: every kind in every file type, the same bytes again, and mistakes told before anything is read."""

from pathlib import Path

import pytest

from tlx.results.collect import collect
from tlx.results.figures import KINDS
from tlx.results.figures.paper import plot
from tlx.results.findings import findings


def test_the_same_bytes_again(rich_study, tmp_path: Path) -> None:
    found = findings(collect(rich_study.folder))
    for kind in KINDS.keys() - {"profiles"}:  # this study has one data set
        files = [tmp_path / name / f"{kind}.svg" for name in ("a", "b")]
        for file in files:
            assert plot(kind, found, file) == KINDS[kind].picture(found).notes
        first, second = (file.read_bytes() for file in files)
        assert first == second, kind
        assert first.decode().count("<svg") == 1 and b"mathdefault" not in first, kind


@pytest.mark.parametrize(("suffix", "start"), [("pdf", b"%PDF"), ("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_file_types(verbs, rich_study, tmp_path: Path, suffix: str, start: bytes) -> None:
    file = tmp_path / "new" / f"seeds.{suffix}"
    outcome = verbs("plot", "seeds", str(rich_study.folder), "-o", str(file))
    assert outcome.code == 0 and outcome.out.startswith(f"{file}: test/accuracy of each seed"), outcome.err
    assert file.read_bytes().startswith(start)


def test_names_with_signs_of_tex_are_drawn_as_they_are(verbs, study, tmp_path: Path) -> None:
    study.runs("$x_1^$", [0.5, 0.6])
    study.runs("a & b_$", [0.5, 0.6])
    file = tmp_path / "a.svg"
    assert verbs("plot", "seeds", str(study.folder), "-o", str(file)).code == 0
    assert "$x_1^$" in file.read_text()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (
            "plot learning-curve RUNS -o a.pdf",
            "'learning-curve'. Did you mean 'learning-curves'?",
        ),
        ("plot seeds RUNS -o a.jpg", "unknown file type '.jpg'. Did you mean '.png'?"),
        ("plot seeds RUNS -o a", "Allowed: .pdf, .png, .svg"),
        ("plot seeds RUNS", "-o"),
        ("plot seeds RUNS/nothing -o a.pdf", "no such folder"),
        ("plot seeds RUNS -o a.pdf --metric acuracy", "Did you mean 'test/accuracy'?"),
        ("plot seeds RUNS -o .", "-o . is a folder: name the file to write, such as seeds.pdf"),
        ("plot seeds RUNS -o a.pdf --metric=", "--metric was given and is empty"),
        ("plot drift RUNS -o a.pdf", "there is nothing to draw for drift: "),
    ],
)
def test_mistakes(verbs, study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, part: str) -> None:
    study.runs("scratch", [0.5, 0.6])
    monkeypatch.chdir(tmp_path)
    assert part in verbs(*words.replace("RUNS", str(study.folder)).split()).complaint
    assert not list(tmp_path.glob("a.*"))
