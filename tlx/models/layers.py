"""Where the layers of each `transformers` architecture are: layer groups and what LoRA adapts, as data.

A model yaml may state its own `layer_groups` and `lora_targets`; this table saves the usual families that line.
"""

from typing import NamedTuple

from tlx.errors import unknown
from tlx.plan import Layers


class Anatomy(NamedTuple):
    """`layers` as in `tlx.plan.group_layers`; `lora_targets` is matched against whole module names."""

    layers: Layers
    lora_targets: str


_BERT = Anatomy(
    (("embeddings", r"embeddings\."), ("layer", r"encoder\.layer\.(\d+)\.")), r".*attention\.self\.(query|value)"
)
_WAV2VEC2 = Anatomy(
    (
        ("features", r"feature_extractor\."),
        # The mask embedding, projection and positions feed layer 0; in the post-norm models so does encoder.layer_norm.
        ("projection", r"masked_spec_embed|feature_projection\.|encoder\.(?:pos_conv_embed|layer_norm)\."),
        ("layer", r"encoder\.layers\.(\d+)\."),
    ),
    r".*attention\.(q_proj|v_proj)",
)

ANATOMY: dict[str, Anatomy] = {
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "electra": _BERT._replace(
        layers=(("embeddings", r"embeddings(?:_project)?\."), ("layer", r"encoder\.layer\.(\d+)\."))
    ),
    "distilbert": Anatomy(
        (("embeddings", r"embeddings\."), ("layer", r"transformer\.layer\.(\d+)\.")), r".*attention\.(q_lin|v_lin)"
    ),
    "gpt2": Anatomy(
        (("embeddings", r"w[tp]e\."), ("layer", r"h\.(\d+)\."), ("+", r"ln_f\.")), r".*attn\.c_attn"
    ),
    # The relative position bias of all blocks lives in block 0.
    "t5": Anatomy(
        (("embeddings", r"embed_tokens\."), ("layer", r"block\.(\d+)\."), ("+", r"final_layer_norm\.")),
        r".*SelfAttention\.(q|v)",
    ),
    "wav2vec2": _WAV2VEC2,
    "hubert": _WAV2VEC2,
    "wavlm": _WAV2VEC2,
    "whisper": Anatomy(
        (("features", r"conv\d\.|embed_positions\."), ("layer", r"layers\.(\d+)\."), ("+", r"layer_norm\.")),
        r".*self_attn\.(q_proj|v_proj)",
    ),
}


def anatomy(model_type: str, stated: Layers | None, lora_targets: str | None) -> Anatomy:
    """The anatomy of a `transformers` model type; what the model's yaml states goes before the table.

    Raises:
        UserError: an unknown model type whose yaml states no layer groups.
    """
    if stated is None and model_type not in ANATOMY:
        raise unknown(
            "model type",
            model_type,
            ANATOMY,
            "For another architecture, list its layers in the model's yaml: `layer_groups: [[name, regex], …]`.",
        )
    known = ANATOMY.get(model_type)
    layers = stated if stated is not None else known.layers if known else ()
    return Anatomy(layers, lora_targets or (known.lora_targets if known else ""))
