"""A folder that the pages share, in which the bundled network is pretrained once, before any page is read."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock


@pytest.fixture(scope="session")
def docs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a registry and a cache; one for all worker processes of a session."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "docs"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "registry/tiny_vision/card.json").is_file():
            tlx = Path(sys.executable).with_name("tlx")
            subprocess.run([tlx, "plan", "dataset.train_size=4_per_class"], cwd=folder, check=True, capture_output=True)
    return folder
