"""Folders of images or clips: CLASS/FILE or SPLIT/CLASS/FILE, and what in them cannot be read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from tlx.data import media
from tlx.errors import UserError
from tlx.record.hashes import visible_files

# Files that lie beside the examples and were never meant to be one; a folder of nothing else is no class.
BESIDE = (
    *(".txt", ".md", ".rst", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".xml", ".html", ".pdf", ".log"),
    *(".csv", ".tsv", ".parquet", ".py", ".ipynb", ".ini", ".cfg", ".db", ".lnk"),
)
# Those among them whose names have no ending, in lower case; any other file without one may be an example.
NAMED = (
    *("readme", "license", "licence", "copying", "copyright", "notice", "authors", "contributors", "maintainers"),
    *("credits", "citation", "thanks", "changelog", "changes", "history", "news", "todo", "version", "install"),
    *("makefile", "dockerfile", "index", "manifest", "checksums", "md5sums", "sha1sums", "sha256sums"),
)
Classes = dict[str, "ClassFolder"]


@dataclass
class ClassFolder:
    """The files of a class in one split: those that some modality can read, and the others, whatever they are."""

    readable: list[Path]
    others: list[Path]


def find_classes(root: Path) -> dict[str, Classes]:
    """The class folders below `root` by split, or all under "all" where there are no splits; none: nothing readable.

    Raises:
        UserError: readable files at different depths.
    """
    endings = {ending for known in media.ENDINGS.values() for ending in known}
    files = [(f, f.relative_to(root).parts) for f in visible_files(root)]
    depths = {len(parts): f for f, parts in files if f.suffix.lower() in endings}
    if not depths:
        return {}
    if set(depths) not in ({2}, {3}):
        shown = " and ".join(str(f.relative_to(root)) for f in list(depths.values())[:2])
        raise UserError(
            f"in {root} every file must lie at CLASS/FILE, or every file at SPLIT/CLASS/FILE; found {shown}."
        )
    (depth,) = depths
    found: dict[str, Classes] = {}
    for file, parts in files:
        if len(parts) < depth:  # beside the folders
            continue
        split = found.setdefault("all" if depth == 2 else parts[0], {})
        folder = split.setdefault(parts[depth - 2], ClassFolder([], []))
        (folder.readable if file.suffix.lower() in endings else folder.others).append(file)
    return {split: classes for split, classes in found.items() if any(c.readable for c in classes.values())}


def read_classes(classes: Classes, modality: str) -> pd.DataFrame:
    """The columns `image` (or `audio`) and `label` of one split; `attrs["skipped"]` tells of what was passed over.

    That is {"files": how many, "endings": {ending: how many}, "first": one of them}, where there are any.

    Raises:
        UserError: no file of this modality, or a class without one, whose files would all be passed over.
    """
    known = media.ENDINGS.get(modality, ())
    kept, skipped = [], []
    for name, folder in classes.items():
        own = [f for f in folder.readable if f.suffix.lower() in known]
        passed = [f for f in (*folder.readable, *folder.others) if f.suffix.lower() not in known]
        meant = [f for f in passed if not _beside(f)]
        if meant and not own and any(f.suffix.lower() in known for c in classes.values() for f in c.readable):
            raise UserError(
                f"no file of the class '{name}' can be read: its {len(meant)} files, such as {meant[0]}, have endings "
                f"that are not known as {modality} ({_counted(meant)}). Save them as {' or '.join(known[:2])}, or move "
                "the folder away."
            )
        kept += own
        skipped += passed
    if not kept:
        first = next(f for c in classes.values() for f in c.readable)
        raise UserError(f"no {modality} file in {first.parent.parent}: it holds files like {first.name}.")
    frame = pd.DataFrame({modality: [str(f) for f in kept], "label": [f.parent.name for f in kept]})
    if skipped:
        frame.attrs["skipped"] = {"files": len(skipped), "endings": _endings(skipped), "first": skipped[0].name}
    return frame


def _beside(file: Path) -> bool:
    return file.suffix.lower() in BESIDE if file.suffix else file.name.lower() in NAMED


def _endings(files: Sequence[Path]) -> dict[str, Any]:
    return dict(Counter(f.suffix.lower() or "none" for f in files).most_common())


def _counted(files: Sequence[Path]) -> str:
    return ", ".join(f"{ending}: {count}" for ending, count in _endings(files).items())
