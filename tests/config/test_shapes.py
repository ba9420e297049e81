"""Composing many runs at once gives what composing each of them gives, to the byte, and complains as that does."""

import json
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlx.config import shapes
from tlx.config.composer import Composed, Composer, composer
from tlx.config.place import CONFIG_DIR
from tlx.errors import UserError

EXPERIMENTS = sorted(file.stem for file in (CONFIG_DIR / "experiment").glob("*.yaml"))
# Words that change what is composed in every way there is: groups, values, lists, dictionaries, references, keys that
# are added or taken away, one key within another, the same key twice.
WORDS = [
    *("model=squeezenet", "dataset=cifar10", "strategy=lora", "strategy=scratch", "optimizer=sgd", "trainer=ddp"),
    *("seed=1", "seed=2", "optimizer.lr=0.1", "optimizer.lr=1", "optimizer.lr=1.0", "optimizer.lr=${model.lr.head}"),
    *(
        "model.lr.full=0.5",
        "model.lr.full=5",
        "model.lr={full: 0.25, head: 1.0}",
        "strategy.lr=0.125",
        "strategy.lr=null",
    ),
    *(
        "dataset.train_size=20",
        "dataset.train_size=2_per_class",
        "dataset.train_size=null",
        "dataset.metrics=[accuracy]",
    ),
    *(
        "dataset.metrics=[macro_f1,accuracy]",
        "dataset.columns={input: a}",
        "dataset.columns.label=b",
        "paths.runs=here",
    ),
    *("dataset.path=${paths.runs}/data", "dataset.augmentation=null", "dataset.augmentation={flip: 0.5}", "study=one"),
    *(
        "+model.lr.more=3",
        "~model.lr.head",
        "++model.lr.head=7",
        "trainer.batch_size=${seed}",
        "hydra.launcher.n_jobs=1",
    ),
    *(
        "strategy.objectives=[]",
        "strategy.adapter=null",
        "skip_if=[{strategy: lora}]",
        "model.path='a=b,c'",
        "seed=true",
    ),
    *(
        "experiment=null",
        "trainer.patience=3",
        "trainer.patience='3'",
        "register=1e3",
        "optimizer.betas=[0.5,0.5]",
        "model.lr.full=???",
    ),
]


def alone(compose: Composer, job: Sequence[str]) -> Composed | str:
    try:
        return compose(job)
    except UserError as error:
        return str(error)


def text(found: Composed | str) -> str:
    """All of it, down to the order of keys and whether a number is whole."""
    return found if isinstance(found, str) else json.dumps([found.config, found.choices, found.overrides, found.folder])


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_cells_of_an_experiment_are_what_hydra_composes_singly(name: str) -> None:
    with composer() as compose:
        jobs = compose.expand([f"experiment={name}", "optimizer.lr=1e-3,2e-3"])
        found = compose.all(jobs)
        assert len(found) == len(jobs) > 20
        for number in random.Random(0).sample(range(len(jobs)), 12):
            assert text(found[number]) == text(compose(jobs[number]))


def test_all_experiments_are_found() -> None:
    assert len(EXPERIMENTS) >= 4


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), min_size=2, max_size=6))
def test_random_words_come_to_the_same_alone_and_together(jobs: list[list[str]]) -> None:
    with composer() as compose:
        singly = [alone(compose, job) for job in jobs]
        good = [job for job, found in zip(jobs, singly, strict=True) if isinstance(found, Composed)]
        # each job twice, the second time in the shape that another may have left behind
        assert list(map(text, compose.all([*good, *good]))) == [text(f) for f in singly if isinstance(f, Composed)] * 2
        for job, found in zip(jobs, singly, strict=True):
            if isinstance(found, str):
                with pytest.raises(UserError) as complaint:
                    compose.all([*good, job])
                assert str(complaint.value) == found


def test_values_that_follow_a_value_that_is_set_follow_it_in_every_cell() -> None:
    with composer() as compose:
        jobs = [[f"model.lr.full={rate}", f"seed={seed}"] for rate in (0.1, 0.2) for seed in (0, 1)]
        found = compose.all(jobs)
    assert [run.config["optimizer"]["lr"] for run in found] == [0.1, 0.1, 0.2, 0.2]
    assert [run.config["seed"] for run in found] == [0, 1, 0, 1]
    assert found[0].config["trainer"] is found[3].config["trainer"], "what nothing changes is there once"


def test_hydra_composes_once_for_each_choice_of_yamls(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("tlx.config.composer.Shape", lambda *args: made.append(args) or shapes.Shape(*args))
    with composer() as compose:
        jobs = compose.expand(
            ["strategy=full,lora", "strategy.lr=0.1,0.2", "dataset.train_size=1_per_class,9", "seed=range(0,5)"]
        )
        compose.all(jobs)
    assert (len(jobs), len(made)) == (40, 2)


def test_a_wrong_value_among_many_is_told_as_it_is_alone(tmp_path: Path) -> None:
    with composer() as compose, pytest.raises(UserError, match=r"seed=-1 is not allowed: give a whole number"):
        compose.all([["seed=1"], ["seed=2"], ["seed=-1"]])
    with composer() as compose, pytest.raises(UserError, match="names several runs"):
        compose.all([["seed=1"], ["seed=1,2"]])


def test_a_yaml_that_is_edited_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "strategy").mkdir()
    file = tmp_path / "strategy" / "mine.yaml"
    for rate in (0.25, 0.75):  # of one size, and maybe within one tick of the file system's clock
        file.write_text(f"defaults: [full, _self_]\nlr: {rate}\n")
        os.utime(file, (0, 0))
        with composer(str(tmp_path)) as compose:
            assert compose(["strategy=mine"]).config["strategy"]["lr"] == rate
