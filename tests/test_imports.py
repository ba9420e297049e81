"""Who imports whom: files form no circle, and rooms lie above each other in one order.

Every import counts, those within functions and those for the type checker, too: who reads a file meets what it names.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]
# From the ground up. A room or a file at the root imports itself and what stands before it, and nothing after it.
ORDER = (
    *("errors", "private", "streams", "schedules", "layer_groups", "record", "network", "plan", "registry"),
    *("processes", "tasks", "config", "identity", "cache", "data", "models", "strategies", "callbacks", "module"),
    *("fit", "advice", "probes", "measures", "objectives", "assembly", "results", "train", "sweeps", "doctor"),
    *("plan_table", "tlx", "cli"),
)
MOST_AT_ROOT = 14  # files
LONGEST = 400  # lines of a file


def modules() -> dict[str, Path]:
    """Every file of tlx by its dotted name."""
    found = {}
    for file in sorted((ROOT / "tlx").rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules among `known` that a file imports, wherever in it that is."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in known or node.module in known:
                    yield inner if inner in known else str(node.module)


def room(name: str) -> str:
    """The room that a module lies in, or the file at the root that it is."""
    return name.split(".")[1] if "." in name else name


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring; [] where there is none."""
    try:
        return [edge[0] for edge in nx.find_cycle(nx.DiGraph(graph))]
    except nx.NetworkXNoCycle:
        return []


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: set(imported(file, known)) - {name} for name, file in known.items()}


def test_the_graph_is_seen(tmp_path: Path) -> None:
    """The test of the tests: it follows imports within functions and for types, and finds rings."""
    known = {"tlx.a": Path(), "tlx.a.b": Path(), "tlx.c": Path()}
    (tmp_path / "f.py").write_text("from tlx import a\ndef f():\n    from tlx.a import b, other\n    import tlx.c\n")
    assert sorted(imported(tmp_path / "f.py", known)) == ["tlx.a", "tlx.a", "tlx.a.b", "tlx.c"]
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_files_form_no_circle(graph: dict[str, set[str]]) -> None:
    assert len(graph) > 250 and sum(map(len, graph.values())) > 900
    ring = circle(graph)
    assert not ring, " → ".join(ring)


def test_no_room_imports_what_lies_above_it(graph: dict[str, set[str]]) -> None:
    assert {room(name) for name in graph} == set(ORDER), "a new room has its place in ORDER"
    upward = [
        f"{name} → {other}"
        for name, others in graph.items()
        for other in others
        if ORDER.index(room(other)) > ORDER.index(room(name))
    ]
    assert not upward, "\n".join(upward)


def test_files_are_few_at_the_root_and_short(graph: dict[str, set[str]]) -> None:
    assert len(list((ROOT / "tlx").glob("*.py"))) <= MOST_AT_ROOT
    lengths = {name: len(file.read_text().splitlines()) for name, file in modules().items()}
    assert max(lengths.values()) <= LONGEST, max(lengths, key=lengths.__getitem__)
    assert lengths["tlx.train"] <= 150
    assert sorted(lengths.values())[len(lengths) // 2] <= 120
