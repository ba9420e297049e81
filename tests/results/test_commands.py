"""The command told for a cell composes the very config that ran."""

import shlex

import pytest

from tlx.config.composer import composer
from tlx.results.baseline import baselines
from tlx.results.cells import Cell
from tlx.results.collect import Run
from tlx.results.commands import LEFT_OUT, commands, missing_baseline
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


def printed(sentence: str) -> list[str]:
    """The words of the command in a table's advice, as a shell reads them."""
    return shlex.split(sentence.partition("This makes it: ")[2].partition(" (and")[0])


@pytest.mark.parametrize("words", [["strategy=lora"], *CASES], ids=lambda words: " ".join(words[:2]))
def test_the_advised_baseline_is_the_one_that_was_missing(words: list[str], tmp_path) -> None:
    """It runs as printed, all labels and a model's path included, and is what the cell is compared with."""
    words = [word if "it's" not in word else "dataset.path='/data/tr\\'ec, it\\'s \\here'" for word in words]
    with composer() as compose:
        ran = [compose([*words, f"seed={seed}"]) for seed in (3, 4)]
        size = ran[0].config["dataset"]["train_size"]
        runs = [run(one, seed, tmp_path) for one, seed in zip(ran, (3, 4), strict=True)]
        for one in runs:
            one.choices["train_size"] = "all" if size is None else str(size)
        cell = Cell("cell", tuple(runs))
        sentence = missing_baseline([cell], "scratch", 1)
        line = printed(sentence)
        assert line[:3] == ["tlx", "train", "-m"] and "train_size=all" not in sentence
        jobs = compose.expand(line[3:])
        made = [compose(job) for job in jobs]
        others = tuple(run(one, one.config["seed"], tmp_path) for one in made)
        for one in others:
            made_size = one.config["dataset"]["train_size"]
            one.choices["train_size"] = "all" if made_size is None else str(made_size)
        scratch = Cell("scratch", others)
        assert [one.seed for one in others] == [3, 4] and scratch.value("strategy") == "scratch"
        assert baselines([cell, scratch], "scratch", {"dataset.subset_seed"}).found == {"cell": scratch}


def test_the_folder_of_configs_is_part_of_the_command(tmp_path) -> None:
    folder = tmp_path / "my configs"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "mine.yaml").write_text("defaults: [tiny_vision, _self_]\npath: null\n")
    with composer(str(folder)) as compose:
        made = compose(["model=mine", "strategy=full", "seed=1", "dataset.train_size=200"])
        assert made.folder == str(folder)
        one = run(made, 1, tmp_path)
        one.record["config_dir"] = str(folder)
        line = printed(missing_baseline([Cell("c", (one,))], "scratch", 1))
        assert line[:4] == ["tlx", "train", "--config-dir", str(folder)] and "model=mine" in line
        assert compose(line[4:]).config["dataset"]["train_size"] == 200
    one.record["config_dir"] = str(tmp_path / "gone")
    assert "no such folder of configs" in missing_baseline([Cell("c", (one,))], "scratch", 1)


def test_a_key_that_an_earlier_version_did_not_have_is_not_taken_away(tmp_path) -> None:
    with composer() as compose:
        made = compose(["strategy=full", "seed=1"])
        one = run(made, 1, tmp_path)
        del one.config["trainer"]["patience"], one.config["measures"]
        command = commands([Cell("c", (one,))])["c"]
        assert command.problem is None and not any(word.startswith("~") for word in command.words)
