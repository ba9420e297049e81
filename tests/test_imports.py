"""Files form no circle of imports, and rooms lie above each other in one order."""

import sys
from pathlib import Path

import networkx as nx
import pytest

sys.path.append(str(Path(__file__).parents[1] / "scripts"))

from reference_pages import imports
from reference_pages.imports import ORDER, ROOT, imported, modules, room

MOST_AT_ROOT = 14  # files
LONGEST = 400  # lines of a file


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a ring; [] where there is none."""
    try:
        return [edge[0] for edge in nx.find_cycle(nx.DiGraph(graph))]
    except nx.NetworkXNoCycle:
        return []


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return imports.graph()


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
