"""The test split of a run, sealed: every pass over it is counted, and those before training had ended apart."""

from collections.abc import Iterator
from typing import Any


class Sealed:
    """A loader of test examples that notes in `counts` how often it was gone through.

    `test_reads` counts all passes, `test_reads_early` those before `open`. A run whose training, selection or plan saw
    test labels has a score that is no longer one of unseen data; tables mark it.
    """

    def __init__(self, loader: Any, counts: dict[str, Any]) -> None:
        self.loader, self.counts = loader, counts
        self.opened = False
        counts |= {"test_reads": 0, "test_reads_early": 0}

    def open(self) -> None:
        """Training has ended: from here on the split may be read, once."""
        self.opened = True

    @property
    def dataset(self) -> Any:
        """The examples and their labels: whoever asks for them has read the split."""
        self._note()
        return self.loader.dataset

    def __iter__(self) -> Iterator[Any]:
        self._note()
        return iter(self.loader)

    def __len__(self) -> int:
        return len(self.loader)

    def _note(self) -> None:
        self.counts["test_reads"] += 1
        self.counts["test_reads_early"] += not self.opened
