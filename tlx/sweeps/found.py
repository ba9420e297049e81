"""What a search found: the best trial, how all ended, and what to say of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tlx.results.layout import spread
from tlx.results.statistics import mean_std

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

ENDS = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed", "RUNNING": "not finished"}


@dataclass(frozen=True)
class Found:
    """All trials of a search so far; `total` are planned, `interrupted` names the signal that ended it."""

    name: str
    folder: Path
    metric: str
    direction: str
    seeds: list[int]
    total: int
    trials: "list[FrozenTrial]"
    interrupted: str | None

    @property
    def best(self) -> "FrozenTrial | None":
        """The complete trial with the best mean, the first of equals."""
        complete = [t for t in self.trials if t.state.name == "COMPLETE"]
        sign = 1 if self.direction == "higher" else -1
        return max(complete, key=lambda t: sign * t.values[0], default=None)

    @property
    def counts(self) -> str:
        """How the trials ended: `20 trials (14 complete, 5 pruned, 1 failed)`."""
        states = [t.state.name for t in self.trials]
        parts = [f"{states.count(state)} {name}" for state, name in ENDS.items() if state in states]
        return f"{len(states)} trials ({', '.join(parts)})"

    @property
    def score(self) -> str:
        """The best trial's score: `0.853 ± 0.012 (mean ± std, ddof 1, over 2 seeds: 10, 11)`."""
        assert self.best is not None
        scores = self.best.user_attrs["scores"]
        value, _, _ = spread(*mean_std(scores)).rpartition(" (")
        seeds = ", ".join(map(str, self.seeds))
        return f"{value} ({f'mean ± std, ddof 1, over {len(scores)} seeds' if len(scores) > 1 else '1 seed'}: {seeds})"

    @property
    def summary(self) -> str:
        """The best trial, its values, and the file that holds them."""
        if self.best is None:
            return f"{self.counts} of {self.total}: none was completed."
        return (
            f"best of {self.counts}: trial {self.best.number + 1}: {self.metric} {self.score}\n"
            f"{' '.join(self.best.user_attrs['overrides'])}\n"
            f"{self.folder / 'best.yaml'}: copy it to DIR/experiment/NAME.yaml, then tlx train --config-dir DIR "
            "experiment=NAME"
        )

    @property
    def complaint(self) -> str | None:
        """What failed, other than by being impossible; None when all is well."""
        failed = [t for t in self.trials if t.state.name == "FAIL"]
        serious = [t for t in failed if not t.user_attrs["impossible"]]
        if serious:
            why = serious[-1].user_attrs["error"]
            return f"{len(serious)} of {len(self.trials)} trials failed, the last: {why} (tlx runs {self.folder})"
        if self.best is None and failed:
            return f"no trial was possible, the last: {failed[-1].user_attrs['error']}"
        return None
