"""The pages build without a network and without a warning, and what they load lies beside them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Whoever opens a connection ends the build.
NO_NETWORK = """
import socket, sys
def refuse(*args, **kwargs):
    raise SystemExit(f"the build asks the network for {args[1:]}")
socket.socket.connect = socket.socket.connect_ex = refuse
socket.getaddrinfo = refuse
from mkdocs.__main__ import cli
cli(["build", "--strict", "--site-dir", sys.argv[1]])
"""


@pytest.mark.slow
def test_pages_build(tmp_path: Path) -> None:
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-c", NO_NETWORK, str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "WARNING" not in said and "ERROR" not in said, said
    html = sorted((tmp_path / "site").rglob("*.html"))
    assert len(html) > len(list((ROOT / "docs").rglob("*.md")))  # and 404.html
    for file in html:
        loaded = re.findall(r"<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=\"?([^\"\s>]+)", file.read_text())
        assert loaded and not [place for place in loaded if re.match(r"(https?:)?//", place)], file
