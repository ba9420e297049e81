"""The order of training examples: complete, a pure function of seed and epoch, little padding in buckets."""

from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tlx.data.sampling import EpochBatchSampler, epoch_batches

sizes = st.tuples(st.integers(1, 200), st.integers(1, 33))


@given(sizes, st.integers(0, 9), st.integers(0, 9), st.booleans())
def test_every_example_once_and_the_length_is_right(
    size: tuple[int, int], seed: int, epoch: int, buckets: bool
) -> None:
    count, batch_size = size
    lengths = [1 + (7 * i) % 23 for i in range(count)] if buckets else None
    batches = epoch_batches(count, batch_size, seed, epoch, lengths)
    assert sorted(np.concatenate(batches).tolist()) == list(range(count))
    assert len(batches) == len(EpochBatchSampler(count, batch_size, seed, lengths))
    assert all(len(b) <= batch_size + 1 for b in batches)


@given(sizes, st.booleans())
def test_no_batch_of_one_where_batches_are_larger(size: tuple[int, int], buckets: bool) -> None:
    count, batch_size = size
    lengths = list(range(count)) if buckets else None
    batches = epoch_batches(count, batch_size, 0, 0, lengths)
    if count > 1 and batch_size > 1:
        assert min(len(b) for b in batches) > 1
    assert sum(len(b) != batch_size for b in batches) <= 1


@given(sizes, st.integers(0, 99), st.integers(0, 99))
def test_the_order_depends_on_seed_and_epoch_alone(size: tuple[int, int], seed: int, epoch: int) -> None:
    np.random.seed(epoch)  # noqa: NPY002
    first = [b.tolist() for b in epoch_batches(*size, seed, epoch)]
    np.random.seed(seed + 1)  # noqa: NPY002
    assert first == [b.tolist() for b in epoch_batches(*size, seed, epoch)]


def test_epochs_and_seeds_differ() -> None:
    orders = {
        tuple(np.concatenate(epoch_batches(50, 8, seed, epoch)).tolist()) for seed in range(5) for epoch in range(5)
    }
    assert len(orders) == 25


def test_buckets_reduce_padding_and_keep_the_batches_shuffled() -> None:
    lengths = np.random.default_rng(0).geometric(0.05, 2000)
    padded = {
        name: sum(len(b) * lengths[b].max() for b in epoch_batches(2000, 16, 0, 0, given))
        for name, given in (("shuffle", None), ("buckets", lengths.tolist()))
    }
    assert padded["buckets"] < 0.5 * padded["shuffle"]
    longest = [lengths[b].max() for b in epoch_batches(2000, 16, 0, 0, lengths.tolist())]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3


@given(sizes, st.data())
def test_a_saved_sampler_yields_exactly_the_rest(size: tuple[int, int], data: st.DataObject) -> None:
    sampler = EpochBatchSampler(*size, seed=1)
    sampler.set_epoch(3)
    whole = list(sampler)
    done = data.draw(st.integers(0, len(whole) - 1))
    running = iter(sampler)
    assert list(islice(running, done)) == whole[:done]
    resumed = EpochBatchSampler(*size, seed=1)
    resumed.load_state_dict(sampler.state_dict())
    resumed.set_epoch(3)  # as the Trainer does before every epoch
    assert list(resumed) == whole[done:]
    assert list(resumed) == whole


def test_a_pass_broken_off_does_not_shorten_the_next_one() -> None:
    sampler = EpochBatchSampler(40, 8, seed=0)
    whole = list(sampler)
    assert list(islice(iter(sampler), 2)) == whole[:2]
    assert list(sampler) == whole
