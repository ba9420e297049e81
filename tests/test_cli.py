"""The command line itself: help, exit codes, what is printed, and that nothing heavy is imported for little."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tlx import __version__

HEAVY = ("torch", "lightning", "torchmetrics", "transformers", "timm", "peft", "torchvision")


def in_a_process(*words: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """`tlx WORDS` in a fresh Python; returns it and the heavy packages that it imported."""
    script = (
        "import sys\n"
        "from tlx.cli import main\n"
        "try: main()\n"
        "finally: print('imported:', *sys.modules, file=sys.stderr)\n"
    )
    command = [sys.executable, "-c", script, *words]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False
    )
    modules = done.stderr.rpartition("imported:")[2].split()
    return done, [name for name in HEAVY if name in modules]


@pytest.fixture
def finished(tlx) -> Path:
    """A study with two finished runs."""
    assert tlx.train("-m", "strategy=scratch,full").code == 0
    return tlx.runs / "adhoc"


def test_little_verbs_import_little(finished: Path) -> None:
    page, figure = (str(finished / name) for name in ("report.html", "seeds.svg"))
    little = [["--help"], ["train", "--help"], ["table", str(finished)], ["runs", str(finished)]]
    little += [["report", str(finished), "-o", page], ["plot", "seeds", str(finished), "-o", figure]]
    for words in little:
        done, heavy = in_a_process(*words)
        assert done.returncode == 0, done.stderr
        assert not heavy, (words, heavy)
        assert done.stdout.strip()


def test_help_is_quick() -> None:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        in_a_process("--help")
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1, seconds


def test_version(tlx) -> None:
    assert tlx("--version").out.strip() == f"tlx {__version__}"


def test_a_mistake_in_a_process(tlx) -> None:
    done, heavy = in_a_process("train", *tlx.quick, "strategy=fulll")
    assert done.returncode == 2
    assert done.stderr.startswith("tlx: unknown strategy 'fulll'. Did you mean 'full'?")
    assert done.stdout == "" and not heavy


def test_help(tlx) -> None:
    for words in ((), ("--help",)):
        outcome = tlx(*words)
        assert outcome.code == 0 and not outcome.err
        for verb in ("train", "plan", "table", "report", "plot", "runs", "doctor"):
            assert f"\n  {verb}" in outcome.out
    for verb in ("train", "plan", "table", "report", "plot", "runs", "doctor"):
        assert "--traceback" in tlx(verb, "--help").out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("trian", "No such command 'trian'"),
        ("table", "Missing argument"),
        ("table . --metrc x", "--metric"),
        ("table no/such/folder", "no/such/folder"),
        ("runs no/such/folder", "no/such/folder"),
        ("runs . --format xml", "unknown format 'xml'"),
        ("plan strategy=fulll", "'full'"),
        ("plan seed=0,1", "choose one value"),
        ("train --cfg strategy=fulll", "'full'"),
    ],
)
def test_mistakes(tlx, words: str, part: str) -> None:
    assert part in tlx(*words.split()).complaint


def test_one_run(tlx) -> None:
    outcome = tlx.train("strategy=scratch")
    assert outcome.code == 0 and not outcome.err
    folder, scores = outcome.out.strip().splitlines()
    record = json.loads((Path(folder) / "record.json").read_text())
    assert f"test/accuracy {record['metrics']['test/accuracy']:.4f}" in scores
    assert record["config"]["paths"]["runs"] == str(tlx.runs)
    assert (record["counts"]["test_reads"], record["counts"]["test_reads_early"]) == (1, 0)
    assert record["splits"].keys() == {"train", "validation", "test"}
    # Done is done: the same words again print the same scores at once.
    start = time.perf_counter()
    assert tlx.train("strategy=scratch").out == outcome.out
    assert time.perf_counter() - start < 5


def test_from_python(tlx) -> None:
    from tlx import run
    from tlx.errors import RunFailed, UserError

    record = run([*tlx.quick, "strategy=scratch"])
    assert record["status"] == "completed"
    assert record["metrics"] == tlx.record("strategy=scratch")["metrics"]
    with pytest.raises(UserError, match="'full'"):
        run([*tlx.quick, "strategy=fulll"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tlx.train.take_selected", lambda *_: 1 / 0)
        with pytest.raises(RunFailed, match="ZeroDivisionError"):
            run([*tlx.quick, "strategy=scratch", "seed=1"])


def test_cfg_prints_yaml(tlx) -> None:
    outcome = tlx("train", "--cfg", *tlx.quick, "strategy=lora")
    config = yaml.safe_load(outcome.out)
    assert config["strategy"]["adapter"]["rank"] == 8
    assert "hydra" not in config
    outcome = tlx("train", "-m", "--cfg", *tlx.quick, "seed=0,1")
    assert [config["seed"] for config in yaml.safe_load_all(outcome.out)] == [0, 1]
    assert not tlx.runs.exists()


def test_a_diverged_run_is_printed(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    from tlx.tasks.classification import ClassificationMeter

    compute = ClassificationMeter.compute
    monkeypatch.setattr(ClassificationMeter, "compute", lambda self: compute(self) | {"loss": float("nan")})
    outcome = tlx.train("strategy=scratch")
    assert outcome.code == 0 and "test/loss nan" in outcome.out, outcome.err


def test_a_bug_of_ours_says_so(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlx.doctor.examine", lambda: 1 / 0)
    outcome = tlx("doctor")
    assert outcome.code == 1
    assert outcome.err == "tlx: ZeroDivisionError: division by zero (a bug? --traceback shows where)\n"
    assert "Traceback" in tlx("doctor", "--traceback").err
