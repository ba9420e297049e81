"""How many examples were cut at the model's limit: counted as they are encoded, kept with them, said in the record."""

import json

import numpy as np
import pytest
import torch

from tlx.data import prepared
from tlx.data.audio import AudioPreprocessing
from tlx.data.cuts import describe_cuts, encode_one
from tlx.data.dataset import encode
from tlx.data.parts import Part
from tlx.data.prepared import prepare
from tlx.data.text import TextPreprocessing
from tlx.models.tokenizer import train_tokenizer
from tlx.record.remarks import remarks

CORPUS = ["the cat sat on the mat", "a dog ran to the house"]
# As tokens with [CLS] and [SEP]: three, eight and nine of them at a limit of eight; a pair of nine.
TEXTS = ["cat", "the cat sat on the mat", "the cat sat on the mat the", ("the cat sat", "on the mat")]


def part(inputs) -> Part:
    return Part(list(inputs), np.zeros(len(inputs), dtype=np.int64), [f"train/{i}" for i in range(len(inputs))])


def test_texts_are_cut_where_they_are_longer_than_the_limit() -> None:
    preprocessing = TextPreprocessing(train_tokenizer(CORPUS, 400), 8)
    lengths = [len(TextPreprocessing(preprocessing.tokenizer, 99).encode(text)["input_ids"]) for text in TEXTS]
    assert lengths == [3, 8, 9, 9]
    found = [encode_one(preprocessing, text) for text in TEXTS]
    assert [cut for _, cut in found] == [0, 0, 1, 1]
    assert [example for example, _ in found] == [preprocessing.encode(text) for text in TEXTS]


@pytest.mark.parametrize("rate", [16000, 8000, 44100])
def test_clips_are_cut_where_they_are_longer_than_the_limit(rate) -> None:
    preprocessing = AudioPreprocessing(16000, 1.0)
    for seconds, cut in [(0.5, 0), (1.0, 0), (1.01, 1), (5.0, 1)]:
        clip = np.random.default_rng(0).normal(0, 0.1, round(seconds * rate)).astype(np.float32)
        assert encode_one(preprocessing, (clip, rate))[1] == cut


def test_a_class_that_encodes_in_its_own_way_is_asked_for_nothing_else() -> None:
    class Louder(AudioPreprocessing):
        def encode(self, raw):
            return 2 * super().encode(raw)

    example, cut = encode_one(Louder(16000, 1.0), (np.ones(8), 16000))
    assert torch.equal(example, 2 * torch.ones(8)) and cut == -1
    assert describe_cuts({"train": encode(part([(np.ones(8), 16000)]), Louder(16000, 1.0))}, Louder(16000, 1.0)) == {}


def test_a_store_keeps_what_was_cut(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(prepared, "LEAST", dict.fromkeys(prepared.LEAST, 0))
    config = {"paths": {"cache": str(tmp_path)}, "cache_limit": 1, "model": {"modality": "text"}, "cache": "on"}
    preprocessing, examples = TextPreprocessing(train_tokenizer(CORPUS, 400), 8), part(TEXTS * 5)
    for _ in range(2):  # written, then read
        found = prepare(config, examples, preprocessing, "train", examples, np.array([2, 0, 3]))
        assert type(found).__name__ == "Encoded"
        said = describe_cuts({"train": found, "test": encode(examples, preprocessing)}, preprocessing)
        assert said == {
            "limit": "8 tokens (model.max_length)",
            "train": {"examples": 2, "of": 3},
            "test": {"examples": 10, "of": 20},
        }
        monkeypatch.setattr(TextPreprocessing, "encode_and_tell", TextPreprocessing.encode_and_tell)


def test_many_are_a_warning_and_few_are_counted() -> None:
    about = {"cut": {"limit": "8 tokens (model.max_length)", "train": {"examples": 1, "of": 10}}}
    assert remarks(about) == []
    about["cut"]["test"] = {"examples": 2, "of": 10}
    (remark,) = remarks(about)
    assert remark.sentence.startswith("2 of 10 test examples are longer than 8 tokens (model.max_length)")


def test_a_run_says_how_many_of_its_examples_were_cut(tlx, write_texts) -> None:
    rows = [(f"a {'good' if i % 2 else 'bad'} film" + " that goes on" * (i % 4) * 3, "pn"[i % 2]) for i in range(20)]
    short = [(f"a {'good' if i % 2 else 'bad'} film that goes", "pn"[i % 2]) for i in range(20)]
    folder = write_texts("long", train=rows, validation=short, test=short)
    words = [
        *("model=tiny_text", "model.path=null", "strategy=scratch", "dataset=local_text", f"dataset.path={folder}"),
        *("dataset.train_size=null", "model.max_length=16", "model.tokenizer.vocab_size=400", "trainer.threads=1"),
    ]
    done = tlx.train(*words)
    assert done.code == 0, done.err
    (record,) = tlx.records()
    cut = record["data"]["cut"]
    assert cut["limit"] == "16 tokens (model.max_length)"
    assert cut["train"] == {"examples": 10, "of": 20} and cut["test"] == {"examples": 0, "of": 20}
    (sentence,) = [text for text in record["warnings"] if "longer than" in text]
    assert sentence.startswith("10 of 20 train examples are longer than 16 tokens")
    assert sentence in done.err
    assert sentence in tlx("table", str(tlx.runs)).out
    json.dumps(record)
