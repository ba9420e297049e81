"""How raw examples become batches: decided by the backbone's checkpoint, carried out by the data room."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor


class Preprocessing(Protocol):
    """The preprocessing that a checkpoint expects.

    `encode` is deterministic and done once per example; `augment` is random and done at each visit of a training
    example; `collate` pads and stacks. One that cuts long examples may say so: see `tlx.data.cuts`.
    """

    def key(self) -> str:
        """A hash of everything that changes the output (tokenizer, mean, std, sizes, rate); part of the identity."""
        ...

    def encode(self, raw: Any) -> Any:
        """One raw value (text or (text, text); image bytes, path or array; audio bytes or path) to one example.

        Raises:
            tlx.errors.UserError: the value cannot be decoded; the message names the file or the row.
        """
        ...

    def length(self, example: Any) -> int:
        """Size used for length buckets: tokens of a text, samples of a clip, 1 for an image."""
        ...

    def augment(self, example: Any, augmentation: Any, rng: np.random.Generator) -> Any:
        """A random variant of an encoded example; never changes the example itself."""
        ...

    @classmethod
    def check_augmentation(cls, augmentation: Any) -> dict[str, Any]:
        """The options switched on.

        Raises:
            tlx.errors.UserError: an unknown option (nearest match) or an impossible value.
        """
        ...

    def collate(self, examples: Sequence[Any]) -> dict[str, Tensor]:
        """A batch: the keyword inputs of the backbone's network."""
        ...
