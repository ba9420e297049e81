"""The user's own code is part of what a run is: found by name, hashed with what it imports, never taken for another."""

import importlib
import sys
from pathlib import Path

import pytest

from tlx.config import own_code
from tlx.config.own_code import code_hash, dotted_names, is_own, libraries
from tlx.errors import UserError

RULE = """
from dataclasses import dataclass

from tlx.plan import Phase
import own_depths

@dataclass(frozen=True)
class Upper:
    def phases(self, groups):
        return [Phase(frozenset(g.name for g in groups if g.depth >= own_depths.LOWEST))]
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that Python imports from, forgotten afterwards."""
    folder = tmp_path / "code"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]
    own_code._SEEN.clear()
    own_code._IMPORTED.clear()


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    importlib.invalidate_caches()


def test_what_is_own() -> None:
    assert [name for name in ("tlx", "torch.optim.SGD", "sklearn", "json", "no_such_module") if is_own(name)] == []
    assert libraries(["torch.optim.SGD", "tlx.module", "json"]).keys() == {"torch"}
    assert libraries(["sklearn.svm"]).keys() == {"scikit-learn"}
    assert code_hash(["tlx.module.X", "torch.nn.ReLU", "os.system"]) is None


def test_names_in_a_config() -> None:
    nested = {"_target_": "hydra.utils.get_method", "path": "own_a.f", "_partial_": True}
    config = {
        "model": {"_target_": "own_b.Model", "path": "folder/file.csv", "parts": [{"_target_": "own_c.P"}, nested]},
        "dataset": {"_target_": "tlx.data.dataset.Dataset", "make": "own_d.make", "path": "own_e.csv"},
        "own": {"layer_groups": "own_f.layers", "features": "own_g.f", "read_weights": "own_h.read"},
        "stated": {"layer_groups": [["stem", "network.conv1"]]},
    }
    names = {
        "own_f.layers",
        "own_g.f",
        "own_h.read",
        "own_a.f",
        "own_b.Model",
        "own_c.P",
        "own_d.make",
        "hydra.utils.get_method",
        "tlx.data.dataset.Dataset",
    }
    assert set(dotted_names(config)) == names


def test_a_module_counts_with_what_it_imports(place: Path) -> None:
    write(place / "own_rules.py", "import json, own_helper  # and torch\nimport torch\n")
    write(place / "own_helper.py", "LOWEST = 1\n")
    write(place / "own_stranger.py", "A = 1\n")
    first = code_hash(["own_rules.Upper"])
    assert first and is_own("own_rules.Upper")
    write(place / "own_stranger.py", "A = 2\n")
    assert code_hash(["own_rules.Upper"]) == first
    write(place / "own_helper.py", "LOWEST = 2\n")
    assert code_hash(["own_rules.Upper"]) not in (first, None)


def test_a_package_counts_as_a_whole(place: Path) -> None:
    for name in ("own_package", "own_namespace"):
        write(place / name / "deep/rules.py", "A = 1\n")
        write(place / name / "other.py", "B = 1\n")
        write(place / name / "notes.md", "a note\n")
    write(place / "own_package/__init__.py", "")
    for name in ("own_package", "own_namespace"):
        first = code_hash([f"{name}.deep.rules.Upper"])
        write(place / name / "notes.md", "another note\n")
        assert code_hash([f"{name}.deep.rules.Upper"]) == first
        write(place / name / "other.py", "B = 2\n")
        assert code_hash([f"{name}.deep.rules.Upper"]) != first


def test_a_linked_sub_package_counts_too(place: Path, tmp_path: Path) -> None:
    write(place / "own_linked/__init__.py", "")
    write(tmp_path / "elsewhere/rules.py", "A = 1\n")
    (place / "own_linked/deep").symlink_to(tmp_path / "elsewhere")
    first = code_hash(["own_linked.deep.rules.Upper"])
    write(tmp_path / "elsewhere/rules.py", "A = 2\n")
    assert code_hash(["own_linked.deep.rules.Upper"]) != first


def test_what_was_imported_before_it_was_edited_is_refused(place: Path) -> None:
    write(place / "own_rules.py", "LOWEST = 1\n")
    first = code_hash(["own_rules.Upper"])
    module = importlib.import_module("own_rules")
    assert code_hash(["own_rules.Upper"]) == first
    write(place / "own_rules.py", "LOWEST = 12\n")
    with pytest.raises(UserError, match=r"own_rules\.py was edited after this process had imported it"):
        code_hash(["own_rules.Upper"])
    importlib.reload(module)
    assert module.LOWEST == 12 and code_hash(["own_rules.Upper"]) != first


def test_an_edited_rule_is_another_run(tlx, place: Path) -> None:
    write(place / "own_rules.py", RULE)
    write(place / "own_depths.py", "LOWEST = 1\n")
    words = ["strategy.freezing._target_=own_rules.Upper"]
    one = tlx.record(*words)
    assert tlx.record(*words)["started"] == one["started"] and one["fingerprints"].keys() >= {"code", "data"}
    write(place / "own_depths.py", "LOWEST = 3\n")
    outcome = tlx.train(*words)
    assert outcome.code == 2 and "own_depths.py was edited after this process had imported it" in outcome.err
    importlib.reload(sys.modules["own_depths"])
    two = tlx.record(*words)
    assert two["identity"] != one["identity"] and two["cell"] != one["cell"]
    assert two["counts"]["trainable"] < one["counts"]["trainable"]
