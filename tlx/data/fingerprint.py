"""The content hash of a data set, which is part of a run's identity."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from tlx.data import hub, tables
from tlx.record.hashes import combined


def fingerprint(
    path: str,
    revision: str | None = None,
    subset: str | None = None,
    cache: Path | None = None,
    splits: Mapping[str, str | None] | None = None,
    encoding: str | None = None,
) -> str:
    """Content hash of a data set that `tlx.data.tables.read_tables` reads.

    Of a local one: names (relative to its folder) and contents of its tables, of the images and clips that they refer
    to, and of the files of an image or audio folder; of all splits there, or of those in `splits` alone. Of hub:NAME:
    name, subset and commit (or the revision as given, where it cannot be resolved).

    Raises:
        UserError: as `read_tables`, as far as the files are concerned.
    """
    if name := hub.hub_name(path):
        words = ["hub", name, subset or "", hub.commit(name, revision, offline_ok=True) or revision or ""]
        return hashlib.sha256("\0".join(words).encode()).hexdigest()
    root, files = tables.data_files(path, subset, splits, encoding)
    return combined(files, root, cache)
