"""Hashes of values: the same for equal ones, others for any difference."""

import itertools
from typing import Any

import numpy as np
import torch

from tlx.cache.contents import digest_of

DIFFERENT: list[Any] = [
    "ab",
    b"ab",
    ["a", "b"],
    [b"a", b"b"],
    [b"ab"],
    [b"a", b"b", b""],
    1,
    1.0,
    {"ids": [1, 2]},
    {"ids": [1], "more": [2]},
    np.arange(4, dtype=np.int32),
    np.arange(4, dtype=np.int64),
    np.arange(4, dtype=np.int32).reshape(2, 2),
    (np.arange(4, dtype=np.int32), 8000),
    (np.arange(4, dtype=np.int32), 16000),
    np.array([np.arange(3), np.arange(2)], dtype=object),
    np.array([np.arange(3), np.arange(2) + 1], dtype=object),
    [[np.arange(3)], [np.arange(2)]],
    [[np.arange(3)], [np.arange(2) + 1]],
    [list(range(5000)), 8000],
    [[*range(4999), 0], 8000],
    np.zeros(5000),
    np.concatenate([np.zeros(2500), np.ones(1), np.zeros(2499)]),
    torch.zeros(2),
    torch.zeros(2, 1),
    torch.zeros(2, dtype=torch.int32),
    torch.zeros(0),
]


def test_what_differs_has_another_hash() -> None:
    hashes = [digest_of(value) for value in DIFFERENT]
    for (i, one), (j, other) in itertools.combinations(enumerate(hashes), 2):
        assert one != other, (DIFFERENT[i], DIFFERENT[j])


def test_what_is_equal_has_the_same_hash_however_it_lies_in_memory() -> None:
    pixels = torch.arange(24, dtype=torch.uint8).reshape(2, 3, 4)
    assert digest_of(pixels) == digest_of(pixels.permute(2, 0, 1).contiguous().permute(1, 2, 0))
    assert digest_of(pixels.numpy()) == digest_of(np.asfortranarray(pixels.numpy()))
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
