"""Which examples were cut at a model's limit: said by a preprocessing as it encodes, kept with the encoded examples.

A preprocessing that cuts has `encode_and_tell(raw)`, which returns the example and whether it was cut, and `limit`, its
limit in words. Of others nothing is known.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

UNKNOWN = -1


class Listed(list):
    """Encoded examples in memory. cut: (n,) int8: 1 where an example was cut, 0 where not, -1 where it is not known."""

    def __init__(self, examples: Sequence[Any], cut: Sequence[int]) -> None:
        super().__init__(examples)
        self.cut = np.array(cut, dtype=np.int8)


def encode_one(preprocessing: Any, raw: Any) -> tuple[Any, int]:
    """An example, and whether it was cut: 1, 0, or -1 where the preprocessing does not say.

    Raises:
        UserError: it cannot be decoded.
    """
    # A class of the user's that encodes in another way says nothing of it, whatever the one it builds on says.
    own: Any = next((vars(kind) for kind in type(preprocessing).__mro__ if "encode" in vars(kind)), ())
    if "encode_and_tell" not in own:
        return preprocessing.encode(raw), UNKNOWN
    example, cut = preprocessing.encode_and_tell(raw)
    return example, int(cut)


def describe_cuts(parts: Mapping[str, Sequence[Any]], preprocessing: Any) -> dict[str, Any]:
    """For the record: {"limit": in words, "train": {"examples": cut ones, "of": all}, …}; {} where nothing is cut."""
    limit = getattr(preprocessing, "limit", None)
    found = {name: getattr(examples, "cut", None) for name, examples in parts.items()}
    known = {name: cut for name, cut in found.items() if cut is not None and not (cut == UNKNOWN).any()}
    if limit is None or not known:
        return {}
    return {"limit": limit} | {name: {"examples": int(cut.sum()), "of": len(cut)} for name, cut in known.items()}
