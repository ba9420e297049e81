"""The source task's scores before training: computed once for all runs that start from the same weights."""

import shutil
from pathlib import Path

import pytest

from tlx.cache.stores import clear, entries
from tlx.measures import source


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each pass over the source's examples."""
    found: list[int] = []
    score = source.score
    monkeypatch.setattr(source, "score", lambda *given, **named: found.append(1) or score(*given, **named))
    return found


def test_scores_before_training_are_computed_once(tlx, tmp_path: Path, passes: list[int]) -> None:
    given = ["trainer.max_epochs=1", f"paths.cache={tmp_path / 'cache'}"]
    first = tlx.record("strategy=full", "seed=0", *given)
    assert len(passes) == 2, "before and after"
    second = tlx.record("strategy=full", "seed=1", *given)
    third = tlx.record("strategy=feature_extraction", "seed=1", *given)
    assert len(passes) == 3, "what was trained is scored after it, the untouched not once more"
    before = [{k: v for k, v in r["metrics"].items() if k.endswith("_before")} for r in (first, second, third)]
    assert before[0] and before[0] == before[1] == before[2]
    assert second["seconds_alone"]["total"] > second["seconds"]["total"]
    listed = tlx("cache", "list", "--folder", str(tmp_path / "cache")).out
    assert "scores of tiny_vision on" in listed and "test (source) examples\n" in listed


def test_other_weights_and_no_cache_are_computed(tlx, tmp_path: Path, passes: list[int]) -> None:
    shutil.copytree(tlx.registry, tmp_path / "registry")
    given = ["trainer.max_epochs=1", "force=true"]
    given += [f"paths.{name}={tmp_path / name}" for name in ("cache", "registry")]
    kept = tlx.record("strategy=full", *given)
    direct = tlx.record("strategy=full", *given, "cache=off")
    assert len(passes) == 4
    assert kept["metrics"] == direct["metrics"]
    moved = tlx.record("strategy=full", "register=moved", *given)
    assert len(passes) == 5
    again = tlx.record("strategy=full", "model.path=registry:moved", *given)
    assert len(passes) == 7 and again["metrics"]["source/accuracy_before"] != kept["metrics"]["source/accuracy_before"]
    assert moved["metrics"] == kept["metrics"]


def test_without_room_nothing_is_kept(tlx, tmp_path: Path, passes: list[int]) -> None:
    given = ["strategy=full", "trainer.max_epochs=1", f"paths.cache={tmp_path / 'cache'}", "cache_limit=0"]
    tlx.record(*given)
    tlx.record(*given, "force=true")
    assert len(passes) == 4 and entries(tmp_path / "cache") == []
    assert clear(tmp_path / "cache") == (0, 0)
