"""Small data sets that tlx makes itself: no network, no files to ship, the same bytes each time.

Each module has `make(folder)`, which writes ordinary parquet files (one a split) into an existing empty folder. From
there they are read by the code that reads any local data set; nothing else in tlx knows that they are bundled.
"""

import importlib.util
from pathlib import Path

import pandas as pd

from tlx.errors import UserError


def write_split(folder: Path, split: str, rows: pd.DataFrame) -> None:
    """Write `rows` to `folder/<split>.parquet` (zstd, no index).

    The writer stores no time of day, so equal rows give equal bytes under the same versions of pandas and pyarrow.
    """
    rows.to_parquet(folder / f"{split}.parquet", engine="pyarrow", compression="zstd", index=False)


def package_folder(name: str) -> Path:
    """The folder of an installed package, found without importing it.

    Raises:
        UserError: the package is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            f"the bundled data are made from the files of the package '{name}', which is not installed here. "
            "It is a dependency of tlx: run `make setup`, or install tlx again with its dependencies."
        )
    return Path(next(iter(spec.submodule_search_locations)))
