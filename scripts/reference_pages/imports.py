"""Who imports whom among the files and rooms of tlx."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# From the ground up. A room or a file at the root imports itself and what stands before it, and nothing after it.
ORDER = (
    *("errors", "private", "streams", "schedules", "layer_groups", "record", "network", "plan", "registry"),
    *("processes", "tasks", "config", "identity", "cache", "data", "models", "strategies", "callbacks", "module"),
    *(
        "fit",
        "advice",
        "probes",
        "measures",
        "objectives",
        "assembly",
        "results",
        "train",
        "sweeps",
        "contracts",
        "doctor",
    ),
    *("plan_table", "tlx", "cli"),
)


def modules() -> dict[str, Path]:
    """Every file of tlx by its dotted name."""
    found = {}
    for file in sorted((ROOT / "tlx").rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(file: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules among `known` that a file imports, wherever in it that is.

    Every import counts, those within functions and those for the type checker, too: who reads a file meets what it
    names.
    """
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in known or node.module in known:
                    yield inner if inner in known else str(node.module)


def graph() -> dict[str, set[str]]:
    """For each module those that it imports."""
    known = modules()
    return {name: set(imported(file, known)) - {name} for name, file in known.items()}


def room(name: str) -> str:
    """The room that a module lies in, or the file at the root that it is."""
    return name.split(".")[1] if "." in name else name
