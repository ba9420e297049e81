"""Registry entries: made by runs, found by name, started from, and the source task scored before and after."""

import json
import re
import shutil
from pathlib import Path

import pytest

from tlx.errors import UserError
from tlx.registry import entries


@pytest.fixture
def own(tlx, tmp_path: Path) -> Path:
    """A copy of the session's registry, to write into."""
    registry = tmp_path / "registry"
    shutil.copytree(tlx.registry, registry, ignore=shutil.ignore_patterns("runs"))
    return registry


def tensors(folder: Path) -> dict:
    from safetensors.torch import load_file

    return load_file(folder / "backbone.safetensors")


def test_the_bundled_backbone_is_an_entry(tlx) -> None:
    folder = entries.find(tlx.registry, "tiny_vision")
    card = entries.read_card(folder)
    assert card["name"] == "tiny_vision" and len(card["labels"]) == 26
    assert 0 <= card["metrics"]["test/accuracy"] <= 1 and "val/accuracy" in card["metrics"]
    assert card["dataset"]["make"] == "tlx.data.bundled.letters.make"
    # The run that made it is an ordinary one, kept in the registry and not among the runs that were asked for.
    (made,) = (json.loads(f.read_text()) for f in (tlx.registry / "runs/pretraining").glob("*/record.json"))
    assert made["identity"] == card["run"] and made["status"] == "completed"
    assert not (tlx.runs / "pretraining").exists()


@pytest.mark.parametrize(
    "name, act, where",
    [
        ("head.safetensors", lambda data: data[:-40] + bytes(40), r"head\.safetensors is not as card\.json describes"),
        ("backbone.safetensors", lambda data: data[:-40] + bytes(40), r"backbone\.safetensors is not as"),
        ("backbone.safetensors", lambda data: data[: len(data) // 2], r"backbone\.safetensors is not as"),
        ("head.safetensors", None, r"head\.safetensors is gone"),
        ("card.json", lambda data: data.replace(b'"letters"', b'"digits"').replace(b"bundled.l", b"bundled.k"), "its card"),
        ("card.json", lambda data: data[:100], "no readable card"),
    ],
)
def test_a_damaged_entry_is_refused_by_name(tlx, own: Path, name: str, act, where: str) -> None:
    file = own / "tiny_vision" / name
    if act is None:
        file.unlink()
    else:
        file.write_bytes(act(file.read_bytes()))
    outcome = tlx.train(f"paths.registry={own}")
    assert outcome.code == 2 and re.search(where, outcome.err), outcome.err
    assert str(own / "tiny_vision") in outcome.err
    if "readable" not in where:
        assert "Remove that folder, and the same command makes it anew (registry:tiny_vision)" in outcome.err


def test_an_entry_of_an_earlier_version_is_compared_as_far_as_its_card_goes(own: Path) -> None:
    folder = own / "tiny_vision"
    card = entries.read_card(folder)
    (folder / "card.json").write_text(json.dumps({k: v for k, v in card.items() if k not in ("files", "checksum")}))
    entries.check(folder, None)
    head = folder / "head.safetensors"
    head.write_bytes(head.read_bytes()[:-4] + bytes(4))
    entries.check(folder, None)  # nobody knows
    file = folder / "backbone.safetensors"
    file.write_bytes(file.read_bytes()[:-40] + bytes(40))
    with pytest.raises(UserError, match=r"its weights are not those that card\.json names"):
        entries.check(folder, None)
    entries.check(folder, None, weights=False)


def test_an_entry_is_as_open_as_the_umask_says(tlx, own: Path) -> None:
    import os

    before = os.umask(0o027)
    try:
        tlx.record(f"paths.registry={own}", "register=shared")
    finally:
        os.umask(before)
    folder = own / "shared"
    assert folder.stat().st_mode & 0o777 == 0o750
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o640}


@pytest.mark.parametrize("strategy", ["full", "random_features", "lora"])
def test_a_finished_run_becomes_an_entry_without_training(tlx, own: Path, monkeypatch, strategy: str) -> None:
    merged = ["strategy.adapter.merge=true"] if strategy == "lora" else []
    words = [f"paths.registry={own}", f"strategy={strategy}", *merged]
    at_once = tlx.record(*words, "register=at_once")
    (folder,) = (tlx.runs / "adhoc").glob("*/record.json")
    shutil.rmtree(own / "at_once")
    written = folder.stat().st_mtime_ns

    def never(*_, **__):
        raise AssertionError("it was trained again")

    monkeypatch.setattr("tlx.train.run", never)
    assert tlx.record(*words, "register=later")["identity"] == at_once["identity"]
    assert folder.stat().st_mtime_ns == written and not list(folder.parent.glob("attempt-*"))
    later, card = tensors(own / "later"), entries.read_card(own / "later")
    assert card["run"] == at_once["identity"] and card["metrics"]["test/accuracy"] == at_once["metrics"]["test/accuracy"]
    monkeypatch.undo()
    tlx.record(*words, "register=at_once", "force=true")
    again = tensors(own / "at_once")
    assert later.keys() == again.keys() and all((later[n] == again[n]).all() for n in again)
    assert entries.read_card(own / "at_once")["files"] == card["files"], "head and tokenizer, too"


def test_a_run_that_kept_no_weights_is_trained_again_for_its_entry(tlx, own: Path) -> None:
    words = [f"paths.registry={own}", "keep_checkpoints=none"]
    tlx.record(*words)
    outcome = tlx.train(*words, "register=later")
    assert outcome.code == 0 and "kept no weights" in outcome.err and "later" in entries.names(own)


def test_names(own: Path) -> None:
    assert entries.names(own) == ["tiny_vision"]
    assert entries.names(own / "none") == []
    with pytest.raises(UserError, match=r"unknown registry entry 'tiny_vison'\. Did you mean 'tiny_vision'"):
        entries.find(own, "tiny_vison")
    (own / "tiny_vision/card.json").write_text("{")
    with pytest.raises(UserError, match="no readable card"):
        entries.read_card(own / "tiny_vision")


@pytest.mark.parametrize("name", ["a/b", "../x", ".hidden", "", "a b"])
def test_impossible_names_write_nothing(own: Path, name: str) -> None:
    with pytest.raises(UserError, match="name"):
        entries.add(own, name, None, {})
    assert entries.names(own) == ["tiny_vision"]


def test_all_or_nothing(own: Path) -> None:
    before = sorted(own.rglob("*"))
    with pytest.raises(AttributeError):
        entries.add(own, "tiny_vision", object(), {})
    assert sorted(own.rglob("*")) == before


def test_a_run_becomes_an_entry_to_start_from(tlx, own: Path) -> None:
    place = f"paths.registry={own}"
    made = tlx.record(place, "register=digits_reader", "trainer.max_epochs=2")
    folder = entries.find(own, "digits_reader")
    card = entries.read_card(folder)
    assert card["run"] == made["identity"]
    assert card["metrics"]["test/accuracy"] == made["metrics"]["test/accuracy"]
    assert card["labels"] == [str(n) for n in range(10)]
    assert any(
        (a != b).any() for a, b in zip(tensors(folder).values(), tensors(own / "tiny_vision").values(), strict=True)
    )

    # By either door the run starts from the same weights, and the same source is measured.
    by_model = tlx.record(place, "model.path=registry:digits_reader", "seed=5")
    by_strategy = tlx.record(place, "strategy.init=registry:digits_reader", "seed=5")
    assert by_model["fingerprints"]["weights"] == by_strategy["fingerprints"]["weights"]
    assert by_model["fingerprints"]["weights"] != made["fingerprints"]["weights"]
    assert by_model["loaded"]["share"] == by_strategy["loaded"]["share"] == 1.0
    assert by_model["metrics"] == by_strategy["metrics"]
    assert by_model["metrics"]["source/accuracy_before"] == pytest.approx(card["metrics"]["test/accuracy"])


def test_an_entry_is_made_although_the_run_is_done(tlx, own: Path) -> None:
    place = f"paths.registry={own}"
    first = tlx.record(place)
    again = tlx.record(place, "register=late")
    assert entries.read_card(entries.find(own, "late"))["run"] == first["identity"]
    assert again["attempt"] == 1 and again["metrics"] == first["metrics"]
    assert tlx.record(place, "register=late")["attempt"] == 1, "now both are done"


def test_an_entry_is_replaced_as_a_whole(tlx, own: Path) -> None:
    place = f"paths.registry={own}"
    tlx.record(place, "register=mine")
    first, stale = tensors(own / "mine"), own / "mine/left_over.txt"
    stale.write_text("")
    record = tlx.record(place, "register=mine", "seed=1")
    assert not stale.exists()
    assert entries.read_card(own / "mine")["run"] == record["identity"]
    assert any((a != b).any() for a, b in zip(tensors(own / "mine").values(), first.values(), strict=True))


def test_merged_adapters_become_plain_weights(tlx, own: Path) -> None:
    place = f"paths.registry={own}"
    made = tlx.record(place, "register=adapted", "strategy=lora", "strategy.adapter.merge=true", "trainer.max_epochs=2")
    assert tensors(own / "adapted").keys() == tensors(own / "tiny_vision").keys()
    record = tlx.record(place, "model.path=registry:adapted", "strategy=feature_extraction")
    assert record["loaded"]["share"] == 1.0
    assert record["metrics"]["source/accuracy_before"] == pytest.approx(made["metrics"]["test/accuracy"])
    assert record["metrics"]["source/loss_before"] == pytest.approx(made["metrics"]["test/loss"], abs=1e-4)


def test_forgetting(tlx) -> None:
    frozen = tlx.record("strategy=feature_extraction")["metrics"]
    assert {name for name in frozen if name.startswith("forgetting/")} == {
        "forgetting/accuracy",
        "forgetting/macro_f1",
        "forgetting/loss",
    }
    assert all(value == 0 for name, value in frozen.items() if name.startswith("forgetting/"))
    moved = tlx.record("strategy=full", "trainer.max_epochs=3")["metrics"]
    for score, sign in (("accuracy", 1), ("macro_f1", 1), ("loss", -1)):
        change = moved[f"source/{score}_before"] - moved[f"source/{score}_after"]
        assert moved[f"forgetting/{score}"] == pytest.approx(sign * change)
    assert moved["forgetting/loss"] != 0
    assert moved["source/accuracy_before"] == frozen["source/accuracy_before"]
    card = entries.read_card(tlx.registry / "tiny_vision")
    assert moved["source/accuracy_before"] == pytest.approx(card["metrics"]["test/accuracy"])
    assert not [name for name in tlx.record("strategy=scratch")["metrics"] if name.startswith(("source", "forgetting"))]


def test_a_recipe_makes_only_its_own_entry(tlx, tmp_path: Path) -> None:
    """model.path=registry:OTHER is a name to be found, not one to be pretrained."""
    empty = tmp_path / "empty"
    message = tlx.train(f"paths.registry={empty}", "model.path=registry:other").complaint
    assert "unknown registry entry 'other'" in message
    assert not empty.exists()
