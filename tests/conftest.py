"""The command line as a function, and registry entries made in seconds, so that no test waits for a pretraining."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Two images of each letter, once: enough to have weights, a head and source scores that training changes.
RECIPE = ["dataset=letters", "dataset.train_size=2_per_class", "trainer.max_epochs=1", "trainer.threads=1"]


@dataclass
class Outcome:
    """What a command did: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one message of a command that refused its input."""
        lines = self.err.strip().splitlines()
        assert self.code == 2, f"exit code {self.code}: {self.err}"
        assert len(lines) == 1, self.err
        assert lines[0].startswith("tlx: "), self.err
        assert "Traceback" not in self.err and "a bug?" not in self.err, self.err
        return lines[0]


class CommandLine:
    """`tlx VERB …` in this process; runs go below `runs`, everything shared below one folder of the session."""

    def __init__(self, shared: Path, runs: Path) -> None:
        self.shared, self.runs = shared, runs
        self.registry, self.cache = shared / "registry", shared / "cache"

    @property
    def quick(self) -> list[str]:
        """Overrides of a run that takes about a second."""
        return [
            f"paths.runs={self.runs}",
            f"paths.registry={self.registry}",
            f"paths.cache={self.cache}",
            "trainer.threads=1",
            "trainer.max_epochs=1",
            "dataset.train_size=2_per_class",
            "hydra.launcher.backend=in_process",
        ]

    def __call__(self, *words: str) -> Outcome:
        """`tlx WORDS`."""
        from tlx.cli import main

        out, err, code = io.StringIO(), io.StringIO(), 0
        before = sys.argv
        sys.argv = ["tlx", *words]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            sys.argv = before
        return Outcome(code, out.getvalue(), err.getvalue())

    def train(self, *words: str) -> Outcome:
        """`tlx train` with quick settings; WORDS come last and win."""
        return self("train", *self.quick, *words)

    def records(self, study: str = "adhoc") -> list[dict[str, Any]]:
        """The records of a study, sorted by the names of their folders."""
        return [json.loads(file.read_text()) for file in sorted((self.runs / study).glob("*/record.json"))]

    def record(self, *words: str) -> dict[str, Any]:
        """The record of one quick run."""
        from tlx import run

        return run([*self.quick, *words])


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cache of data sets and a registry; one for all worker processes of a session."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "quick"


@pytest.fixture(scope="session")
def quick_registry(shared_folder: Path) -> Path:
    """`shared_folder` with tiny_vision in its registry, made by the real pretraining on 52 letters."""
    from tlx.config.composer import composer
    from tlx.sweeps.pretraining import pretrain_if_missing

    recipe = "[" + ",".join(f'"{line}"' for line in RECIPE) + "]"
    line = CommandLine(shared_folder, shared_folder / "runs")
    with composer() as compose:
        run = compose([*line.quick, f"model.pretrain={recipe}"])
        pretrain_if_missing(compose, run.config, run.choices)
    return shared_folder


@pytest.fixture
def tlx(quick_registry: Path, tmp_path: Path) -> CommandLine:
    """The command line, with a folder of runs of the test's own."""
    return CommandLine(quick_registry, tmp_path / "runs")


@pytest.fixture
def verbs(tmp_path: Path) -> CommandLine:
    """The command line for verbs that need no model: nothing is pretrained for it."""
    return CommandLine(tmp_path, tmp_path / "runs")


@pytest.fixture
def write_texts(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a folder of csv files: 10 good and 10 bad reviews a split, or the rows it is given."""
    import pandas as pd

    def write(name: str = "texts", columns: tuple[str, str] = ("text", "label"), **splits: list[tuple]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for split in ("train", "validation", "test"):
            rows = [(f"a good film, number {i} of {split}", "pos") for i in range(10)]
            rows += [(f"a bad film, number {i} of {split}", "neg") for i in range(10)]
            frame = pd.DataFrame(splits.get(split, rows), columns=list(columns))
            frame.to_csv(folder / f"{split}.csv", index=False)
        return folder

    return write
