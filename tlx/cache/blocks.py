"""Which examples are encoded together: many at once, and still each as it would be encoded alone."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from tlx.cache.boundary import Shape

BLOCK = 32  # examples encoded together


def encode_in_blocks(lengths: Iterable[int] | np.ndarray, encode: Callable[[list[int]], list[Shape]]) -> None:
    """Calls `encode(positions)` for blocks that hold every position of `lengths` once.

    `encode` returns the shapes of what it made of the longest example of a block. A block holds examples of one length
    or, where lengths differ more finely than shapes do (samples of a clip, of which 160 make a frame), of lengths with
    the same shapes: there an example is padded by less than its shapes show. Shapes grow with the length, so that two
    lengths with the same shapes have none between them with others: a bisection finds them, in which nothing is encoded
    for a second time. The blocks depend on the lengths and the network alone.
    """
    positions: dict[int, list[int]] = {}
    for position, length in enumerate(lengths):
        positions.setdefault(int(length), []).append(position)
    known = sorted(positions)
    shapes: dict[int, list[Shape]] = {}
    alike: dict[str, list[int]] = {}

    def by_itself(place: int) -> None:
        for block in _cut(positions[known[place]]):
            shapes[place] = encode(block)

    def between(low: int, high: int) -> None:
        if high - low < 2:
            return
        if shapes[low] == shapes[high]:
            for length in known[low + 1 : high]:
                alike.setdefault(str(shapes[low]), []).extend(positions[length])
            return
        middle = (low + high) // 2
        by_itself(middle)
        between(low, middle)
        between(middle, high)

    for place in sorted({0, len(known) - 1}):
        by_itself(place)
    between(0, len(known) - 1)
    for together in alike.values():
        for block in _cut(together):
            encode(block)


def _cut(positions: Sequence[int]) -> Iterator[list[int]]:
    for start in range(0, len(positions), BLOCK):
        yield list(positions[start : start + BLOCK])
