"""Which examples are encoded together: every one once, padded by less than its shapes show."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tlx.cache.blocks import BLOCK, encode_in_blocks


def blocks_of(lengths: list[int], frame: int) -> list[list[int]]:
    """The blocks, where an example of length n becomes n // frame frames."""
    found: list[list[int]] = []

    def encode(positions: list[int]) -> list[tuple[int, ...]]:
        found.append(positions)
        return [(max(lengths[p] for p in positions) // frame, 4)]

    encode_in_blocks(np.array(lengths), encode)
    return found


@given(st.lists(st.integers(1, 400), min_size=1, max_size=200), st.sampled_from([1, 7, 60, 1000]))
def test_every_example_once_with_those_of_its_shape(lengths: list[int], frame: int) -> None:
    blocks = blocks_of(lengths, frame)
    assert sorted(p for block in blocks for p in block) == list(range(len(lengths)))
    for block in blocks:
        assert len(block) <= BLOCK and len({lengths[p] // frame for p in block}) == 1
    assert blocks == blocks_of(lengths, frame)


def test_texts_of_one_length_are_together_and_nothing_is_encoded_twice() -> None:
    lengths = [5, 3, 5, 4, 3] * 20
    assert sorted(map(len, blocks_of(lengths, 1))) == [8, 8, 20, 32, 32]


def test_clips_whose_lengths_all_differ_are_encoded_in_few_blocks() -> None:
    lengths = np.random.default_rng(0).permutation(3200).tolist()
    assert len(blocks_of([n + 160 for n in lengths], 160)) < 350
