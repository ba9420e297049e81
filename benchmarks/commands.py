"""A command and what it takes: seconds, memory, and whether that is within what is promised."""

import resource
import subprocess
import time
from collections.abc import Sequence


def measure(command: Sequence[str]) -> tuple[str, dict[str, float]]:
    """What a command prints; seconds by the clock and of the processor, and peak memory (of the largest child so far).

    Raises:
        CalledProcessError: it failed.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, {"seconds": seconds, "processor": processor, "GB": after.ru_maxrss * 1024 / 1e9}


def report(what: str, found: dict[str, float], limits: dict[str, float]) -> bool:
    """Print what was found, and return whether a limit is broken."""
    over = any(found[key] > limit for key, limit in limits.items())
    print(
        f"{what}: {found['seconds']:.2f} s ({found['processor']:.2f} s of processor), {found['GB']:.2f} GB"
        + (f" (over the limit of {limits['seconds']:.0f} s, {limits['GB']:.0f} GB)" if over else "")
    )
    return over
