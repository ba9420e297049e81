"""docs/reference: config.md and command-line.md are what their sources say, and python.md names what there is."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import yaml

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[2] / "scripts")]

from pages import DOCS, ROOT
from reference_pages.configs import GROUPS, Unexplained, config_page, read

CONFIG = (DOCS / "reference/config.md").read_text()


def test_the_committed_pages_are_what_their_sources_say() -> None:
    command = [sys.executable, str(ROOT / "scripts/reference.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def leaves(node: Any, key: str) -> list[str]:
    if isinstance(node, dict) and node:
        return [leaf for name, inner in node.items() for leaf in leaves(inner, f"{key}.{name}" if key else str(name))]
    return [key]


def test_every_key_of_every_choice_is_on_the_page() -> None:
    """Read by yaml alone: a key is there itself, or the mapping that it lies in."""
    named = set(re.findall(r"`([\w.]+)(?:=[^`]*)?`", CONFIG)) | set(re.findall(r"<code>([\w.]+)=", CONFIG))
    files = [path for path in (ROOT / "configs").rglob("*.yaml") if path.parent.name != "experiment"]
    assert len(files) > 70
    for path in files:
        group = path.parent.relative_to(ROOT / "configs").as_posix().replace("/", ".").strip(".")
        for key in leaves({k: v for k, v in yaml.safe_load(path.read_text()).items() if k != "defaults"}, ""):
            if key.rpartition(".")[2] in ("_target_", "_partial_"):
                continue
            words = key.split(".")
            whole = {".".join(words[:end]) for end in range(1, len(words) + 1)}
            assert named & {f"{group}.{part}".strip(".") for part in whole}, f"{path}: {key}"


def test_every_choice_is_on_the_page_with_what_it_is() -> None:
    for group in GROUPS:
        for path in (ROOT / "configs" / group).glob("*.yaml"):
            assert f"| `{path.stem}` | " in CONFIG and read(path).about, path
    assert {path.parent.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").rglob("*.yaml")} == {
        *GROUPS,
        ".",
    }


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("# What it is.\na: 1\n", "thing.yaml: a"),
        ("# What it is.\na:\n  b: 1 # said\n  c: 2\n", "thing.yaml: a.c"),
        ("a: 1 # said\n", "thing.yaml: what it is"),
    ],
)
def test_what_nothing_explains_is_an_error(text: str, missing: str, tmp_path: Path) -> None:
    for name in ("train", "prices"):
        (tmp_path / f"{name}.yaml").write_text("# What it is.\nseed: 0 # said\n")
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer/thing.yaml").write_text(text)
    with pytest.raises(Unexplained, match=re.escape(missing)):
        config_page(tmp_path)


def test_comments_beside_above_and_over_several_lines(tmp_path: Path) -> None:
    file = tmp_path / "thing.yaml"
    file.write_text(
        "# What it is. And more.\n# More.\nmodality: x # of what\n# above\nb: [1, 2]\nc:  # block\n  d: 1\n"
        "e: null   # one\n          # two\nf: {g: 1} # flow\ni:\n  - _target_: t\n    j: 1 # inside\n"
    )
    found = read(file)
    assert found.about == "What it is."
    assert {name: (key.value, key.comment) for name, key in found.keys.items()} == {
        "modality": ("x", "of what"),
        "b": ("[1, 2]", "above"),
        "c": ("{d: 1}", "block"),
        "e": ("null", "one two"),
        "f": ("{g: 1}", "flow"),
        "i.0._target_": ("t", ""),
        "i.0.j": ("1", "inside"),
    }


def test_every_verb_and_option_is_on_the_page() -> None:
    from tlx.cli import app

    text = (DOCS / "reference/command-line.md").read_text()
    verbs = [command.name or command.callback.__name__ for command in app.registered_commands]  # type: ignore[union-attr]
    assert len(verbs) > 6 and all(f"\n## tlx {verb}\n" in text for verb in verbs)
    for spelling in ("--dry-run", "--compare", "--tune-seeds", "--prices", "--watch", "--drop", "--version"):
        assert f"`{spelling}" in text


DIRECTIVES = re.findall(r"^::: ([\w.]+)$", (DOCS / "reference/python.md").read_text(), re.MULTILINE)


def named(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


def test_python_names_exist_and_say_what_they_are() -> None:
    assert len(DIRECTIVES) > 50 and len(set(DIRECTIVES)) == len(DIRECTIVES)
    for dotted in DIRECTIVES:
        assert inspect.getdoc(named(dotted)), f"{dotted} has no docstring"


def test_what_is_public_is_on_the_page() -> None:
    import tlx.results
    from tlx.objectives.objective import Objective

    wanted = {f"tlx.results.{name}" for name in tlx.results.__all__ if name != "FORMATS"}
    for file in sorted((ROOT / "tlx").rglob("*.py")):
        module = file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        room = module.split(".")[1]
        if room not in ("callbacks", "objectives", "strategies"):
            continue
        for name, value in vars(importlib.import_module(module)).items():
            own = inspect.isclass(value) and value.__module__ == module and not name.startswith("_")
            kind = {"callbacks": L.Callback, "objectives": Objective}.get(room, object)
            if own and issubclass(value, kind) and not getattr(value, "_is_protocol", False):
                wanted.add(f"{module}.{name}")
    internal = {"Listener", "ProgressFile", "EpochBar", "Penalty"}
    assert {name for name in wanted if name.rpartition(".")[2] not in internal} <= set(DIRECTIVES)
