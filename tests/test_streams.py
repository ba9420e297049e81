"""Random streams: equal for what is the same, different for any two purposes, seeds, epochs and examples."""

import ast
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tlx.data.loaders import Examples
from tlx.data.sampling import epoch_batches
from tlx.data.splits import stratified_order
from tlx.fit.seeding import generator_now, seed_everything, torch_stream
from tlx.streams import Purpose, seed_of, stream

SOURCE = Path(__file__).parents[1] / "tlx"
PURPOSES = get_args(Purpose)
names = st.tuples(st.integers(0, 2**64), st.sampled_from(PURPOSES), st.lists(st.integers(0, 2**64), max_size=3))


def draws(seed: int, purpose: Purpose, *numbers: int) -> list[int]:
    return stream(seed, purpose, *numbers).integers(2**63, size=4).tolist()


@given(names, names)
def test_two_streams_are_equal_where_their_names_are_and_nowhere_else(one: tuple, other: tuple) -> None:
    mine, theirs = (draws(seed, purpose, *numbers) for seed, purpose, numbers in (one, other))
    assert (mine == theirs) == (one == other)


def test_no_two_purposes_epochs_or_lengths_of_a_name_coincide() -> None:
    """`default_rng` takes 0, [0] and [0, 0] for one seed, and 2**32 for [0, 1]."""
    given: list[tuple[int, ...]] = [(0,), (0, 0), (0, 0, 0), (0, 1), (1,), (1, 0), (10,), (1, 0, 0), (2**32,)]
    drawn = {tuple(draws(seed, purpose, *numbers)) for purpose in PURPOSES for seed, *numbers in given}
    assert len(drawn) == len(PURPOSES) * len(given)


def test_a_number_is_the_same_whatever_library_made_it() -> None:
    assert seed_of(np.int64(3), "order", np.int32(2)) == seed_of(3, "order", 2)  # type: ignore[arg-type]
    assert all(seed_of(3, "numpy", bits=bits) < 2**bits for bits in (32, 63, 128))


def test_a_stream_is_the_same_in_every_process() -> None:
    code = "from tlx.streams import stream; print(stream(5, 'order', 2).integers(2**63, size=4).tolist())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == str(draws(5, "order", 2))


def first_augmentation(seed: int) -> np.random.Generator:
    """The generator that the first example's first variant is drawn from."""
    found = []

    class Kept:
        def augment(self, example: int, options: dict, rng: np.random.Generator) -> int:
            found.append(rng)
            return example

    Examples([0], np.zeros(1, int), Kept(), {"any": 1}, seed)[0, 0]  # type: ignore[arg-type]
    return found[0]


def test_subset_order_and_augmentation_of_one_seed_have_nothing_in_common() -> None:
    """The subset of one class was drawn in the very order of the first epoch, and the first variant with it."""
    for seed in range(5):
        subset = stratified_order(np.zeros(1000, int), seed, "train_size")
        order = np.concatenate(epoch_batches(1000, 1, seed, 0))
        augmented = first_augmentation(seed).permutation(1000)
        for one, other in ((subset, order), (order, augmented), (augmented, subset)):
            assert (one == other).mean() < 0.02


def test_the_parts_of_a_data_set_are_carved_by_draws_of_their_own() -> None:
    labels, purposes = np.zeros(1000, int), ("test_share", "validation_share", "val_size", "train_size")
    assert len({tuple(stratified_order(labels, 0, purpose)) for purpose in purposes}) == 4


def test_the_global_generators_of_one_seed_draw_different_numbers() -> None:
    """NumPy's and torch's are one algorithm, and drew the same from the same seed."""
    seed_everything(7)
    words = np.random.randint(0, 2**32, 50, dtype=np.uint32)  # noqa: NPY002
    assert not set(words.tolist()) & set(torch.randint(0, 2**32, (50,), dtype=torch.int64).tolist())


def test_generators_of_torch_are_their_own() -> None:
    drawn = [
        torch.rand(4, generator=torch_stream(seed, purpose)).tolist()
        for seed in (0, 1)
        for purpose in ("fisher_examples", "fisher_labels")
    ]
    assert len({tuple(each) for each in drawn}) == 4
    assert torch.rand(4, generator=torch_stream(0, "fisher_labels")).tolist() == drawn[1]


def test_a_copy_of_the_global_generator_goes_on_where_it_is_and_does_not_move_it() -> None:
    seed_everything(3)
    torch.rand(5)
    copy = generator_now(torch.device("cpu"), 3)
    assert torch.equal(torch.rand(9, generator=copy), torch.rand(9))


# Where the global generators are seeded; data sets that are files with a hash, made from numbers of their own; and what
# contracts try parts on, which is no run.
MAKERS = {"streams.py", "fit/seeding.py", "data/image_augmentation.py", "data/bundled", "contracts"}
SEEDERS = {"default_rng", "manual_seed", "manual_seed_all", "SeedSequence", "PCG64", "MT19937", "Philox"}
WHOLE = {"np.random.RandomState", "np.random.seed", "random.seed", "random.Random", "L.seed_everything"}


def seeded_by_hand(code: str) -> list[int]:
    """The lines of code that seed a generator without `tlx.streams`."""
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    called = [(ast.unparse(call.func), call.lineno) for call in calls]
    return sorted(line for name, line in called if name in WHOLE or name.rpartition(".")[2] in SEEDERS)


def test_nothing_seeds_a_generator_but_through_a_purpose() -> None:
    assert seeded_by_hand("a = 1\nrng = np.random.default_rng([s, 0])\ntorch.Generator().manual_seed(0)") == [2, 3]
    assert not seeded_by_hand("rng = stream(s, 'order', 0)\nseed_everything(s)\nRandomState()")
    found = {
        f"{path.relative_to(SOURCE)}:{line}"
        for path in SOURCE.rglob("*.py")
        if not any(path.relative_to(SOURCE).is_relative_to(made) for made in MAKERS)
        for line in seeded_by_hand(path.read_text())
    }
    assert not found
