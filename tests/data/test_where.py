"""Rows kept by an expression: what pandas would keep, and no way to run code."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.data.where import kept
from tlx.errors import UserError

FRAME = pd.DataFrame(
    {
        "domain": ["books", "films", "books", None, "games", "books"],
        "stars": [1, 2, 3, 4, 5, 5],
        "score": [0.5, np.nan, -1.0, 2.0, 0.0, 1.0],
        "is_oos": [True, False, False, True, False, False],
        "source file": ["a", "b", "a & b", "c", "a", "it's"],
        "odd": [[1], 2, "x", None, 3, 4],
    }
)


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("domain == 'books'", [0, 2, 5]),
        ("domain != 'books'", [1, 3, 4]),
        ("not is_oos", [1, 2, 4, 5]),
        ("~is_oos & stars > 2", [2, 4, 5]),
        ("domain == 'books' | stars == 4 and is_oos", [0, 2, 3, 5]),
        ("2 <= stars < 5", [1, 2, 3]),
        ("stars in [1, 5]", [0, 4, 5]),
        ("domain not in ('books', 'films')", [3, 4]),
        ("`source file` == 'a & b'", [2]),
        ('`source file` == "it\'s"', [5]),
        ("score == null", [1]),
        ("domain != null and score != null", [0, 2, 4, 5]),
        ("score < 1", [0, 2, 4]),
        ("score != 1", [0, 1, 2, 3, 4]),
        ("(stars + 1) % 2 == 0", [0, 2, 4, 5]),
        ("score > -stars / 4", [0, 3, 4, 5]),
        ("is_oos == true", [0, 3]),
        ("is_oos == False", [1, 2, 4, 5]),
    ],
)
def test_rows_of_which_it_is_true(expression: str, rows: list[int]) -> None:
    assert list(kept(FRAME, expression).index) == rows


@given(st.integers(-2, 7), st.integers(-2, 7), st.sampled_from(["and", "or"]), st.sampled_from(["<", ">=", "==", "!="]))
def test_as_pandas_has_it(low: int, high: int, join: str, sign: str) -> None:
    expression = f"stars {sign} {low} {join} score > {high}"
    assert list(kept(FRAME, expression).index) == list(FRAME.query(expression).index)


@pytest.mark.parametrize(
    "expression",
    [
        "@pd.io.common.os.system('touch PWNED') == 0",
        "__import__('os').system('touch PWNED') == 0",
        "domain.str.len() > 3",
        "domain.map(print) == 1",
        "stars[0] == 1",
        "(lambda: 1)() == stars",
        "[x for x in stars] == stars",
        "stars ** 99999999 > 1",
        "'a' * 9999999999 == domain",
        "9 ** 9 ** 9 == stars",
        "f'{stars.__class__}' == domain",
        "(stars := 3) == 3",
        "stars if is_oos else score",
        "stars << 99999 == 1",
        "stars is 3",
        "open('PWNED', 'w') == stars",
        "os == 1",
        "(" * 5000 + "stars" + ")" * 5000 + " == 1",
        "not " * 3000 + "is_oos",
    ],
)
def test_nothing_that_runs_code_or_fills_memory(
    expression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"dataset\.where"):
        kept(FRAME, expression)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("domian == 'books'", "did you mean 'domain'"),
        ("domain == books", "unknown column 'books'.*Words stand in quotes"),
        ("stars", "does not say true or false"),
        ("stars and is_oos", "'stars' is not true or false"),
        ("stars == '3'", "compares words with numbers"),
        ("domain in [1, 2]", "holds words, the list does not"),
        ("3 in stars", "a column on its left"),
        ("stars ==", "cannot be read"),
        ("1 == 1", "compared with no column"),
        ("", "cannot be read"),
        ("odd > 1", "does not work on these columns|compares"),
        ("x" * 20_000 + " == 1", "longer than"),
    ],
)
def test_what_is_wrong_is_said(expression: str, message: str) -> None:
    with pytest.raises(UserError, match=re.compile(message, re.IGNORECASE)):
        kept(FRAME, expression)
