"""What the shell is told on TAB after `tlx train` and `tlx plan`: groups, and the choices that their yamls make.

Nothing but names of files is read: the shell waits for it.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from typer.core import TyperCommand, TyperGroup

from tlx.config.place import CONFIG_DIR
from tlx.private import note_prefixes, put_words

VARIABLE = "TLX_CONFIG_DIR"


class Item(NamedTuple):
    """A proposal, as the shells' protocols write it."""

    value: str
    help: str | None = None
    type: str = "plain"


def _as_typed(command: Any, ctx: Any, args: list[str]) -> list[str]:
    """Divide words into options (kept in `ctx`) and the rest, which is returned, without converting any value.

    Typer's conversion imports pydantic, which takes longer than all else.
    """
    parser = command.make_parser(ctx)
    given, rest, _ = parser.parse_args(args=list(args))
    ctx.params.update(given)
    note_prefixes(ctx, parser)
    return list(rest)


class Verbs(TyperGroup):
    """All verbs; on TAB their names and options are found without converting anything."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        rest = _as_typed(self, ctx, args)
        put_words(ctx, rest)
        return ctx.args


class OverridesCommand(TyperCommand):
    """A verb that takes overrides: its options are completed as everywhere, and overrides from the yamls there are."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        ctx.args = _as_typed(self, ctx, args)
        return ctx.args

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        given = ctx.params.get("config_dir") or os.environ.get(VARIABLE)
        folders = [CONFIG_DIR, *([Path(given).expanduser()] if given else [])]
        return [Item(value) for value in proposals([*ctx.args], incomplete, folders)]


def proposals(before: list[str], incomplete: str, folders: list[Path]) -> list[str]:
    """What `incomplete` may become, `before` being the words between the verb and it.

    bash takes `group=choice` for three words, of which the last is completed (after the equals sign it is empty here);
    other shells take it for one.
    """
    if len(before) > 1 and before[-1] == "=":
        return _values(before[-2], incomplete, folders)
    if before and not incomplete and "=" not in before[-1] and before[-2:-1] != ["="]:
        return _values(before[-1], "", folders)
    group, equals, value = incomplete.partition("=")
    if equals:
        return [f"{group}={one}" for one in _values(group, value, folders)]
    found = [name for name in groups(folders) if name.startswith(incomplete)]
    if len(found) == 1:  # a shell would end the word after a single proposal, and the choice is still to be made
        return [f"{found[0]}={one}" for one in choices(found[0], folders)]
    return [f"{name}=" for name in found]


def _values(group: str, value: str, folders: list[Path]) -> list[str]:
    """Proposals for what stands after the equals sign; of a list of choices (a,b,c) for the last."""
    listed, comma, last = value.rpartition(",")
    opened = "[" if not comma and last.startswith("[") else ""
    named = {*listed.removeprefix("[").split(",")}
    found = [name for name in choices(group, folders) if name.startswith(last.removeprefix("[")) and name not in named]
    return [f"{listed}{comma}{opened}{name}" for name in found]


def groups(folders: list[Path]) -> list[str]:
    """The groups that hold a choice, as they are written: model, hydra/launcher."""
    return sorted({file.parent.relative_to(folder).as_posix() for folder in folders for file in _yamls(folder)} - {"."})


def choices(group: str, folders: list[Path]) -> list[str]:
    """The choices of a group."""
    return sorted({file.stem for folder in folders for file in _yamls(folder) if file.parent == folder / group})


def _yamls(folder: Path) -> Iterator[Path]:
    """The yamls in a folder's groups; none where it cannot be read: a shell has no use for a complaint."""
    for pattern in ("*/*.yaml", "*/*/*.yaml"):
        try:
            yield from folder.glob(pattern)
        except OSError:
            return
