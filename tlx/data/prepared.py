"""Examples encoded once: every run of the same data and preprocessing reads them from one memory-mapped store.

What the store holds depends on nothing but its key: the contents of the inputs, the preprocessing and its code, and the
libraries that decode. So it changes no result, and runs of other seeds, strategies and models share it.
"""

import hashlib
import inspect
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from tlx.cache.contents import feed
from tlx.cache.stores import limit_of, make_room, making, prepared_folder, remove, remove_drafts
from tlx.config.own_code import code_hash
from tlx.data.cuts import UNKNOWN, encode_one
from tlx.data.dataset import Data, Part, encode, one_thread
from tlx.data.encoded import ROW, Encoded, Unfit, fits, size_of, write
from tlx.errors import UserError, out_of_space
from tlx.record.hashes import file_hashes

# Encoded bytes below which there is no store: to encode them takes no longer than to find one, some hundredths of a
# second. (Texts: the tokens of some ten thousand short ones.)
LEAST = {"text": 2 * 10**6, "image": 2 * 10**5, "audio": 10**6}
# Of a training pool this share or more: the whole pool is encoded, for all seeds' subsets. Of less: the subset alone.
SHARE = 1 / 4
LOOKED_AT = 8  # examples from whose size that of all is estimated
FORMAT = 2  # to be raised when the files are written in another way
LIBRARIES = ("numpy", "torch", "torchaudio", "soundfile", "torchvision", "pillow", "timm", "tokenizers", "transformers")


def prepare_part(config: dict[str, Any], data: Data, name: str, preprocessing: Any) -> Sequence[Any]:
    """The encoded examples of a run's train, validation or test part.

    Raises:
        UserError: an example that cannot be decoded, by its id.
    """
    if name == "train":
        return prepare_train(config, data, preprocessing)
    return prepare(config, getattr(data, name), preprocessing, name)


def prepare_train(config: dict[str, Any], data: Data, preprocessing: Any) -> Sequence[Any]:
    """The encoded training examples; see SHARE for how runs with different ones share their work."""
    if len(data.train) < SHARE * len(data.train_pool):
        return prepare(config, data.train, preprocessing, "train")
    return prepare(config, data.train, preprocessing, "train", data.train_pool, data.train_rows)


def prepare(
    config: dict[str, Any],
    part: Part,
    preprocessing: Any,
    name: str,
    pool: Part | None = None,
    rows: np.ndarray | None = None,
) -> Sequence[Any]:
    """`encode(part, preprocessing)`: from a store of `pool` at `rows`, or of the part itself, made where there is none.

    Encoded here and now where they are too small for a store, where `cache_limit` or the disk has no room, or where it
    is not known what their encoding depends on. `name` is for `tlx cache list`.

    Raises:
        UserError: an example of the part that cannot be decoded, by its id. Others of the pool do not matter.
    """
    store = _store(config, part if pool is None else pool, preprocessing, name)
    if store is None:
        return encode(part, preprocessing)
    found = store if rows is None else store.take(rows)
    bad = np.flatnonzero(found.lengths < 0)
    if len(bad):
        encode(part.take(bad), preprocessing)  # says which, and why
        return encode(part, preprocessing)  # it was not the example's fault
    return found


def _store(config: dict[str, Any], part: Part, preprocessing: Any, name: str) -> Encoded | None:
    """The store of all examples of `part`, or None."""
    cache, modality = Path(config["paths"]["cache"]), config["model"]["modality"]
    size = _estimate(part, preprocessing)
    if size < LEAST[modality]:
        return None
    key = _key(part, preprocessing, modality, cache / "fingerprints.json")
    if key is None:
        return None
    root = prepared_folder(cache)
    if store := _opened(root / key):
        return store
    with making(root, key):
        if store := _opened(root / key):
            return store
        if not make_room(root, size + ROW * len(part), limit_of(config)):
            return None
        about = {"part": name, "examples": len(part), "modality": modality}
        try:
            made = Encoded(write(root, key, _encoding(part, preprocessing), about))
        except BaseException as error:
            remove_drafts(root, [key])
            if isinstance(error, Unfit) or (isinstance(error, OSError) and out_of_space(error)):
                return None
            raise
        files = modality != "text" and any(isinstance(raw, str) for raw in part.inputs)
        if files and _key(part, preprocessing, modality, cache / "fingerprints.json") != key:  # replaced meanwhile
            remove(root / key)
            return None
        return made


def _opened(folder: Path) -> Encoded | None:
    """A store that somebody else has made."""
    store = Encoded.open(folder)
    if store is not None:
        store.shared = store.about["seconds"]
    return store


def _encoding(part: Part, preprocessing: Any) -> Iterator[tuple[Any, int, int]]:
    """Each example with its length and whether it was cut; None for one that cannot be decoded."""
    with one_thread():
        for raw in part.inputs:
            try:
                example, cut = encode_one(preprocessing, raw)
            except UserError:
                yield None, 0, UNKNOWN
            else:
                yield example, preprocessing.length(example), cut


def _estimate(part: Part, preprocessing: Any) -> int:
    """Bytes of all examples, by some from the first to the last; 0 for such as cannot be kept."""
    some = part.take(np.unique(np.linspace(0, len(part) - 1, LOOKED_AT).astype(int)))
    examples = [example for example, *_ in _encoding(some, preprocessing) if example is not None]
    if not examples or not all(map(fits, examples)):
        return 0
    return sum(map(size_of, examples)) * len(part) // len(examples)


def _key(part: Part, preprocessing: Any, modality: str, known: Path) -> str | None:
    """Hash of all that decides what the encoded examples are; None where that cannot be said.

    `known` remembers the hashes of files.
    """
    code = _code(type(preprocessing))
    if code is None or not all(map(_has_content, part.inputs)):
        return None
    files: dict[str, str] = {}
    if modality != "text":
        names = {raw for raw in part.inputs if isinstance(raw, str)}
        try:
            hashes = file_hashes(map(Path, names), known)
        except UserError:  # a file is missing; encoding says which example needs it
            return None
        files = {name: hashes[Path(name)] + Path(name).suffix for name in names}
    digest = hashlib.sha256()
    feed(digest, [FORMAT, modality, preprocessing.key(), code, *_versions(modality)])
    for raw in part.inputs:
        feed(digest, files.get(raw, raw) if isinstance(raw, str) else raw)
    return digest.hexdigest()[:32]


def _has_content(raw: Any) -> bool:
    """Whether an input is hashed by what it holds."""
    if isinstance(raw, (tuple, list)):
        return all(map(_has_content, raw))
    return isinstance(raw, (str, bytes, int, float, np.ndarray, np.generic))


def _code(kind: type) -> str | None:
    """The source of the modules that a preprocessing's class and its bases are defined in; None where there is none."""
    modules = {base.__module__ for base in kind.__mro__ if base.__module__ not in ("builtins", "typing", "abc")}
    try:
        sources = [inspect.getsource(sys.modules[name]) for name in sorted(modules)]
        own = code_hash(modules)  # and what the user's own modules import
        return "\n".join([*sources, *([own] if own else [])])
    except (OSError, TypeError, KeyError):  # made in an interactive session, or compiled
        return None


@cache
def _versions(modality: str) -> list[str]:
    """The libraries that encode; below them those of the system, and the processor that the last bits depend on."""
    import torch

    found = [torch.backends.cpu.get_cpu_capability()]
    for library in LIBRARIES:
        try:
            found.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            found.append(f"no {library}")
    if modality == "audio" and "no soundfile" not in found:
        import soundfile

        found.append(str(soundfile.__libsndfile_version__))
    if modality == "image":
        from PIL import features

        found += [str(features.version(codec)) for codec in ("jpg", "zlib", "libtiff", "webp")]
    return found
