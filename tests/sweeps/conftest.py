"""A small study done by the local backend, to which the other backends are compared."""

from collections.abc import Callable

import pytest

STUDY = ["-m", "strategy=scratch,full", "seed=0,1"]


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
