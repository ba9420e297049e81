"""What a run is done with: versions of Python, tlx, its code and the main libraries."""

import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

VERSION = "0.1.0"
PACKAGES = ("torch", "lightning", "transformers", "timm", "peft", "numpy", "scikit-learn")


def versions() -> dict[str, Any]:
    """Versions of Python, tlx, its code (git commit, dirty or not; null outside a checkout) and the main libraries."""
    return {"python": sys.version.split()[0], "tlx": VERSION, **code_version(), **_packages()}


@cache
def _packages() -> dict[str, str | None]:
    """Reading them takes some 10 ms, and a record is written three times and more."""
    found: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


_CODE: dict[str, Any] = {}


def code_version() -> dict[str, Any]:
    """{"code": commit, "dirty": uncommitted changes} of the checkout that tlx comes from; asked once per process."""
    if not _CODE:
        root = Path(__file__).resolve().parents[2]

        def git(*args: str) -> str | None:
            try:
                done = subprocess.run(["git", "-C", str(root), *args], capture_output=True, text=True, timeout=10)
            except (OSError, subprocess.TimeoutExpired):
                return None
            return done.stdout.strip() if done.returncode == 0 else None

        commit = git("rev-parse", "HEAD") if (root / ".git").exists() else None
        _CODE.update(code=commit, dirty=bool(git("status", "--porcelain", "tlx", "configs")) if commit else None)
    return _CODE
