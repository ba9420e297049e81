"""The mean curve of a cell spans the steps that all of its seeds have."""

from pathlib import Path

import pytest

from tlx.results.collect import Run
from tlx.results.mean_curve import columns, mean_curve, read_curve


def run(folder: Path, lines: str) -> Run:
    folder.mkdir()
    (folder / "metrics.csv").write_text(lines)
    return Run(folder.name, "cell", "completed", {}, {}, folder)


def test_one_curve(tmp_path: Path) -> None:
    text = "epoch,step,train/loss,val/accuracy\n0,5,1.0,\n0,6,,0.25\n1,12,,nan\n1,12,,0.5\n1,18,,inf\n"
    one = run(tmp_path / "a", text)
    assert read_curve(one, "val/accuracy") == {6: 0.25, 12: 0.5}
    assert read_curve(one, "val/loss") == {}
    assert columns(one.folder) == ["epoch", "step", "train/loss", "val/accuracy"]
    assert columns(tmp_path) == []
    assert read_curve(run(tmp_path / "b", "step,val/accuracy\n1,0.5\nx,y\n"), "val/accuracy") == {}


def test_the_mean_over_the_steps_that_all_seeds_have(tmp_path: Path) -> None:
    long = run(tmp_path / "a", "step,val/a\n2,0.2\n4,0.4\n6,0.6\n8,0.8\n")
    short = run(tmp_path / "b", "step,val/a\n2,0.4\n6,0.6\n")
    none = run(tmp_path / "c", "step,val/b\n2,0.4\n")
    curve = mean_curve([long, short, none], "val/a")
    assert [point.step for point in curve] == [2, 4, 6]  # 8 is one seed's alone
    assert [point.mean for point in curve] == pytest.approx([0.3, 0.45, 0.6])  # 0.5 at step 4 is interpolated
    assert [point.std for point in curve] == pytest.approx([0.1 * 2**0.5, 0.05 * 2**0.5, 0.0])
    assert {point.n for point in curve} == {2}
    alone = mean_curve([short], "val/a")
    assert [point.std for point in alone] == [None, None]
    assert mean_curve([none], "val/a") == []


def test_a_long_curve_is_thinned_but_keeps_its_ends(tmp_path: Path) -> None:
    lines = "step,val/a\n" + "".join(f"{step},{step}\n" for step in range(1, 1001))
    curve = mean_curve([run(tmp_path / "a", lines)], "val/a", most=40)
    assert len(curve) == 40
    assert (curve[0].step, curve[-1].step) == (1, 1000)
    assert all(point.step == point.mean for point in curve)
