"""What tlx uses of libraries that they do not promise to keep stands in one file, and works with these versions."""

import ast
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tlx import private

ROOT = Path(__file__).parents[1]
TRIED = {
    "hydra-core": "1.3.8",
    "omegaconf": "2.3.1",
    "lightning": "2.6.6",
    "torch": "2.11.0",
    "timm": "1.0.31",
    "transformers": "5.23.0",
    "click": "8.5.1",
    "optuna": "5.0.0",
    "ray": "2.60.0",
}
# Not private: a function of Python's, a method of named tuples, and the functions of which torch's optimisers are made.
PUBLIC = ("_exit", "_replace", "_foreach_")


@pytest.mark.parametrize("package", TRIED)
def test_the_versions_that_were_tried(package: str) -> None:
    try:
        found = version(package).partition("+")[0]
    except PackageNotFoundError:
        pytest.skip(f"{package} is not installed")
    assert found == TRIED[package], f"when all tests pass with {package} {found}, write it down here"


@pytest.mark.parametrize("name", private.NAMES)
def test_each_name_is_there(name: str) -> None:
    assert callable(getattr(private, name))


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        _ = private.Other


def _own_names(tree: ast.AST) -> set[str]:
    """What a file defines itself: functions, classes, variables, attributes of its objects."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            names.add(node.attr)
    return names


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith(("__", *PUBLIC))


def test_no_other_file_uses_what_is_private() -> None:
    trees = {
        file: ast.parse(file.read_text())
        for folder in ("tlx", "hydra_plugins")
        for file in (ROOT / folder).rglob("*.py")
    }
    own = set().union(*map(_own_names, trees.values()))
    found, in_private = [], 0
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                used = _private(node.attr) and node.attr not in own
            elif isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("tlx"):
                used = any(map(_private, node.module.split("."))) or any(_private(alias.name) for alias in node.names)
            elif isinstance(node, ast.Import):
                used = any(_private(part) for alias in node.names for part in alias.name.split("."))
            else:
                continue
            if used and file.name == "private.py":
                in_private += 1
            elif used:
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}")
    assert not found, "\n".join(found)
    assert in_private > 25, "the search finds what is there"
