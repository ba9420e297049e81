"""Any logger of Lightning's kind, by `_target_`: a copy with one history per run, and never in the run's way."""

import csv
import importlib.util
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from tlx.contracts.interruption import Ask
from tlx.fit.loggers import close_loggers
from tlx.processes.interruption import Interrupted
from tlx.sweeps.study import Planned
from tlx.sweeps.worker import do

needs_tensorboard = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed"
)
OWN = '''
import json
import random
from pathlib import Path

from lightning.pytorch.loggers import Logger


class Lines(Logger):
    """A server's client: histories are files in `store`, and have a number."""

    def __init__(self, store, run_name, run_id=None, fails=None, api_key=None):
        super().__init__()
        self.file, self.run_name, self.run_id, self.fails = Path(store), run_name, run_id, fails
        self.fail("init")
        random.random()

    def fail(self, where):
        if self.fails == where:
            raise OSError("the server\\nis dead")

    name = property(lambda self: self.run_name)
    version = property(lambda self: self.run_id)

    @property
    def experiment(self):
        self.fail("experiment")
        if self.run_id is None:
            self.file.mkdir(exist_ok=True)
            self.run_id = f"{self.run_name}.{len(list(self.file.iterdir()))}"
        return self

    def write(self, *row):
        with (self.file / self.experiment.run_id).open("a") as text:
            text.write(json.dumps(row) + "\\n")

    def log_hyperparams(self, params):
        self.write("config", params)

    def log_metrics(self, metrics, step=None):
        self.fail("log")
        self.write(step, metrics)

    def finalize(self, status):
        self.fail("finalize")
        self.write("end", status)


class NoLogger:
    pass
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of configs with logger=lines, whose class lies on PYTHONPATH; histories go to tmp_path/store."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code/line_logger.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path / "code")
    (tmp_path / "mine/logger").mkdir(parents=True)
    node = {"_target_": "line_logger.Lines", "store": str(tmp_path / "store"), "fails": None, "api_key": None}
    (tmp_path / "mine/logger/lines.yaml").write_text(yaml.safe_dump(node))
    monkeypatch.setenv("TLX_CONFIG_DIR", str(tmp_path / "mine"))
    return tmp_path / "store"


@pytest.fixture
def plan(tlx):
    """A function that plans one run: 4 epochs of 5 batches; every 10th is logged."""
    from tlx.config.composer import composer
    from tlx.sweeps.execute import prepare

    def plan(study: str, *words: str) -> Planned:
        size = ["dataset.train_size=2_per_class", "trainer.batch_size=4", "trainer.max_epochs=4", "strategy=scratch"]
        with composer() as compose:
            return prepare(compose, [*tlx.quick, *size, f"study={study}", *words], False)[0]

    return plan


def read(file: Path) -> dict[str, list]:
    """What a file of line_logger holds: configs, [step, metrics], ends."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return {
        "config": [row[1] for row in rows if row[0] == "config"],
        "rows": [row for row in rows if isinstance(row[0], int)],
        "end": [row[1] for row in rows if row[0] == "end"],
    }


def logged(folder: Path) -> list[list]:
    """The rows of metrics.csv in the order of steps: [step, metrics]."""
    with (folder / "metrics.csv").open(newline="") as lines:
        rows = [{n: float(v) for n, v in row.items() if v != ""} for row in csv.DictReader(lines)]
    return sorted([[int(row.pop("step")), row] for row in rows], key=lambda row: row[0])


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard reads in a folder: the curve of each name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_an_own_logger_gets_config_history_and_results(tlx, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "hunter2-hunter2")
    words = ["strategy=scratch", "trainer.max_epochs=3"]
    record = tlx.record("logger=lines", "logger.lines.api_key=${oc.env:MY_API_KEY}", *words)
    assert record["status"] == "completed" and not record["warnings"]
    (file,) = own.iterdir()
    (folder,) = (tlx.runs / "adhoc").glob("*-*")
    assert file.name == f"{folder.name}.0"
    kept = read(file)
    assert kept["config"] == [{k: v for k, v in record["config"].items() if k != "logger"}]
    *rows, (last, results) = kept["rows"]
    assert rows == logged(folder) and last == rows[-1][0]
    assert results["test/accuracy"] == record["metrics"]["test/accuracy"] and "val/accuracy" not in results
    assert kept["end"] == ["success"]
    assert "hunter2" not in file.read_text() + (folder / "record.json").read_text()
    plain = tlx.record(*words, "study=plain")
    assert (plain["identity"], plain["metrics"]) == (record["identity"], record["metrics"])
    assert plain["checkpoint"] == record["checkpoint"]


def test_an_interrupted_run_goes_on_with_its_history(plan, own: Path) -> None:
    run = plan("cut", "logger=lines")
    with pytest.raises(Interrupted):
        do(run, [Ask((1, 2))])
    (file,) = own.iterdir()
    before = read(file)
    assert before["end"] == ["failed"] and before["rows"]
    do(run)
    (file,) = own.iterdir()
    after = read(file)
    assert after["rows"][:-1] == logged(run.folder), "nothing twice, nothing missing"
    assert after["end"] == ["failed", "success"] and len(after["config"]) == 1
    forced = plan("cut", "logger=lines", "force=true")
    do(forced)
    assert len(list(own.iterdir())) == 2, "another attempt is another history"


def test_a_history_that_is_new_begins_with_what_was_logged_before(plan, own: Path) -> None:
    run = plan("cut")
    with pytest.raises(Interrupted):
        do(run, [Ask((1, 2))])
    again = plan("cut", "logger=lines")
    assert again.folder == run.folder
    do(again)
    (file,) = own.iterdir()
    assert read(file)["rows"][:-1] == logged(run.folder)


@pytest.mark.parametrize("where", ["init", "experiment", "log", "finalize"])
def test_a_failing_logger_is_a_warning(tlx, own: Path, caplog: pytest.LogCaptureFixture, where: str) -> None:
    record = tlx.record("logger=lines", "strategy=scratch", "trainer.max_epochs=3", f"logger.lines.fails={where}")
    assert record["status"] == "completed"
    (said,) = (warning for warning in record["warnings"] if "logger" in warning)
    assert said.startswith("logger.lines could not") and said.endswith("the server is dead")
    assert sum("logger.lines could not" in message for message in caplog.messages) == 1
    assert record["metrics"] == tlx.record("strategy=scratch", "trainer.max_epochs=3", "study=plain")["metrics"]


def test_a_sweep_in_several_processes(tlx, own: Path) -> None:
    words = ["hydra.launcher.backend=local", "hydra.launcher.n_jobs=2", "seed=0,1"]
    outcome = tlx.train("-m", "logger=[lines,csv]", "strategy=feature_extraction,scratch", *words)
    assert outcome.code == 0, outcome.err
    folders = {f"{record['config']['strategy']['init']}" for record in tlx.records()}
    assert folders == {"pretrained", "scratch"} and len(list(own.iterdir())) == 4
    assert all(read(file)["end"] == ["success"] and read(file)["rows"] for file in own.iterdir())


@needs_tensorboard
def test_tensorboard_beside_another(tlx, own: Path) -> None:
    record = tlx.record("logger=[tensorboard,lines]", "strategy=scratch", "trainer.max_epochs=3")
    (folder,) = (tlx.runs / "adhoc").glob("*-*")
    shown = scalars(folder / "tensorboard")
    rows = logged(folder)
    for name in ("val/accuracy", "val/loss"):
        assert shown[name] == [(step, pytest.approx(row[name])) for step, row in rows if name in row]
    assert shown["test/accuracy"] == [(rows[-1][0], pytest.approx(record["metrics"]["test/accuracy"]))]
    about = yaml.unsafe_load((folder / "tensorboard/hparams.yaml").read_text())
    assert about["optimizer"]["lr"] == record["config"]["optimizer"]["lr"]
    assert len(list(own.iterdir())) == 1 and not record["warnings"]


@needs_tensorboard
def test_tensorboard_has_one_history_of_an_interrupted_run(plan) -> None:
    run = plan("cut", "logger=tensorboard")
    with pytest.raises(Interrupted):
        do(run, [Ask((1, 2))])
    do(run)
    shown, rows = scalars(run.folder / "tensorboard"), logged(run.folder)
    for name in ("val/accuracy", "train/loss"):
        assert shown[name] == [(step, pytest.approx(row[name])) for step, row in rows if name in row]
    assert not list(run.folder.glob(".replaced*"))


@needs_tensorboard
def test_probes_that_are_trained_together_have_histories_of_their_own(tlx) -> None:
    words = ["strategy=feature_extraction", "seed=0,1", "trainer.max_epochs=2"]
    assert tlx.train("-m", "logger=tensorboard", *words).code == 0
    for record in tlx.records():
        (folder,) = (tlx.runs / "adhoc").glob(f"*{record['identity'][:10]}")
        shown = scalars(folder / "tensorboard")
        assert shown["test/accuracy"][0][1] == pytest.approx(record["metrics"]["test/accuracy"])
        assert len(shown["val/accuracy"]) == 2


def test_nothing_is_drawn_from_the_generators(tmp_path: Path, own: Path) -> None:
    from tlx.fit.logger_copy import LoggerCopy

    def states() -> tuple:
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002

    before = states()
    node = {"_target_": "line_logger.Lines", "store": str(own)}
    copy = LoggerCopy("lines", tmp_path, {"logger": {"lines": node}, "run": {"cell": "c"}}, [])
    copy.log_metrics({"loss": 1.0}, 0)
    copy.close({}, failed=False)
    assert copy.problem is None and states() == before
    assert close_loggers({}, False, tmp_path) == {}


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("+logger.x._target_=line_logger.NoLogger", "logger.x._target_=line_logger.NoLogger is no logger"),
        ("+logger.x._target_=torch.nn.Linear", "is no logger"),
        ("+logger.x._target_=os.system", "is not allowed"),
        ("+logger.x._target_=no_such_package.Logger", "pip install no_such_package"),
        ("+logger.x._target_=line_logger.Line", "did you mean 'Lines'"),
        ("+logger.x._target_=line_logger.Lines", "logger.x.store is missing: Lines needs it"),
        ("logger=lines +logger.lines.stoer=x", "unknown key in logger.lines 'stoer'. Did you mean 'store'?"),
        ("logger=line", "Did you mean 'lines'?"),
        ("logger=[lines,cvs]", "'csv'"),
        ("+logger.store=x", "unknown key 'logger.store'"),
        ("logger=lines logger.lines.store=${oc.env:MY_API_KEY}", "logger.lines.store holds the value of a secret"),
        ("+logger.x._target_=lightning.pytorch.loggers.CometLogger", "pip install comet-ml"),
    ],
)
def test_mistakes(tlx, own: Path, monkeypatch: pytest.MonkeyPatch, words: str, part: str) -> None:
    monkeypatch.setenv("MY_API_KEY", "hunter2-hunter2")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *rest: None if n == "comet_ml" else find(n, *rest))
    complaint = tlx.train(*words.split()).complaint
    assert part in complaint and "hunter2" not in complaint
    assert not tlx.runs.exists()


def test_tensorboard_that_is_not_installed(tlx, monkeypatch: pytest.MonkeyPatch) -> None:
    find, gone = importlib.util.find_spec, ("tensorboard", "tensorboardX")
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *rest: None if n in gone else find(n, *rest))
    assert "pip install 'tlx[tensorboard]'" in tlx.train("logger=tensorboard").complaint
