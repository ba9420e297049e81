"""From a column of labels to class names and ids: what counts as a label, what as none, and what is no class at all."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tlx.data.spelling import NUMBER, alike, twins
from tlx.errors import UserError, unknown

NO_LABEL = "-1"  # what hidden or unlabelled examples have in integer columns, as on the Hugging Face hub
LIST = re.compile(r"\s*\[\s*(['\"].*|[^\]]*,.*)?\]\s*", re.DOTALL)  # as a csv file holds one, not as [UNK]
COUNTED = re.compile(r"0|[1-9]\d*")  # an integer that can count names: 01 is a code
MANY = 20  # classes up to which nobody asks whether they are classes
SHOWN = 10  # names in one message


def read_labels(
    columns: Mapping[str, pd.Series], stated: Sequence[str] | None, column: str
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Class names in id order, and the ids (n,) int64 of each part's rows; -1 where a row has no label.

    Labels are compared as text: 1 in one file and "1" in another are one class, 01 is another. No label are missing
    and blank cells, and -1 in a part whose labels are whole numbers of which no other is negative, unless `stated`
    holds "-1".

    Names are `stated`, or all values, sorted, numbers as numbers. Integers that are not among the stated names count
    them from 0. `column` is the column's name, for messages.

    Raises:
        UserError: lists of labels; a part without any label; one class only; values that are numbers with fractions, or
            nearly as many as there are examples, or two spellings of one label in training (unless they are stated); a
            label that is not among the stated names; -1 that may be a class.
    """
    given = [str(name) for name in stated] if stated else []
    if twice := [name for name, times in Counter(given).items() if times > 1]:
        raise UserError(f"dataset.label_names names '{twice[0]}' more than once: every class needs a name of its own.")
    texts = {role: _texts(series, role, column) for role, series in columns.items()}
    if NO_LABEL not in given:
        texts = {role: _without_minus_one(part, role, bool(given)) for role, part in texts.items()}
    for role, part in texts.items():
        if part and all(name is None for name in part):
            _refuse_unlabelled(role, len(part), column)
    found = {name for part in texts.values() for name in part if name is not None}
    if given:
        ids = _stated_ids(given, found, texts)
        names = tuple(given)
    else:
        names = _sorted(found)
        _check_classes(names, texts, column)
        ids = {name: number for number, name in enumerate(names)}
    return names, {
        role: np.array([-1 if name is None else ids[name] for name in part], dtype=np.int64)
        for role, part in texts.items()
    }


def label_text(value: Any) -> str:
    """A label as its name: integers without a decimal point, whatever type a file stored them in."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _texts(series: pd.Series, role: str, column: str) -> list[str | None]:
    missing = series.isna().to_numpy()
    if series.dtype != object:
        codes, values = pd.factorize(series)
        words = [*map(_named, values), None]  # the code of what is missing is -1
        return [words[code] for code in codes]
    texts: list[str | None] = []
    for row, (value, none) in enumerate(zip(series, missing, strict=True)):
        if isinstance(value, (list, tuple, set, dict, np.ndarray)):
            raise _several(f"{type(value).__name__} {str(value)[:60]}", row, role, column)
        texts.append(None if none else _named(value))
    return texts


def _named(value: Any) -> str | None:
    """A label's name; None for a blank one."""
    name = label_text(value)
    return name if name.strip() else None


def _several(what: str, row: int, role: str, column: str) -> UserError:
    return UserError(
        f"the label in row {row} of the {role} split is {what}: several labels an example are not supported. Give "
        f"a column with one (dataset.columns.label, now '{column}'), keep the rows that have one, or write a row for "
        "each label."
    )


def _without_minus_one(part: list[str | None], role: str, stated: bool) -> list[str | None]:
    """The labels of a part with None for -1, where that means "no label".

    Raises:
        UserError: it may as well be a class: training data with -1 beside 0 and 1.
    """
    found = {name for name in part if name is not None}
    if not all(NUMBER.fullmatch(name) and float(name).is_integer() for name in found):
        return part
    minus = {name for name in found if float(name) == -1}  # "-1.0" is how a column with gaps writes it
    if not minus or any(float(name) < 0 for name in found - minus):
        return part
    rest = _sorted(found - minus)
    if role in ("train", "all") and not stated and rest and {float(name) for name in rest} <= {0, 1}:
        every = ",".join(f'"{name}"' for name in (NO_LABEL, *rest))
        raise UserError(
            f"the {role} split has the labels {NO_LABEL}, {', '.join(rest)}: is {NO_LABEL} a class, or does it mean "
            f"'no label'? Where it is a class, name all of them: 'dataset.label_names=[{every}]'. Where it is none, "
            "leave these rows out of the file."
        )
    return [None if name in minus else name for name in part]


def _refuse_unlabelled(role: str, rows: int, column: str) -> None:
    what = (
        "nothing can be trained"
        if role in ("train", "all")
        else f"no score can be computed from it (hidden labels?). dataset.splits.{role}=null carves a part out of the "
        f"training data, dataset.splits.{role}=NAME reads another one"
    )
    raise UserError(
        f"the {role} split has no labels: all {rows} cells of the column '{column}' are missing or "
        f"{NO_LABEL}, so {what}."
    )


def _stated_ids(given: Sequence[str], found: set[str], texts: Mapping[str, list[str | None]]) -> dict[str, int]:
    """The id of each label that occurs."""
    ids = {name: number for number, name in enumerate(given)}
    counted = {name for name in found if COUNTED.fullmatch(name)}
    if counted & ids.keys():  # the names are integers themselves
        counted = set()
    if strange := found - counted - ids.keys():
        role, row, name = next(
            (role, row, name) for role, part in texts.items() for row, name in enumerate(part) if name in strange
        )
        raise unknown(
            f"label in row {row} of the {role} split", name, given, "See dataset.label_names and dataset.columns."
        )
    if not counted:
        return ids
    numbers = sorted(map(int, counted))
    if numbers[-1] >= len(given):
        shifted = numbers[0] == 1 and numbers[-1] == len(given)
        raise UserError(
            f"the labels are the integers {numbers[0]} to {numbers[-1]}, and dataset.label_names has {len(given)} "
            f"names, which integers count from 0 to {len(given) - 1}. "
            + ("Yours count from 1: write labels that count from 0" if shifted else "Give a name for each")
            + f", or name the classes as the file does: '{numbers[0]}', …"
        )
    return ids | {str(number): number for number in range(len(given))}


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    names = list(names)
    if all(NUMBER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=lambda name: (float(name), name)))
    return tuple(sorted(names))


def _check_classes(names: Sequence[str], texts: Mapping[str, list[str | None]], column: str) -> None:
    """Refuse what no classifier is for, unless the user names the classes."""
    if len(names) < 2:
        raise UserError(f"the label column '{column}' has {len(names)} different values; two are needed.")
    for role, part in texts.items():
        for row, name in enumerate(part):
            if name is not None and LIST.fullmatch(name):
                raise _several(f"the list {name[:60]}", row, role, column)
    trained = [name for name in texts.get("train", texts.get("all", [])) if name is not None]
    if twin := twins(_sorted(set(trained))):
        counts, (first, second) = Counter(trained), twin
        raise UserError(
            f"the labels '{first}' ({counts[first]} examples) and '{second}' ({counts[second]} examples) of the "
            f"training data are two classes by their spelling{alike(second, [first])[1]}: write one of them as the "
            "other, or, if each is a class, name all classes in dataset.label_names."
        )
    advice = (
        "tlx classifies and has no regression: put the values into classes, choose another column "
        "(dataset.columns.label), or, if each value is a class, name them all in dataset.label_names."
    )
    shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
    if all(NUMBER.fullmatch(name) for name in names) and any(not float(name).is_integer() for name in names):
        raise UserError(f"the labels in '{column}' look like measurements, not classes ({shown}). {advice}")
    different = len(set(trained))
    if different > MANY and 2 * different > len(trained):
        raise UserError(
            f"the label column '{column}' has {different} different values in {len(trained)} training examples "
            f"({shown}), too few of each to learn from: values or names of examples rather than classes? {advice}"
        )
