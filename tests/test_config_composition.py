"""Composing configs: the user's folder goes before ours, parts are built from nodes, and their types are checked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra.version import VersionBase
from packaging.version import Version

from tlx.config.composer import composer
from tlx.config.instantiate import instantiate
from tlx.config.names import fits, in_words, resolve
from tlx.config.place import CONFIG_DIR
from tlx.config.values import check_values, known_keys
from tlx.errors import UserError


def compose(*words: str, own: Path | None = None) -> dict[str, Any]:
    with composer(str(own) if own else None) as composed:
        return composed(list(words)).config


def write(folder: Path, name: str, text: str) -> None:
    file = folder / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_the_default_run() -> None:
    with composer() as composed:
        run = composed([])
    assert [run.choices[group] for group in ("model", "strategy", "dataset")] == ["tiny_vision", "full", "digits"]
    assert run.choices["experiment"] is None
    assert run.config["seed"] == 0 and run.config["cache"] == "on"
    assert run.config["optimizer"]["lr"] == run.config["model"]["lr"]["full"]


def test_every_strategy_brings_its_own_rate() -> None:
    for strategy, kind in (
        ("scratch", "scratch"),
        ("feature_extraction", "head"),
        ("lora", "adapter"),
        ("full", "full"),
    ):
        config = compose(f"strategy={strategy}")
        assert config["optimizer"]["lr"] == config["model"]["lr"][kind]
    assert compose("strategy=lora", "optimizer.lr=0.5")["optimizer"]["lr"] == 0.5


def test_a_strategy_may_choose_the_schedule_unless_the_user_does() -> None:
    assert compose("strategy=ulmfit")["scheduler"]["_target_"].endswith("slanted_triangular")
    assert compose("strategy=ulmfit", "scheduler=cosine")["scheduler"]["_target_"].endswith("cosine")


def test_a_data_set_of_the_users_own(tmp_path: Path) -> None:
    write(tmp_path, "dataset/reviews", "defaults: [local_text]\npath: some/folder\n")
    config = compose("dataset=reviews", "model=tiny_text", own=tmp_path)
    assert config["dataset"]["path"] == "some/folder"
    assert config["dataset"]["modality"] == "text" and config["dataset"]["monitor"] == "accuracy"


def test_a_yaml_of_the_user_replaces_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "strategy/full", "defaults: [scratch, _self_]\ninit: pretrained\nlr: 0.25\n")
    assert compose(own=tmp_path)["optimizer"]["lr"] == 0.25
    assert compose()["optimizer"]["lr"] != 0.25
    monkeypatch.setenv("TLX_CONFIG_DIR", str(tmp_path))
    assert compose()["optimizer"]["lr"] == 0.25


def test_an_experiment_wins_over_the_defaults_and_the_command_line_over_it(tmp_path: Path) -> None:
    text = "# @package _global_\ndefaults:\n  - override /strategy: lora\ntrainer: {batch_size: 4}\n"
    write(tmp_path, "experiment/mine", text)
    config = compose("experiment=mine", own=tmp_path)
    assert config["trainer"]["batch_size"] == 4 and config["strategy"]["adapter"]["rank"] == 8
    config = compose("experiment=mine", "strategy=scratch", "trainer.batch_size=2", own=tmp_path)
    assert config["trainer"]["batch_size"] == 2 and config["strategy"]["adapter"] is None
    assert compose("experiment=null")["trainer"]["batch_size"] == 32


def test_hydras_sweeps() -> None:
    def jobs(*words: str) -> list[list[str]]:
        with composer() as composed:
            return composed.expand(words)

    assert jobs() == [[]]
    assert jobs("seed=choice(3,5)") == [["seed=3"], ["seed=5"]]
    assert jobs("seed=range(2,4)") == [["seed=2"], ["seed=3"]]
    assert jobs("strategy=glob(f*)") == [["strategy=feature_extraction"], ["strategy=full"]]
    assert jobs("strategy=glob(*,exclude=[d*,e*,g*,l*,m*,p*,r*,s*,u*])", "seed=1") == [
        ["strategy=feature_extraction", "seed=1"],
        ["strategy=full", "seed=1"],
    ]
    assert jobs("dataset.train_size=20,0.1,3_per_class") == [
        ["dataset.train_size=20"],
        ["dataset.train_size=0.1"],
        ["dataset.train_size=3_per_class"],
    ]
    assert jobs("seed=0,1", "optimizer.lr=1e-3,1e-2")[1:3] == [
        ["seed=0", "optimizer.lr=0.01"],
        ["seed=1", "optimizer.lr=0.001"],
    ]
    # Our own study, with one axis of the user's in place of its own.
    study = jobs("experiment=letters_to_digits", "seed=7")
    assert {word for job in study for word in job if word.startswith("seed=")} == {"seed=7"}
    assert len({tuple(job) for job in study}) == len(study) > 1


def test_what_must_be_given_is_named() -> None:
    with pytest.raises(UserError, match=r"model\.path must be given: tlx train model\.path="):
        compose("model=text_encoder", "dataset=docstrings")


def test_one_run_takes_one_value() -> None:
    with pytest.raises(UserError, match="seed=1,2 names several runs"):
        compose("seed=1,2")


def test_the_known_keys_are_those_of_our_yamls() -> None:
    keys = known_keys()
    assert {"seed", "study", "model", "strategy", "dataset", "paths"} <= set(keys[""])
    assert keys["paths"] == ["runs", "registry", "cache"]
    assert "max_epochs" in keys["trainer"] and keys["logger.wandb"] == ["project", "entity", "mode"]
    assert (CONFIG_DIR / "train.yaml").is_file()


def test_values_are_checked_wherever_they_come_from() -> None:
    config = compose()
    for change in ({"seed": -1}, {"seed": True}, {"model": None}, {"foo": 1}, {"strategy": {"_target_": ""}}):
        with pytest.raises(UserError):
            check_values(config | change)
    check_values(config)


@pytest.mark.parametrize(
    ("value", "hint", "fit"),
    [
        (1, int, True),
        (1.0, int, False),
        (True, int, False),
        ("x", int, False),
        (1, float, True),
        (False, float, False),
        ("1", float, False),
        ("x", str, True),
        (1, str, False),
        (None, str, False),
        (None, str | None, True),
        (None, None, True),
        (1, bool, False),
        ([1], list[int], True),
        ([1], Sequence[str], True),  # elements are the target's own affair
        ("abc", Sequence[str], False),
        ({"a": 1}, dict, True),
        ({"a": 1}, Mapping[str, float] | None, True),
        ([], Mapping[str, float] | None, False),
        ([0.9, 0.99], tuple[float, float], True),
        (0.1, float | torch.Tensor, True),
        ("anything", torch.nn.Module, True),
        ("anything", Any, True),
    ],
)
def test_plain_values_against_annotations(value: Any, hint: Any, fit: bool) -> None:
    assert fits(value, hint) is fit


def test_annotations_in_words() -> None:
    assert in_words(int) == "a whole number"
    assert in_words(float | None) == "a number or null"
    assert in_words(list[str]) == "a list"


class Engine:
    """What a user might write."""

    def __init__(self, size: int, rate: float = 0.1, name: str | None = None, source: Any = None) -> None:
        self.size, self.rate, self.name, self.source = size, rate, name, source


class Car:
    def __init__(self, engine: Engine, **extra: Any) -> None:
        self.engine, self.extra = engine, extra


def node(name: str, /, **keys: Any) -> dict[str, Any]:
    return {"_target_": f"{__name__}.{name}", **keys}


def test_parts_are_built_from_nodes() -> None:
    engine = instantiate(node("Engine", size=3), "car.engine", source="given", unused=1)
    assert (engine.size, engine.rate, engine.name, engine.source) == (3, 0.1, None, "given")
    car = instantiate(node("Car", engine=node("Engine", size=4), colour="red"), "car")
    assert car.engine.size == 4 and car.extra == {"colour": "red"}
    later = instantiate(node("Engine", rate=0.5, _partial_=True), "engine")
    assert later(7).size == 7 and later(7).rate == 0.5


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (node("Engine", sise=3), "unknown key in car 'sise'. Did you mean 'size'?"),
        (node("Engine", size="x"), "car.size=x is not allowed: give a whole number."),
        (node("Engine", size=1, name=5), "car.name=5 is not allowed"),
        (node("Engine", size=1, source="mine"), "unknown key in car 'source'"),
        (node("Engine", size=1, _partial_=True), "unknown key in car 'size'"),
        (node("Engine"), "cannot be built"),
        (node("Car", engine=node("Engine", size="x")), "car.engine.size=x"),
        (node("Engines", size=1), "did you mean 'Engine'"),
        ({"_target_": "no.such.module.Thing"}, "cannot be imported"),
        ({"_target_": "Thing"}, "not a dotted name"),
    ],
)
def test_mistakes_in_nodes(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        instantiate(keys, "car", source="given")
    assert message in str(caught.value)


def test_resolve() -> None:
    assert resolve("torch.optim.AdamW", "optimizer._target_") is torch.optim.AdamW


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("lr=3", "optimizer.lr"),
        ("train_size=3", "Did you mean 'dataset.train_size'"),
        ("epochs=3", "Did you mean 'trainer.max_epochs'"),
        ("optimizer.name=sgd", "Choose it as optimizer=sgd"),
        ("optimizer.nesterov=true", "It belongs to optimizer=sgd"),
        ("strategy.solver=x", "It belongs to strategy=logistic_probe"),
        ("hydra.launcher.njobs=2", "Did you mean 'hydra.launcher.n_jobs'"),
        ("optimizer=my", r"optimizers/my.yaml lies in the group 'optimizers': move it to optimizer/"),
        ("dataset.metrics=[acuracy]", "unknown metric in dataset.metrics 'acuracy'. Did you mean 'accuracy'"),
        ("model.size=0", "whole number"),
        ("model.channels=0", "whole number"),
    ],
)
def test_a_word_that_is_wrong_is_answered_with_what_exists(verbs, tmp_path: Path, word: str, hint: str) -> None:
    (tmp_path / "conf" / "optimizers").mkdir(parents=True)
    (tmp_path / "conf" / "optimizers" / "my.yaml").write_text("_target_: torch.optim.SGD\n")
    words = [f"paths.{name}={tmp_path / name}" for name in ("runs", "registry", "cache")]
    words += [f"--config-dir={tmp_path / 'conf'}", "model=timm", "model.arch=resnet18", "strategy=scratch"]
    assert re.search(hint, verbs("train", *words, word).complaint)
    assert not (tmp_path / "runs").exists()


def test_a_plugin_with_a_config_of_our_name_is_not_taken_for_its_schema() -> None:
    """hydra-optuna-sweeper registers hydra/sweeper=optuna, of which our keys would be refused."""

    @dataclass
    class Theirs:
        _target_: str = "hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper"
        n_trials: int = 20
        storage: str | None = None

    store = ConfigStore.instance()
    store.store(group="hydra/sweeper", name="optuna", node=Theirs, provider="optuna_sweeper")
    try:
        with composer() as compose:
            assert compose.sweeper(["hydra/sweeper=optuna"])["batch"] == 1
        assert store.load("hydra/sweeper/optuna.yaml").node.n_trials == 20  # as the plugin left it
    finally:
        del store.repo["hydra"]["sweeper"]["optuna.yaml"]


@pytest.mark.parametrize("base", ["1.1", "1.3"])
def test_what_a_caller_told_its_own_hydra_changes_no_composition(tmp_path: Path, base: str) -> None:
    """Under version_base 1.1, which is what an untold process has, `+hydra/…` overrides where later rules refuse it."""
    own = tmp_path / "own" / "hydra" / "callbacks"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("{}\n")
    kept = VersionBase.instance().getbase()
    try:
        VersionBase.instance().setbase(Version(base))
        with composer(str(tmp_path / "own")) as compose:
            compose.launcher(["hydra/callbacks=mine"])
            with pytest.raises(UserError, match="Multiple values for hydra/callbacks"):
                compose.launcher(["+hydra/callbacks=mine"])
        assert VersionBase.instance().getbase() == Version(base)  # as the caller left it
    finally:
        VersionBase.instance().version_base = kept
