"""Freezing rules that go wrong in the process of a run, never where the sweep is checked. Imported by name."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlx.layer_groups import LayerGroup
from tlx.plan import Phase
from tlx.strategies.freezing import NoFreezing


@dataclass(frozen=True)
class BySeed:
    """Trains everything; with the seeds 8 to 11, something happens first."""

    seed: int

    def phases(self, groups: Sequence[LayerGroup]) -> list[Phase]:
        if multiprocessing.parent_process() is not None:
            if self.seed == 8:
                os.kill(os.getpid(), signal.SIGSEGV)
            elif self.seed == 9:
                os.kill(os.getpid(), signal.SIGKILL)
            elif self.seed == 10:
                np.ones(2**36)  # 512 GiB
            elif self.seed == 11:
                raise ArithmeticError("this seed does not add up")
        return NoFreezing().phases(groups)
