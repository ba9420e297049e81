"""Text architectures of transformers, each by a small random network: a text's features are those of the text alone."""

import inspect

import pytest
import torch
from transformers import CONFIG_MAPPING

from tlx.models import text
from tlx.models.layers import ANATOMY
from tlx.models.text import POOLINGS, TextBackbone

TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "two words",
    "and one more sentence, with a comma and then some more words that go on",
    "stop",
]
# Whatever of these an architecture's configuration knows.
SMALL = {
    "hidden_size": 32,
    "embedding_size": 32,
    "d_model": 32,
    "n_embd": 32,
    "dim": 32,
    "emb_dim": 32,
    "num_hidden_layers": 2,
    "n_layer": 2,
    "num_layers": 2,
    "n_layers": 2,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "n_head": 2,
    "num_heads": 2,
    "n_heads": 2,
    "head_dim": 16,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "d_kv": 16,
    "rotary_dim": 8,
    "attention_window": 4,
    "intermediate_size": 48,
    "d_ff": 48,
    "hidden_dim": 48,
    "d_inner": 48,
    "ffn_dim": 48,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "word_embed_proj_dim": 32,
}
FURTHER = {"deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}}
# Those with positions learned from the beginning of a row, relative ones, rotations, none; with fused attention and
# without; with convolutions, Fourier transforms or landmarks, which read padding; encoders, decoders and both.
NAMES = [
    *("bert", "roberta", "xlm-roberta", "electra", "distilbert", "gpt2", "t5", "camembert", "mpnet"),
    *("deberta", "deberta-v2", "albert", "modernbert", "squeezebert", "roformer", "rembert", "xlm", "funnel", "xlnet"),
    *("convbert", "fnet", "mobilebert", "nystromformer", "longformer", "big_bird"),
    *("gpt_neo", "gpt_neox", "gptj", "opt", "bloom", "llama", "qwen2", "gemma2", "biogpt", "openai-gpt", "bart", "mt5"),
]
READS_PADDING = {"convbert", "funnel", "fnet", "mobilebert", "nystromformer"}
EAGER = {"deberta", "deberta-v2", "mpnet", "convbert", "big_bird", "bloom", "gpt_neo", "gptj", "xlnet"}


def build(kind, pooling="mean", side="right"):
    known = CONFIG_MAPPING[kind]()
    own = inspect.signature(type(known).__init__).parameters | dict(known.to_dict()) | dict(known.attribute_map)
    sizes = {key: value for key, value in SMALL.items() if key in own} if kind not in ("funnel", "xlnet") else {}
    if kind == "funnel":
        sizes = {"block_sizes": [1, 1], "d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 48}
    if kind == "xlnet":
        sizes = {"d_model": 32, "n_layer": 2, "n_head": 2, "d_head": 16, "d_inner": 48}
    torch.manual_seed(0)
    backbone = TextBackbone(
        config={"model_type": kind} | sizes | FURTHER.get(kind, {}),
        tokenizer={"vocab_size": 300},
        pooling=pooling,
        layer_groups=None if kind in ANATOMY else [["all", ".*"]],
        texts=lambda: TEXTS,
    ).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():  # nothing is zero: padding's embedding, a bias, a residual branch
            parameter += 0.05 * torch.randn_like(parameter)
    backbone.tokenizer.padding_side = side
    return backbone


def padded_on_the_left(batch):
    """The batch as another's collate function, or transformers' own tokenizer, would give it."""
    moved = {name: values.clone() for name, values in batch.items()}
    for row, length in enumerate(batch["attention_mask"].sum(1).tolist()):
        for name in moved:
            moved[name][row] = batch[name][row].roll(batch[name].shape[1] - length)
    return moved


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit, in transformers' DeBERTa
@pytest.mark.parametrize("kind", NAMES)
def test_a_text_is_read_as_if_it_were_alone_on_whichever_side_is_padding(kind):
    for pooling in POOLINGS:
        for side in ("right", "left"):
            backbone = build(kind, pooling, side)
            examples = [backbone.preprocessing.encode(text) for text in TEXTS]
            batch = backbone.preprocessing.collate(examples)
            with torch.no_grad():
                alone = torch.cat([backbone(backbone.preprocessing.collate([example])) for example in examples])
                for given in (batch, padded_on_the_left(batch)):
                    torch.testing.assert_close(backbone(given), alone, rtol=1e-4, atol=1e-4)
            assert (alone - alone[:1]).abs().max() > 1e-3 or pooling == "cls", "nothing of the texts is in them"
    assert backbone.reads_padding is (kind in READS_PADDING)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", sorted(ANATOMY.keys() & set(NAMES)))
def test_our_table_holds_architectures_that_leave_padding_out(kind):
    # They are not asked when a run builds them; here they are, and their layers are those that the table says.
    backbone = build(kind)
    assert not text.padding_is_read(backbone.network)
    assert [group.name for group in backbone.layer_groups()] == ["embeddings", "layer0", "layer1"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", NAMES)
def test_each_architecture_gets_an_attention_that_its_class_supports(kind):
    chosen = build(kind).network.config._attn_implementation
    assert (chosen == "eager") if kind in EAGER else chosen is not None
    if kind in ("bert", "roberta", "gpt2", "distilbert", "t5"):
        assert chosen == "sdpa_with_cheap_dropout"
