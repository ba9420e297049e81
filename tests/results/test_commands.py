"""The command told for a cell composes the very config that ran."""

import shlex

import pytest

from tlx.config import composer
from tlx.results.cells import Cell
from tlx.results.collect import Run
from tlx.results.commands import LEFT_OUT, commands
from tlx.results.naming import flatten, under

CASES = [
    ["strategy=lora", "optimizer.lr=1e-4"],
    ["strategy=gradual_unfreezing", "dataset.train_size=8_per_class", "trainer.max_epochs=7"],
    ["strategy=ulmfit", "dataset.train_size=0.1", "selection=last", "scheduler=cosine"],
    ["strategy=full", "dataset.train_size=200", "optimizer=sgd", "optimizer.weight_decay=0"],
    ["model=minilm", "dataset=trec", "model.path=some/where", "dataset.path=/data/tr'ec, it's \\here"],
    ["strategy=lora", "dataset.subset_seed=${seed}", "trainer.precision=bf16-mixed"],
    ["strategy=l2_sp", "strategy.objectives.0.alpha=0.01"],
    ["strategy=mixout", "trainer.patience=3", "dataset.metrics=[accuracy]", "+model.options.drop_rate=0.1"],
]


def run(composed, seed: int, tmp_path) -> Run:
    choices = {name: composed.choices[name] for name in ("model", "strategy", "dataset")} | {"seed": seed}
    return Run(f"{seed}", "cell", "completed", choices, composed.config, tmp_path / "mine" / str(seed), {"status": "x"})


@pytest.mark.parametrize("words", CASES, ids=lambda words: words[0] + " " + words[1])
def test_the_command_composes_what_ran(words: list[str], tmp_path) -> None:
    words = [word if "it's" not in word else "dataset.path='/data/tr\\'ec, it\\'s \\here'" for word in words]
    with composer() as compose:
        ran = [compose([*words, f"seed={seed}"]) for seed in (3, 4)]
        cell = Cell("cell", tuple(run(one, seed, tmp_path) for one, seed in zip(ran, (3, 4), strict=True)))
        command = commands([cell])["cell"]
        assert command.problem is None
        line = shlex.split(command.line([3, 4]))
        assert line[:3] == ["tlx", "train", "-m"] and "study=mine" in line
        jobs = compose.expand(line[3:])
        assert len(jobs) == 2
        for job, one in zip(jobs, ran, strict=True):
            made = flatten(compose(job).config)
            expected = flatten(one.config)
            kept = [name for name in expected if not under(name, tuple(n for n in LEFT_OUT if n != "seed"))]
            assert {name: made.get(name) for name in kept} == {name: expected[name] for name in kept}


def test_choices_of_somebody_else_are_told_with_what_is_missing(tmp_path) -> None:
    choices = {"model": "my own", "strategy": "full", "dataset": "digits", "train_size": "2_per_class", "seed": 1}
    mine = Run("1", "c", "completed", choices, {"model": {"name": "x"}}, tmp_path / "adhoc" / "1", {"status": "x"})
    command = commands([Cell("c", (mine,))])["c"]
    assert "--config-dir" in command.problem
    assert shlex.split(command.line([1])) == [
        "tlx", "train", "model='my own'", "strategy=full", "dataset=digits", "dataset.train_size=2_per_class", "seed=1",
    ]  # fmt: skip
