"""A search for hyper-parameters: ask for values, run one cell with all seeds, tell the mean validation score."""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from tlx.config.composer import Composer
from tlx.errors import UserError, unknown
from tlx.private import trial_id
from tlx.record.record import read_record
from tlx.results.layout import spread
from tlx.results.statistics import mean_std
from tlx.sweeps.best_yaml import write_best
from tlx.sweeps.engine import Rules, reason
from tlx.sweeps.found import Found
from tlx.sweeps.launchers import own_launcher
from tlx.sweeps.prepare import examine
from tlx.sweeps.search_options import (
    SearchOptions,
    make_pruner,
    make_sampler,
    need_optuna,
    open_storage,
    storage_file,
)
from tlx.sweeps.space import read_space
from tlx.sweeps.study import Planned, write_study
from tlx.sweeps.sweep import Sweep, launch

if TYPE_CHECKING:
    import optuna


@dataclass
class Attempt:
    """A trial while it is carried out: its overrides, its scores (one a seed so far), the runs of the present step."""

    trial: "optuna.Trial"
    words: list[str]
    scores: list[float] = field(default_factory=list)
    runs: list[Planned] = field(default_factory=list)


class Search:
    """One search, from its command line to `best.yaml`.

    Raises:
        UserError: a mistake that would concern every trial: a key, a space, a metric, an option, or settings with
            which no trial is possible. Nothing was started.
    """

    def __init__(self, compose: Composer, overrides: Sequence[str], options: SearchOptions) -> None:
        need_optuna()
        self.compose, self.options = compose, options
        self.space = read_space(compose.read_sweep(overrides), compose.loader.get_group_options)
        self.launcher = own_launcher(compose.launcher(overrides))
        self.rules = Rules(*(self.launcher[key] for key in ("on_error", "retries"))) if self.launcher else Rules()
        make_sampler(options, self.space.parameters, 0)
        self.pruner = make_pruner(options)
        example = self._first_possible()
        self.metric, self.direction = _metric(options, example.config)
        self.folder = example.folder.parent
        self.name = f"search-{self._hash(example)}"
        self.total = options.n_trials
        if options.sampler == "grid":
            size = 1
            for parameter in self.space.parameters:
                size *= len(parameter.grid)
            self.total = min(self.total, size)
        self.interrupted: str | None = None  # the name of the signal that ended the search
        self.errors: list[str] = []  # of the runs that failed in this process

    def carry_out(self) -> Found:
        """Do what is left of the search, write `best.yaml`, and return what all trials found.

        A trial that a killed or interrupted search left running is taken up first, with the values that it had.

        Raises:
            UserError: the same search is going on in another process.
            RunFailed: a backbone that a trial needs could not be made.
        """
        with self._storage() as storage:
            import optuna

            self.study = optuna.create_study(
                study_name=self.name,
                storage=storage,
                direction="maximize" if self.direction == "higher" else "minimize",
                pruner=self.pruner,
                load_if_exists=True,
            )
            while not (self.interrupted or self.rules.enough(self.errors)) and (batch := self._next()):
                self._do(batch)
            trials = self.study.get_trials(deepcopy=False)
        found = Found(
            self.name, self.folder, self.metric, self.direction, self.seeds, self.total, trials, self.interrupted
        )
        if found.best is not None:
            write_best(found, self.compose, self.space.fixed)
        return found

    # --- before the first trial

    def _first_possible(self) -> Planned:
        """The first run of a trial that can be carried out; all that is checked of a run is checked."""
        first: UserError | None = None
        for words in self.space.examples():
            try:
                composed = [self.compose([*self.space.fixed, *words, *seed]) for seed in self.space.seeds]
                _metric(self.options, composed[0].config)
                if composed[0].config["register"]:
                    raise UserError(
                        "register=NAME in a search: every trial would replace the entry. Register a run of the best "
                        "values afterwards."
                    )
                self.seeds = [run.config["seed"] for run in composed]
                return examine(self.compose, composed, Sweep([]), self.launcher)[0]
            except UserError as error:
                first = first or error
        assert first is not None
        raise first

    def _hash(self, example: Planned) -> str:
        """Names the search: what is fixed, what is searched, by which score, over which seeds, by which sampler."""
        options = self.options
        parameters = [(p.key, p.low, p.high, p.log, p.values) for p in self.space.parameters]
        sampler = [options.sampler, options.sampler_options, options.seed]
        content = [example.config["run"]["cell"], parameters, self.metric, self.space.seeds, sampler]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]

    @contextmanager
    def _storage(self) -> Iterator["optuna.storages.BaseStorage"]:
        file = storage_file(self.options, self.folder / f"{self.name}.journal")
        beside = file or self.folder / self.name
        beside.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(beside.with_name(f".{beside.name}.lock"), timeout=0):
                yield open_storage(self.options, file)
        except Timeout as error:
            raise UserError(f"{beside}: this search is going on in another process; wait for it or end it.") from error

    # --- trials

    def _next(self) -> list[Attempt]:
        """Trials that were left running; else new ones, as many at once as the options say; [] at the end."""
        import optuna

        trials = self.study.get_trials(deepcopy=False)
        running = [t for t in trials if t.state == optuna.trial.TrialState.RUNNING]
        attempts = []
        new = range(len(trials), min(len(trials) + self.options.batch, self.total))
        for number in [t.number for t in running] or new:
            self.study.sampler = make_sampler(self.options, self.space.parameters, number)
            trial = optuna.Trial(self.study, trial_id(trials[number])) if running else self.study.ask()
            attempts.append(Attempt(trial, [p.draw(trial) for p in self.space.parameters]))
        return attempts

    def _do(self, attempts: Sequence[Attempt]) -> None:
        """Carry out trials together, and tell how each ended, unless a signal comes between."""
        going = list(attempts)
        for seeds in self._steps():
            going = [attempt for attempt in going if self._plan(attempt, seeds)]
            self._run(going)
            if self.interrupted:
                return
            going = [attempt for attempt in going if self._judge(attempt)]
        for attempt in going:
            self._end(attempt, "COMPLETE", spread(*mean_std(attempt.scores)))

    def _steps(self) -> list[list[list[str]]]:
        """The seeds of a trial, one after the other where a pruner may look in between, else all at once."""
        import optuna

        complete = len(self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,)))
        look = self.options.pruner is not None and complete >= self.options.startup
        return [[seed] for seed in self.space.seeds] if look else [self.space.seeds]

    def _plan(self, attempt: Attempt, seeds: Sequence[list[str]]) -> bool:
        """Plan a trial's runs with these seeds; False when they are impossible."""
        try:
            jobs = [self.compose([*self.space.fixed, *attempt.words, *seed]) for seed in seeds]
            attempt.runs = examine(self.compose, jobs)
            if len(attempt.runs) < len({tuple(seed) for seed in seeds}):  # means over fewer seeds do not compare
                raise UserError("a newer tlx did a run of this trial, and this one cannot read it: update tlx.")
        except UserError as error:
            self._end(attempt, "FAIL", str(error), impossible=True)
            return False
        return True

    def _run(self, attempts: Sequence[Attempt]) -> None:
        """Carry out the planned runs of trials as a sweep does."""
        if self.launcher is not None:
            study = Sweep(list({run.folder: run for attempt in attempts for run in attempt.runs}.values()))
            write_study(study.runs)
            study.carry_out(self.launcher)
            self.interrupted = study.interrupted
            return
        for attempt in attempts:  # one of Hydra's own launchers, which composes the jobs of one trial once more
            write_study(attempt.runs)
            launch(self.compose, [*self.space.fixed, *attempt.words], Sweep(attempt.runs))

    def _judge(self, attempt: Attempt) -> bool:
        """Read the scores of the runs just done; False when the trial ended, because a run failed or by the pruner."""
        for run in attempt.runs:
            if not run.finished:
                self.errors.append(reason(run))
                self._end(attempt, "FAIL", f"{run.folder.name}: {self.errors[-1]}")
                return False
            record = read_record(run.folder)
            score = record["metrics"].get(self.metric) if record else None
            if score is None:
                self._end(attempt, "FAIL", f"{run.folder.name}: {self.metric} is missing or not a finite number")
                return False
            attempt.scores.append(score)
            step = len(attempt.scores) - 1
            if step not in self.study.trials[attempt.trial.number].intermediate_values:  # told before it was killed
                attempt.trial.report(fmean(attempt.scores), step)
        done, all_ = len(attempt.scores), len(self.space.seeds)
        if done < all_ and attempt.trial.should_prune():
            score = spread(*mean_std(attempt.scores))
            self._end(attempt, "PRUNED", f"stopped after {done} of {all_} seeds at {score}")
            return False
        return True

    def _end(self, attempt: Attempt, state: str, said: str, impossible: bool = False) -> None:
        """Tell optuna how a trial ended, and the user."""
        import optuna

        trial = attempt.trial
        trial.set_user_attr("overrides", attempt.words)
        trial.set_user_attr("scores", attempt.scores)
        if state == "FAIL":
            trial.set_user_attr("error", said)
            trial.set_user_attr("impossible", impossible)
        value = fmean(attempt.scores) if state == "COMPLETE" else None
        self.study.tell(trial, value, optuna.trial.TrialState[state])
        words = {"COMPLETE": self.metric, "PRUNED": "pruned:", "FAIL": "impossible:" if impossible else "failed:"}
        line = f"trial {trial.number + 1} of {self.total}: {' '.join(attempt.words)}: {words[state]} {said}"
        print(" ".join(line.split()), file=sys.stderr)


def _metric(options: SearchOptions, config: dict[str, Any]) -> tuple[str, str]:
    """The metric of a search, and whether "higher" or "lower" is better.

    Raises:
        UserError: one that is computed from test labels, or that the runs will not have.
    """
    from tlx.config.instantiate import instantiate
    from tlx.tasks.metrics import direction

    dataset = instantiate(config["dataset"], "dataset")
    allowed = [f"val/{name}" for name in [*dataset.metrics, "loss"]]
    metric = options.metric or f"val/{dataset.monitor}"
    if metric.startswith("test/"):
        raise UserError(
            f"hydra.sweeper.metric={metric}: values chosen by test labels look better on them than they are, and "
            f"nothing is left to see it by. Search by validation: {', '.join(allowed)}."
        )
    if metric not in allowed:
        raise unknown("hydra.sweeper.metric", metric, allowed)
    return metric, direction(metric.removeprefix("val/"))
