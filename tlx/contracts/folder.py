"""The yamls of a folder of configs, by group; what lies in it and is none. No torch here."""

import difflib
from dataclasses import dataclass
from pathlib import Path

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from tlx.config.limits import check_yaml
from tlx.config.messages import GROUPS
from tlx.errors import UserError, one_line

FURTHER = ("hydra/launcher", "hydra/sweeper")
KNOWN = (*GROUPS, *FURTHER)


@dataclass(frozen=True)
class Yaml:
    """A choice of a group: `GROUP=NAME` takes the yaml in `file`."""

    group: str
    name: str
    file: Path


@dataclass(frozen=True)
class Folder:
    """The yamls of known groups in `place`, group by group; `strays` are (file, why it is never read)."""

    place: Path
    yamls: tuple[Yaml, ...]
    strays: tuple[tuple[str, str], ...]


def read_folder(folder: Path) -> Folder:
    """What a folder of configs holds; each yaml is read once.

    Raises:
        UserError: there is no such folder, it holds no yaml of a known group, or a yaml cannot be read.
    """
    if not folder.is_dir():
        what = "a file" if folder.exists() else "not there"
        raise UserError(
            f"no such folder of configs: {folder} is {what}. Give the folder that you name with --config-dir; in it "
            "lie model/NAME.yaml, strategy/NAME.yaml and so on."
        )
    yamls, strays = [], []
    for file in sorted(p for p in folder.rglob("*") if p.suffix in (".yaml", ".yml") and p.is_file()):
        inside = file.relative_to(folder)
        if any(part.startswith(".") for part in inside.parts):
            continue
        group = next((g for g in KNOWN if inside.as_posix().startswith(f"{g}/")), None)
        if group is None:
            strays.append((inside.as_posix(), _why_stray(inside)))
        elif file.suffix == ".yml":
            strays.append((inside.as_posix(), f"Hydra reads .yaml alone: call it {inside.with_suffix('.yaml')}"))
        else:
            yamls.append(Yaml(group, inside.relative_to(group).with_suffix("").as_posix(), file))
    if not yamls:
        found = "; ".join(f"{name}: {why}" for name, why in strays[:5]) or "it holds no .yaml file at all"
        raise UserError(
            f"{folder} has no yaml of a known group ({found}). Groups are folders: {', '.join(KNOWN)}; a yaml in one "
            "of them is a choice, as model/NAME.yaml is model=NAME."
        )
    for found_yaml in yamls:
        _read(found_yaml.file)
    return Folder(folder, tuple(sorted(yamls, key=lambda y: (KNOWN.index(y.group), y.name))), tuple(strays))


def misspelt(group: str) -> str | None:
    """The known group that the name of a folder is near to."""
    return next(iter(difflib.get_close_matches(group, KNOWN, n=1, cutoff=0.7)), None)


def _why_stray(inside: Path) -> str:
    group = inside.parent.as_posix()
    if inside.as_posix() == "train.yaml":
        return f"it stands for tlx's own {inside} wherever your folder is named"
    if group == ".":
        return "it lies in no group: move it into the folder of one"
    if match := misspelt(group):
        return f"'{group}' is no group: did you mean '{match}'?"
    return f"'{group}' is no group of tlx: only a yaml that names it in its defaults reads it"


def _read(file: Path) -> None:
    check_yaml(file)
    try:
        OmegaConf.load(file)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} cannot be read as yaml: {one_line(error)}.") from error
