"""The test split is sealed until training has ended, and every pass over it is counted."""

from tlx.data.sealed import Sealed


def test_passes_are_counted() -> None:
    counts = {"steps": 3}
    sealed = Sealed(["a", "b"], counts)
    assert counts == {"steps": 3, "test_reads": 0, "test_reads_early": 0}
    assert list(sealed) == ["a", "b"] and len(sealed) == 2
    assert (counts["test_reads"], counts["test_reads_early"]) == (1, 1)
    sealed.open()
    assert list(sealed) == ["a", "b"]
    assert (counts["test_reads"], counts["test_reads_early"]) == (2, 1)
