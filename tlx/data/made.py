"""Data sets that are made on first use, and kept beside hashes of what was written."""

import hashlib
import importlib.util
import json
import secrets
import shutil
from pathlib import Path

from tlx.cache.checksums import DamagedStore, note
from tlx.config.names import resolve
from tlx.config.own_code import code_hash
from tlx.record import hashes

HASHES = ".hashes.json"  # of the files, beside them; hidden, so that it is no part of the data


def make_bundled(make: str, cache: Path) -> Path:
    """The folder of a bundled set, made once per version of its source code, safe against two makers at once.

    Its files are compared with what was written: a damaged set is removed, said to be, and made again.
    """
    function = resolve(make, "dataset.make")
    source = importlib.util.find_spec(function.__module__)
    assert source is not None and source.origin is not None
    content = Path(source.origin).read_bytes() + (code_hash([make]) or "").encode()
    folder = cache / "datasets" / f"{make.split('.')[-2]}-{hashlib.sha256(content).hexdigest()[:10]}"
    if folder.is_dir() and (wrong := _damaged(folder, cache)):
        note(folder, DamagedStore(wrong))
        shutil.rmtree(folder)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = folder.parent / f".making-{secrets.token_hex(6)}"  # unlike tempfile's, as open as the umask says
        draft.mkdir()
        function(draft)
        (draft / HASHES).write_text(json.dumps(_hashes(draft, None)))
        try:
            draft.rename(folder)
        except OSError:  # somebody else was faster; theirs is the same
            shutil.rmtree(draft)
    return folder


def _hashes(folder: Path, memo: Path | None) -> dict[str, str]:
    files = hashes.visible_files(folder)
    return {f.relative_to(folder).as_posix(): h for f, h in hashes.file_hashes(files, memo).items()}


def _damaged(folder: Path, cache: Path) -> str | None:
    """What of a set is not as it was written; None where all is, or a set of an earlier version tells nothing."""
    try:
        known = json.loads((folder / HASHES).read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        return HASHES
    found = _hashes(folder, cache / "fingerprints.json")
    return next((name for name in sorted({*known, *found}) if known.get(name) != found.get(name)), None)
