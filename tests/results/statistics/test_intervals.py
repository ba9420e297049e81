"""What tables say of their intervals, verdicts and power holds in simulated studies, to two points."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from intervals import PARTS


@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_it_is_as_said(name: str) -> None:
    lines = list(PARTS[name](np.random.default_rng(0)))
    for line in lines:
        print(f"{line.what}: {line.found:.3f} ± {line.error:.3f} in {line.studies} studies")
    assert [line for line in lines if not line.right] == []
