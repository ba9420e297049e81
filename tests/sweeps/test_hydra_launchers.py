"""Hydra's own launchers: basic in this process, joblib in processes of its own."""

from pathlib import Path

import pytest


@pytest.mark.parametrize("launcher", ["basic", pytest.param("joblib", marks=pytest.mark.slow)])
def test_a_failing_job_stops_no_other(tlx, launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    long = "trainer.max_epochs=3"  # a rate needs a step to diverge
    quick = [*(word for word in tlx.quick if "backend" not in word), long]  # that is an option of our launcher
    # The first rate diverges; the third is the second in other words, and no run of its own.
    words = ["-m", "strategy=scratch", "seed=0,1", "optimizer.lr=1e30,1e-3,0.001", f"hydra/launcher={launcher}"]
    if launcher == "joblib":
        words.append("hydra.launcher.n_jobs=2")
    outcome = tlx("train", *quick, *words)
    assert outcome.code == 1
    assert "2 of 4 runs done" in outcome.out
    assert outcome.err.count("failed: tiny_vision-scratch-digits") == 2, outcome.err
    assert "Traceback" not in outcome.err
    rates = {(r["choices"]["seed"], r["config"]["optimizer"]["lr"]): r["status"] for r in tlx.records()}
    assert rates == {(seed, lr): state for seed in (0, 1) for lr, state in ((1e30, "failed"), (1e-3, "completed"))}
    assert not list(here.iterdir())
    # The same command again does what failed, and only that; the numbers are those of our own launcher.
    done = [r["metrics"] for r in tlx.records() if r["status"] == "completed"]
    assert tlx.train("-m", "strategy=scratch", "seed=0,1", "optimizer.lr=1e-3", "study=ours", long).code == 0
    assert [r["metrics"] for r in tlx.records("ours")] == done
