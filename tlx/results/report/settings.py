"""The configs of many runs in little space: what most have, and for each run what differs from it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tlx.results.collect import Run
from tlx.results.naming import comparable, flatten


def shared_settings(runs: Sequence[Run]) -> tuple[dict[str, Any], list[dict[str, Any]], list[list[str]]]:
    """(the commonest value of each setting, per run the values that differ, per run the settings that it lacks).

    Settings are named with dots; a setting belongs to the common ones when most runs have it.
    """
    flat = [flatten(run.config) for run in runs]
    values: dict[str, dict[Any, Any]] = {}
    counts: dict[str, Counter] = {}
    for settings in flat:
        for name, value in settings.items():
            key = comparable(value)
            values.setdefault(name, {})[key] = value
            counts.setdefault(name, Counter())[key] += 1
    common = {
        name: values[name][count.most_common(1)[0][0]]
        for name, count in counts.items()
        if 2 * sum(count.values()) > len(runs)
    }
    keys = {name: comparable(value) for name, value in common.items()}
    differing = [
        {name: value for name, value in settings.items() if name not in keys or keys[name] != comparable(value)}
        for settings in flat
    ]
    lacking = [[name for name in common if name not in settings] for settings in flat]
    return common, differing, lacking
