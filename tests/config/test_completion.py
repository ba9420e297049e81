"""Shell completion: what the shells' protocols are answered for verbs, options, groups and choices, and how soon."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tlx.config.completion import proposals
from tlx.config.place import CONFIG_DIR

SCRIPT = (
    "import sys\n"
    "sys.argv[0] = 'tlx'\n"
    "from tlx.cli import main\n"
    "try: main()\n"
    "finally: print(*sys.modules, file=sys.stderr)\n"
)
BREAKS = "="  # of bash's COMP_WORDBREAKS, what overrides have


def asked(shell: str, line: str, **environment: str) -> tuple[list[str], list[str]]:
    """What a shell is told when TAB is pressed at the end of a line; and the modules that were imported for it."""
    environment = {key: value for key, value in os.environ.items() if key != "TLX_CONFIG_DIR"} | environment
    environment["_TLX_COMPLETE"] = f"complete_{shell}"
    if shell == "bash":
        words = shlex.split(line.replace(BREAKS, f" {BREAKS} "))
        words += [""] if line.endswith(" ") else []
        environment |= {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    else:
        environment |= {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.split(), done.stderr.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_verbs_and_options(shell: str) -> None:
    assert "train" in " ".join(asked(shell, "tlx tr")[0])
    assert "--config-dir" in " ".join(asked(shell, "tlx train --conf")[0])


@pytest.mark.parametrize(
    ("line", "proposed"),
    [
        ("tlx train strategy=gra", "gradual_unfreezing"),
        ("tlx train strategy=", "scratch full lora ewc"),
        ("tlx train seed=1 -m model=tiny_te", "tiny_text"),
        ("tlx train strategy=full,gra", "full,gradual_unfreezing"),
        ("tlx plan logger=[csv,tens", "[csv,tensorboard"),
        ("tlx plan hydra/launcher=sl", "slurm"),
        ("tlx train da", "dataset=digits dataset=trec"),
        ("tlx train s", "strategy= scheduler="),
    ],
)
def test_groups_and_choices(line: str, proposed: str) -> None:
    bash, _ = asked("bash", line)
    assert set(proposed.split()) <= set(bash), bash
    key = line.rpartition(" ")[2].partition("=")[0] + "=" if "=" in line.rpartition(" ")[2] else ""
    for shell in ("zsh", "fish"):
        text = " ".join(asked(shell, line)[0])
        assert all(f"{key}{word}" in text for word in proposed.split()), text


def test_the_users_own_folder(tmp_path: Path) -> None:
    (tmp_path / "strategy").mkdir()
    (tmp_path / "strategy/gentle.yaml").write_text("broken: [")
    (tmp_path / "strategy/notes.txt").write_text("")
    assert "gentle" in asked("bash", "tlx train strategy=", TLX_CONFIG_DIR=str(tmp_path))[0]
    assert asked("bash", f"tlx train --config-dir {tmp_path} strategy=gen")[0] == ["gentle"]
    assert "full" in asked("bash", f"tlx train --config-dir {tmp_path}/no strategy=")[0]
    assert asked("bash", "tlx train strategy=gen")[0] == []


def test_nothing_to_propose() -> None:
    for line in ("tlx train sead=", "tlx train nonsense", "tlx train optimizer.lr=1e-"):
        assert asked("bash", line)[0] == [], line
    assert proposals([], "=", [CONFIG_DIR]) == [] and proposals(["="], "", [Path("/no/such")]) == []
    assert proposals([], "strategy=full,ful", [CONFIG_DIR]) == [], "what is chosen already"


def test_a_shell_does_not_wait() -> None:
    seconds = []
    for _ in range(3):
        start = os.times()
        _, modules = asked("bash", "tlx train strategy=")
        end = os.times()  # the processor's time: whatever else the machine does
        seconds.append(end.children_user + end.children_system - start.children_user - start.children_system)
        assert not {"torch", "hydra", "lightning", "yaml", "omegaconf"} & set(modules)
    assert min(seconds) < 0.5, seconds


def test_the_scripts_can_be_shown_and_installed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'tlx'; from tlx.cli import main; main()"]
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    shown = subprocess.run(
        [*command, "--show-completion", "bash"], env=environment, capture_output=True, text=True, check=True
    )
    assert "_TLX_COMPLETE=complete_bash" in shown.stdout
    installed = subprocess.run(
        [*command, "--install-completion", "bash"], env=environment, capture_output=True, text=True, check=True
    )
    assert "installed" in installed.stdout and "tlx" in (tmp_path / ".bashrc").read_text()
    wrong = subprocess.run(
        [*command, "--show-completion", "bsh"], env=environment, capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2 and wrong.stderr.startswith("tlx: ") and "Traceback" not in wrong.stderr
