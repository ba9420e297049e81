"""What a sweep would do is said without doing it; cells that a study leaves out are left out, and why."""

import pytest

AXES = ["-m", "strategy=scratch,full", "seed=0,1"]
LEAVE_OUT = "skip_if=[{strategy: full, seed: [1, 2], why: one seed of it will do}]"


def test_a_dry_run_starts_and_writes_nothing(tlx) -> None:
    outcome = tlx.train("--dry-run", *AXES, LEAVE_OUT)
    assert outcome.code == 0
    first, *rest = outcome.out.splitlines()
    assert first == "3 runs (2 cells): 0 done, 3 to do"
    assert "1 left out: one seed of it will do" in rest and "  3 not begun" in rest
    assert "no estimate of the time" in rest[-1]
    assert not tlx.runs.exists()


def test_after_some_runs_it_counts_them_and_estimates_the_rest(tlx) -> None:
    assert tlx.train("-m", "strategy=scratch", "seed=0").code == 0
    before = sorted(tlx.runs.rglob("*"))
    lines = tlx.train("--dry-run", *AXES).out.splitlines()
    assert lines[0] == "4 runs (2 cells): 1 done, 3 to do"
    assert lines[-1].startswith("about 0.") and "without 2 runs of which no like has been done" in lines[-1]
    assert sorted(tlx.runs.rglob("*")) == before
    assert tlx.train("--dry-run", "-m", "strategy=scratch", "seed=0").out.splitlines()[-1] == "nothing is left to do"


def test_a_backbone_that_would_be_made_first_is_named(tlx, tmp_path) -> None:
    lines = tlx.train("--dry-run", *AXES, f"paths.registry={tmp_path}").out.splitlines()
    assert lines[0] == "4 runs (? cells): 0 done, 4 to do" and "no estimate of the time" in lines[-1]
    assert lines[1] == "4 of them wait for the registry's tiny_vision, which would be made first"
    assert not list(tmp_path.iterdir())


def test_what_is_left_out_is_not_run_nor_planned(tlx) -> None:
    assert tlx.train(*AXES, LEAVE_OUT).code == 0
    done = [(r["choices"]["strategy"], r["choices"]["seed"]) for r in tlx.records()]
    assert sorted(done) == [("full", 0), ("scratch", 0), ("scratch", 1)]


@pytest.mark.parametrize(
    ("condition", "part"),
    [
        ("{strateg: full}", "Did you mean 'strategy'"),
        ("{why: because}", "must map settings to values"),
        ("full", "must map settings to values"),
    ],
)
def test_conditions_that_mean_nothing(tlx, condition: str, part: str) -> None:
    assert part in tlx.train(*AXES, f"skip_if=[{condition}]").complaint
    assert not tlx.runs.exists()


def test_leaving_out_everything(tlx) -> None:
    assert "leaves no run" in tlx.train(*AXES, "skip_if=[{seed: [0, 1]}]").complaint


def test_a_single_run_that_is_left_out_is_not_run(tlx) -> None:
    complaint = tlx.train("strategy=full", "skip_if=[{strategy: [full, lora], why: nothing to see}]").complaint
    assert "skip_if leaves this run out (nothing to see)" in complaint
    assert "must map settings to values" in tlx.train("strategy=full", "skip_if=[full]").complaint
    assert not tlx.runs.exists()
