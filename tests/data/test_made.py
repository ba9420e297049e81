"""Sets that are made here: once, as open as the umask says, and again when they are no longer as they were written."""

import os
from pathlib import Path

import pytest

from tlx.cache import checksums
from tlx.data.made import HASHES, make_bundled
from tlx.record import hashes

DIGITS = "tlx.data.bundled.digits.make"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    checksums.noted()
    return make_bundled(DIGITS, tmp_path)


def test_a_damaged_set_is_made_again(tmp_path: Path, folder: Path, capsys) -> None:
    (table,) = hashes.visible_files(folder)
    whole = table.read_bytes()
    for damaged in (whole[:-1000], whole[:2000] + bytes(500) + whole[2500:]):
        table.write_bytes(damaged)
        assert make_bundled(DIGITS, tmp_path) == folder and table.read_bytes() == whole
        assert table.name in checksums.noted()[0] and "made again" in capsys.readouterr().err
    table.unlink()
    assert make_bundled(DIGITS, tmp_path) == folder and table.read_bytes() == whole
    (folder / HASHES).write_text("{")
    make_bundled(DIGITS, tmp_path)
    assert len(checksums.noted()) == 2
    make_bundled(DIGITS, tmp_path)
    assert checksums.noted() == []


def test_a_set_of_an_earlier_version_stays(tmp_path: Path, folder: Path) -> None:
    (folder / HASHES).unlink()
    before = folder.stat().st_ino
    assert make_bundled(DIGITS, tmp_path).stat().st_ino == before and checksums.noted() == []


def test_who_may_read_it(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        made = make_bundled(DIGITS, tmp_path)
    finally:
        os.umask(before)
    assert made.stat().st_mode & 0o777 == 0o750


def test_the_users_own_makers_count_with_what_they_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib
    import sys

    code = tmp_path / "code"
    code.mkdir()
    monkeypatch.syspath_prepend(str(code))
    (code / "own_maker.py").write_text(
        "import own_words\ndef make(folder):\n    (folder / 'train.csv').write_text(own_words.WORDS)\n"
    )
    (code / "own_words.py").write_text("WORDS = 'text,label'\n")
    first = make_bundled("own_maker.make", tmp_path)
    (code / "own_words.py").write_text("WORDS = 'text,label,more'\n")
    importlib.invalidate_caches()
    importlib.reload(sys.modules["own_words"])
    second = make_bundled("own_maker.make", tmp_path)
    assert second != first and (second / "train.csv").read_text() == "text,label,more"
    for name in ("own_maker", "own_words"):
        del sys.modules[name]
