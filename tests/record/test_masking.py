"""Passwords and tokens are not kept in the clear."""

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.errors import UserError
from tlx.record.masking import mask_file, masked, unmasked


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MY_API_KEY": "hunter2-hunter2",
        "DB_PASSWORD": "correct horse",
        "LONGER_TOKEN": "hunter2-hunter2-and-more",
        "SHORT_KEY": "digits",
        "TLX_DATA": "/data/sets",
        "SSH_KEY_PATH": "/home/me/.ssh/id",
        "PROJECT": "unannounced",
        "TLX_SECRETS": "PROJECT, OTHER",
    }.items():
        monkeypatch.setenv(name, value)


def test_values_of_secret_variables_become_references_wherever_they_stand() -> None:
    kept = masked(
        {
            "logger": {"key": "hunter2-hunter2", "url": "https://me:correct horse@host", "n": 3},
            "list": ["hunter2-hunter2-and-more", None, "unannounced-1"],
            "path": "/data/sets/trec and /home/me/.ssh/id",
            "dataset": "digits",
        }
    )
    assert kept == {
        "logger": {"key": "${oc.env:MY_API_KEY}", "url": "https://me:${oc.env:DB_PASSWORD}@host", "n": 3},
        "list": ["${oc.env:LONGER_TOKEN}", None, "${oc.env:PROJECT}-1"],
        "path": "/data/sets/trec and /home/me/.ssh/id",
        "dataset": "digits",
    }


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        *((name, True) for name in ("PGPASSWORD", "HFTOKEN", "SECRETKEY", "MYSQL_PWD", "GITHUB_PAT", "my_apikey")),
        *((name, True) for name in ("OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "TOKEN_OF_MINE", "DBPASSWD")),
        *((name, False) for name in ("PWD", "OLDPWD", "TOKEN_PATH", "GITHUB_TOKEN_FILE", "SECRETS_DIR", "MONKEY")),
        *((name, False) for name in ("PG_COMPAT", "TOKENIZERS_PARALLELISM", "PATH")),
    ],
)
def test_which_names_say_so(name: str, secret: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "a-value-of-its-own")
    assert masked("a-value-of-its-own") == (f"${{oc.env:{name}}}" if secret else "a-value-of-its-own")


def test_a_file(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    mask_file(log)
    assert not log.exists()
    log.write_bytes(b"no secret \xff\n")
    before = log.stat()
    mask_file(log)
    assert log.stat() == before
    log.write_bytes(b"\xff login with correct horse\n")
    mask_file(log)
    assert log.read_bytes() == b"\xff login with ${oc.env:DB_PASSWORD}\n"


def test_the_log_of_a_run(tlx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule of the user's own raises with a token in its message."""
    (tmp_path / "rule_with_token.py").write_text(
        "import os\n"
        "from tlx.strategies.freezing import NoFreezing\n"
        "from tlx.models.backbone import Backbone\n"
        "class Rule(NoFreezing):\n"
        "    calls = 0\n"
        "    def phases(self, groups):\n"
        "        if os.environ.get('TLX_TEST_PARENT') != str(os.getpid()):\n"
        "            print('correct horse', flush=True)\n"
        "            raise RuntimeError(os.environ['DB_PASSWORD'])\n"
        "        return super().phases(groups)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TLX_TEST_PARENT", str(os.getpid()))
    words = ["-m", "strategy=full", "strategy.freezing._target_=rule_with_token.Rule", "hydra.launcher.backend=local"]
    assert tlx.train(*words, "hydra.launcher.n_jobs=1").code != 0
    (log,) = tlx.runs.rglob("log.txt")
    assert "correct horse" not in log.read_text()
    assert "${oc.env:DB_PASSWORD}" in log.read_text()


@given(
    st.recursive(st.none() | st.integers() | st.text() | st.just("correct horse"), lambda x: st.lists(x, max_size=3))
)
def test_a_job_elsewhere_reads_them_again(config: object) -> None:
    assert unmasked(masked(config)) == config


def test_a_job_where_the_variable_is_not_set_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = masked(["correct horse"])
    monkeypatch.delenv("DB_PASSWORD")
    with pytest.raises(UserError, match="DB_PASSWORD"):
        unmasked(kept)


def test_nothing_that_a_run_keeps_has_them(tlx, tmp_path: Path) -> None:
    words = ["dataset.subset=${oc.env:MY_API_KEY}", "dataset.columns.label=correct horse"]
    assert tlx("train", *tlx.quick, *words, "seed=0", "study=s").code == 2  # no such column, before anything is kept
    shutil.copytree(tlx.registry, tmp_path / "registry", ignore=shutil.ignore_patterns("runs"))
    place = f"paths.registry={tmp_path / 'registry'}"
    words = ["dataset.subset=${oc.env:MY_API_KEY}", "register=masked_entry", "seed=0", place]
    assert tlx("train", *tlx.quick, *words).code == 0
    (record,) = [r for r in tlx.records() if r["config"]["register"] == "masked_entry"]
    assert record["config"]["dataset"]["subset"] == "${oc.env:MY_API_KEY}"
    files = [f for f in tmp_path.rglob("*.json") if f.name in ("record.json", "study.json", "card.json")]
    assert {f.name for f in files} == {"record.json", "study.json", "card.json"}
    assert tmp_path / "registry/masked_entry/card.json" in files
    assert not [f for f in files if "hunter2-hunter2" in f.read_text()]
    assert "hunter2-hunter2" not in tlx("train", "--cfg", *words).out
