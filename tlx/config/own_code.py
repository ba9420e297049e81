"""The user's own code behind a config's dotted names, and its content hash. Nothing of it is imported here.

Own is every module that belongs neither to tlx, whose version a record states, nor to Python, nor to an installed
library: those are recorded with their versions (`libraries`), not hashed. A package in the folder that one works in, or
installed as editable, is own code.
"""

import hashlib
import inspect
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tlx.errors import UserError
from tlx.record.hashes import file_hash, files_below

STDLIB = Path(sysconfig.get_path("stdlib")).resolve()
OURS = ("tlx", "hydra_plugins", "hydra", "omegaconf")  # whose versions are tlx's, or the lock's
# What a part is made of: `make` of a data set, and the functions of a model (`tlx.models.module.ModuleBackbone`).
KEYS = ("_target_", "make", "features", "layer_groups", "read_weights")
# Imports wherever they stand; what a docstring seems to import costs no more than a look for it.
IMPORTS = re.compile(rb"(?:^|[;:])[ \t]*(?:from[ \t]+(\w+)[\w.]*[ \t]+import\b|import[ \t]+([^;#\n]+))", re.MULTILINE)
# Modules that are imported: what stood in their files, by the spec that they were imported by (a reload makes another).
_IMPORTED: dict[str, tuple[Any, str]] = {}
_SEEN: dict[str, str] = {}  # what stood in the file of each module when it was last looked at


def dotted_names(node: Any) -> Iterator[str]:
    """All names of Python objects in a config: `_target_`, the further KEYS, and what Hydra's own targets take."""
    if isinstance(node, list):
        for part in node:
            yield from dotted_names(part)
    elif isinstance(node, dict):
        target = node.get("_target_")
        for key, value in node.items():
            named = key in KEYS or (key == "path" and str(target).startswith("hydra.utils."))
            if named and isinstance(value, str) and "." in value:
                yield value
            else:
                yield from dotted_names(value)


def code_hash(names: Iterable[str]) -> str | None:
    """Hash of the own code behind dotted names and of all own code that it imports; None where there is none.

    It counts by whole packages (every source file and compiled module below the top-level one) and, where a module
    stands alone, by its file.

    Raises:
        UserError: a module was imported by this process and edited since; or it has no file that could be hashed.
    """
    waiting = sorted({name.partition(".")[0] for name in names})
    tops: dict[str, dict[str, tuple[Path, str]]] = {}
    interactive = sorted({name for name in names if name.partition(".")[0] == "__main__"})
    while waiting:
        top = waiting.pop()
        if top in tops or top == "__main__" or not is_own(top):
            continue
        tops[top] = {name: (file, file_hash(file)) for name, file in _files(top).items()}
        for file, _ in tops[top].values():
            waiting += _imports(file)
    if not tops and not interactive:
        return None
    digest = hashlib.sha256()
    for top in sorted(tops):
        _check_imported(tops[top])
        for name, (_, content) in sorted(tops[top].items()):
            digest.update(f"{name} {content}\n".encode())
    for name in interactive:
        digest.update(f"{name} {_source_in_main(name)}\n".encode())
    return digest.hexdigest()


def libraries(names: Iterable[str]) -> dict[str, str]:
    """Versions of the installed libraries behind dotted names, by distribution."""
    found = {}
    for top in sorted({name.partition(".")[0] for name in names}):
        if top not in OURS and top not in sys.stdlib_module_names and not is_own(top):
            for distribution in distributions(top):
                found[distribution] = version(distribution)
    return found


def is_own(name: str) -> bool:
    """Whether a module is the user's own code; False for one that is not there."""
    top = name.partition(".")[0]
    if top in OURS or top in sys.stdlib_module_names:
        return False
    where = places(top)
    return bool(where) and not (all(map(installed, where)) and distributions(top))


def places(top: str) -> list[Path]:
    """The folders of a top-level package, or the file of a module that stands alone; [] where it is not there."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):  # ValueError: made in memory
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(place) for place in spec.submodule_search_locations]
    return [Path(spec.origin)] if spec.has_location and spec.origin else []


def installed(place: Path) -> bool:
    """Whether it lies where installers put libraries, or Python its own."""
    real = place.resolve()
    return not {"site-packages", "dist-packages"}.isdisjoint(real.parts) or real.is_relative_to(STDLIB)


@cache
def distributions(top: str) -> tuple[str, ...]:
    """The distributions that a top-level module of an installed library belongs to."""
    try:
        version(top)
        return (top,)
    except PackageNotFoundError:
        return tuple(sorted(set(packages_distributions().get(top, ()))))


def _files(top: str) -> dict[str, Path]:
    """All code files of a top-level package or module, by name from it."""
    endings = (*SOURCE_SUFFIXES, *EXTENSION_SUFFIXES)
    found: dict[str, Path] = {}
    for place in places(top):
        if place.is_file():
            found[top] = place
        for file in files_below(place, lambda name: name != "__pycache__"):  # linked ones are imported, too
            if file.name.endswith(endings):
                found[f"{top}/{file.relative_to(place).as_posix()}"] = file
    return found


def _imports(file: Path) -> set[str]:
    """The top-level modules that a source file imports."""
    if file.suffix not in SOURCE_SUFFIXES:
        return set()
    found = set()
    for line in IMPORTS.finditer(file.read_bytes()):
        names = [line[1]] if line[1] else [part.strip() for part in line[2].split(b",")]
        found |= {match[0].decode() for name in names if (match := re.match(rb"\w+", name))}
    return found


def _check_imported(files: dict[str, tuple[Path, str]]) -> None:
    """Compare what this process has imported with what stands in its files now.

    Raises:
        UserError: a file was edited after its module was imported, so that neither the old nor the new code would be
            what the run's identity says.
    """
    by_file = {str(file.resolve()): name for name, (file, _) in files.items()}
    loaded = {}
    for module in list(sys.modules.values()):
        place = getattr(module, "__file__", None)
        if place and (name := by_file.get(str(Path(place).resolve()))):
            loaded[name] = module
    for name, (file, content) in files.items():
        spec = getattr(loaded.get(name), "__spec__", None)
        if spec is not None:
            known = _IMPORTED.get(name)
            if known is None or known[0] is not spec:  # imported since we last looked, and then as it stood before
                known = _IMPORTED[name] = (spec, _SEEN.get(name, content) if known is None else content)
            if known[1] != content:
                raise UserError(
                    f"{file} was edited after this process had imported it: what would run is the old code. Start "
                    "Python anew, or importlib.reload its module."
                )
        _SEEN[name] = content


def _source_in_main(name: str) -> str:
    """The source of an object that the main program or a notebook defines."""
    found: Any = sys.modules["__main__"]
    try:
        for part in name.split(".")[1:]:
            found = getattr(found, part)
        return inspect.getsource(found)
    except (AttributeError, OSError, TypeError) as error:
        raise UserError(
            f"{name}: there is no file with this code, so that nobody could say what a run was made of: put it into a "
            "module of its own."
        ) from error
