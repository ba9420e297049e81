"""Studies done by the local backend, to which the other backends are compared."""

import json
from collections.abc import Callable

import pytest

STUDY = ["-m", "strategy=scratch,full", "seed=0,1"]
# Of the study of `make demo` two of the seeds and the smaller training sets: 10 runs of one thread each.
DEMO = ["-m", "experiment=letters_to_digits", "dataset.train_size=2_per_class", "seed=0,1"]
MEASURED = ("seconds", "memory")


@pytest.fixture
def same_as_local(tlx) -> Callable[..., None]:
    """A function that does STUDY with the words given, and with the local backend, and compares the metrics."""

    def compare(*words: str) -> None:
        outcome = tlx("train", *(w for w in tlx.quick if "backend" not in w), *STUDY, "study=other", *words)
        assert outcome.code == 0, outcome.err
        outcome = tlx.train(*STUDY, "study=local", "hydra.launcher.backend=local", "hydra.launcher.n_jobs=1")
        assert outcome.code == 0, outcome.err
        other, local = ({r["identity"]: r["metrics"] for r in tlx.records(s)} for s in ("other", "local"))
        assert len(local) == 4 and other == local

    return compare


@pytest.fixture
def demo(tlx) -> Callable:
    """A function that does DEMO in the study and with the words given."""
    paths = [word for word in tlx.quick if word.startswith("paths.")]
    return lambda study, *words: tlx("train", *DEMO, *paths, f"study={study}", *words)


@pytest.fixture
def table_of(tlx) -> Callable[[str], list[dict]]:
    """A function that gives the table of a study, but for what was measured."""

    def table(study: str) -> list[dict]:
        rows = json.loads(tlx("table", str(tlx.runs / study), "--format", "json").out)["rows"]
        return [{name: value for name, value in row.items() if not name.startswith(MEASURED)} for row in rows]

    return table
