"""Objectives in whole runs: what they hold and what not, where they make no sense, and what the record says."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tlx.assembly import assemble, make_loaders
from tlx.config.composer import composer
from tlx.fit.compact import compact_table
from tlx.objectives.ewc import SourceEWC
from tlx.objectives.l2_sp import L2SP

L2 = "strategy.objectives=[{_target_: tlx.objectives.l2_sp.L2SP, alpha: %s}]"
EWC = "strategy.objectives=[{_target_: tlx.objectives.ewc.SourceEWC, strength: %s, examples: 20}]"


def config_of(tlx: Any, *words: str) -> dict[str, Any]:
    with composer() as compose:
        return compose([*tlx.quick, *words]).config


def moved(tlx: Any, record: dict[str, Any]) -> dict[str, float]:
    """How far the run's last weights are from the registry's, by parameter of the network."""
    start = load_file(tlx.registry / "tiny_vision/backbone.safetensors")
    folder = next((tlx.runs / "adhoc").glob(f"*{record['identity'][:10]}"))
    end = load_file(folder / "last.safetensors")
    names = {n: f"backbone.network.{n}" for n in start}
    return {
        n: float((end[full] - start[n]).norm()) for n, full in names.items() if "running" not in n and "num" not in n
    }


@pytest.mark.parametrize("term", [L2, EWC], ids=["l2_sp", "ewc"])
def test_a_strong_penalty_keeps_pretrained_weights_where_they_were(tlx, term: str) -> None:
    runs = []
    for strength in (1e-6, 1e4):
        words = ["strategy=full", term % strength, "trainer.max_epochs=6", "optimizer=sgd", "optimizer.lr=1e-5"]
        words += ["optimizer.momentum=0", "keep_checkpoints=last", "trainer.gradient_clip=null"]
        runs.append(tlx.record(*words))
    free, held = (moved(tlx, run) for run in runs)
    assert all(run["status"] == "completed" for run in runs)
    assert sum(held.values()) < sum(free.values())
    assert runs[1]["seconds"]["objectives"] >= 0 and (term == L2 or runs[1]["seconds"]["objectives"] > 0)


def test_what_is_penalised_is_not_decayed(tlx) -> None:
    for term, head_decays in ((L2 % 0.1, False), (EWC % 1, True)):
        _, module = assemble(config_of(tlx, term))
        rows = module.plan.rows(module)
        assert any(row["decay"] for row in rows if row["group"] == "head") == head_decays
        assert not any(row["decay"] for row in rows if row["group"] != "head")
    _, module = assemble(config_of(tlx))
    assert any(row["decay"] for row in module.plan.rows(module) if row["group"] != "head")


def test_the_head_and_what_no_file_held_is_new(tlx) -> None:
    _, module = assemble(config_of(tlx, "strategy=l2_sp"))
    (objective,) = module.objectives
    assert isinstance(objective, L2SP) and (objective.alpha, objective.beta) == (0.1, 0.01)
    new = {n for n, _ in module.named_parameters() if objective.new(n)}
    assert new == {n for n, _ in module.named_parameters() if n.startswith("task.")}
    kept = next(n for n, _ in module.backbone.network.named_parameters())
    module.backbone.load_report = type(module.backbone.load_report)(0.99, (kept,), ())
    objective.join(config_of(tlx), module)
    assert objective.new(f"backbone.network.{kept}")


def test_the_record_of_ewc_and_its_log(tlx) -> None:
    record = tlx.record("strategy=ewc", "trainer.max_epochs=4", "trainer.batch_size=4", "seed=7")
    assert record["fingerprints"].keys() == {"data", "preprocessing", "weights", "source"}
    assert {name.split("/")[0] for name in record["metrics"]} == {"before", "val", "test", "source", "forgetting"}
    assert 0 < record["seconds"]["objectives"] < record["seconds"]["total"]
    folder = next((tlx.runs / "adhoc").glob("*ewc*seed7*"))
    head, *rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    logged = [float(row[head.index("train/ewc")]) for row in rows if row[head.index("train/ewc")]]
    assert logged and all(value > 0 and math.isfinite(value) for value in logged)


def test_the_fisher_information_is_that_of_the_source_and_leaves_the_network_alone(tlx) -> None:
    config = config_of(tlx, EWC % 1)
    found = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        _, module = assemble(config)
        before = {n: t.clone() for n, t in module.state_dict().items()}
        modes = [part.training for part in module.modules()]
        (objective,) = module.objectives
        assert isinstance(objective, SourceEWC) and len(list(objective.examples(module))) == 20
        state = torch.get_rng_state()
        found.append(objective._estimate(module))
        assert torch.equal(state, torch.get_rng_state())
        assert [part.training for part in module.modules()] == modes
        assert all(torch.equal(t, before[n]) for n, t in module.state_dict().items())
        assert all(p.grad is None for p in module.parameters())
    assert found[0].keys() == {n for n, _ in module.named_parameters() if n.startswith("backbone.")}
    assert all(torch.equal(found[0][n], found[1][n]) for n in found[0]), "the run's seed decides nothing of it"
    assert any(f.any() for f in found[0].values()) and all(bool((f >= 0).all()) for f in found[0].values())


def test_what_the_source_is_belongs_to_the_identity(tlx, tmp_path: Path) -> None:
    import shutil

    from tlx.identity import identify

    registry = tmp_path / "registry"
    shutil.copytree(tlx.registry, registry, ignore=shutil.ignore_patterns("runs"))

    def of(*words: str) -> str:
        with composer() as compose:
            run = compose([*tlx.quick, f"paths.registry={registry}", *words])
        return identify(run.config, run.choices).run

    plain, held = of(), of("strategy=ewc")
    card = registry / "tiny_vision/card.json"
    text = json.loads(card.read_text())
    text["dataset"]["train_size"] = "1_per_class"
    text.pop("checksum", None)
    card.write_text(json.dumps(text))
    assert of() != plain and of("strategy=ewc") != held
    assert len({of(L2 % 0.1), of(L2 % 0.2), of("strategy=full")}) == 3


def test_only_the_tokens_that_occur_are_trained_those_of_the_source_among_them(
    tlx, write_texts, tmp_path: Path
) -> None:
    words = ["model=tiny_text", "dataset=local_text", "model.tokenizer.vocab_size=400", "trainer.batch_size=4"]
    words += ["dataset.overlap=allow"]  # the tokens of all parts are to be the same
    words += ["dataset.train_size=5_per_class", f"paths.registry={tmp_path / 'registry'}", "trainer.max_epochs=2"]
    kinds = {"sour": ["mountains and valleys", "rivers or lakes"], "target": ["a good film", "a bad film"]}
    places = {}
    for name, texts in kinds.items():
        rows = [(f"{text} number {i}", f"class {k}") for k, text in enumerate(texts) for i in range(8)]
        places[name] = write_texts(name, train=rows, validation=rows, test=rows)
    source = [*words, f"dataset.path={places['sour']}"]
    tlx.record(*source, "model.path=null", "strategy=scratch", "register=hills")
    target = [*words, f"dataset.path={places['target']}", "model.path=registry:hills"]
    counts = {}
    for strategy in ("full", "ewc", "l2_sp"):
        counts[strategy] = tlx.record(*target, f"strategy={strategy}")["counts"]["embedding_rows_trained"]
    assert counts["l2_sp"] == counts["full"] < counts["ewc"]
    # Where decay would move what the penalty pulls back, the table is whole.
    config = config_of(tlx, *target, "strategy=l2_sp")
    data, module = assemble(config)
    loaders = make_loaders(config, data, module)
    assert compact_table(config, module, loaders) is not None
    module.plan.no_decay = frozenset()
    assert compact_table(config, module, loaders) is None


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["strategy=l2_sp", "strategy.init=scratch"], "strategy.init=scratch has none: say strategy.init=pretrained"),
        (["strategy=ewc", "strategy.init=shuffled"], "strategy.init=shuffled has none"),
        (["strategy=feature_extraction", L2 % 1], "this strategy trains none of them"),
        (["strategy=lora", EWC % 1], "this strategy trains none of them"),
        ([L2 % -1], "alpha=-1 must be at least 0"),
        (["strategy=ewc", "strategy.objectives.0.examples=0"], "examples=0 must be at least 1"),
        (["strategy=ewc", "strategy.objectives.0.strength=x"], "objectives.0.strength=x is not allowed: give a number"),
        (["strategy.objectives=[{_target_: tlx.objectives.l2_sp.L2SP, alph: 1}]"], "did you mean 'alpha'"),
        (["strategy.objectives=[{_target_: tlx.objectives.l2_sp.L2SPP}]"], "did you mean 'L2SP'"),
        (["strategy=l2_sp", "strategy.objectives.0.alpah=1"], "did you mean 'strategy.objectives.0.alpha'"),
        (["strategy.objectives=[{alpha: 1}]"], "a list of parts, each with `_target_`"),
        (["strategy.objectives=3"], "a list of parts"),
        (["strategy.objectives=[{_target_: torch.nn.ReLU}]"], "a ReLU is no objective"),
        (
            ["strategy.objectives=[{_target_: tlx.objectives.l2_sp.L2SP}, {_target_: tlx.objectives.l2_sp.L2SP}]"],
            "names one twice",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(tlx, words: list[str], part: str) -> None:
    message = tlx.train(*words).complaint
    assert part.lower() in message.lower(), message
    assert not tlx.runs.exists()


def test_weights_without_a_source_task_have_no_ewc(tlx, tmp_path: Path) -> None:
    import shutil

    weights = shutil.copy(tlx.registry / "tiny_vision/backbone.safetensors", tmp_path / "own.safetensors")
    message = tlx.train("strategy=ewc", f"model.path={weights}").complaint
    assert "these bring no source task" in message and "registry:NAME" in message and "strategy=l2_sp" in message
    assert tlx.train("strategy=l2_sp", f"model.path={weights}").code == 0


def test_objectives_compose_with_phases_rates_and_each_other(tlx) -> None:
    parts = "{_target_: tlx.objectives.l2_sp.L2SP}, {_target_: tlx.objectives.ewc.SourceEWC, strength: 1}"
    words = [f"strategy.objectives=[{parts}]", "trainer.max_epochs=12", "keep_checkpoints=both"]
    for strategy in ("gradual_unfreezing", "discriminative", "mixout"):
        assert tlx.record(f"strategy={strategy}", *words)["status"] == "completed"
    folder = next((tlx.runs / "adhoc").glob("*gradual*"))
    from tlx.results.load import load_model

    assert len(load_model(folder).objectives) == 2
