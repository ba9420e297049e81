"""Every place in the source that a page names is there: files, what is defined in them, modules, commands."""

import ast
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

sys.path.append(str(Path(__file__).parent))

from pages import DOCS, ROOT

OURS = ["walk.md", "which-test-when.md", "benchmarks.md", "troubleshooting.md", "reference/record.md"]
TEXTS = {page: " ".join((DOCS / page).read_text().split()) for page in OURS}
FILE = r"`((?:tlx|benchmarks|tests|configs|scripts|hydra_plugins)/[\w./-]+\.\w+)`"


def defined(file: Path) -> set[str]:
    """Names of functions, classes and constants of a module; methods are not among them."""
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("page", OURS)
def test_files_and_what_is_defined_in_them(page: str) -> None:
    for name in re.findall(FILE, TEXTS[page]):
        assert (ROOT / name).is_file(), name
    for name, functions in re.findall(FILE + r" · (`\w+`(?:, `\w+`)*)", TEXTS[page]):
        there = defined(ROOT / name)
        for function in re.findall(r"`(\w+)`", functions):
            assert function in there, f"{name} defines no {function}"


def test_the_walk_is_long_enough() -> None:
    assert len(re.findall(FILE + " · ", TEXTS["walk.md"])) > 60
    assert len(re.findall(FILE + " · ", TEXTS["which-test-when.md"])) > 12


def test_scripts_and_verbs_that_print_numbers() -> None:
    text, verbs = TEXTS["benchmarks.md"], (ROOT / "Makefile").read_text()
    scripts = set(re.findall(r"python (benchmarks/\w+\.py)", text))
    assert len(scripts) > 9 and all((ROOT / script).is_file() for script in scripts)
    assert all(f"\n{verb}:" in verbs for verb in re.findall(r"`make ([\w-]+)`", text))


def test_links_to_other_pages_and_names_of_modules() -> None:
    for page, text in TEXTS.items():
        for link in re.findall(r"\]\(([\w./-]+\.md)", text):
            assert ((DOCS / page).parent / link).is_file(), f"{page}: {link}"
        for dotted in set(re.findall(r"`(tlx(?:\.\w+)+)", text)):
            module, _, name = dotted.rpartition(".")
            found = importlib.import_module(module)
            assert hasattr(found, name) or importlib.util.find_spec(dotted), f"{page}: {dotted}"


def test_words_of_commands_can_be_read() -> None:
    """Both by a shell and by Hydra, whose quotes are not the same."""
    parser = OverridesParser.create()
    read = 0
    for page in ("troubleshooting.md", "which-test-when.md"):
        lines = [line for line in (DOCS / page).read_text().splitlines() if not line.startswith("#")]
        for span in re.findall(r"`([^`…]*\w=[^`…]*)`", " ".join(lines)):
            for word in shlex.split(span):
                if re.match(r"\+?[a-z_]+(\.\w+)*=", word):
                    parser.parse_override(word)
                    read += 1
    assert read > 60
