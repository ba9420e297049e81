"""What users get wrong: exit code 2, one message that names the mistake, and nothing written."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

TEXT = ["model=tiny_text", "model.path=null", "strategy=scratch", "dataset=local_text"]
IMAGE = ["model.path=null", "strategy=scratch", "dataset=local_image"]
AUDIO = ["model=tiny_speech", "model.path=null", "strategy=scratch", "dataset=local_audio"]


def refused(tlx, *words: str) -> str:
    """The message of a refused command, of which no trace is left."""
    message = tlx.train(*words).complaint
    assert not tlx.runs.exists(), list(tlx.runs.rglob("*"))
    return message


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("model=tiny_visoin", ["unknown model 'tiny_visoin'", "'tiny_vision'"]),
        ("strategy=fulll", ["unknown strategy 'fulll'", "'full'"]),
        ("dataset=digts", ["unknown dataset 'digts'", "'digits'"]),
        ("experiment=letter_to_digits", ["unknown experiment", "'letters_to_digits'"]),
        ("optimizer=adam", ["unknown optimizer", "'adamw'"]),
        ("optimizer.lrr=1", ["optimizer.lrr", "'optimizer.lr'"]),
        ("strateg=full", ["'strateg'", "'strategy'"]),
        ("foo=1", ["unknown key 'foo'"]),
        ("+foo=1", ["unknown key 'foo'"]),
        ("+dataset.train_sise=1", ["'train_sise'", "'train_size'"]),
        ("+model.sizes=1", ["'sizes'", "'size'"]),
        ("+trainer.max_epoch=1", ["'max_epoch'", "'max_epochs'"]),
        ("+paths.run=x", ["'run'", "'runs'"]),
        ("+strategy.freezing.ratio=1", ["unknown key in strategy.freezing 'ratio'"]),
        ("+optimizer.beta=1", ["'beta'", "'betas'"]),
        ("+scheduler.total=1", ["unknown key in scheduler 'total'"]),
        ("logger=wandb logger.wandb.mod=online", ["logger.wandb.mod", "'logger.wandb.mode'"]),
        ("logger=wandb logger.wandb.mode=onlin", ["logger.wandb.mode=onlin", "offline or online"]),
        ("model.options={drop_rate:0.1}", ["'model.options.drop_rate'", "+model.options.drop_rate=VALUE"]),
        ("model=null", ["a choice is needed", "tiny_vision"]),
        ("~trainer.max_epochs", ["trainer.max_epochs is missing"]),
        ("hydra.foo=1", ["unknown key 'hydra.foo'"]),
    ],
)
def test_unknown_names(tlx, words: str, parts: list[str]) -> None:
    message = refused(tlx, *words.split())
    assert all(part in message for part in parts), message


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("optimizer.lr=-1", "give a number > 0"),
        ("optimizer.lr=abc", "optimizer.lr=abc"),
        ("optimizer.lr=nan", "optimizer.lr=nan"),
        ("optimizer.lr=inf", "optimizer.lr=inf"),
        ("optimizer.lr=null", "optimizer.lr=null"),
        ("optimizer.lr=true", "optimizer.lr=true"),
        ("optimizer.eps=inf", "finite"),
        ("optimizer.weight_decay=-1", "optimizer.weight_decay=-1"),
        ("optimizer.betas=3", "optimizer.betas=3 is not allowed: give two numbers in [0, 1)"),
        ("optimizer.betas=[2,3]", "optimizer.betas=[2, 3]"),
        ("optimizer.betas=[0.9]", "optimizer.betas=[0.9]"),
        ("optimizer.betas=[0.9,0.99,0.999]", "two numbers"),
        ("optimizer.betas=[0.9,null]", "two numbers"),
        ("optimizer.betas=null", "two numbers"),
        ("optimizer.eps=0", "optimizer.eps=0 is not allowed: give a finite number > 0"),
        ("optimizer.eps=-1e-8", "give a finite number > 0"),
        ("optimizer.fused=flase", "optimizer.fused=flase is not allowed: give true, false or null"),
        ("+optimizer.amsgrad=1", "optimizer.amsgrad=1"),
        ("+optimizer.maximize=true", "a loss is minimised"),
        ("optimizer=sgd optimizer.momentum=1.5", "give a number in [0, 1)"),
        ("optimizer=sgd optimizer.momentum=-0.1", "give a number in [0, 1)"),
        ("optimizer=sgd +optimizer.dampening=2", "give a number in [0, 1)"),
        ("optimizer=sgd optimizer.nesterov=true optimizer.momentum=0", "it needs optimizer.momentum > 0"),
        ("optimizer=sgd optimizer.nesterov=true +optimizer.dampening=0.1", "optimizer.dampening=0"),
        ("scheduler.warmup=x", "scheduler.warmup=x"),
        ("dataset.train_size=abc", "8_per_class"),
        ("dataset.train_size=-5", "dataset.train_size=-5"),
        ("dataset.train_size=0", "counts start at 1"),
        ("dataset.train_size=1.5", "(0, 1]"),
        ("dataset.train_size=8_per_clas", "8_per_clas"),
        ("dataset.train_size=121_per_class", "8 (118)"),
        ("dataset.train_size=100000", "more examples than there are"),
        ("dataset.val_size=100000", "dataset.val_size"),
        ("dataset.path=123", "dataset.path=123"),
        ("trainer.max_epochs=1.5", "a whole number"),
        ("trainer.devices=0", "trainer.devices=0"),
        ("trainer.accelerator=xpu", "cpu, gpu or auto"),
        ("trainer.precision=16", "bf16-mixed"),
        ("seed=-1", "seed=-1"),
        ("seed=4294967296", "4294967295"),
        ("study=../elsewhere", "a folder name"),
        ("register=a/b", "register=a/b"),
        ("force=1", "true or false"),
        ("strategy.mixout=x", "a number or null"),
        ("strategy.mixout=2", "probability"),
        ("strategy.init=pretraind", "registry:NAME"),
        ("strategy.freezing=null", "_target_"),
        ("strategy.adapter=3", "null, or keys with `_target_`"),
        ("model.size=x", "a whole number or null"),
        ("model.path=null", "strategy=scratch"),
        ("model.path=/no/such/folder", "no such file or folder"),
        ("model.path=registry:tiny_vison", "'tiny_vision'"),
        ("strategy.init=registry:tiny_vison", "'tiny_vision'"),
        ("dataset=trec", "the model takes image and the data set holds text"),
        ("strategy=gradual_unfreezing", "do not fit"),
        ("strategy=lp_ft", "do not fit"),
        ("strategy", "cannot read 'strategy'"),
        ("=full", "the key is missing"),
        ("--config-dri=x", "tlx train --help"),
        ("seed=0,1", "tlx train -m"),
        ("strategy=full,scratch", "tlx train -m"),
        ("experiment=letters_to_digits", "name 50 runs"),
        ("-m seed=0,1 strategy=full,scrach", "'scratch'"),
        ("-m seed=0,1 optimizer.lr=1e-3,-1", "optimizer.lr=-1"),
        ("-m dataset.train_size=2_per_class,900_per_class", "900_per_class"),
        ("-m strategy=full,gradual_unfreezing", "do not fit"),
        ("-m seed=interval(0,1)", "range"),
        ("-m seed=glob(*)", "glob"),
        ("-m strategy=glob(zzz*)", "names no run"),
        ("-m experiment=letters_to_digits,letters_to_digits", "one experiment"),
        ("-m seed=0,1 register=twice", "register=twice with 2 runs"),
        ("--config-dir /no/such/folder", "no such folder of configs"),
    ],
)
def test_impossible_values(tlx, word: str, part: str) -> None:
    assert part in refused(tlx, *word.split())


def test_fp16_needs_a_gpu(tlx) -> None:
    assert "needs a GPU" in refused(tlx, "trainer.precision=16-mixed")


def test_strategies_that_the_model_cannot_do(tlx) -> None:
    assert "matches no layer" in refused(tlx, "strategy=lora", "strategy.adapter.targets=nothing")
    assert "scratch" in refused(tlx, "strategy=lora", "strategy.init=scratch")
    assert "rank" in refused(tlx, "strategy=lora", "strategy.adapter.rank=0")
    assert "whole number" in refused(tlx, "strategy=lora", "strategy.adapter.rank=x")
    assert "merge" in refused(tlx, "strategy=lora", "register=adapted")
    message = refused(tlx, "strategy=partial", "strategy.freezing.ratio=null", "strategy.freezing.until=blok1")
    assert "'block1'" in message


def test_tables(tlx, write_texts) -> None:
    assert "give dataset.path" in refused(tlx, *TEXT)
    assert "no such file or folder" in refused(tlx, *TEXT, f"dataset.path={tlx.runs.parent / 'nowhere'}")
    renamed = write_texts("renamed", columns=("txt", "label"))
    message = refused(tlx, *TEXT, f"dataset.path={renamed}")
    assert "no column 'text'" in message and "'txt'" in message
    strange = write_texts("strange", test=[("fine", "pos"), ("hm", "neutral")])
    message = refused(tlx, *TEXT, f"dataset.path={strange}", "dataset.label_names=[neg,pos]")
    assert "'neutral'" in message and "row 1 of the test split" in message
    empty = write_texts("empty", test=[])
    assert "test" in refused(tlx, *TEXT, f"dataset.path={empty}")
    good = write_texts("good")
    assert "pos (10)" in refused(tlx, *TEXT, f"dataset.path={good}", "dataset.train_size=11_per_class")
    assert "'accuracy'" in refused(tlx, *TEXT, f"dataset.path={good}", "dataset.monitor=acuracy")
    assert "audio" in refused(tlx, *AUDIO, f"dataset.path={good}")
    message = refused(tlx, "model=tiny_speech", "dataset=local_text", f"dataset.path={good}")
    assert "the model takes audio and the data set holds text" in message


def test_the_data_are_looked_at_before_a_pretraining(tlx, write_texts, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    words = ["model=tiny_text", "dataset=local_text", f"dataset.path={write_texts(columns=('txt', 'label'))}"]
    assert "no column 'text'" in refused(tlx, *words, f"paths.registry={registry}")
    assert not registry.exists()


def test_a_damaged_image_is_named(tlx, tmp_path: Path) -> None:
    from PIL import Image

    folder = tmp_path / "images"
    for number, split in enumerate(("train", "validation", "test")):
        for name, shade in (("dark", 20), ("light", 200)):
            (folder / split / name).mkdir(parents=True)
            for i in range(3):
                Image.fromarray(np.full((16, 16), shade + 3 * number + i, np.uint8)).save(
                    folder / split / name / f"{i}.png"
                )
    words = [*IMAGE, f"dataset.path={folder}", "dataset.train_size=null"]
    damaged = folder / "test/light/1.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:40])
    assert str(damaged) in refused(tlx, *words)
    damaged.write_bytes(whole)
    # An image that only another seed's subset holds: found before the first run, too.
    (folder / "train/dark/2.png").write_bytes(b"no image")
    words = [*IMAGE, f"dataset.path={folder}", "dataset.train_size=1_per_class"]
    message = refused(tlx, "-m", *words, "seed=range(12)")
    assert str(folder / "train/dark/2.png") in message


def test_a_damaged_clip_is_named(tlx, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    folder = tmp_path / "clips"
    for number, split in enumerate(("train", "validation", "test")):
        for name, pitch in (("low", 0.1), ("high", 0.5)):
            (folder / split / name).mkdir(parents=True)
            for i in range(2):
                wave = 0.5 * np.sin(np.arange(3000 + 2 * number + i) * pitch)
                soundfile.write(folder / split / name / f"{i}.wav", wave.astype(np.float32), 8000)
    damaged = folder / "validation/high/1.wav"
    damaged.write_bytes(b"no sound")
    assert str(damaged) in refused(tlx, *AUDIO, f"dataset.path={folder}")


def test_weights_of_another_network(tlx, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    file = tmp_path / "other.safetensors"
    save_file({"foreign.weight": torch.zeros(2, 2)}, file)
    assert "%" in refused(tlx, f"model.path={file}")


def test_a_folder_of_another_run(tlx) -> None:
    first = tlx.record()
    folder = next((tlx.runs / "adhoc").glob("tiny_vision-*"))
    (folder / "record.json").write_text(json.dumps(first | {"identity": "0" * 64}))
    assert "belongs to another run" in tlx.train().complaint
    assert "belongs to another run" in tlx.train("force=true").complaint


def test_a_record_cut_short_is_reported_and_the_run_done_again(tlx) -> None:
    first = tlx.record()
    file = next((tlx.runs / "adhoc").glob("tiny_vision-*")) / "record.json"
    file.write_text('{"schema": 1')
    outcome = tlx.train()
    assert outcome.code == 0 and "record.json is damaged" in outcome.err and "done again" in outcome.err
    assert json.loads(file.read_text())["metrics"] == first["metrics"]
    file.write_text(json.dumps(first | {"schema": 99}))
    assert "schema 99" in tlx.train().complaint
    plan = tlx.runs / "adhoc" / "study.json"
    file.write_text(json.dumps(first))
    for damage, part in (('{"schema": 99, "runs": []}', "schema 99"), ("[]", "damaged"), ('{"runs": [1]}', "damaged")):
        plan.write_text(damage)
        assert part in tlx.train("seed=1").complaint
        assert plan.read_text() == damage, "nobody's plan is written over"


def test_places_that_cannot_be_written(tlx, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for key in ("paths.runs", "paths.cache"):
        assert "cannot be written" in refused(tlx, f"{key}={file / 'below'}")
    assert "cannot be written" in refused(
        tlx, f"paths.registry={file}", "strategy=scratch", "register=x", "model.path=null"
    )


def user_yaml(folder: Path, name: str, text: str) -> str:
    """A user's own yaml; returns the choice that names it."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).with_suffix(".yaml").write_text(text)
    return name.replace("/", "=")


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("dataset/mine", "defaults: [digits, _self_]\ntrain_sise: 3\n", "'train_size'"),
        ("dataset/mine", "defaults: [digts, _self_]\n", "'digits'"),
        ("dataset/mine", "path: [1\nmake: 2", "cannot be composed"),
        ("dataset/mine", "- a\n- b\n", "cannot be composed"),
        ("trainer/mine", "defaults: [default, _self_]\nmax_epoch: 3\n", "'max_epochs'"),
        ("trainer/mine", "max_epochs: 3\nthreads: 1\n", "batch_size is missing"),
        ("logger/mine", "wandb: {project: x, entity: null}\n", "logger.wandb.mode is missing"),
        ("model/mine", "defaults: [tiny_vision, _self_]\nsizee: 3\n", "'size'"),
        ("strategy/mine", "defaults: [full, _self_]\nlr: ${model.lr.ful}\n", "model.lr.ful"),
        ("strategy/mine", "defaults: [full, _self_]\nfreezing: {_target_: tlx.no.Such}\n", "tlx.no"),
        ("strategy/mine", "_target_: tlx.strategies.strategy.TransferStrategy\ninit: scratch\nlr: 1\n", "is missing"),
        ("optimizer/mine", "defaults: [adamw, _self_]\nmomentum: 0.9\n", "'momentum'"),
        ("experiment/mine", "# @package _global_\ndefaults:\n  - override /modle: tiny_vision\n", "'model'"),
        ("experiment/mine", "# @package _global_\nepochs: 3\n", "unknown key 'epochs'"),
        (
            "experiment/mine",
            "# @package _global_\nhydra: {sweeper: {params: {sed: '0,1'}}}\n",
            "Did you mean 'seed'",
        ),
    ],
)
def test_mistakes_in_a_yaml_of_the_user(tlx, tmp_path: Path, name: str, text: str, part: str) -> None:
    choice = user_yaml(tmp_path / "own", name, text)
    assert part in refused(tlx, "-m", "--config-dir", str(tmp_path / "own"), choice)


def test_traceback_on_request(tlx) -> None:
    outcome = tlx.train("strategy=fulll", "--traceback")
    assert outcome.code == 2
    assert "Traceback (most recent call last)" in outcome.err
    assert outcome.err.strip().splitlines()[-1].startswith("tlx: unknown strategy 'fulll'")
    shutil.rmtree(tlx.runs, ignore_errors=True)


@pytest.mark.parametrize("verb", [("train",), ("train", "-m"), ("train", "-m", "--dry-run")])
def test_a_misspelt_metric_is_named_before_anything_is_pretrained(verbs, verb: tuple[str, ...]) -> None:
    """The registry is empty, so that the model of the run would be made first."""
    words = ["dataset.metrics=[acuracy]", "dataset=digits", "model=tiny_vision"]
    message = verbs(*verb, *verbs.quick, *words).complaint
    assert "unknown metric in dataset.metrics 'acuracy'" in message and "'accuracy'" in message
    assert not verbs.registry.exists() and not verbs.runs.exists()


def test_a_record_of_a_newer_tlx_is_left_out_of_a_sweep(tlx) -> None:
    words = ["-m", "strategy=scratch", "seed=0,1,2", "study=newer"]
    assert tlx.train(*words[:2], "seed=0,1", *words[3:]).code == 0
    file = next(f for f in (tlx.runs / "newer").glob("*/record.json") if json.loads(f.read_text())["config"]["seed"])
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": 2}))
    before = file.read_bytes()
    dry = tlx.train(*words, "--dry-run")
    assert dry.code == 0 and "2 runs (1 cell): 1 done, 1 to do" in dry.out and f"{file} has schema 2" in dry.out
    outcome = tlx.train(*words)
    assert outcome.code == 0, outcome.err
    assert f"warning: {file} has schema 2" in outcome.err and "is left out" in outcome.err
    assert file.read_bytes() == before
    assert sorted(r["config"]["seed"] for r in tlx.records("newer") if r["schema"] == 1) == [0, 2]
