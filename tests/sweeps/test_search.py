"""A search: ask, run one cell with all seeds, tell the mean validation score; resumable, and the same again."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tlx.fit.recording import Recording

pytest.importorskip("optuna")
SEARCH = ["-m", "hydra/sweeper=optuna", "strategy=scratch", "study=tune"]
LEARNS = "+hydra.sweeper.sampler_options.n_startup_trials=2"  # so that few trials are enough to test the sampler
RATE = "optimizer.lr=tag(log,interval(1e-4,1e-1))"


def by_rate(config: dict) -> float:
    """Best at a learning rate of 0.01; seed 11 is a lucky one."""
    return 0.9 - 0.1 * abs(math.log10(config["optimizer"]["lr"]) + 2) + 0.02 * (config["seed"] == 11)


@pytest.fixture
def objective(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict]]:
    """Instead of training, runs have the validation score that a function of their config says; all checks pass."""
    import tlx.sweeps.prepare as prepare
    import tlx.train as training

    def install(
        score: Callable[[dict], float] = by_rate, check: Callable[[Any], None] = lambda runs: None
    ) -> list[dict]:
        done: list[dict] = []

        def run(config: dict, folder: Path, callbacks: Any = ()) -> None:
            with Recording(config, folder) as record:
                record.metrics = {"val/accuracy": score(config), "val/loss": 1 - score(config), "test/accuracy": 0.5}
                done.append(config)

        monkeypatch.setattr(training, "run", run)
        monkeypatch.setattr(prepare, "check_runs", check)
        return done

    return install


def trials_of(tlx, name: str = "tune") -> list[Any]:
    import optuna
    from optuna.storages import JournalStorage, journal

    (file,) = (tlx.runs / name).glob("*.journal")
    storage = JournalStorage(journal.JournalFileBackend(str(file)))
    return optuna.load_study(study_name=None, storage=storage).get_trials()


def drawn(done: list[dict]) -> list[tuple[float, int]]:
    return [(config["optimizer"]["lr"], config["seed"]) for config in done]


def test_the_objective_is_the_mean_validation_score_over_the_seeds(tlx, objective) -> None:
    done = objective()
    outcome = tlx.train(*SEARCH, RATE, "seed=10,11", "hydra.sweeper.n_trials=4")
    assert outcome.code == 0, outcome.err
    assert len(done) == 8
    trials = trials_of(tlx)
    for trial in trials:
        rate = trial.params["optimizer.lr"]
        assert 1e-4 <= rate <= 1e-1
        assert trial.value == pytest.approx(0.91 - 0.1 * abs(math.log10(rate) + 2))
    best = max(trials, key=lambda t: t.value)
    shown = f"{best.value:.3f} ± {0.02 / math.sqrt(2):.3f} (mean ± std, ddof 1, over 2 seeds: 10, 11)"
    assert f"best of 4 trials (4 complete): trial {best.number + 1}: val/accuracy {shown}" in outcome.out
    assert f"optimizer.lr={best.params['optimizer.lr']!r}" in outcome.out
    planned = json.loads((tlx.runs / "tune/study.json").read_text())["runs"]
    assert len(planned) == 8 and len({run["cell"] for run in planned}) == 4


def test_a_metric_with_a_direction(tlx, objective) -> None:
    objective()
    assert tlx.train(*SEARCH, RATE, "hydra.sweeper.n_trials=4", "hydra.sweeper.metric=val/loss").code == 0
    values = [trial.value for trial in trials_of(tlx)]
    found = yaml.safe_load((tlx.runs / "tune/best.yaml").read_text())["optimizer"]["lr"]
    assert 1 - by_rate({"optimizer": {"lr": found}, "seed": 0}) == pytest.approx(min(values))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([RATE, "hydra.sweeper.metric=test/accuracy"], "chosen by test labels"),
        ([RATE, "hydra.sweeper.metric=val/acuracy"], "Did you mean 'val/accuracy'?"),
        (["optimizer.lrr=interval(0.1,1)"], "unknown key 'optimizer.lrr'"),
        (["optimizer.lr=interval(-2,-1)"], "a number > 0"),
        (["strategy=choice(full,scratsh)"], "Did you mean 'scratch'?"),
        (["strategy=full,scratch"], "strategy=choice(full,scratch)"),
        (["optimizer.lr=interval(1,1)"], "LOW < HIGH"),
        (["optimizer.lr=tag(log,interval(0,1))"], "above 0"),
        (["optimizer.lr=tag(lag,interval(0,1))"], "Did you mean 'log'?"),
        (["optimizer.lr=shuffle(choice(0.1,1))"], "shuffle"),
        (["dataset.split_seed=range(0,9)"], "luck"),
        (["trainer.batch_size=choice(4,8)", "seed=interval(0,9)"], "seed=0,1,2"),
        (["study=choice(a,b)"], "changes no result"),
        ([], "nothing to search"),
        ([RATE, "register=x"], "Register a run of the best"),
        ([RATE, "hydra.sweeper.sampler=tpee"], "Did you mean 'tpe'?"),
        ([RATE, "hydra.sweeper.sampler=grid"], "optimizer.lr is an interval"),
        ([RATE, "+hydra.sweeper.sampler_options.n_startup_trial=1"], "Did you mean 'n_startup_trials'?"),
        ([RATE, "hydra.sweeper.pruner=mean"], "Did you mean 'median'?"),
        ([RATE, "hydra.sweeper.n_trials=0"], "≥ 1"),
    ],
)
def test_what_concerns_every_trial_is_refused_before_anything_starts(tlx, objective, words, message) -> None:
    done = objective()
    given = [word for word in SEARCH if not (word.startswith("strategy=") and any("strategy=" in w for w in words))]
    if any(w.startswith("study=") for w in words):
        given.remove("study=tune")
    assert message in tlx.train(*given, *words).complaint
    assert not done
    assert not list(tlx.runs.glob("*/*.journal")) and not list(tlx.runs.glob("*/study.json"))


def test_a_search_needs_its_sweeper(tlx) -> None:
    assert "-m hydra/sweeper=optuna" in tlx.train("-m", RATE).complaint


def test_the_same_seed_draws_the_same_trials_and_another_seed_others(tlx, objective) -> None:
    done = objective()
    tlx.train(*SEARCH, RATE, LEARNS, "hydra.sweeper.n_trials=5")
    first = drawn(done)
    done.clear()
    tlx.train(*SEARCH, RATE, LEARNS, "hydra.sweeper.n_trials=5", "study=again")
    assert drawn(done) == first
    done.clear()
    tlx.train(*SEARCH, RATE, LEARNS, "hydra.sweeper.n_trials=2", "study=other", "hydra.sweeper.seed=1")
    assert not set(drawn(done)) & set(first)


@pytest.mark.slow
def test_the_same_command_goes_on_to_the_number_of_trials(tlx, objective) -> None:
    done = objective()
    words = [*SEARCH, RATE, LEARNS, "seed=10,11"]
    tlx.train(*words, "hydra.sweeper.n_trials=4", "study=whole")
    whole = drawn(done)
    done.clear()
    tlx.train(*words, "hydra.sweeper.n_trials=3")
    again = tlx.train(*words, "hydra.sweeper.n_trials=3")
    assert drawn(done) == whole[:6] and "3 trials" in again.out
    assert tlx.train(*words, "hydra.sweeper.n_trials=4").code == 0
    assert drawn(done) == whole


@pytest.mark.slow
def test_a_killed_search_is_taken_up_with_the_values_it_had(tlx, objective, monkeypatch) -> None:
    words = [*SEARCH, RATE, "seed=10,11", "hydra.sweeper.n_trials=4"]
    done = objective()
    tlx.train(*words, "study=whole")
    whole = drawn(done)

    def killed(config: dict) -> float:
        if (config["optimizer"]["lr"], config["seed"]) == whole[5]:
            raise KeyboardInterrupt
        return by_rate(config)

    done = objective(killed)
    assert tlx.train(*words).code == 130
    assert [trial.state.name for trial in trials_of(tlx)] == ["COMPLETE", "COMPLETE", "RUNNING"]
    (file,) = (tlx.runs / "tune").glob("*.journal")
    with file.open("a") as journal:
        journal.write('{"op_code":')  # half a line, as a power cut leaves it
    Path(f"{file}.lock").touch()
    first, done = drawn(done), objective()
    assert tlx.train(*words).code == 0
    assert first + drawn(done) == whole
    assert [trial.state.name for trial in trials_of(tlx)] == ["COMPLETE"] * 4


def test_a_failing_trial_is_told_and_the_search_goes_on(tlx, objective) -> None:
    def fails(config: dict) -> float:
        if config["optimizer"]["lr"] > 0.01:
            raise FloatingPointError("the loss is not finite")
        return by_rate(config)

    objective(fails)
    outcome = tlx.train(*SEARCH, RATE, "hydra.sweeper.n_trials=5")
    assert outcome.code == 1
    trials = trials_of(tlx)
    states = {trial.state.name for trial in trials}
    assert states == {"FAIL", "COMPLETE"} and len(trials) == 5
    assert all((t.params["optimizer.lr"] > 0.01) == (t.state.name == "FAIL") for t in trials)
    assert "FloatingPointError: the loss is not finite" in outcome.err and "best of 5 trials" in outcome.out


def test_a_search_stops_at_the_first_failure_when_told_so(tlx, objective) -> None:
    objective(lambda config: 1 / 0)
    outcome = tlx.train(*SEARCH, RATE, "hydra.launcher.on_error=stop", "hydra.sweeper.n_trials=6")
    assert outcome.code == 1 and len(trials_of(tlx)) == 1
    assert "none was completed" in outcome.out and not (tlx.runs / "tune/best.yaml").exists()


def test_a_score_that_is_not_finite_is_a_failed_trial(tlx, objective) -> None:
    objective(lambda config: math.nan)
    outcome = tlx.train(*SEARCH, RATE, "hydra.sweeper.n_trials=1")
    assert outcome.code == 1 and "val/accuracy is missing or not a finite number" in outcome.err


def test_impossible_combinations_are_told_with_their_message(tlx, objective) -> None:
    from tlx.errors import UserError

    def check(runs: Any) -> None:
        if any(run.config["trainer"]["batch_size"] == 8 for run in runs):
            raise UserError("eight is impossible here.")

    done = objective(check=check)
    outcome = tlx.train(*SEARCH, "trainer.batch_size=choice(4,8,16)", "hydra.sweeper.sampler=grid")
    assert outcome.code == 0, outcome.err
    assert {config["trainer"]["batch_size"] for config in done} == {4, 16}
    failed = [trial for trial in trials_of(tlx) if trial.state.name == "FAIL"]
    assert [trial.user_attrs["error"] for trial in failed] == ["eight is impossible here."]
    assert "impossible: eight is impossible here." in outcome.err


def test_a_grid_ends_when_all_was_tried(tlx, objective) -> None:
    done = objective()
    words = [
        "optimizer.lr=choice(0.1,1e-2)",
        "trainer.head_dropout=range(0.1,0.4,0.1)",
        "trainer.batch_size=range(4,9,4)",
    ]
    assert tlx.train(*SEARCH, *words, "hydra.sweeper.sampler=grid", "hydra.sweeper.batch=5").code == 0
    tried = {(c["optimizer"]["lr"], c["trainer"]["head_dropout"], c["trainer"]["batch_size"]) for c in done}
    assert tried == {(lr, drop, size) for lr in (0.1, 0.01) for drop in (0.1, 0.2, 0.3) for size in (4, 8)}
    assert len(done) == 12


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_samplers_draw_every_kind_of_space(tlx, objective, sampler: str) -> None:
    done = objective()
    words = [RATE, "trainer.batch_size=int(interval(4,9))", "optimizer=glob(*)", "trainer.gradient_clip=1,null"]
    words += [
        f"hydra.sweeper.sampler={sampler}",
        "hydra.sweeper.n_trials=5",
        *([LEARNS] if sampler != "random" else []),
    ]
    assert tlx.train(*SEARCH, *words).code == 0
    assert len(done) == 5 and all(config["trainer"]["batch_size"] in range(4, 10) for config in done)
    assert {config["trainer"]["gradient_clip"] for config in done} <= {1, None}


@pytest.mark.slow
def test_pruning_stops_the_remaining_seeds_of_a_bad_trial(tlx, objective) -> None:
    done = objective()
    words = [*SEARCH, RATE, "seed=10,11,12", "hydra.sweeper.n_trials=6", "hydra.sweeper.sampler=random"]
    outcome = tlx.train(*words, "hydra.sweeper.pruner_options.n_startup_trials=2")
    assert outcome.code == 0, outcome.err
    trials = trials_of(tlx)
    pruned = [trial for trial in trials if trial.state.name == "PRUNED"]
    assert pruned and all(trial.number >= 2 for trial in pruned)
    assert all(len(trial.user_attrs["scores"]) == 1 for trial in pruned)
    assert len(done) == 3 * (6 - len(pruned)) + len(pruned)
    assert "pruned: stopped after 1 of 3 seeds" in outcome.err
    best = max(by_rate({"optimizer": {"lr": t.params["optimizer.lr"]}, "seed": 0}) for t in trials)
    found = yaml.safe_load((tlx.runs / "tune/best.yaml").read_text())["optimizer"]["lr"]
    assert by_rate({"optimizer": {"lr": found}, "seed": 0}) == best
    done.clear()
    assert tlx.train(*words, "hydra.sweeper.pruner=null", "study=all").code == 0
    assert len(done) == 18


@pytest.mark.slow
def test_what_was_found_is_an_experiment(tlx, objective, tmp_path: Path) -> None:
    from tlx.config.composer import composer
    from tlx.sweeps.study import plan_run

    done = objective()
    assert tlx.train(*SEARCH, RATE, "optimizer=choice(sgd)", "seed=10,11", "hydra.sweeper.n_trials=3").code == 0
    text = (tlx.runs / "tune/best.yaml").read_text()
    lines = text.splitlines()
    assert lines[0] == "# @package _global_"
    for said in ("val/accuracy", "3 trials", "over 2 seeds: 10, 11", "other\n# than 10, 11"):
        assert said in text
    (tmp_path / "own/experiment").mkdir(parents=True)
    (tmp_path / "own/experiment/found.yaml").write_text(text)
    with composer(str(tmp_path / "own")) as compose:
        places = [word for word in tlx.quick if word.startswith("paths.")]
        run = plan_run(compose([*places, "experiment=found"]))
    best = max(done, key=by_rate)
    assert run.config["run"]["cell"] == best["run"]["cell"]
    assert run.config["optimizer"]["lr"] == best["optimizer"]["lr"]
    assert run.config["seed"] == 0 and run.folder.parent.name == "found"
    done.clear()
    words = ["--config-dir", str(tmp_path / "own"), "experiment=found", *places, "hydra.launcher.backend=in_process"]
    assert tlx("train", "-m", *words, "seed=0,1,2").code == 0
    assert [config["seed"] for config in done] == [0, 1, 2]


EXPERIMENT = """# @package _global_
defaults:
  - override /hydra/sweeper: optuna
  - override /strategy: scratch
trainer: {batch_size: 8}
hydra:
  sweeper:
    n_trials: 2
    params:
      optimizer.lr: interval(0.001,0.1)
      strategy: choice(full,scratch)
      seed: 10,11
"""


def test_a_search_kept_as_an_experiment(tlx, objective, tmp_path: Path) -> None:
    done = objective()
    (tmp_path / "own/experiment").mkdir(parents=True)
    (tmp_path / "own/experiment/mine.yaml").write_text(EXPERIMENT)
    own = ["--config-dir", str(tmp_path / "own")]
    outcome = tlx.train("-m", *own, "experiment=mine", "strategy=full")
    assert outcome.code == 0, outcome.err
    assert [config["seed"] for config in done] == [10, 11, 10, 11]
    best = max(done, key=by_rate)
    (tmp_path / "own/experiment/found.yaml").write_text((tlx.runs / "mine/best.yaml").read_text())
    done.clear()
    assert tlx.train("-m", *own, "experiment=found", "seed=3").code == 0
    (config,) = done
    assert config["run"]["cell"] == best["run"]["cell"] and config["run"]["choices"]["strategy"] == "full"


def test_two_searches_in_one_study(tlx, objective) -> None:
    objective()
    for strategy in ("scratch", "full"):
        words = [*SEARCH, f"strategy={strategy}", RATE, "hydra.sweeper.n_trials=2"]
        assert "best of 2 trials" in tlx.train(*words).out
    assert len(list((tlx.runs / "tune").glob("*.journal"))) == 2


def test_a_database_as_storage(tlx, objective, tmp_path: Path) -> None:
    objective()
    words = [*SEARCH, RATE, "hydra.sweeper.n_trials=2", f"hydra.sweeper.storage=sqlite:///{tmp_path}/search.db"]
    assert tlx.train(*words).code == 0
    assert (tmp_path / "search.db").is_file() and not list((tlx.runs / "tune").glob("*.journal"))


def test_hydra_finds_the_sweeper() -> None:
    from hydra.core.plugins import Plugins
    from hydra.plugins.sweeper import Sweeper

    (found,) = [kind for kind in Plugins.instance().discover(Sweeper) if kind.__name__ == "TlxSweeper"]
    sweeper = found(n_trials=3)
    sweeper.setup(hydra_context=None, task_function=lambda arguments, options: (arguments, options), config=None)
    assert sweeper.sweep(["a=1"]) == (["a=1"], {"n_trials": 3})


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["hydra.launcher.backend=local", "hydra/launcher=basic"])
def test_a_search_that_trains(tlx, launcher: str) -> None:
    words = [word for word in tlx.quick if not word.startswith("hydra.")]
    words += [*SEARCH, RATE, "seed=10,11", "hydra.sweeper.n_trials=2", launcher]
    outcome = tlx("train", *words)
    assert outcome.code == 0, outcome.err
    records = tlx.records("tune")
    assert len(records) == 4 and all(record["status"] == "completed" for record in records)
    for trial in trials_of(tlx):
        scores = [
            record["metrics"]["val/accuracy"]
            for record in records
            if record["config"]["optimizer"]["lr"] == trial.params["optimizer.lr"]
        ]
        assert len(scores) == 2 and trial.value == pytest.approx(sum(scores) / 2)
    rows = json.loads(tlx("table", str(tlx.runs / "tune"), "--tune-over", "optimizer.lr", "--format", "json").out)
    found = yaml.safe_load((tlx.runs / "tune/best.yaml").read_text())["optimizer"]["lr"]
    assert [row["optimizer.lr"] for row in rows["rows"]] == [found]
