"""What changes a run's identity: everything that can change its result, and nothing else."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def identify(tlx) -> Callable[..., Any]:
    """A function from overrides to the Identity of their run."""
    from tlx.config.composer import composer
    from tlx.identity import identify as name

    def of(*words: str) -> Any:
        with composer() as compose:
            run = compose([*tlx.quick, *words])
        return name(run.config, run.choices)

    return of


def test_what_changes_no_result(identify, tlx, tmp_path: Path) -> None:
    first = identify()
    copy = tmp_path / "registry"
    shutil.copytree(tlx.registry, copy, ignore=shutil.ignore_patterns("runs"))
    for words in (
        [f"paths.runs={tmp_path / 'elsewhere'}"],
        [f"paths.cache={tmp_path / 'cache'}"],
        [f"paths.registry={copy}"],
        [f"model.path={copy / 'tiny_vision'}"],
        ["logger=wandb"],
        ["logger=wandb", "logger.wandb.project=other"],
        ["logger=[wandb,tensorboard]"],
        ["trainer.workers=2"],
        ["trainer.threads=2"],
        ["trainer.strategy=ddp"],
        ["study=other"],
        ["register=name"],
        ["force=true"],
        ["profile=true"],
        ["model.lr.scratch=0.5"],
        ["measures=[drift,train]"],
        ["dataset.metrics=[accuracy,macro_f1,auroc]"],
        ["trainer.eval_batch_size=7"],
    ):
        assert identify(*words) == first, words


def test_what_can_change_a_result(identify) -> None:
    variants = [
        [],
        ["seed=1"],
        ["optimizer.lr=1e-4"],
        ["optimizer=sgd"],
        ["scheduler=constant"],
        ["trainer.batch_size=8"],
        ["trainer.accumulate=2"],
        ["trainer.devices=2"],
        ["trainer.devices=2", "trainer.batch_size=16"],
        ["trainer.max_epochs=2"],
        ["trainer.precision=bf16-mixed"],
        ["trainer.head_dropout=0.5"],
        ["trainer.compile=true"],
        ["dataset.train_size=3_per_class"],
        ["dataset.val_size=50"],
        ["dataset.split_seed=1"],
        ["dataset.subset_seed=0"],
        ["dataset.sampler=length_buckets"],
        ["dataset.augmentation={rotation: 5}"],
        ["dataset.monitor=macro_f1"],
        ["selection=last"],
        ["strategy=scratch"],
        ["strategy=lora"],
        ["strategy=lora", "strategy.adapter.rank=4"],
        ["strategy=discriminative"],
        ["+model.options.drop_path_rate=0.1"],
    ]
    runs = [identify(*words) for words in variants]
    assert len({run.run for run in runs}) == len(variants)
    # The seed alone makes no other cell.
    assert runs[0].cell == runs[1].cell
    assert len({run.cell for run in runs}) == len(variants) - 1


def test_the_cell_is_the_same_for_all_seeds(identify) -> None:
    runs = [identify(f"seed={seed}") for seed in (0, 1, 17)]
    assert len({run.cell for run in runs}) == 1
    assert len({run.run for run in runs}) == 3
    assert runs[2].folder == f"tiny_vision-full-digits-2_per_class-seed17-{runs[2].run[:10]}"


def test_data_count_by_content(identify, write_texts, tmp_path: Path) -> None:
    def of(folder: Path) -> Any:
        return identify(
            "model=tiny_text", "model.path=null", "strategy=scratch", "dataset=local_text", f"dataset.path={folder}"
        )

    folder = write_texts()
    copy = tmp_path / "deeply/nested/copy"
    shutil.copytree(folder, copy)
    assert of(copy) == of(folder)
    for file in copy.iterdir():
        os.utime(file, (0, 0))
    assert of(copy) == of(folder)
    text = (copy / "test.csv").read_text()
    (copy / "test.csv").write_text(text.replace("number 3", "number 4"))
    assert of(copy).run != of(folder).run
    assert of(copy).fingerprints["data"] != of(folder).fingerprints["data"]


def test_weights_count_by_content_and_scratch_needs_none(identify, tlx, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    registry = tmp_path / "registry"
    shutil.copytree(tlx.registry, registry, ignore=shutil.ignore_patterns("runs"))
    file, card = registry / "tiny_vision/backbone.safetensors", registry / "tiny_vision/card.json"
    tensors = load_file(file)
    next(iter(tensors.values())).view(-1)[0] += 1
    save_file(tensors, file)
    known = json.loads(card.read_text())
    card.write_text(json.dumps({k: v for k, v in known.items() if k not in ("weights", "files", "checksum")}))
    words = [f"paths.registry={registry}"]
    assert identify(*words).run != identify().run
    assert identify("strategy=scratch", *words) == identify("strategy=scratch")
    # What a card says about the weights is not the weights, but for the task that they were trained on.
    same = identify(*words)
    card.write_text(json.dumps(json.loads(card.read_text()) | {"note": "changed"}))
    assert identify(*words) == same


def test_an_entry_counts_by_what_it_holds_not_by_its_name(identify, tlx, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    for name in ("tiny_vision", "other_name"):
        shutil.copytree(tlx.registry / "tiny_vision", registry / name)
    place = f"paths.registry={registry}"
    same = identify(place)
    assert identify(place, "strategy.init=registry:other_name") == same
    assert identify(place, "model.path=registry:other_name") == same
    # One backbone with another source task: another run, because its forgetting is another's.
    card = registry / "other_name/card.json"
    known = json.loads(card.read_text())
    text = known | {"dataset": known["dataset"] | {"split_seed": 5}}
    text.pop("checksum", None)
    card.write_text(json.dumps(text))
    other = identify(place, "strategy.init=registry:other_name")
    assert other.fingerprints["weights"] == same.fingerprints["weights"] and other.run != same.run
    asked = known | {"dataset": known["dataset"] | {"metrics": ["accuracy"]}}
    asked.pop("checksum", None)
    card.write_text(json.dumps(asked))
    assert identify(place, "strategy.init=registry:other_name") == same


def test_the_tokenizer_counts_for_scratch_too(identify, write_texts, tmp_path: Path) -> None:
    from tlx.models.tokenizer import train_tokenizer

    data = write_texts()

    def of(folder: Path) -> Any:
        words = ["model=text_encoder", "strategy=scratch", "dataset=local_text", "+model.config.model_type=bert"]
        return identify(*words, f"dataset.path={data}", f"model.path={folder}")

    for name, texts in (("one", ["a few words"] * 3), ("two", ["other words"] * 3)):
        train_tokenizer(texts, 300).save_pretrained(tmp_path / name)
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    assert of(tmp_path / "copy") == of(tmp_path / "one")
    assert of(tmp_path / "two").run != of(tmp_path / "one").run


def test_the_stored_config_is_plain(tlx) -> None:
    from tlx.config.composer import composer
    from tlx.sweeps.study import plan_run

    def check(node: Any) -> None:
        assert type(node) in (dict, list, str, int, float, bool, type(None)), type(node)
        if isinstance(node, str):
            assert "${" not in node and node != "???"
        for part in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            check(part)

    for words in ([], ["strategy=ulmfit"], ["strategy=lora"], ["logger=wandb"]):
        with composer() as compose:
            run = plan_run(compose([*tlx.quick, *words]))
        check(run.config)
        assert json.loads(json.dumps(run.config)) == run.config


def test_the_composition_is_independent_of_the_order_of_overrides(identify) -> None:
    assert identify("strategy=lora", "optimizer.lr=1e-3", "seed=2") == identify(
        "seed=2", "optimizer.lr=0.001", "strategy=lora"
    )
