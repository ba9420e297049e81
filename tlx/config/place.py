"""Where tlx's own configs lie."""

from pathlib import Path

_HERE = Path(__file__).resolve().parents[1]
# In a wheel the configs lie inside the package; in a checkout beside it.
CONFIG_DIR = next(p for p in (_HERE / "configs", _HERE.parent / "configs") if (p / "train.yaml").is_file())
