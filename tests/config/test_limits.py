"""Yamls from somewhere else: refused in words where they hold themselves or more than memory does; no code runs."""

from pathlib import Path

import pytest

from tlx.config.composer import composer
from tlx.config.limits import check_yaml
from tlx.config.place import CONFIG_DIR
from tlx.errors import UserError

ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 12)
)
REFERENCES = "a0: [x, x]\n" + "".join(
    f"a{n}: ['${{strategy.a{n - 1}}}', '${{.1}}x', '${{strategy.a{n - 1}}}']\n" for n in range(1, 40)
)
TEXT = "a0: 'x'\n" + "".join(f"a{n}: '${{.a{n - 1}}}${{strategy.a{n - 1}}}'\n" for n in range(1, 60))


def write(folder: Path, group: str, name: str, text: str) -> None:
    (folder / group).mkdir(parents=True, exist_ok=True)
    (folder / group / f"{name}.yaml").write_text(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("defaults: [strange, _self_]\n", "leads back to itself"),
        ("defaults: [full, _self_]\n" + ALIASES, "by its aliases"),
        ("defaults: [full, _self_]\n" + TEXT, "by its references"),
        ("defaults: [full, _self_]\n" + REFERENCES, "by its references"),
        ("defaults: [full, _self_]\na: &a [1, *a]\n", "names holds the alias"),
        ("defaults: [full, _self_]\na: " + "[" * 5000 + "]" * 5000 + "\n", "too deep|cannot be"),
        ("defaults: [full, _self_]\nmixout: ${strategy.mixout}\n", "cannot be|holds itself"),
    ],
)
def test_a_yaml_that_no_memory_holds(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, "strategy", "strange", text)
    with pytest.raises(UserError, match=message), composer(str(tmp_path)) as compose:
        compose(["strategy=strange"])


def test_two_yamls_that_begin_with_each_other(tmp_path: Path) -> None:
    write(tmp_path, "strategy", "one", "defaults: [two, _self_]\n")
    write(tmp_path, "strategy", "two", "defaults: [one, _self_]\n")
    with pytest.raises(UserError, match="leads back to itself"), composer(str(tmp_path)) as compose:
        compose(["strategy=one"])


def test_our_own_yamls_and_modest_aliases_are_fine(tmp_path: Path) -> None:
    yamls = list(CONFIG_DIR.rglob("*.yaml"))
    assert len(yamls) > 90
    for file in yamls:
        check_yaml(file)
    write(tmp_path, "strategy", "modest", "defaults: [full, _self_]\nlonger: &a 3\nmixout: *a\n")
    with composer(str(tmp_path)) as compose:
        assert compose(["strategy=modest"]).config["strategy"]["mixout"] == 3


@pytest.mark.parametrize(
    ("group", "text"),
    [
        ("hydra/callbacks", "x: {_target_: os.system, command: 'touch PWNED'}\n"),
        (
            "hydra/launcher",
            "_target_: hydra._internal.core_plugins.basic_launcher.BasicLauncher\n"
            "x: {_target_: os.system, command: 'touch PWNED'}\n",
        ),
    ],
)
def test_what_hydra_would_build_runs_no_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "stranger", group, "strange", text)
    words = [f"{group}=strange", *(["hydra/launcher=basic"] if "callbacks" in group else [])]
    with composer(str(tmp_path / "stranger")) as compose, pytest.raises(UserError, match="not allowed"):
        compose.launch(words, [["seed=0"]], print)
    assert not (tmp_path / "PWNED").exists()
