"""Text backbones: pooling, architectures, tokenizers, what is read from a folder, what is refused."""

import json

import pytest
import torch
from transformers import BertConfig, BertModel, RobertaConfig

from tlx.errors import UserError
from tlx.models.text import TextBackbone
from tlx.models.tokenizer import train_tokenizer

TEXTS = ["the quick brown fox jumps over the lazy dog", "two words", "and one more sentence, with a comma"]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
BERT = {"model_type": "bert", **SIZES}
GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2}


def build(config=None, **changes):
    torch.manual_seed(0)
    arguments = {"config": BERT if config is None else config, "tokenizer": {"vocab_size": 300}} | changes
    return TextBackbone(texts=lambda: TEXTS, **arguments).eval()


def batch_of(backbone, texts=TEXTS):
    return backbone.preprocessing.collate([backbone.preprocessing.encode(t) for t in texts])


@pytest.fixture
def folder(tmp_path):
    """A small BERT as transformers saves it, with its tokenizer."""
    tokenizer = train_tokenizer(TEXTS, 300)
    tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(1)
    BertModel(BertConfig(**SIZES, vocab_size=len(tokenizer))).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("config", [BERT, GPT2], ids=["bert", "gpt2"])
def test_pooling_takes_real_tokens_only(config, side):
    backbones = {p: build(config, pooling=p) for p in ("cls", "mean", "last")}
    for backbone in backbones.values():
        backbone.tokenizer.padding_side = side
    batch = batch_of(backbones["mean"])
    mask = batch["attention_mask"].bool()
    assert not mask.all()
    with torch.no_grad():
        hidden = backbones["mean"].network(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
        pooled = {p: b(batch) for p, b in backbones.items()}
    for row in range(len(TEXTS)):
        real = hidden[row][mask[row]]
        torch.testing.assert_close(pooled["cls"][row], real[0])
        torch.testing.assert_close(pooled["last"][row], real[-1])
        torch.testing.assert_close(pooled["mean"][row], real.mean(0))


def test_a_decoders_last_token_has_seen_the_text_and_its_first_has_not():
    last, first = build(GPT2, pooling="last"), build(GPT2, pooling="cls")
    one, other = (batch_of(last, [text]) for text in ("the quick brown fox", "the quick brown dog"))
    with torch.no_grad():
        assert not torch.allclose(last(one), last(other))
        assert torch.equal(first(one), first(other))


def test_segments_go_to_networks_that_have_them():
    pairs = [("two words", "and one more"), ("the quick", "fox")]
    bert, gpt2 = build(), build(GPT2)
    for backbone, differs in ((bert, True), (gpt2, False)):
        batch = batch_of(backbone, pairs)
        assert batch["token_type_ids"].any()
        single = batch | {"token_type_ids": torch.zeros_like(batch["token_type_ids"])}
        with torch.no_grad():
            assert (not torch.equal(backbone(batch), backbone(single))) is differs


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pooling": "maen"}, r"unknown pooling 'maen'\. Did you mean 'mean'\?"),
        ({"config": BERT | {"model_type": "bret"}}, r"unknown model.config.model_type 'bret'\. Did you mean 'bert'\?"),
        ({"config": BERT | {"hiden_size": 4}}, r"unknown key of the bert architecture 'hiden_size'.*'hidden_size'"),
        ({"config": {}}, r"names no architecture: set model\.config\.model_type"),
        ({"config": {"model_type": "albert", **SIZES}}, r"unknown model type 'albert'.*layer_groups"),
        ({"tokenizer": None}, r"no tokenizer: give model\.path=FOLDER.*model\.tokenizer\.vocab_size=N"),
    ],
)
def test_mistakes_are_readable_errors(changes, message):
    with pytest.raises(UserError, match=message):
        build(**changes)


def test_an_architecture_outside_the_table_is_described_by_its_yaml():
    # ALBERT's layers share their weights: stem and one group.
    config = {"model_type": "albert", **SIZES, "embedding_size": 8}
    groups = [["embeddings", r"embeddings\."], ["layers", r"encoder\."]]
    backbone = build(config, layer_groups=groups, lora_targets=r".*attention\.(query|value)")
    assert [g.name for g in backbone.layer_groups()] == ["embeddings", "layers"]
    assert backbone(batch_of(backbone)).shape == (3, 16)


def test_a_folder_brings_architecture_tokenizer_and_weights(folder):
    backbone = build({}, source=folder, tokenizer=None)
    assert backbone.feature_dim == 16
    assert backbone.load(folder).share == 1.0
    changed = build({"hidden_dropout_prob": 0.5}, source=folder)
    assert changed.network.config.hidden_dropout_prob == 0.5
    assert len(changed.tokenizer) == len(backbone.tokenizer), "a folder's tokenizer goes before vocab_size"


def test_a_folder_of_another_architecture_is_refused(folder):
    with pytest.raises(UserError, match="holds a 'bert' network, but this model is 'roberta'"):
        build({"model_type": "roberta"}, source=folder)


def test_weights_without_their_tokenizer_are_refused(folder):
    # transformers would make a tokenizer that knows no word.
    (folder / "tokenizer.json").unlink()
    for source in (folder, folder / "model.safetensors"):
        with pytest.raises(UserError, match=r"no tokenizer in .*beside them"):
            build({}, source=source)


def test_a_tokenizer_with_more_tokens_than_the_network_has_embeddings_is_refused(folder):
    tokenizer = train_tokenizer(TEXTS, 300)
    known = len(tokenizer)
    build({}, source=folder)
    tokenizer.add_tokens([f"<extra{i}>" for i in range(7)])
    tokenizer.save_pretrained(folder)
    message = (
        rf"has {known + 7} tokens, the network's embedding {known} rows: .*<extra0> \({known}\), .* and 2 more.*resize"
    )
    with pytest.raises(UserError, match=message):
        build({}, source=folder)


def test_networks_that_are_no_text_encoders_are_refused_in_words():
    with pytest.raises(UserError, match="'perceiver' network states no hidden_size"):
        build({"model_type": "perceiver"}, layer_groups=[["all", ".*"]])
    with pytest.raises(UserError, match=r"'xmod' network cannot be used as a text encoder.*nput language unknown"):
        build({"model_type": "xmod", **SIZES}, layer_groups=[["all", ".*"]])


def test_weights_of_another_vocabulary_are_refused(folder):
    backbone = build({"vocab_size": 999}, source=folder)  # larger than the tokenizer's, as many are
    with pytest.raises(
        UserError, match=r"of another shape.*word_embeddings.*\(\d+, 16\) in the file, \(999, 16\) here"
    ):
        backbone.load(folder)


@pytest.mark.parametrize("content", ['{"model_type": "no_such"}', "{", "{}"])
def test_a_damaged_config_is_a_readable_error(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json"):
        build({}, source=folder)


class Evil:
    def __reduce__(self):
        return (pytest.fail, ("the file's code ran",))


@pytest.mark.parametrize("place", ["pytorch_model.bin", "file.pt"])
def test_a_file_that_would_run_code_is_refused(folder, place):
    backbone = build({}, source=folder)
    (folder / "model.safetensors").unlink()
    torch.save({"a": Evil()}, folder / place)
    with pytest.raises(UserError, match="refused"):
        backbone.load(folder if place == "pytorch_model.bin" else folder / place)


def test_damaged_and_missing_weights_are_readable_errors(folder):
    backbone = build({}, source=folder)
    (folder / "model.safetensors").write_bytes(b"no weights" * 9)
    with pytest.raises(UserError, match="cannot be read as a transformers checkpoint"):
        backbone.load(folder)
    with pytest.raises(UserError, match="cannot be read as weights"):
        backbone.load(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no file named model\.safetensors"):
        backbone.load(folder)


def test_texts_are_cut_to_the_positions_that_the_network_has():
    short = {"model_type": "bert", **SIZES, "max_position_embeddings": 12}
    assert build(short, max_length=50).preprocessing.max_length == 12
    # RoBERTa's positions begin after the padding token's id.
    backbone = build({"model_type": "roberta", **SIZES, "max_position_embeddings": 12}, max_length=50)
    assert backbone.preprocessing.max_length == 12 - 1 - backbone.tokenizer.pad_token_id
    assert backbone(batch_of(backbone, [TEXTS[0] * 3])).shape == (1, 16)
    t5 = {"model_type": "t5", "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2}
    assert build(t5, max_length=700).preprocessing.max_length == 700


def test_the_padding_id_of_a_lone_file_is_the_tokenizers(folder):
    # RoBERTa derives positions from it; its default is 1, this tokenizer's is 0.
    (folder / "config.json").unlink()
    assert RobertaConfig().pad_token_id == 1
    backbone = build({"model_type": "roberta", **SIZES}, source=folder / "model.safetensors")
    assert backbone.network.config.pad_token_id == backbone.tokenizer.pad_token_id == 0


def test_nothing_is_left_that_no_feature_uses():
    backbone = build()
    assert not [n for n, _ in backbone.named_parameters() if "pooler" in n]
    t5 = build({"model_type": "t5", "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2})
    assert not [n for n, _ in t5.named_parameters() if "decoder" in n]


def test_the_saved_settings_are_a_transformers_folder(tmp_path):
    backbone = build()
    backbone.save_preprocessing(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "bert"
    assert (tmp_path / "tokenizer.json").is_file()
