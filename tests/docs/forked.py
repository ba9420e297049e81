"""One `tlx` command, in a folder; run by path in a process that has done tlx's imports, see test_pages.py."""

import os
import sys

words, folder = globals()["given"]

os.chdir(folder)
for number, name in ((1, ".out"), (2, ".err")):
    os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
if words[0] == "PYTHONPATH=.":
    sys.path.insert(0, folder)
    words = words[1:]
for variable in [name for name in os.environ if name.startswith(("PYTEST", "TLX_"))]:
    del os.environ[variable]
if words[1] == "train" and "--dry-run" not in words and "--cfg" not in words:
    words = [*words, "hydra.launcher.backend=in_process"]
sys.argv = words

import torch  # noqa: E402

from tlx.cli import main  # noqa: E402

torch.set_num_threads(1)
main()
