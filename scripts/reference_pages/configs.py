"""docs/reference/config.md, from the yamls: every key with its value and the comment that explains it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from reference_pages.markdown import cell, code, table
from tlx.config.values import VALUES

GROUPS = {
    "model": "The network and where its weights come from.",
    "strategy": "How one gets from the initial weights to a solution.",
    "dataset": "What is learned: files, columns, parts, how many labels, metrics.",
    "optimizer": "How weights are changed.",
    "scheduler": "How the learning rate goes over the steps: a factor on `optimizer.lr`.",
    "trainer": "Length, batches, precision, devices.",
    "logger": "Where else numbers go.",
    "experiment": "Whole studies: settings and the axes of a sweep.",
    "hydra/launcher": "Where the runs of a sweep are carried out.",
    "hydra/sweeper": "What `-m` does with several values: a grid (`basic`, Hydra's own) unless you choose a search.",
}
SHOWN = 100  # characters of a value
SKIPPED = ("_target_", "_partial_")
HEAD = """# Every key of the configuration

This page is made from the yamls by `python scripts/reference.py`; the tests compare it with them. An explanation is the
comment that stands at the key.

A key is set on the command line as `KEY=VALUE`, for example `trainer.max_epochs=5`; a group is chosen as
`GROUP=CHOICE`, for example `strategy=lora`. `tlx train --cfg` prints the whole configuration of a run and trains
nothing. `_target_` in a yaml names the class or function that is built; `_partial_: true` means that tlx gives it
further arguments later. `${…}` stands for the value of another key. `???` must be given. What is said to be allowed is
checked before any run starts; anything else is checked where it is used.
"""


class Unexplained(Exception):
    """Keys or choices without a comment."""


@dataclass(frozen=True)
class Key:
    """One key of a yaml: its dotted name within the file, its value as written, and its comments."""

    name: str
    value: str
    comment: str


@dataclass(frozen=True)
class Choice:
    """One yaml: what it is (its first comment), the yamls it is built on, what else it chooses, and its own keys."""

    name: str
    about: str
    bases: tuple[str, ...]
    chooses: tuple[Key, ...]
    keys: dict[str, Key] = field(default_factory=dict)

    @property
    def target(self) -> str:
        return self.keys["_target_"].value if "_target_" in self.keys else ""


def config_page(folder: Path) -> str:
    """The whole page.

    Raises:
        Unexplained: names every key and choice that nothing explains.
    """
    missing: list[str] = []
    main = read(folder / "train.yaml")
    lines = [
        HEAD,
        "## What is chosen",
        "",
        "The groups, and what is taken unless you say otherwise (`configs/train.yaml`).",
    ]
    lines += [""]
    missing += [f"configs/train.yaml: defaults: {entry.name}" for entry in main.chooses if not entry.comment]
    lines += table(
        ("Group", "Unless you say otherwise", "What it is"),
        [(_linked(entry.name), code(entry.value), cell(entry.comment)) for entry in main.chooses],
    )
    lines += ["", "## Keys of a run", "", "Those outside all groups (`configs/train.yaml`).", ""]
    lines += _keys(list(main.keys.values()), "", main.keys, missing, "configs/train.yaml")
    for group, about in GROUPS.items():
        lines += ["", f"## {group}", "", about, ""]
        lines += _group(folder, group, missing)
    prices = read(folder / "prices.yaml")
    lines += [
        "",
        "## Prices",
        "",
        f"Not part of a run: `configs/prices.yaml` is read by `tlx report`. {cell(prices.about)}",
        "",
    ]
    lines += _keys(list(prices.keys.values()), "", prices.keys, missing, "configs/prices.yaml")
    if missing:
        raise Unexplained("no comment explains\n  " + "\n  ".join(missing))
    return "\n".join(lines) + "\n"


def _linked(group: str) -> str:
    return f"[{group}](#{group.replace('/', '')})" if group in GROUPS else cell(group)


def _group(folder: Path, group: str, missing: list[str]) -> Iterator[str]:
    choices = {path.stem: read(path) for path in sorted((folder / group).glob("*.yaml"))}
    missing += [
        f"configs/{group}/{name}.yaml: what it is (its first line)" for name, one in choices.items() if not one.about
    ]
    built = {name: _built_on(one, choices) for name, one in choices.items()}
    prefix = f"{group.replace('/', '.')}."
    if group == "experiment":  # what it sets are keys of the other groups
        rows = [(code(name), cell(one.about), _settings(one, list(one.keys.values()))) for name, one in choices.items()]
        yield from table(("Choice", "What it is", "Sets"), rows)
        return
    rows = []
    for name, one in choices.items():
        below = [choices[base] for base in built[name]]
        changed = [key for key in one.keys.values() if _changes(key, _inherited(key, below))]
        on = ", ".join(code(base) for base in one.bases)
        rows.append((code(name), cell(one.about), on, _settings(one, changed)))
    yield from table(("Choice", "What it is", "Built on", "Sets"), rows)
    new = {
        name: [key for key in one.keys.values() if not _inherited(key, [choices[base] for base in built[name]])]
        for name, one in choices.items()
    }
    explained = {key.name: key for keys in new.values() for key in keys if key.comment}
    for name, one in choices.items():
        own = new[name]
        if not any(key.name.rpartition(".")[2] not in SKIPPED for key in own):
            continue
        target = f" It builds {code(one.target)}." if one.target else ""
        yield from ("", f"### Keys of `{group}={name}`", "")
        like = [other for other in choices if other != name and name in built[other]]
        if like:
            yield from (f"{_also(like, choices)} them, too.{target}", "")
        elif target:
            yield from (target.strip(), "")
        yield from _keys(own, prefix, explained, missing, f"configs/{group}/{name}.yaml")


def _also(names: Sequence[str], choices: dict[str, Choice]) -> str:
    if len(names) == len(choices) - 1 > 1:
        return "All other choices have"
    return f"{', '.join(map(code, names))} {'have' if len(names) > 1 else 'has'}"


def _built_on(one: Choice, choices: dict[str, Choice]) -> list[str]:
    """The yamls that `one` is built on, and those that these are; where there is none, another of the same class.

    Of several of one class the one with the most explained keys stands for the others.
    """
    found: list[str] = []
    for base in one.bases:
        found += [base, *_built_on(choices[base], choices)]
    if found or not one.target:
        return found
    kin = [other for other in choices.values() if other.target == one.target and not other.bases]
    first = max(kin, key=lambda other: sum(bool(key.comment) for key in other.keys.values()))
    return [] if first is one else [first.name]


def _inherited(key: Key, below: Sequence[Choice]) -> Key | None:
    """What the key changes of the yamls below it; None where it is new: below it, a part of another class had none.

    A key with a comment of its own within a value that is no part (an entry of a list) is new, too.
    """
    for one in below:
        if key.name in one.keys:
            return one.keys[key.name]
    wholes = [name for name in _parents(key.name) for one in below if name in one.keys]
    if not wholes or key.comment:
        return None
    whole = next(one.keys[wholes[0]] for one in below if wholes[0] in one.keys)
    return None if "_target_" in whole.value else whole


def _parents(name: str) -> list[str]:
    words = name.split(".")
    return [".".join(words[:end]) for end in range(len(words) - 1, 0, -1)]


def _changes(key: Key, was: Key | None) -> bool:
    """Whether a yaml says something of a key that the yamls below it do not; a part's class is no row of its own."""
    return was.value != key.value if was else key.name.endswith("._target_")


def _settings(one: Choice, keys: Sequence[Key]) -> str:
    """What the yaml sets, each with its own comment."""
    said = [code(f"{entry.name}={entry.value}") for entry in one.chooses]
    for key in keys:
        if key.name != "_target_" and not key.name.endswith("_partial_"):
            why = f" ({cell(key.comment)})" if key.comment else ""
            said.append(f"{code(f'{key.name}={_short(key.value)}')}{why}")
    return "<br>".join(said)


def _keys(keys: Sequence[Key], prefix: str, explained: dict[str, Key], missing: list[str], file: str) -> Iterator[str]:
    rows = []
    for key in keys:
        if key.name.rpartition(".")[2] in SKIPPED:
            continue
        comment = key.comment or (explained[key.name].comment if key.name in explained else "")
        if not comment:
            missing.append(f"{file}: {key.name}")
        allowed = VALUES.get(f"{prefix}{key.name}", ("",))[0].replace("keys with `_target_`, the", "a part by its")
        rows.append((code(f"{prefix}{key.name}"), code(_short(key.value)), cell(allowed), cell(comment)))
    return iter(table(("Key", "Value", "Allowed", "What it is"), rows))


def _short(value: str) -> str:
    return value if len(value) <= SHOWN else f"{value[:SHOWN].rstrip()}…"


def read(path: Path) -> Choice:
    """What a yaml says of itself."""
    text = path.read_text()
    lines = text.splitlines()
    header = 0
    while header < len(lines) and lines[header].startswith("#"):
        header += 1
    about = " ".join(line[1:].strip() for line in lines[:header] if "@package" not in line)
    about = _first_sentence(about.removeprefix(f"{path.stem}: "))
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    bases: list[str] = []
    chooses: list[Key] = []
    keys: list[Key] = []
    for name, value in root.value:
        if name.value != "defaults":
            keys += _walk(name.value, name, value, lines, header, text)
            continue
        for entry in value.value:
            if isinstance(entry, yaml.ScalarNode):
                bases += [entry.value] if entry.value != "_self_" else []
                continue
            ((group, chosen),) = entry.value
            word = group.value.removeprefix("override ").removeprefix("/").partition("@")[0]
            chooses.append(Key(word, chosen.value, _comment(group, chosen, lines, header)))
    return Choice(path.stem, about, tuple(bases), tuple(chooses), {key.name: key for key in keys})


def _walk(name: str, key: Any, value: Any, lines: list[str], header: int, text: str) -> list[Key]:
    """The keys below `key`; a mapping whose keys have no comments of their own is one key."""
    comment = _comment(key, value, lines, header)
    if isinstance(value, yaml.MappingNode) and not value.flow_style:
        below = [found for k, v in value.value for found in _walk(f"{name}.{k.value}", k, v, lines, header, text)]
        if any(found.comment for found in below) or not comment:
            return below
    if isinstance(value, yaml.SequenceNode) and not value.flow_style:
        below = []
        for place, item in enumerate(value.value):
            if isinstance(item, yaml.MappingNode) and not item.flow_style:
                for k, v in item.value:
                    below += _walk(f"{name}.{place}.{k.value}", k, v, lines, header, text)
        if any(found.comment for found in below):
            return below
    return [Key(name, _written(value, text), comment)]


def _written(value: Any, text: str) -> str:
    """The value as it stands in the yaml, or what stands over lines as it could be written in one."""
    if isinstance(value, yaml.ScalarNode):
        return text[value.start_mark.index : value.end_mark.index]
    if value.flow_style:
        return " ".join(text[value.start_mark.index : value.end_mark.index].split())
    plain = yaml.safe_load(yaml.serialize(value))
    return yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True).strip()


def _comment(key: Any, value: Any, lines: list[str], header: int) -> str:
    """The comment beside the key, with the lines that go on below it, then the one above the key."""
    found = []
    block = isinstance(value, yaml.CollectionNode) and not value.flow_style
    line = key.end_mark.line if block else value.end_mark.line
    rest = lines[line][key.end_mark.column + 1 if block else value.end_mark.column :]
    if beside := re.match(r"\s*# ?(.*)", rest):
        found.append(beside[1])
        column = len(lines[line]) - len(rest) + rest.index("#")
        for below in lines[line + 1 :]:
            if not below.lstrip().startswith("#") or below.index("#") != column:
                break
            found.append(below.strip()[1:].strip())
    above: list[str] = []
    for number in range(key.start_mark.line - 1, header - 1, -1):
        if not lines[number].lstrip().startswith("#") or lines[number].index("#") != key.start_mark.column:
            break
        above.insert(0, lines[number].strip()[1:].strip())
    return " ".join([*found, *(["."] if found and above and not found[-1].endswith(".") else []), *above]).replace(
        " . ", ". "
    )


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.?])\s+(?=[A-Z`])", text, maxsplit=1)[0]
