"""Scores of a network that nobody has trained yet: computed by the first run that asks, kept for the others."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tlx.cache.checksums import META
from tlx.cache.stores import (
    describe,
    make_room,
    making,
    new_draft,
    put_in_place,
    remove_drafts,
    scores_folder,
    verified,
)
from tlx.errors import out_of_space

SIZE = 4096  # bytes that a file takes on a disk, about


def kept_scores(
    cache: Path, key: str, about: dict[str, Any], limit: int, compute: Callable[[], dict[str, float]]
) -> tuple[dict[str, float], float]:
    """What `compute` finds, or has found in an earlier run with the same key; and the seconds that this spared.

    `about` is for `tlx cache list`; where `limit` or the disk has no room, nothing is kept.
    """
    root = scores_folder(cache)
    with making(root, key):
        known = verified(root / key)
        if known is None:
            began = time.perf_counter()
            scores = compute()
            seconds = time.perf_counter() - began
            if make_room(root, SIZE, limit):
                _keep(root, key, scores, about | {"seconds": seconds})
            return scores, 0.0
        os.utime(root / key / META)
        return known["scores"], known["about"]["seconds"]


def _keep(root: Path, key: str, scores: dict[str, float], about: dict[str, Any]) -> None:
    try:
        draft = new_draft(root, key)
        describe(draft, about, scores=scores)
        put_in_place(draft)
    except OSError as error:
        if not out_of_space(error):
            raise
        remove_drafts(root, [key])
