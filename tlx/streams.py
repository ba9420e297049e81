"""Random streams, one for each purpose: what draws a subset has nothing in common with what orders its epochs.

numpy's `default_rng(s)`, `default_rng([s])` and `default_rng([s, 0])` are one stream, so that seeds made by adding
numbers to a run's seed coincide where nobody looks. Here a stream is named by what it is for.
"""

import hashlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Purpose = Literal[
    "test_share",  # which examples are carved out for the test; with the further number 1: which groups
    "validation_share",  # which are carved out for validation; 1: which groups
    "val_size",  # which of the validation examples are used; 1: the order of groups
    "train_size",  # which training examples are used; 1: the order of groups
    "order",  # the batches of an epoch; further numbers: epoch
    "augmentation",  # the variant of an example; further numbers: epoch, position
    "python",  # the global generator of Python
    "numpy",  # the global generator of NumPy
    "process",  # the global generators of a process that trains along; further numbers: rank
    "source_examples",  # the source's training examples of which something is measured
    "calibration",  # the order of the training examples from which batch normalisation takes its statistics
    "fisher_examples",  # the source's training examples that the Fisher information is a mean over
    "fisher_labels",  # the labels that are drawn for them
    "seed_bootstrap",  # resamples of seeds
    "run_bootstrap",  # resamples of runs within each dataset
    "example_bootstrap",  # resamples of test examples
    "signs",  # signs of a permutation test
]


def seed_of(seed: int, purpose: Purpose, *numbers: int, bits: int = 63) -> int:
    """A seed of `bits` bits (128 at most) for a generator of any library: one for each (seed, purpose, numbers).

    The first bits of BLAKE2b (RFC 7693) of them as text, so the same everywhere and always, and different for different
    ones, up to its collisions.
    """
    text = ":".join([purpose, *(str(int(n)) for n in (seed, *numbers))])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "little") >> (128 - bits)


def stream(seed: int, purpose: Purpose, *numbers: int) -> "np.random.Generator":
    """NumPy's generator for one purpose of one seed; further numbers make it one for an epoch, an example, …"""
    import numpy as np

    return np.random.default_rng(seed_of(seed, purpose, *numbers, bits=128))
