"""Labels: the same word in any type and file is one class, missing ones are none, and what is no class is refused."""

import numpy as np
import pandas as pd
import pytest

from tlx.data.labels import read_labels
from tlx.errors import UserError


def column(*values: object, dtype: object = None) -> pd.Series:
    return pd.Series(list(values), dtype=dtype)


def read(stated: list[str] | None = None, **parts: pd.Series) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    names, ids = read_labels(parts, stated, "label")
    return names, {role: part.tolist() for role, part in ids.items()}


def test_a_label_is_one_class_whatever_type_a_file_gives_it() -> None:
    names, ids = read(train=column(1, 0, 1), validation=column("0", "1"), test=column(1.0, np.nan, 0.0))
    assert names == ("0", "1")
    assert ids == {"train": [1, 0, 1], "validation": [0, 1], "test": [1, -1, 0]}
    names, ids = read(train=column(True, False), test=column("True", "False", dtype=object))
    assert names == ("False", "True") and ids["test"] == [1, 0]
    mixed = column(1, True, "1", b"True", dtype=object)
    assert read(train=mixed) == (("1", "True"), {"train": [0, 1, 0, 1]})
    assert read(train=pd.Series(["b", "a", None], dtype="category"))[1] == {"train": [1, 0, -1]}


def test_codes_stay_as_they_are_written_and_numbers_are_sorted_as_numbers() -> None:
    assert read(train=column("2", "01", "10", "1", "02"))[0] == ("01", "1", "02", "2", "10")


@pytest.mark.parametrize("names", [["1", "2", "3", "4", "5"], ["5", "4", "3", "2", "1"]])
@pytest.mark.parametrize("present", [(1, 2, 3, 4, 5), (1, 2, 3, 4), (2, 5)])
def test_integers_that_are_names_are_these_names(names: list[str], present: tuple[int, ...]) -> None:
    for values in (column(*present), column(*map(str, present))):
        found, ids = read(names, train=values)
        assert [found[i] for i in ids["train"]] == [str(value) for value in present]


def test_other_integers_count_the_names_from_0_in_one_file_as_in_the_other() -> None:
    found = read(["neg", "pos"], train=column("pos", "neg"), validation=column(0, 1), test=column("1", "0"))
    assert found[1] == {"train": [1, 0], "validation": [0, 1], "test": [1, 0]}


def test_integers_beyond_the_names_are_told_how_they_are_counted() -> None:
    with pytest.raises(UserError, match=r"integers 1 to 3, and dataset\.label_names has 3 names.*count from 1"):
        read(["a", "b", "c"], train=column(1, 2, 3))
    with pytest.raises(UserError, match=r"integers 0 to 7, and dataset\.label_names has 3 names.*from 0 to 2"):
        read(["a", "b", "c"], train=column(0, 7))
    with pytest.raises(UserError, match=r"label in row 1 of the test split '0'.*Allowed: 1, 2, 3"):
        read(["1", "2", "3"], train=column(1, 2, 3), test=column(2, 0))
    with pytest.raises(UserError, match="names 'a' more than once"):
        read(["a", "b", "a"], train=column("a", "b"))


def test_minus_one_among_integers_is_no_label() -> None:
    assert read(train=column("neg", "pos"), test=column(-1, 0, 1))[0] == ("0", "1", "neg", "pos")
    names, ids = read(train=column(2, 1, -1, 0), test=column(-1, 2))
    assert names == ("0", "1", "2") and ids == {"train": [2, 1, -1, 0], "test": [-1, 2]}
    names, ids = read(["neg", "pos"], train=column(1, 0, -1), test=column("-1", "1"))
    assert ids == {"train": [1, 0, -1], "test": [-1, 1]}


def test_minus_one_is_a_class_where_other_labels_are_negative_or_the_names_say_so() -> None:
    assert read(train=column(-2, -1, 0, 1, 2))[0] == ("-2", "-1", "0", "1", "2")
    assert read(["-1", "0", "1"], train=column(-1, 0, 1))[1] == {"train": [0, 1, 2]}
    assert read(train=column("-1", "unsure"))[0] == ("-1", "unsure")
    for values in ((-1, 1), (-1, 0, 1)):
        with pytest.raises(UserError, match=r"is -1 a class.*label_names=\[\"-1\""):
            read(train=column(*values))


def test_minus_one_is_no_label_however_it_is_written() -> None:
    """A column with gaps writes -1.0; in a csv file it was a class, in parquet none."""
    names, ids = read(train=column("2.0", "1.0", "-1.0", "0.0"), test=column("-1.0", "-1", "2.0"))
    assert names == ("0.0", "1.0", "2.0") and ids == {"train": [2, 1, -1, 0], "test": [-1, -1, 2]}
    with pytest.raises(UserError, match=r"is -1 a class"):
        read(train=column("0.0", "1.0", "-1.0"))


def test_a_blank_cell_is_no_label() -> None:
    assert read(train=column("a", " ", "b", "\t"))[1] == {"train": [0, -1, 1, -1]}


def test_two_spellings_of_one_label_in_training_are_refused_unless_all_are_named() -> None:
    """'pos ' beside 'pos' was a class of its own, silently, as long as training had it."""
    for one, other, why in (
        ("pos", "pos ", "spaces"),
        ("Pos", "pos", "upper and lower case"),
        ("caf\u00e9", "cafe\u0301", "Unicode"),
        ("1", "1.0", "how the number is written"),
    ):
        with pytest.raises(UserError, match=rf"\(2 examples\).*differs in .*{why}.*dataset\.label_names"):
            read(train=column(one, other, one, other, "neg"))
        assert len(read([one, other, "neg"], train=column(one, other, "neg"))[0]) == 3
        assert len(read(train=column(one, "neg"), test=column(other))[0]) == 3  # never trained: said by check_trained
    assert read(train=column("A", "a", "b"))[0] == ("A", "a", "b")  # pictures of letters
    assert read(train=column("01", "1", "2"))[0] == ("01", "1", "2")  # codes


def test_lists_that_a_csv_file_holds_as_text_are_several_labels() -> None:
    for several in ("['a', 'b']", "['a']", "[1, 2]", "[]"):
        with pytest.raises(UserError, match=r"label in row 1 of the train split .*several labels an example"):
            read(train=column("a", several, "b"))
    assert read(train=column("[UNK]", "a"))[0] == ("[UNK]", "a")


def test_a_part_without_any_label_is_refused_by_its_name() -> None:
    for hidden in (column(-1, -1), column(None, None, dtype=object), column(np.nan, np.nan)):
        with pytest.raises(UserError, match=r"the test split has no labels: all 2 .*dataset\.splits\.test=null"):
            read(train=column(0, 1), test=hidden)
    with pytest.raises(UserError, match="the train split has no labels"):
        read(train=column(-1, -1), test=column(0, 1))


def test_several_labels_an_example_are_refused_with_what_to_do() -> None:
    for several in (["a", "b"], np.array(["a"]), ("a", "b"), {"a": 1}):
        with pytest.raises(UserError, match=r"label in row 1 of the train split .*several labels an example"):
            read(train=column("a", several, dtype=object))


def test_measurements_are_no_classes_unless_they_are_named() -> None:
    with pytest.raises(UserError, match=r"look like measurements.*no regression"):
        read(train=column(*(i * 0.37 + 0.1 for i in range(60))))
    with pytest.raises(UserError, match="look like measurements"):
        read(train=column("1", "1.5", "2"))
    with pytest.raises(UserError, match="look like measurements"):
        read(train=column(1, 2), test=column(1, 2.5))
    assert read(["1", "1.5", "2"], train=column(1, 1.5, 2))[1] == {"train": [0, 1, 2]}
    assert read(train=column(1.0, 2.0, 3.0))[0] == ("1", "2", "3")


def test_nearly_as_many_classes_as_examples_are_refused_unless_they_are_named() -> None:
    names = [f"person {i:02}" for i in range(30)]
    with pytest.raises(UserError, match="30 different values in 59 training examples"):
        read(train=column(*names, *names[:29]))
    assert len(read(names, train=column(*names))[0]) == 30
    assert len(read(train=column(*names, *names))[0]) == 30


def test_one_class_is_too_few() -> None:
    with pytest.raises(UserError, match="1 different values; two are needed"):
        read(train=column("a", "a"), test=column("a", None, dtype=object))
