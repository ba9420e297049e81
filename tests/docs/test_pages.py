"""Every block of code in the pages and the README is run as a reader would, or says above itself why it is not.

A page is a reader's session: one empty folder, block after block. A yaml or python block with a title is a file of that
name; other python and bash blocks are run; in a console block the lines after "$ " are. A text block right below one is
what it prints: words as they are, "…" for anything, fractions roughly, since another processor rounds otherwise.

Imports take longer than what most commands do. So a line that is a `tlx` command and nothing else is carried out in a
process forked from one that has done them, with its runs in the same process; other lines are bash's.
"""

import ast
import multiprocessing
import os
import re
import runpy
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"(?:^<!-- (?P<why>[^\n]*) -->\n)?"
    r"^```(?P<kind>\w*)(?P<title>[^\n]*)\n(?P<text>.*?)^```$"
    r"(?:\s*^```text\n(?P<out>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
FRACTION = re.compile(r"[+-]?\d+\.\d+")
SCORE = re.compile(r"[+-]?\d\.\d{3}\b")  # a score or a gain; times and counts have other forms


@dataclass(frozen=True)
class Block:
    kind: str
    text: str
    title: str | None  # the file that it is
    why: str | None  # it is not run
    printed: str | None
    line: int


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page that a reader is to use."""
    text, found = page.read_text(), []
    for match in BLOCK.finditer(text):
        title = re.search(r'title="([^"]+)"', match["title"])
        why = re.fullmatch(r"not run: (.+)", match["why"] or "")
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(match["kind"], match["text"], title and title[1], why and why[1], match["out"], line))
    return found


def used(page: Path) -> list[Block]:
    return [b for b in blocks(page) if b.kind in ("python", "bash", "console") or (b.kind == "yaml" and b.title)]


def is_run(block: Block) -> bool:
    return block.why is None


def perform(block: Block, folder: Path) -> str:
    """Run a block, or write its file; what it printed."""
    if block.title:
        (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
        (folder / block.title).write_text(block.text)
        return ""
    text = block.text
    if block.kind == "console":
        text = "\n".join(line[2:] for line in text.splitlines() if line.startswith("$ "))
    if block.kind == "python":
        return run([sys.executable, "-c", text], folder, block)
    printed = ""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if re.match(r"(PYTHONPATH=\. )?tlx (train|plan) ", line) and not re.search(r"[|>]|launcher|trainer=", line):
            printed += forked(words, folder, block)
        elif words:
            printed += run(["bash", "-euo", "pipefail", "-c", line], folder, block)
    return printed


def forked(words: list[str], folder: Path, block: Block) -> str:
    """Run a `tlx` command in a process that has done the imports already; what it printed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tlx.sweeps.execute", "tlx.plan_table", "tlx.assembly", "tlx.train"])
    given = {"given": (words, str(folder))}
    process = context.Process(target=runpy.run_path, args=(str(Path(__file__).with_name("forked.py")), given))
    process.start()
    process.join(300)
    out, err = ((folder / f".{name}").read_text() for name in ("out", "err"))
    assert process.exitcode == 0, f"line {block.line}: {words}\n{out[-2000:]}\n{err[-4000:]}"
    return out


def run(command: list[str], folder: Path, block: Block) -> str:
    """Run a command; what it printed."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "TLX_"))}
    env |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "120", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"line {block.line}: {command[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


def compare(expected: str, found: str, line: int) -> None:
    """Words are the same, fractions have the same place, and scores are near."""

    def form(text: str) -> str:
        text = re.sub(r"-[0-9a-f]{10}\b", "-HASH", FRACTION.sub("#", text))
        return " ".join(re.sub(r"[-─━]{2,}", "--", text).split())

    pattern = re.escape(form(expected)).replace("…", ".*?")
    assert re.fullmatch(pattern, form(found), re.DOTALL), f"line {line} prints\n{found}\nand not\n{expected}"
    if "…" not in expected:
        for said, is_now in zip(SCORE.findall(expected), SCORE.findall(found), strict=True):
            assert abs(float(said) - float(is_now)) < 0.2, f"line {line}: {said} is {is_now}"


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in PAGES if any(map(is_run, used(p)))], ids=lambda p: p.stem)
def test_page(page: Path, tmp_path: Path, docs_folder: Path) -> None:
    for name in ("registry", ".cache"):  # what one page has pretrained serves the others
        (docs_folder / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name).symlink_to(docs_folder / name)
    for block in filter(is_run, used(page)):
        printed = perform(block, tmp_path)
        if block.printed is not None:
            compare(block.printed, printed, block.line)


def test_blocks_are_found_and_run() -> None:
    """A pattern that finds nothing passes every test: these are the numbers of a day, and grow."""
    found = [block for page in PAGES for block in used(page)]
    run = [block for block in found if is_run(block)]
    assert len(PAGES) >= 24 and len(found) >= 63 and len(run) >= 58, (len(PAGES), len(found), len(run))
    assert len(run) >= 0.85 * len(found)
    fences = sum(len(re.findall(r"^\s*```\w", page.read_text(), re.MULTILINE)) for page in PAGES)
    parsed = [b for page in PAGES for b in blocks(page)]
    assert fences == len(parsed) + sum(b.printed is not None for b in parsed)  # none is indented, none swallowed


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_blocks_can_be_read(page: Path) -> None:
    for block in blocks(page):
        if block.kind == "yaml":
            yaml.safe_load(block.text)
    for block in used(page):
        where = f"{page.name}, line {block.line}"
        assert is_run(block) or len(block.why or "") > 10, f"{where}: why is it not run?"
        if block.kind == "python":
            ast.parse(block.text)
        elif block.kind == "bash":
            subprocess.run(["bash", "-n", "-c", block.text], check=True)


def test_the_patterns() -> None:
    compare("| full | 0.814 ± 0.036 (10) |", "| full   |  0.823 ± 0.010 (10) |", 1)
    compare("runs/adhoc/… (#)", "runs/adhoc/tiny-0 (#)", 1)
    for wrong in ("| full | 0.214 ± 0.036 (10) |", "| full | 0.814 ± 0.036 (9) |", "| lora | 0.814 ± 0.036 (10) |"):
        with pytest.raises(AssertionError):
            compare("| full | 0.814 ± 0.036 (10) |", wrong, 1)
