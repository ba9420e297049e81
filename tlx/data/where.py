"""The rows of a table that an expression keeps: comparisons of columns, and nothing that could run code.

The grammar is Python's, read by its own parser, with less in it:

    domain == 'books' and not is_oos        and, or, not (also &, |, ~), parentheses
    1 <= stars <= 3                         == != < <= > >=, chained or not
    speaker in ['theo', 'lucas']            in, not in, with a list of values
    `source file` != null                   columns by name, in back-ticks where it is no word; null: a missing value
    (length + 1) % 10 == 0                  + - * / // % with numbers

There are no attributes, calls, subscripts, powers or names other than columns: a yaml from a stranger may hold such an
expression.
"""

import ast
import functools
import operator
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tlx.errors import UserError, unknown

LONGEST = 10_000  # characters
CONSTANTS = {"true": True, "false": False, "null": None}
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
WORDS = "comparisons (== != < <= > >= in, not in), and, or, not, + - * / // %, columns, numbers, words in quotes, lists"


def kept(frame: pd.DataFrame, expression: str) -> pd.DataFrame:
    """The rows of `frame` for which `expression` is true; where a missing value is compared it is not.

    Raises:
        UserError: what the grammar above does not have, a column that is not there, or values that cannot be compared.
    """
    said = f"dataset.where={expression!r}"
    try:
        true = _Expression(frame, expression).value()
    except UserError as error:
        raise UserError(f"{said}: {error}") from error
    except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise UserError(f"{said} does not work on these columns: {error}") from error
    if not isinstance(true, pd.Series) or not _truths(true):
        raise UserError(f"{said} does not say true or false of each row: compare a column with something.")
    return frame[true.fillna(False).astype(bool)]


class _Expression:
    """One expression over the columns of a table."""

    def __init__(self, frame: pd.DataFrame, text: str) -> None:
        if len(text) > LONGEST:
            raise UserError(f"it is longer than {LONGEST} characters.")
        self.columns = {str(name): frame[name] for name in frame.columns}
        self.quoted: dict[str, str] = {}
        # Python's parser knows no back-ticks, and & binds tighter there than in pandas' queries. Quotes are left alone.
        text = re.sub(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`([^`]+)`|&+|\|+", self._word, text)
        try:
            self.tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise UserError(
                f"it cannot be read ({getattr(error, 'msg', None) or error}). It may hold {WORDS}."
            ) from error

    def value(self) -> Any:
        return self._of(self.tree)

    def _word(self, found: re.Match[str]) -> str:
        if found.group(1) is None:
            return {"&": " and ", "|": " or "}.get(found.group(0), found.group(0))
        word = f"_column_{len(self.quoted)}_"
        self.quoted[word] = found.group(1)
        return word

    def _of(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str | None):
            return node.value
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return [self._literal(item) for item in node.elts]
        if isinstance(node, ast.Compare):
            return self._compare(node)
        if isinstance(node, ast.BoolOp):
            join = operator.and_ if isinstance(node.op, ast.And) else operator.or_
            return functools.reduce(join, map(self._truth, node.values))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.Invert):
            return ~self._truth(node.operand)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self._number(node.operand)
        if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            return ARITHMETIC[type(node.op)](self._number(node.left), self._number(node.right))
        raise UserError(f"'{ast.unparse(node)[:60]}' is not allowed here. It may hold {WORDS}.")

    def _name(self, word: str) -> Any:
        name = self.quoted.get(word, word)
        if name in self.columns:
            return self.columns[name]
        if word in CONSTANTS:
            return CONSTANTS[word]
        raise unknown("column", name, self.columns, "Words stand in quotes.")

    def _literal(self, node: ast.expr) -> Any:
        value = self._of(node)
        if isinstance(value, pd.Series | list):
            raise UserError(f"'{ast.unparse(node)[:60]}' in a list: a list holds numbers and words.")
        return value

    def _number(self, node: ast.expr) -> Any:
        """Numbers alone: words could be multiplied into gigabytes."""
        value = self._of(node)
        kinds = value.dropna().map(type).unique() if isinstance(value, pd.Series) else [type(value)]
        if not all(issubclass(kind, int | float | np.integer | np.floating) and kind is not bool for kind in kinds):
            raise UserError(f"'{ast.unparse(node)[:60]}' is no number.")
        return value.astype(float) if isinstance(value, pd.Series) and value.dtype == object else value

    def _truth(self, node: ast.expr) -> pd.Series:
        value = self._of(node)
        if not isinstance(value, pd.Series) or not _truths(value):
            raise UserError(f"'{ast.unparse(node)[:60]}' is not true or false of each row: compare it with something.")
        return value.fillna(False).astype(bool)

    def _compare(self, node: ast.Compare) -> Any:
        result: Any = None
        left, written = self._of(node.left), node.left
        for sign, right in zip(node.ops, node.comparators, strict=True):
            true = self._compared(left, sign, self._of(right), f"{ast.unparse(written)[:60]}")
            result = true if result is None else result & true
            left, written = self._of(right), right
        return result

    def _compared(self, left: Any, sign: ast.cmpop, right: Any, written: str) -> Any:
        if isinstance(sign, ast.In | ast.NotIn):
            if not isinstance(left, pd.Series) or not isinstance(right, list):
                raise UserError(f"'{written}': `in` asks for a column on its left and a list on its right.")
            if _words(left) in [not _words(value) for value in right]:
                raise UserError(f"'{written}' holds {'words' if _words(left) else 'numbers'}, the list does not.")
            true = left.isin(right)
            return ~true if isinstance(sign, ast.NotIn) else true
        if type(sign) not in COMPARE:
            raise UserError(f"'{written}' is compared in a way that is not allowed. It may hold {WORDS}.")
        if left is None or right is None:  # null
            column = right if left is None else left
            if not isinstance(column, pd.Series) or not isinstance(sign, ast.Eq | ast.NotEq):
                raise UserError(f"'{written}': a column == null, or != null, asks whether values are missing.")
            return column.isna() if isinstance(sign, ast.Eq) else column.notna()
        if not isinstance(left, pd.Series) and not isinstance(right, pd.Series):
            raise UserError(f"'{written}' is compared with no column.")
        if isinstance(left, list) or isinstance(right, list):
            raise UserError(f"'{written}': a list goes with `in` and `not in`.")
        words = [_words(left), _words(right)]
        if None not in words and words[0] != words[1]:
            raise UserError(f"'{written}' compares words with numbers, which are never equal: put the value in quotes?")
        true = COMPARE[type(sign)](left, right)
        # A missing value is unlike everything, and neither more nor less.
        known = [side.notna() for side in (left, right) if isinstance(side, pd.Series)]
        if isinstance(sign, ast.NotEq):
            return true.fillna(True).astype(bool)
        for present in known:
            true = true.fillna(False).astype(bool) & present
        return true


def _truths(values: pd.Series) -> bool:
    return pd.api.types.is_bool_dtype(values.dtype) or bool(values.dropna().map(lambda v: isinstance(v, bool)).all())


def _words(value: Any) -> bool | None:
    """Whether it is a word or a column of words; None: it holds both, or nothing."""
    kinds = {isinstance(v, str) for v in value.dropna()} if isinstance(value, pd.Series) else {isinstance(value, str)}
    return kinds.pop() if len(kinds) == 1 else None
