"""Where a run's time went, in words. No torch here."""

from typing import Any


def profile_table(record: dict[str, Any]) -> str | None:
    """A table of the seconds that the parts of the training took and their shares; None without a profile."""
    seconds = record["seconds"]
    parts: dict[str, float] | None = seconds.get("profile")
    if not parts:
        return None
    width = max(map(len, parts)) + 2
    whole = sum(parts.values())
    lines = [f"{'training':{width}}{'seconds':>9}{'share':>8}"]
    lines += [f"{name:{width}}{spent:9.2f}{spent / whole if whole else 0:8.1%}" for name, spent in parts.items()]
    lines.append(f"{'together':{width}}{whole:9.2f}{1:8.1%}")
    around = {
        "training": seconds["train"],
        "evaluation": seconds.get("evaluate", 0.0),
        "measures": seconds.get("measure", 0.0),
    }
    around["preparing and writing"] = seconds["total"] - sum(around.values())
    told = ", ".join(f"{name} {spent:.2f} s" for name, spent in around.items() if spent >= 0.005)
    return "\n".join([*lines, f"of the run's {seconds['total']:.2f} s: {told}"])


def already_finished(finished: int, runs: int) -> str:
    """What to say to somebody who asks for a profile of runs of which some are finished."""
    which, them = ("the run is", "it") if runs == 1 else (f"{finished} of {runs} runs are", "them")
    return f"{which} finished and not done again; force=true profiles {them} again."
