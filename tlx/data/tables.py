"""Data sets in standard formats as tables: one DataFrame per split, inputs still encoded (text, bytes, file paths)."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from tlx.data import media, table_files
from tlx.data.class_folders import Classes, find_classes, read_classes
from tlx.data.hub import hub_name, read_hub
from tlx.data.named_splits import choose_splits
from tlx.errors import UserError, nearest

SHARD = re.compile(r"-\d{5}-of-\d{5}$")
Groups = dict[str, list[Path]]


def read_tables(
    path: str,
    *,
    modality: str,
    splits: Mapping[str, str | None],
    revision: str | None = None,
    subset: str | None = None,
    encoding: str | None = None,
    texts: Collection[str] = (),
) -> dict[str, pd.DataFrame]:
    """One DataFrame per split role (train, validation, test), or one under "all" where the data has no splits.

    `path` is one of:
        hub:owner/name, a data set of the Hugging Face hub (`subset`, `revision`);
        a table file, or a folder of them: NAME.parquet|csv|tsv|jsonl|npz, NAME-00000-of-00002.parquet, NAME/*.parquet
        (in the sub-folder `subset` or data/, where there is one, as in a downloaded hub data set);
        a folder of images or clips, CLASS/FILE or SPLIT/CLASS/FILE, giving the columns `image` (or `audio`) and
        `label` (see `class_folders`).
    `splits` maps each role to its name in the data, or to None where the data has no such split. In tables, file paths
    are made absolute (they are relative to the table's folder), and hub-style {"bytes", "path"} cells are unpacked.
    `encoding` and `texts` (columns of csv files that stay as they are written) are explained in `table_files`.

    Raises:
        UserError: missing path, split or file; nothing readable; a damaged or empty table.
    """
    if name := hub_name(path):
        frames = read_hub(name, splits, revision, subset)
        frames = {role: media.unpack(frame, modality, Path()) for role, frame in frames.items()}
    else:
        root, groups, classes = _layout(path, subset)
        chosen = choose_splits(list(groups), splits, str(root))
        frames = {
            role: _read_group(groups[name], modality, encoding, texts)
            if classes is None
            else read_classes(classes[name], modality)
            for role, name in chosen.items()
        }
    for role, frame in frames.items():
        if frame.empty:
            raise UserError(f"{path}: the table '{role}' has no rows.")
    return frames


def data_files(
    path: str,
    subset: str | None = None,
    splits: Mapping[str, str | None] | None = None,
    encoding: str | None = None,
) -> tuple[Path, list[Path]]:
    """The folder of a local data set, and all files that its content depends on, with those that tables refer to."""
    root, groups, classes = _layout(path, subset)
    if splits is not None:
        chosen = choose_splits(list(groups), splits, str(root)).values()
        groups = {name: files for name, files in groups.items() if name in chosen}
    files = [file for group in groups.values() for file in group]
    if classes is None:
        files += sorted({reference for file in files for reference in media.references(file, encoding)} - set(files))
    return root, files


def _layout(path: str, subset: str | None) -> tuple[Path, Groups, dict[str, Classes] | None]:
    """The folder, its readable files by split (or whatever they are named after), and, if no tables, by class."""
    root = Path(path).expanduser().absolute()
    if root.is_file():
        if root.suffix not in table_files.ENDINGS:
            raise UserError(f"{root} is no table: known endings are {', '.join(table_files.ENDINGS)}.")
        return root.parent, {"all": [root]}, None
    if not root.is_dir():
        near = nearest(root.name, [f.name for f in root.parent.iterdir()]) if root.parent.is_dir() else None
        raise UserError(f"no such file or folder: {root}." + (f" Did you mean {root.parent / near}?" if near else ""))
    if subset and (root / subset).is_dir():
        root = root / subset
    groups = _table_groups(root)
    if list(groups) == ["data"] and groups["data"][0].parent != root:
        root = root / "data"
        groups = _table_groups(root)
    if groups:
        return root, groups, None
    classes = find_classes(root)
    if not classes:
        raise UserError(
            f"nothing readable in {root}: needed are tables ({', '.join(table_files.ENDINGS)}) named after their "
            "split, or folders of images or clips, CLASS/FILE or SPLIT/CLASS/FILE."
        )
    return root, {split: [f for c in of_it.values() for f in c.readable] for split, of_it in classes.items()}, classes


def _table_groups(root: Path) -> Groups:
    """Tables in `root` by name without shard number, and tables in its sub-folders by sub-folder."""
    groups: Groups = {}
    for file in sorted(root.iterdir()):
        if file.name.startswith("."):
            continue
        if file.is_dir():
            found = sorted(f for f in file.iterdir() if f.suffix in table_files.ENDINGS and not f.name.startswith("."))
        else:
            found = [file] if file.suffix in table_files.ENDINGS else []
        if not found:
            continue
        name = file.name if file.is_dir() else SHARD.sub("", file.stem)
        same = groups.setdefault(name, [])
        if same and not (SHARD.search(file.stem) and SHARD.search(same[0].stem) and file.suffix == same[0].suffix):
            raise UserError(f"{root} has two sources for '{name}': {same[0].name} and {file.name}. Remove one of them.")
        same += found
    return groups


def _read_group(files: Sequence[Path], modality: str, encoding: str | None, texts: Collection[str]) -> pd.DataFrame:
    tables = [table_files.read_table(file, encoding=encoding, texts=texts) for file in files]
    frames = [media.unpack(table, modality, file.parent) for table, file in zip(tables, files, strict=True)]
    for file, frame in zip(files, frames, strict=True):
        if set(frame.columns) != set(frames[0].columns):
            differ = set(frame.columns) ^ set(frames[0].columns)
            raise UserError(
                f"{file} and {files[0].name} have different columns: {', '.join(sorted(map(str, differ)))}."
            )
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
