"""The two sides of a comparison: a strategy's name, or settings like `strategy=lora,model=minilm`."""

from collections.abc import Sequence

from tlx.errors import UserError, nearest, unknown
from tlx.results.baseline import OWN, different
from tlx.results.cells import Cell, check_key
from tlx.results.commands import missing_baseline
from tlx.results.naming import setting

FOLLOWING = {"strategy": OWN, "model": ("model", "optimizer.lr")}  # what may differ when a choice does


def parse_side(given: str) -> dict[str, str]:
    """`lora` → {"strategy": "lora"}; `strategy=lora,model=minilm` → both settings, by name.

    Raises:
        UserError: neither of them.
    """
    if "=" not in given:
        parts = [("strategy", given.strip())]
    else:
        pairs = [part.partition("=") for part in given.split(",")]
        parts = [(key.strip(), value.strip()) for key, sign, value in pairs if sign]
        if len(parts) < len(pairs):
            parts = []
    if not parts or not all(key and value for key, value in parts):
        raise UserError(
            f"--compare: '{given}' names no side. Give a strategy (lora) or settings (strategy=lora,model=minilm)."
        )
    return dict(parts)


def choose(
    cells: Sequence[Cell], first: dict[str, str], second: dict[str, str], seed_names: set[str]
) -> tuple[list[Cell], list[Cell]]:
    """The cells of each side.

    Raises:
        UserError: unknown settings or values, sides that name different settings, or the same side twice.
    """
    if first.keys() != second.keys():
        raise UserError(
            f"--compare: the first side names {', '.join(first)}, the second {', '.join(second)}; "
            "both have to name the same settings."
        )
    if first == second:
        raise UserError("--compare: both sides are the same.")
    for key in first:
        check_key(cells, key, "--compare", seed_names)
    sides = []
    for side in (first, second):
        for key, value in side.items():
            known = sorted({setting(key, cell.value(key)) for cell in cells})
            if value not in known:
                # A misspelt name is to be spelt, not to be run.
                todo = (
                    f"{missing_baseline(cells, value, different(cells))}."
                    if key == "strategy" and not nearest(value, known)
                    else ""
                )
                raise unknown(f"{key} for --compare", value, known, todo)
        chosen = [cell for cell in cells if all(setting(key, cell.value(key)) == v for key, v in side.items())]
        if not chosen:
            raise UserError(f"--compare: no cell has {', '.join(f'{key}={value}' for key, value in side.items())}.")
        sides.append(chosen)
    return sides[0], sides[1]


def may_differ(keys: Sequence[str]) -> tuple[str, ...]:
    """The settings in which the two cells of a pair may differ when the sides name `keys`."""
    return tuple(name for key in keys for name in FOLLOWING.get(key, (key, f"dataset.{key}")))


def written_side(side: dict[str, str]) -> str:
    """`lora` for a strategy alone, else `strategy=lora, model=minilm`."""
    if list(side) == ["strategy"]:
        return side["strategy"]
    return ", ".join(f"{key}={value}" for key, value in side.items())
