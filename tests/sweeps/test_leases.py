"""Leases of GPUs: every run gets as many as it needs, and none twice."""

import threading
from pathlib import Path

import pytest

from tlx.errors import UserError
from tlx.sweeps.launchers import make_backend
from tlx.sweeps.leases import lease


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TLX_LEASES", str(tmp_path / "leases"))


def test_devices_are_filled_one_after_the_other_before_any_is_shared() -> None:
    with lease("ab", 2) as first, lease("ab", 2) as second, lease("ab", 2) as third:
        assert (first, second, third) == (("a",), ("b",), ("a",))
    with lease("ab", 2) as again:
        assert again == ("a",)


def test_a_run_on_two_devices_waits_for_both_and_holds_none_meanwhile() -> None:
    got: list[tuple[str, ...]] = []

    def wait_for_two() -> None:
        with lease("abc", 1, count=2) as devices:
            got.append(devices)

    with lease("abc", 1) as first, lease("abc", 1) as second:
        waiting = threading.Thread(target=wait_for_two)
        waiting.start()
        with lease("abc", 1) as third:  # free, although somebody waits for two
            assert (first, second, third) == (("a",), ("b",), ("c",))
        assert not got
    waiting.join(timeout=20)
    assert got == [("a", "b")]


def test_more_devices_than_there_are_is_refused() -> None:
    options = {"backend": "local", "n_jobs": None, "devices": ["0", "1"], "runs_per_gpu": 1, "memory_gb": None}
    config = {"trainer": {"accelerator": "gpu", "devices": 4, "threads": 1}}
    with pytest.raises(UserError, match=r"trainer\.devices=4, but there are 2 GPUs to share out \(0, 1\)"):
        make_backend(options, [config])
