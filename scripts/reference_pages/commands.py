"""docs/reference/command-line.md, from what `--help` of each verb is made of."""

from collections.abc import Iterator
from typing import Any

import typer

from reference_pages.markdown import cell, code, table
from tlx.cli import app

HEAD = """# The command line

This page is made from `--help` by `python scripts/reference.py`; the tests compare it with that. `make setup` puts the
command into `.venv/bin/tlx`.

A verb prints its results on stdout. An error is one line on stderr that begins with `tlx:`. The exit code says which
kind it is:

| Code | Meaning |
| --- | --- |
| 0 | Done. |
| 1 | A run failed (its record says why), or something that was examined is not in order. |
| 2 | The command asked for something that cannot be. |
| 128 + n | A single run left on signal n (130: Ctrl-C, 143: SIGTERM). A sweep that was interrupted always says 130. |

After an interruption the same command again goes on from where it was left.
"""


def commands_page() -> str:
    """The whole page."""
    root: Any = typer.main.get_command(app)
    lines = [HEAD, "## tlx", "", cell(root.help), ""]
    lines += table(("Option", "What it does"), [(_spelled(option), cell(option.help)) for option in root.params])
    for name, verb in root.commands.items():
        lines += _verb(name, verb)
    return "\n".join(lines) + "\n"


def _verb(name: str, verb: Any) -> Iterator[str]:
    given = [one for one in verb.params if one.param_type_name == "argument"]
    words = [one.name.upper() + (" …" if one.nargs < 0 else "") for one in given]
    words = [word if one.required else f"[{word}]" for one, word in zip(given, words, strict=True)]
    words += ["OVERRIDES"] if verb.context_settings.get("allow_extra_args") else []
    usage = " ".join(["tlx", name, "[OPTIONS]", *words])
    yield from ("", f"## tlx {name}", "", code(usage), "")
    for paragraph in verb.help.strip().split("\n\n"):
        yield from (cell(paragraph), "")
    rows = [(_spelled(one), _default(one), cell(one.help)) for one in verb.params]
    yield from table(("Argument or option", "Unless given", "What it does"), rows)


def _spelled(one: Any) -> str:
    if one.param_type_name == "argument":
        return code(one.name.upper())
    value = "" if one.is_flag else " " + " ".join([one.name.removesuffix("_").upper()] * one.nargs)
    return ", ".join(code(f"{spelling}{value}") for spelling in one.opts)


def _default(one: Any) -> str:
    if one.required:
        return "must be given"
    return "" if one.default in (None, False) else code(str(one.default))
