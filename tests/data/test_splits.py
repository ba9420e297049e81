"""Splits: stratified, nested, exact per class, one independent draw per seed, the same in every process."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tlx.data.splits import Size, carve, parse_size, stratified_order, take
from tlx.errors import UserError

NAMES = ["ant", "bee", "cat", "dog"]
labels_of = st.lists(st.integers(0, 3), min_size=4, max_size=120).map(lambda v: np.array(v, dtype=np.int64))


@given(labels_of, st.integers(0, 50))
def test_every_beginning_of_the_order_has_the_classes_in_proportion(labels: np.ndarray, seed: int) -> None:
    order = stratified_order(labels, seed, "train_size")
    assert sorted(order) == list(range(len(labels)))
    for count in range(1, len(labels) + 1):
        for label in np.unique(labels):
            exact = (labels == label).mean() * count
            # One class is off by less than one example; the cut itself shifts by at most one per class.
            assert abs((labels[order[:count]] == label).sum() - exact) <= len(np.unique(labels))


@given(labels_of, st.integers(0, 50), st.data())
def test_larger_training_sets_contain_the_smaller_ones(labels: np.ndarray, seed: int, data: st.DataObject) -> None:
    small, large = sorted(data.draw(st.lists(st.integers(1, len(labels)), min_size=2, max_size=2)))
    chosen = [set(take(labels, Size(count=n), seed, NAMES, "train_size").tolist()) for n in (small, large)]
    assert (len(chosen[0]), len(chosen[1])) == (small, large)
    assert chosen[0] <= chosen[1]


def test_fractions_and_counts_come_from_one_nested_order() -> None:
    labels = np.arange(100) % 4
    tenth = take(labels, Size(fraction=0.1), 3, NAMES, "train_size")
    half = take(labels, Size(count=50), 3, NAMES, "train_size")
    assert len(tenth) == 10 and set(tenth) <= set(half)
    assert len(take(labels, Size(fraction=0.001), 3, NAMES, "train_size")) == 1
    assert take(labels, None, 3, NAMES, "train_size").tolist() == list(range(100))


@given(st.integers(1, 6), st.integers(0, 30))
def test_k_per_class_is_exact_and_nested(k: int, seed: int) -> None:
    labels = np.repeat(np.arange(4), [6, 9, 30, 55])
    chosen = take(labels, Size(per_class=k), seed, NAMES, "train_size")
    assert np.bincount(labels[chosen], minlength=4).tolist() == [k] * 4
    if k > 1:
        assert set(take(labels, Size(per_class=k - 1), seed, NAMES, "train_size")) <= set(chosen)
    assert chosen.tolist() == sorted(chosen)


@given(st.integers(0, 30), st.floats(0.05, 0.5))
def test_k_per_class_stays_k_after_validation_is_carved_out(seed: int, share: float) -> None:
    labels = np.repeat(np.arange(4), [20, 20, 30, 50])
    kept, carved = carve(labels, share, seed, "test_share")
    assert len(carved) == round(share * len(labels))
    assert sorted([*kept, *carved]) == list(range(len(labels)))
    chosen = take(labels[kept], Size(per_class=4), seed, NAMES, "train_size")
    assert np.bincount(labels[kept][chosen]).tolist() == [4] * 4


@given(st.integers(0, 100), st.integers(0, 100))
def test_seeds_draw_independently_and_repeat(one: int, other: int) -> None:
    labels = np.arange(200) % 4
    first, again, second = (take(labels, Size(count=40), s, NAMES, "train_size").tolist() for s in (one, one, other))
    assert first == again
    if one != other:
        # Two independent draws of 40 out of 200 share 8 on average.
        assert first != second and len(set(first) & set(second)) < 25


def test_an_independent_draw_shares_as_many_examples_as_chance_says() -> None:
    labels = np.arange(200) % 4
    draws = [set(take(labels, Size(count=40), s, NAMES, "train_size").tolist()) for s in range(40)]
    shared = [len(a & b) for i, a in enumerate(draws) for b in draws[:i]]
    assert 7.5 < np.mean(shared) < 8.5


def test_a_split_is_the_same_in_another_process_whatever_the_global_seed() -> None:
    code = (
        "import numpy as np; np.random.seed(99)\n"
        "from tlx.data.splits import carve, take, Size\n"
        "labels = np.arange(90) % 3\n"
        "kept, carved = carve(labels, 0.2, 0, 'test_share')\n"
        "print(carved.tolist(), take(labels[kept], Size(per_class=2), 1, list('abc'), 'train_size').tolist())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    labels = np.arange(90) % 3
    kept, carved = carve(labels, 0.2, 0, "test_share")
    taken = take(labels[kept], Size(per_class=2), 1, list("abc"), "train_size")
    assert found == f"{carved.tolist()} {taken.tolist()}"


def test_drawing_a_split_leaves_the_global_generators_alone() -> None:
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    take(np.arange(30) % 3, Size(count=10), 0, NAMES, "train_size")
    assert np.random.random() == expected  # noqa: NPY002


def test_too_many_per_class_names_the_classes_that_are_short() -> None:
    labels = np.repeat([0, 1, 2], [3, 10, 7])
    with pytest.raises(UserError, match=r"train_size=8_per_class .*ant \(3\), cat \(7\), dog \(0\)") as error:
        take(labels, Size(per_class=8), 0, NAMES, "train_size")
    assert "bee" not in str(error.value)


def test_more_examples_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match=r"dataset.train_size=31 .* \(30\)"):
        take(np.arange(30) % 3, Size(count=31), 0, NAMES, "train_size")


@pytest.mark.parametrize(
    ("given", "size"),
    [
        (None, None),
        (200, Size(count=200)),
        ("200", Size(count=200)),
        (0.1, Size(fraction=0.1)),
        ("1e-2", Size(fraction=0.01)),
        (1.0, Size(fraction=1.0)),
        ("8_per_class", Size(per_class=8)),
    ],
)
def test_sizes_are_read(given: object, size: Size | None) -> None:
    assert parse_size(given, "dataset.train_size") == size


@pytest.mark.parametrize("bad", ["eight", 0, "0_per_class", -5, 0.0, 1.5, "8 per class", "per_class", True, "", [3]])
def test_a_bad_size_is_named_with_its_key(bad: object) -> None:
    with pytest.raises(UserError, match=r"dataset\.train_size="):
        parse_size(bad, "dataset.train_size")


@settings(max_examples=20)
@given(st.integers(2, 40), st.floats(0.01, 0.99))
def test_carving_always_takes_at_least_one(count: int, share: float) -> None:
    kept, carved = carve(np.zeros(count, dtype=np.int64), share, 0, "test_share")
    assert len(carved) >= 1 and len(kept) >= 1 and len(kept) + len(carved) == count
