"""Where the layers of each `transformers` architecture are: layer groups and what LoRA adapts, as data.

A model yaml may state its own `layer_groups` and `lora_targets`; this table saves the usual families that line.
"""

from typing import TYPE_CHECKING, NamedTuple

from tlx.errors import unknown
from tlx.layer_groups import Layers

if TYPE_CHECKING:
    from transformers import PretrainedConfig


class Anatomy(NamedTuple):
    """`layers` as in `tlx.layer_groups.group_layers`; `lora_targets` is matched against whole module names."""

    layers: Layers
    lora_targets: str


_BERT = Anatomy(
    (("embeddings", r"embeddings\."), ("layer", r"encoder\.layer\.(\d+)\.")), r".*attention\.self\.(query|value)"
)
_WAV2VEC2 = Anatomy(
    (
        ("features", r"feature_extractor\."),
        # The mask embedding, the projection, the positions and encoder.layer_norm feed layer 0.
        ("projection", r"masked_spec_embed|feature_projection\.|encoder\.(?:pos_conv_embed|layer_norm)\."),
        ("layer", r"encoder\.layers\.(\d+)\."),
    ),
    r".*attention\.(q_proj|v_proj)",
)
# The large models are pre-norm (do_stable_layer_norm): there encoder.layer_norm comes after the last layer.
_WAV2VEC2_PRE_NORM: Layers = (
    ("features", r"feature_extractor\."),
    ("projection", r"masked_spec_embed|feature_projection\.|encoder\.pos_conv_embed\."),
    ("layer", r"encoder\.layers\.(\d+)\."),
    ("+", r"encoder\.layer_norm\."),
)

ANATOMY: dict[str, Anatomy] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "electra": _BERT._replace(
        layers=(("embeddings", r"embeddings(?:_project)?\."), ("layer", r"encoder\.layer\.(\d+)\."))
    ),
    "camembert": _BERT,
    # Relative positions are shared by all layers, and the convolution joins the first of them.
    "deberta": Anatomy(
        (("embeddings", r"embeddings\.|encoder\.rel_embeddings\."), ("layer", r"encoder\.layer\.(\d+)\.")),
        r".*attention\.self\.in_proj",
    ),
    "deberta-v2": Anatomy(
        (
            ("embeddings", r"embeddings\.|encoder\.(?:rel_embeddings|LayerNorm|conv)\."),
            ("layer", r"encoder\.layer\.(\d+)\."),
        ),
        r".*attention\.self\.(query_proj|value_proj)",
    ),
    "mpnet": Anatomy(
        (
            ("embeddings", r"embeddings\.|encoder\.relative_attention_bias\."),
            ("layer", r"encoder\.layer\.(\d+)\."),
        ),
        r".*attention\.attn\.(q|v)",
    ),
    "distilbert": Anatomy(
        (("embeddings", r"embeddings\."), ("layer", r"transformer\.layer\.(\d+)\.")), r".*attention\.(q_lin|v_lin)"
    ),
    "gpt2": Anatomy((("embeddings", r"w[tp]e\."), ("layer", r"h\.(\d+)\."), ("+", r"ln_f\.")), r".*attn\.c_attn"),
    # The relative position bias of all blocks lives in block 0.
    "t5": Anatomy(
        (("embeddings", r"embed_tokens\."), ("layer", r"block\.(\d+)\."), ("+", r"final_layer_norm\.")),
        r".*SelfAttention\.(q|v)",
    ),
    "wav2vec2": _WAV2VEC2,
    "hubert": _WAV2VEC2,
    # Its attention takes the projections' weights and never calls them: an adapter there would have no effect.
    "wavlm": _WAV2VEC2._replace(lora_targets=r".*feed_forward\.(intermediate_dense|output_dense)"),
    "whisper": Anatomy(
        (("features", r"conv\d\.|embed_positions\."), ("layer", r"layers\.(\d+)\."), ("+", r"layer_norm\.")),
        r".*self_attn\.(q_proj|v_proj)",
    ),
}


def anatomy(config: "PretrainedConfig", stated: Layers | None, lora_targets: str | None) -> Anatomy:
    """The anatomy of a `transformers` network; what the model's yaml states goes before the table.

    Raises:
        UserError: an unknown model type whose yaml states no layer groups.
    """
    model_type = config.model_type
    if stated is None and model_type not in ANATOMY:
        raise unknown(
            "model type",
            model_type,
            ANATOMY,
            "For another architecture, list its layers in the model's yaml: `layer_groups: [[name, regex], …]`.",
        )
    known = ANATOMY.get(model_type)
    if known and known.layers is _WAV2VEC2.layers and config.do_stable_layer_norm:
        known = known._replace(layers=_WAV2VEC2_PRE_NORM)
    layers = stated if stated is not None else known.layers if known else ()
    return Anatomy(layers, lora_targets or (known.lora_targets if known else ""))
