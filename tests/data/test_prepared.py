"""Examples encoded once: the same as encoded directly, by one process for all, and only where it is worth a store."""

import errno
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from tlx.cache.stores import clear, entries, prepared_folder
from tlx.data import prepared as module
from tlx.data.audio import AudioPreprocessing
from tlx.data.dataset import Data, DataSpec, Part, encode
from tlx.data.encoded import Encoded
from tlx.data.image import ImagePreprocessing
from tlx.data.loaders import Examples, eval_loader
from tlx.data.prepared import prepare, prepare_train
from tlx.data.text import TextPreprocessing
from tlx.errors import UserError
from tlx.models.tokenizer import train_tokenizer

CORPUS = ["the cat sat on the mat", "a dog ran to the house", "no bird sings here"]
SLOW_SETUP = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Counting(ImagePreprocessing):
    """Grey images of 8 × 8 pixels; counts how many it has encoded."""

    def __init__(self, **options: Any) -> None:
        super().__init__((8, 8), [0.5], [0.5], channels=1, **options)
        self.count = 0

    def encode(self, raw: Any) -> torch.Tensor:
        self.count += 1
        return super().encode(raw)


@pytest.fixture
def preprocessing() -> Counting:
    return Counting()


@pytest.fixture
def _any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worth a store, however small."""
    monkeypatch.setattr(module, "LEAST", dict.fromkeys(module.LEAST, 0))


pytestmark = pytest.mark.usefixtures("_any_size")


def config(cache: Path, modality: str = "image", limit: float = 1.0) -> dict[str, Any]:
    return {"paths": {"cache": str(cache)}, "model": {"modality": modality}, "cache_limit": limit}


def part(inputs: list[Any], name: str = "train") -> Part:
    return Part(inputs, np.zeros(len(inputs), np.int64), [f"{name}/{i}" for i in range(len(inputs))])


def png(seed: int, size: int = 12) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def wav(samples: np.ndarray, rate: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def batches(examples: Any, preprocessing: Any) -> list[dict[str, torch.Tensor]]:
    data = Examples(examples, np.zeros(len(examples), np.int64), preprocessing)
    return list(eval_loader(data, 3))


def check_the_same(cache: Path, modality: str, preprocessing: Any, inputs: list[Any]) -> None:
    """Cold, warm and direct: the same examples, batches and hash."""
    given = part(inputs)
    direct = encode(given, preprocessing)
    for kept in (prepare(config(cache, modality), given, preprocessing, "train") for _ in range(2)):
        assert isinstance(kept, Encoded) and len(kept) == len(direct)
        for one, other in zip(direct, kept, strict=True):
            if isinstance(one, dict):
                assert one == other
            else:
                assert one.dtype == other.dtype and torch.equal(one, other)
        for one, other in zip(batches(direct, preprocessing), batches(kept, preprocessing), strict=True):
            assert one.keys() == other.keys()
            assert all(torch.equal(v, other[n]) and v.stride() == other[n].stride() for n, v in one.items())
        labels = np.zeros(len(direct), np.int64)
        keys = {Examples(e, labels, preprocessing).content for e in (direct, kept)}
        assert len(keys) == 1, "frozen layers' outputs are found again, whichever way the examples came"


TEXT = TextPreprocessing(train_tokenizer(CORPUS, 300), 12)
WORDS = st.text(st.sampled_from("abcdehost nrmi"), max_size=40)


@SLOW_SETUP
@given(st.lists(st.one_of(WORDS, st.tuples(WORDS, WORDS)), min_size=1, max_size=8))
def test_texts_read_are_texts_encoded(tmp_path: Path, inputs: list[Any]) -> None:
    check_the_same(tmp_path, "text", TEXT, inputs)


@SLOW_SETUP
@given(
    st.lists(
        st.one_of(
            st.integers(0, 99).map(png),
            arrays.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))),
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([1, 3]),
)
def test_images_read_are_images_encoded(tmp_path: Path, inputs: list[Any], channels: int) -> None:
    check_the_same(tmp_path, "image", ImagePreprocessing((9, 7), [0.4], [0.3], channels=channels), inputs)


@SLOW_SETUP
@given(
    st.lists(
        st.tuples(st.integers(1, 3000), st.sampled_from([8000, 11025, 16000]), st.booleans(), st.integers(0, 99)),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([1, 4]),
)
def test_clips_read_are_clips_encoded(tmp_path: Path, clips: list[tuple], threads: int) -> None:
    inputs: list[Any] = []
    for count, rate, as_file, seed in clips:
        samples = np.random.default_rng(seed).uniform(-1, 1, count).astype(np.float32)
        inputs.append(wav(samples, rate) if as_file else (samples, rate))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        check_the_same(tmp_path, "audio", AudioPreprocessing(16000, 0.15), inputs)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def data(train: int, pool: int, seed: int = 0) -> Data:
    """A run that trains on `train` of `pool` images."""
    whole = part([png(i) for i in range(pool)])
    rows = np.sort(np.random.default_rng(seed).permutation(pool)[:train])
    spec = DataSpec("image", "classification", ("a",), {}, "", {})
    return Data(spec, whole.take(rows), whole.take(rows[:1]), whole.take(rows[:1]), whole, rows, {})


def test_subsets_of_one_pool_share_one_store(tmp_path: Path, preprocessing: Counting) -> None:
    for seed in range(3):
        run = data(12, 40, seed)
        found = prepare_train(config(tmp_path), run, preprocessing)
        assert all(torch.equal(a, b) for a, b in zip(found, encode(run.train, Counting()), strict=True))
    # Each run looks at some examples to estimate the size of all.
    assert preprocessing.count == 40 + 3 * module.LOOKED_AT
    (entry,) = entries(tmp_path)
    assert entry.about["examples"] == 40


def test_a_few_of_a_large_pool_are_encoded_alone_and_once(tmp_path: Path, preprocessing: Counting) -> None:
    for _ in range(2):
        run = data(9, 40)
        found = prepare_train(config(tmp_path), run, preprocessing)
        assert all(torch.equal(a, b) for a, b in zip(found, encode(run.train, Counting()), strict=True))
    assert preprocessing.count == 9 + 2 * module.LOOKED_AT
    assert [entry.about["examples"] for entry in entries(tmp_path)] == [9]


def test_what_others_did_is_counted_for_the_run_alone(tmp_path: Path, preprocessing: Counting) -> None:
    run = data(20, 40)
    first, second = (prepare_train(config(tmp_path), run, preprocessing) for _ in range(2))
    assert isinstance(first, Encoded) and isinstance(second, Encoded)
    assert first.shared == 0 and second.shared == pytest.approx(first.about["seconds"] / 2)


@pytest.mark.parametrize("modality", sorted(module.LEAST))
def test_small_data_are_encoded_without_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, modality: str) -> None:
    monkeypatch.undo()
    few: dict[str, tuple[Any, list[Any]]] = {
        "text": (TEXT, CORPUS * 100),
        "image": (Counting(), [png(i) for i in range(30)]),
        "audio": (AudioPreprocessing(8000, 1.0), [(np.zeros(8000, np.float32), 8000)] * 30),
    }
    preprocessing, inputs = few[modality]
    assert isinstance(prepare(config(tmp_path, modality), part(inputs), preprocessing, "train"), list)
    assert not prepared_folder(tmp_path).exists()


def test_an_undecodable_example_is_named_where_it_is_needed(tmp_path: Path, preprocessing: Counting) -> None:
    run = data(20, 40)
    spoiled = int(run.train_rows[7])
    run.train_pool.inputs[spoiled] = run.train.inputs[7] = b"no image"
    for _ in range(2):  # while the store is made, and when it is there
        with pytest.raises(UserError, match=rf"example train/{spoiled}: the image cannot be decoded"):
            prepare_train(config(tmp_path), run, preprocessing)
    without = np.setdiff1d(np.arange(40), [spoiled])
    others = Data(run.spec, run.train_pool.take(without), run.validation, run.test, run.train_pool, without, {})
    found = prepare_train(config(tmp_path), others, preprocessing)
    assert isinstance(found, Encoded), "what a run does not use does not stop it"
    assert torch.equal(found[-1], encode(others.train, preprocessing)[-1])


def test_an_image_that_can_be_decoded_after_all_is_used(
    tmp_path: Path, preprocessing: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = part([png(i) for i in range(10)])

    def short_of_something(raw: Any) -> None:
        raise UserError("not now")

    with monkeypatch.context() as patched:
        patched.setattr(module, "LOOKED_AT", 1)
        real, calls = preprocessing.encode, iter(range(100))
        patched.setattr(preprocessing, "encode", lambda raw: (real if next(calls) != 5 else short_of_something)(raw))
        assert len(prepare(config(tmp_path), given, preprocessing, "train")) == 10
    found = prepare(config(tmp_path), given, preprocessing, "train")
    assert all(torch.equal(a, b) for a, b in zip(found, encode(given, Counting()), strict=True))


@pytest.mark.parametrize("change", ["preprocessing", "an input", "the order", "a library", "its code"])
def test_any_change_makes_another_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    inputs = [png(i) for i in range(9)]
    prepare(config(tmp_path), part(inputs), Counting(), "train")
    if change == "a library":
        monkeypatch.setattr(module, "_versions", lambda modality: ["numpy 0.0"])
    elif change == "its code":
        monkeypatch.setattr(module, "_code", lambda kind: "other")
    inputs = {"an input": [*inputs[:-1], png(99)], "the order": inputs[::-1]}.get(change, inputs)
    preprocessing = Counting(crop_pct=0.5 if change == "preprocessing" else 1.0)
    found = prepare(config(tmp_path), part(inputs), preprocessing, "train")
    assert len(entries(tmp_path)) == 2 and preprocessing.count == 9 + module.LOOKED_AT
    assert all(torch.equal(a, b) for a, b in zip(found, encode(part(inputs), preprocessing), strict=True))


def test_files_count_by_their_contents(tmp_path: Path, preprocessing: Counting) -> None:
    def files(folder: str, seeds: range) -> Part:
        (tmp_path / folder).mkdir(exist_ok=True)
        for i, seed in enumerate(seeds):
            (tmp_path / folder / f"{i}.png").write_bytes(png(seed))
        return part([str(tmp_path / folder / f"{i}.png") for i in range(len(seeds))])

    cache = tmp_path / "cache"
    first = prepare(config(cache), files("a", range(9)), preprocessing, "train")
    moved = prepare(config(cache), files("b", range(9)), preprocessing, "train")
    assert len(entries(cache)) == 1 and all(map(torch.equal, first, moved))
    edited = files("a", range(1, 10))
    again = prepare(config(cache), edited, preprocessing, "train")
    assert len(entries(cache)) == 2 and torch.equal(again[0], first[1])
    (tmp_path / "a" / "3.png").unlink()
    with pytest.raises(UserError, match=r"example train/3: the image file .*3\.png does not exist"):
        prepare(config(cache), edited, preprocessing, "train")


def test_the_name_of_a_file_as_a_text_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "cat").write_text("dog")
    check_the_same(tmp_path / "cache", "text", TEXT, [str(tmp_path / "cat"), "cat"])
    (tmp_path / "cat").write_text("bird")
    check_the_same(tmp_path / "cache", "text", TEXT, [str(tmp_path / "cat"), "cat"])
    assert len(entries(tmp_path / "cache")) == 1


def test_without_room_it_is_encoded(tmp_path: Path, preprocessing: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    given = part([png(i) for i in range(9)])
    assert isinstance(prepare(config(tmp_path, limit=0), given, preprocessing, "train"), list)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tlx.data.encoded.describe", full)
    assert isinstance(prepare(config(tmp_path), given, preprocessing, "train"), list)
    assert entries(tmp_path) == [] and not list(prepared_folder(tmp_path).glob("*.draft"))


def test_examples_of_a_kind_that_cannot_be_kept_are_encoded(tmp_path: Path) -> None:
    class Odd(Counting):
        def encode(self, raw: Any) -> Any:
            pixels = super().encode(raw)
            return pixels if self.count != 12 else pixels.double()

    class Numbers(Counting):
        def encode(self, raw: Any) -> Any:
            return 7

    for kind in (Odd, Numbers):
        given = part([png(i) for i in range(9)])
        assert isinstance(prepare(config(tmp_path), given, kind(), "train"), list)
    assert entries(tmp_path) == [] and not list(prepared_folder(tmp_path).glob("*.draft"))


def test_both_kinds_share_the_limit_and_the_list(tmp_path: Path, preprocessing: Counting) -> None:
    from tlx.cache.listing import clear_all, table

    def kept(first: int, limit: float) -> Any:
        given = part([png(i) for i in range(first, first + 200)])
        return prepare(config(tmp_path, limit=limit / 1e9), given, preprocessing, "train")

    old = kept(0, 1e6)
    (entry,) = entries(tmp_path)
    (tmp_path / "features").mkdir()
    entry.folder.rename(tmp_path / "features" / "a")  # as though it were of the other kind
    assert isinstance(kept(1000, 1.9 * entry.bytes), Encoded)
    assert [e.kind for e in entries(tmp_path)] == ["prepared"], "the older one had to go"
    assert torch.equal(old[3], encode(part([png(3)]), preprocessing)[0]), "and is read on"
    assert "200 train examples, encoded (image)" in table(tmp_path)
    assert clear_all(tmp_path).startswith("removed 1 stores") and table(tmp_path).startswith("nothing is kept")


TWO = """
import sys, time
from pathlib import Path
import numpy as np
from tlx.data import prepared
from tlx.data.dataset import Part

class Slow:
    count = 0

    def key(self):
        return "slow"

    def length(self, example):
        return len(example["input_ids"])

    def encode(self, raw):
        self.count += 1
        time.sleep(0.02)
        return {"input_ids": [len(raw)]}

cache, slow = Path(sys.argv[1]), Slow()
prepared.LEAST["text"] = 0
config = {"paths": {"cache": str(cache)}, "model": {"modality": "text"}, "cache_limit": 1.0}
texts = ["a" * i for i in range(40)]
(cache / sys.argv[2]).touch()
while len(list(cache.glob("ready*"))) < 2:
    time.sleep(0.01)
found = prepared.prepare(config, Part(texts, np.zeros(40), texts), slow, "train")
print(slow.count, type(found).__name__, sum(e["input_ids"][0] for e in found))
"""


def test_of_two_at_once_one_encodes(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(TWO)
    command = [sys.executable, tmp_path / "two.py", tmp_path]
    both = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in ("ready1", "ready2")]
    said = sorted((p.communicate()[0].split() for p in both), key=lambda words: int(words[0]))
    looked, total = module.LOOKED_AT, str(sum(range(40)))
    assert said == [[str(looked), "Encoded", total], [str(looked + 40), "Encoded", total]]


def test_a_run_is_the_same_with_and_without(tlx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tlx.measures.source._LOADERS", {})  # as in a process that has done no other run
    given = ["force=true", "strategy=full", f"paths.cache={tmp_path / 'cache'}"]
    cold, warm = tlx.record(*given), tlx.record(*given)
    listed = tlx("cache", "list", "--folder", str(tmp_path / "cache")).out
    assert "train examples, encoded (image)" in listed and "test (source) examples, encoded" in listed
    assert warm["seconds_alone"]["total"] > warm["seconds"]["total"]
    assert clear(tmp_path / "cache")[0] >= 4
    monkeypatch.undo()
    direct = tlx.record(*given, "cache_limit=0")
    assert entries(tmp_path / "cache") == [] and direct["seconds_alone"]["total"] == direct["seconds"]["total"]
    assert cold["metrics"] == warm["metrics"] == direct["metrics"]
    assert cold["identity"] == warm["identity"] == direct["identity"]
    assert cold["checkpoint"] == warm["checkpoint"] == direct["checkpoint"]


def test_files_that_are_replaced_while_they_are_encoded_leave_no_store(tmp_path: Path) -> None:
    """What the store would be found by is the hash of the files as they were before."""
    names = [tmp_path / f"{seed}.png" for seed in range(3)]
    for seed, name in enumerate(names):
        name.write_bytes(png(seed))

    class Replacing(Counting):
        def encode(self, raw: Any) -> torch.Tensor:
            if self.count == 20:  # past those from whose size that of all is estimated
                names[2].write_bytes(png(9))
            return super().encode(raw)

    inputs = [str(name) for name in names] * 5
    found = prepare(config(tmp_path / "cache"), part(inputs), Replacing(), "train")
    assert entries(tmp_path / "cache") == []
    assert torch.equal(found[2], Counting().encode(str(names[2])))
