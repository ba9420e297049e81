"""The wheel: everything that `tlx` needs is in it, the configs with it."""

import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_the_wheel_holds_the_code_and_the_configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder
    monkeypatch.chdir(ROOT)
    (wheel,) = builder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        scripts = next(archive.read(n).decode() for n in names if n.endswith("entry_points.txt"))
    configs = {f"tlx/{p.relative_to(ROOT).as_posix()}" for p in (ROOT / "configs").rglob("*.yaml")}
    assert "tlx/configs/train.yaml" in configs
    assert configs <= names
    code = {p.relative_to(ROOT).as_posix() for p in (ROOT / "tlx").rglob("*.py")}
    code |= {f"tlx/results/report/page.{name}" for name in ("html.j2", "css", "js")}
    assert code <= names
    assert "tlx = tlx.cli:main" in scripts
    assert not [n for n in names if n.startswith(("tests/", "runs/", "registry/")) or "__pycache__" in n]
