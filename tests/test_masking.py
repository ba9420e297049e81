"""Passwords and tokens are not kept in the clear."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.errors import UserError
from tlx.masking import masked, unmasked


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
    words = ["dataset.subset=${oc.env:MY_API_KEY}", "register=masked_entry", "seed=0"]
    assert tlx("train", *tlx.quick, *words).code == 0
    (record,) = [r for r in tlx.records() if r["config"]["register"] == "masked_entry"]
    assert record["config"]["dataset"]["subset"] == "${oc.env:MY_API_KEY}"
    files = [f for f in tmp_path.rglob("*.json") if f.name in ("record.json", "study.json", "card.json")]
    assert files
    assert not [f for f in files if "hunter2-hunter2" in f.read_text()]
    assert "hunter2-hunter2" not in tlx("train", "--cfg", *words).out
