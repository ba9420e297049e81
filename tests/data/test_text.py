"""Text preprocessing with a small WordPiece tokenizer in BERT's format, and a byte-level one in GPT-2's."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tlx.data.text import TextPreprocessing
from tlx.errors import UserError

CORPUS = ["the cat sat on the mat", "a dog ran to the house", "no bird sings here"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@cache
def trained(*corpus: str) -> str:
    """A WordPiece tokenizer as JSON. Training is not repeatable (ties are broken by hash order), so it happens once."""
    core = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.train_from_iterator(
        corpus, trainers.WordPieceTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    )
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return core.to_str()


def wordpiece(corpus: list[str] = CORPUS, **options) -> PreTrainedTokenizerFast:
    core = Tokenizer.from_str(trained(*corpus))
    words = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    inputs = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=core, model_input_names=inputs, **(words | options))


def byte_level(**options) -> PreTrainedTokenizerFast:
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(vocab_size=300, special_tokens=["<|end|>"], initial_alphabet=alphabet, show_progress=False),
    )
    roles = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|end|>")
    names = ["input_ids", "attention_mask"]
    return PreTrainedTokenizerFast(tokenizer_object=core, model_input_names=names, **(roles | options))


BERT = TextPreprocessing(wordpiece(), 8)


@pytest.fixture
def bert() -> TextPreprocessing:
    return BERT


def test_texts_and_pairs(bert: TextPreprocessing) -> None:
    tokens = bert.tokenizer.convert_ids_to_tokens
    single, pair = bert.encode("the cat sat"), bert.encode(("the cat", "a dog"))
    assert tokens(single["input_ids"]) == ["[CLS]", "the", "cat", "sat", "[SEP]"]
    assert tokens(pair["input_ids"]) == ["[CLS]", "the", "cat", "[SEP]", "a", "dog", "[SEP]"]
    assert pair["token_type_ids"] == [0, 0, 0, 0, 1, 1, 1]
    assert bert.length(single) == 5
    assert tokens(bert.encode("")["input_ids"]) == ["[CLS]", "[SEP]"]


def test_truncation_keeps_the_special_tokens(bert: TextPreprocessing) -> None:
    long = bert.encode("the cat sat on the mat " * 5)["input_ids"]
    assert len(long) == 8 and long[0] == 2 and long[-1] == 3
    assert bert.length(bert.encode(("the cat sat on the mat", "a dog ran to the house"))) == 8


@pytest.mark.parametrize("raw", [None, float("nan"), 7, ("a", None), ("a", "b", "c"), [], b"text"])
def test_what_is_no_text_is_refused(bert: TextPreprocessing, raw: object) -> None:
    with pytest.raises(UserError, match=r"the text is missing|is needed, not"):
        bert.encode(raw)


def test_no_room_for_text_is_refused() -> None:
    # The tokenizer alone would return the text at its full length.
    with pytest.raises(UserError, match=r"max_length=2 leaves no room.*2 special tokens to a text. Give at least 3"):
        TextPreprocessing(wordpiece(), 2)
    with pytest.raises(UserError, match=r"pair of texts\. Give at least 5"):
        TextPreprocessing(wordpiece(), 3).encode(("a", "dog"))


def test_tokenizers_that_do_not_serve_are_refused() -> None:
    with pytest.raises(UserError, match="not a fast tokenizer"):
        TextPreprocessing(object(), 8)
    with pytest.raises(UserError, match="neither a pad nor an eos token"):
        TextPreprocessing(wordpiece(pad_token=None), 8)


@pytest.mark.parametrize("side", ["right", "left"])
def test_batches_are_padded_to_the_longest_on_the_right_whatever_the_tokenizers_side(side: str) -> None:
    preprocessing = TextPreprocessing(wordpiece(padding_side=side), 8)
    examples = [preprocessing.encode(t) for t in ("the cat sat on", ("a", "dog"), "")]
    batch = preprocessing.collate(examples)
    assert set(batch) == {"input_ids", "attention_mask", "token_type_ids"}
    assert all(t.shape == (3, 6) and t.dtype == torch.int64 for t in batch.values())
    for row, example in enumerate(examples):
        real = batch["attention_mask"][row].bool()
        assert real.sum() == len(example["input_ids"])
        assert real[: int(real.sum())].all()
        for name, values in example.items():
            assert batch[name][row][real].tolist() == values
            assert (batch[name][row][~real] == 0).all()


def test_batches_equal_those_of_the_tokenizer(bert: TextPreprocessing) -> None:
    texts = ["the cat", "a dog ran to the house", "no"]
    theirs = bert.tokenizer(texts, padding=True, truncation=True, max_length=8, return_tensors="pt")
    ours = bert.collate([bert.encode(t) for t in texts])
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_tokenizer_without_pad_token_pads_with_eos_and_is_not_changed() -> None:
    tokenizer = byte_level()
    preprocessing = TextPreprocessing(tokenizer, 8)
    empty = preprocessing.encode("")
    assert empty["input_ids"] == [tokenizer.eos_token_id]  # at least one token, or the mean over it would be 0 / 0
    batch = preprocessing.collate([preprocessing.encode("the cat sat"), empty])
    assert set(batch) == {"input_ids", "attention_mask"} and tokenizer.pad_token is None
    assert (batch["input_ids"][1] == tokenizer.eos_token_id).all() and batch["attention_mask"][1].sum() == 1


def test_the_key_follows_all_that_changes_the_output() -> None:
    same = TextPreprocessing(wordpiece(), 8)
    before = same.key()
    same.encode("the cat sat on the mat on the mat")  # leaves its truncation behind in the tokenizer
    others = [
        TextPreprocessing(wordpiece(), 9),
        TextPreprocessing(wordpiece(truncation_side="left"), 8),
        TextPreprocessing(wordpiece([*CORPUS, "more words"]), 8),
        TextPreprocessing(wordpiece(mask_token="[MASK]"), 8),
    ]
    assert before == same.key() == TextPreprocessing(wordpiece(), 8).key()
    assert before == TextPreprocessing(wordpiece(padding_side="left"), 8).key(), "it is padded on the right"
    assert len({before, *(o.key() for o in others)}) == 5


def test_token_dropping_repeats_with_the_generator_and_differs_between_draws(bert: TextPreprocessing) -> None:
    example = bert.encode(("the cat sat", "no bird"))
    copy = {name: list(values) for name, values in example.items()}
    state = torch.get_rng_state()
    rng = np.random.default_rng(0)
    draws = [bert.augment(example, {"token_dropping": 0.5}, rng)["input_ids"] for _ in range(20)]
    again = [bert.augment(example, {"token_dropping": 0.5}, np.random.default_rng(0))["input_ids"] for _ in range(2)]
    assert draws[0] == again[0] == again[1] and len({tuple(d) for d in draws}) > 5
    assert example == copy and torch.equal(state, torch.get_rng_state())
    assert bert.augment(example, None, rng) == bert.augment(example, {"token_dropping": None}, rng) == example


@settings(max_examples=50, deadline=None)
@given(st.floats(0.01, 0.99), st.integers(0, 2**32 - 1), st.sampled_from(["cat", "the zebra sat", ("a", "dog"), ""]))
def test_token_dropping_keeps_special_tokens_and_one_word(p: float, seed: int, raw: str | tuple[str, str]) -> None:
    example = BERT.encode(raw)
    found = BERT.augment(example, {"token_dropping": p}, np.random.default_rng(seed))
    for special in (2, 3):
        assert found["input_ids"].count(special) == example["input_ids"].count(special)
    assert len(found["input_ids"]) == len(found["token_type_ids"])
    assert not raw or any(i not in (2, 3) for i in found["input_ids"])


def test_unknown_words_may_be_dropped_and_the_share_is_right(bert: TextPreprocessing) -> None:
    long = {"input_ids": [2, *[1] * 5000, *[7] * 5000, 3]}
    found = bert.augment(long, {"token_dropping": 0.3}, np.random.default_rng(1))["input_ids"]
    assert abs(found.count(1) / 5000 - 0.7) < 0.03 and abs(found.count(7) / 5000 - 0.7) < 0.03


@pytest.mark.parametrize(
    ("augmentation", "message"),
    [
        ({"token_droping": 0.1}, "unknown augmentation 'token_droping'. Did you mean 'token_dropping'"),
        ({"token_dropping": 1.0}, "a number from 0 to 0.99 is needed"),
        ({"token_dropping": True}, "a number from 0 to 0.99 is needed"),
        ("token_dropping", "a dict of options or null is needed"),
    ],
)
def test_impossible_augmentations(augmentation: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TextPreprocessing.check_augmentation(augmentation)
