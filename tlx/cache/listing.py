"""`tlx cache list`, `verify` and `clear`: what is kept for later runs, in words. No torch here."""

import time
from pathlib import Path

from tlx.cache.checksums import META
from tlx.cache.stores import PREPARED, SCORES, Entry, clear, damage, entries, remove


def table(cache: Path) -> str:
    """One line a store, the one that would go first on top: size, age of its last use, and what it holds."""
    held = entries(cache)
    if not held:
        return f"nothing is kept in {cache}."
    lines = [f"{'size':>9}  {'last used':>12}  what"]
    for entry in held:
        used = "–" if entry.damaged else _age(time.time() - entry.used)
        lines.append(f"{size(entry.bytes):>9}  {used:>12}  {_what(entry)}")
    lines.append(f"{size(sum(entry.bytes for entry in held)):>9}  in {cache}")
    return "\n".join(lines)


def _what(entry: Entry) -> str:
    if entry.damaged:
        return f"damaged: {entry.folder} ({META} cannot be read); the next run that needs it makes it again"
    about = entry.about
    examples = f"{about['examples']:,} {about['part']} examples"
    if entry.kind == PREPARED:
        return f"{examples}, encoded ({about['modality']})"
    if entry.kind == SCORES:
        return f"scores of {about['model']} on {examples}"
    what = f"{examples} at {about['boundary']} ({_KINDS[about['mode']]})"
    if about["padding"] is None:
        what += ", not used: this network computes an example differently in every batch"
    return what


def verify(cache: Path, drop: bool) -> tuple[str, bool]:
    """Read everything and compare it with its checksums; damaged stores are removed with `drop`.

    Returns what was found, in words, and whether all is well.
    """
    damaged, count, unknown = damage(cache)
    lines = [f"damaged: {folder} ({where})" + (", removed" if drop else "") for folder, where in damaged]
    if drop:
        for folder, _ in damaged:
            remove(folder)
    elif damaged:
        lines.append("Runs that need them make them again; `tlx cache verify --drop` removes them now.")
    earlier = f"; {unknown} of an earlier version have no checksums and are made again when needed" if unknown else ""
    lines.append(f"{count - len(damaged) - unknown} of {count} stores in {cache} are as they were written{earlier}.")
    return "\n".join(lines), not damaged


def clear_all(cache: Path) -> str:
    """Remove everything; says how much that was."""
    count, total = clear(cache)
    return f"removed {count} stores, {size(total)}, from {cache}."


_KINDS = {"on": "float32", "bf16": "bfloat16"}


def size(count: float) -> str:
    """Bytes, in the unit that fits."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def _age(seconds: float) -> str:
    for length, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"
