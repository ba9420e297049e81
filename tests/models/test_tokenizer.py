"""Tokenizers trained on texts, and read from folders."""

import subprocess
import sys

import pytest

from tlx.errors import UserError
from tlx.models.tokenizer import load_tokenizer, train_tokenizer

TEXTS = ["Two words and three words", "naïve café", "a b c d e f g h i j", "words, words; words!"] * 3
SCRIPT = """
from tlx.models.tokenizer import train_tokenizer
print(hash("seed"), train_tokenizer({texts!r}, 320).backend_tokenizer.to_str())
"""


def test_the_same_texts_give_the_same_vocabulary_in_every_process():
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(texts=TEXTS)],
        env={"PYTHONHASHSEED": "5", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    seed, vocabulary = found.stdout.rstrip("\n").split(" ", 1)
    assert int(seed) != hash("seed"), "the two processes must hash differently"
    assert vocabulary == train_tokenizer(TEXTS, 320).backend_tokenizer.to_str()


def test_a_vocabulary_has_the_size_asked_for_and_loses_no_text():
    tokenizer = train_tokenizer(TEXTS, 290)
    assert len(tokenizer) <= 290
    assert tokenizer.is_fast
    ids = tokenizer("an unseen Ωmega")["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == "an unseen ωmega"
    assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)


def test_pairs_have_two_segments():
    encoded = train_tokenizer(TEXTS, 300)("one text", "another text")
    assert set(encoded["token_type_ids"]) == {0, 1}


def test_a_tokenizer_comes_back_from_its_folder_and_from_beside_a_file(tmp_path):
    tokenizer = train_tokenizer(TEXTS, 300)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "weights.pt").touch()
    for source in (tmp_path, tmp_path / "weights.pt"):
        again = load_tokenizer(source)
        assert again(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]
        assert (again.pad_token_id, again.cls_token_id) == (tokenizer.pad_token_id, tokenizer.cls_token_id)


def test_nothing_to_learn_from_and_nothing_to_read_are_errors(tmp_path):
    with pytest.raises(UserError, match="no texts"):
        train_tokenizer([], 300)
    with pytest.raises(UserError, match="no tokenizer in"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="no tokenizer in"):
        load_tokenizer(tmp_path)
