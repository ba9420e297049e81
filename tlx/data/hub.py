"""Data sets of the Hugging Face hub, named hub:owner/name; without network they fail at once and say what to do."""

import functools
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from tlx.data.named_splits import choose_splits
from tlx.data.table_files import name_labels
from tlx.errors import UserError

TIMEOUT = 10.0  # seconds to wait for the hub


def hub_name(path: str) -> str | None:
    """owner/name of hub:owner/name, or None for a local path."""
    return str(path).removeprefix("hub:") if str(path).startswith("hub:") else None


def _advice(name: str, revision: str | None) -> str:
    at = f" --revision {revision}" if revision else ""
    return (
        f"On a machine with network run `hf download --repo-type dataset {name}{at} --local-dir FOLDER` (or save each "
        "split as train.parquet, test.parquet, … in FOLDER), copy FOLDER here, and give dataset.path=FOLDER."
    )


def commit(name: str, revision: str | None, offline_ok: bool) -> str | None:
    """The commit that `revision` (None: the main branch) of a hub data set stands for.

    Where the hub is switched off (HF_HUB_OFFLINE=1), the one last downloaded, or None. With `offline_ok` the same holds
    where the hub cannot be reached.

    Raises:
        UserError: no such data set or revision, or (without `offline_ok`) no answer.
    """
    if revision and re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError, RevisionNotFoundError

    try:
        return _ask(name, revision)
    except OfflineModeIsEnabled:
        return _remembered(name, revision)
    except RevisionNotFoundError as error:
        raise UserError(f"hub:{name} has no revision '{revision}'.") from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"there is no data set '{name}' on the hub, or it is private (then log in: hf auth login)."
        ) from error
    except Exception as error:  # whatever the network layer raises: its classes differ between versions
        if offline_ok:
            return _remembered(name, revision)
        raise UserError(
            f"hub:{name} cannot be reached ({type(error).__name__}: {error}). {_advice(name, revision)} "
            "If it was downloaded on this machine before, HF_HUB_OFFLINE=1 uses that copy."
        ) from error


@functools.cache  # one answer per process, so that a run's fingerprint and its data are of the same commit
def _ask(name: str, revision: str | None) -> str | None:
    from huggingface_hub import HfApi

    return HfApi().dataset_info(name, revision=revision, timeout=TIMEOUT).sha


def _remembered(name: str, revision: str | None) -> str | None:
    """The commit in the local cache of huggingface_hub, if it holds one."""
    from pathlib import Path

    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    folder = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="dataset")
    reference = folder / "refs" / (revision or "main")
    return reference.read_text().strip() if reference.is_file() else None


def read_hub(
    name: str, splits: Mapping[str, str | None], revision: str | None, subset: str | None
) -> dict[str, pd.DataFrame]:
    """One frame per split role; images and audio stay encoded, class labels become their names.

    Raises:
        UserError: the `datasets` package is missing, no network, no such data set, subset or split.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(
            f"hub:{name} needs the package `datasets`: pip install 'tlx[hub]'. Or without it: {_advice(name, revision)}"
        ) from error
    found = commit(name, revision, offline_ok=False)
    try:
        parts = datasets.load_dataset(name, subset, revision=found or revision)
    except Exception as error:  # of many kinds; the reason is in the message
        raise UserError(f"hub:{name} cannot be loaded: {error}. {_advice(name, revision)}") from error
    frames = {}
    for role, split in choose_splits(list(parts), splits, f"hub:{name}").items():
        part = parts[split]
        for column, feature in part.features.items():
            if isinstance(feature, (datasets.Image, datasets.Audio)):
                part = part.cast_column(column, type(feature)(decode=False))
        frames[role] = name_labels(_frame(part), part.features.to_dict())
    return frames


def _frame(part: Any) -> pd.DataFrame:
    frame = part.to_pandas()
    assert isinstance(frame, pd.DataFrame)
    return frame
