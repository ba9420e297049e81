"""Speech backbones: front ends, padding, masking, preprocessing read from a folder, what is refused."""

import json

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from tlx.errors import UserError
from tlx.models.speech import SpeechBackbone

RATE = 16_000
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
WHISPER = {
    "model_type": "whisper",
    "d_model": 16,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 24,
    "vocab_size": 20,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
KINDS = ["wav2vec2", "hubert", "wavlm"]


def build(kind="wav2vec2", **changes):
    config = {"model_type": kind, **SIZES, **changes.pop("config", {})}
    torch.manual_seed(0)
    return SpeechBackbone(config=config, **changes).eval()


def clip(seconds, seed=0):
    return np.random.default_rng(seed).standard_normal(round(seconds * RATE)).astype(np.float32) / 10, RATE


def batch_of(backbone, *clips):
    return backbone.preprocessing.collate([backbone.preprocessing.encode(c) for c in clips])


def features(backbone, *clips):
    with torch.no_grad():
        return backbone(batch_of(backbone, *clips))


@pytest.mark.parametrize("kind", KINDS)
def test_layer_norm_front_ends_do_not_mind_padding_and_group_norm_ones_do(kind):
    short, long = clip(0.4), clip(1.0, 1)
    careful = build(kind, config={"feat_extract_norm": "layer"})
    torch.testing.assert_close(features(careful, short, long)[0], features(careful, short)[0], rtol=1e-4, atol=1e-5)
    careless = build(kind)
    assert not torch.allclose(features(careless, short, long)[0], features(careless, short)[0], rtol=1e-3)


@pytest.mark.parametrize("seconds", [0.001, 0.02, 0.03])
def test_clips_shorter_than_a_frame_have_features_that_do_not_depend_on_the_batch(seconds):
    backbone = build(config={"feat_extract_norm": "layer"})
    alone = features(backbone, clip(seconds))
    assert alone.abs().sum() > 0
    batch = batch_of(backbone, clip(seconds), clip(0.5))
    mask = batch["attention_mask"].clone()
    with torch.no_grad():
        torch.testing.assert_close(backbone(batch)[0], alone[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(batch["attention_mask"], mask), "the batch was changed"


@pytest.mark.parametrize("kind", KINDS)
def test_masking_hides_frames_in_training_only_and_spares_clips_too_short_for_it(kind):
    backbone = build(kind, config={"mask_time_prob": 0.5, "layerdrop": 0.0, "hidden_dropout": 0.0})
    for dropout in (m for m in backbone.modules() if isinstance(m, torch.nn.Dropout)):
        dropout.p = 0.0
    for name in ("attention_dropout", "activation_dropout", "feat_proj_dropout"):
        setattr(backbone.network.config, name, 0.0)
    long, short = batch_of(backbone, clip(1.0)), batch_of(backbone, clip(0.15))
    embedding = backbone.network.masked_spec_embed
    backbone.train()(long).sum().backward()
    assert embedding.grad.any()
    embedding.grad = None
    backbone(short).sum().backward()
    assert embedding.grad is None or not embedding.grad.any()
    backbone.eval()(long).sum().backward()
    assert embedding.grad is None or not embedding.grad.any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_that_never_masks_takes_clips_too_short_to_be_masked(kind):
    backbone = build(kind, config={"mask_time_prob": 0.0, "feat_extract_norm": "layer"})
    assert features(backbone, clip(0.15)).isfinite().all()
    assert backbone.train()(batch_of(backbone, clip(0.15))).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_norm_of_the_encoder_stands_where_it_is_applied(kind):
    def group_of(name, **config):
        return next(g.name for g in build(kind, config=config).layer_groups() if name in g.parameters)

    assert group_of("network.encoder.layer_norm.weight") == "projection"
    assert group_of("network.encoder.layer_norm.weight", do_stable_layer_norm=True) == "layer1"
    assert group_of("network.masked_spec_embed", do_stable_layer_norm=True) == "projection"


def test_rate_and_normalisation_come_from_the_folder(tmp_path):
    assert build(sample_rate=8000).preprocessing.sample_rate == 8000
    backbone = build()
    backbone.save_preprocessing(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert (saved["sampling_rate"], saved["do_normalize"]) == (RATE, True)
    saved |= {"sampling_rate": 8000, "do_normalize": False}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(saved))
    (tmp_path / "weights.pt").touch()
    for source in (tmp_path, tmp_path / "weights.pt"):
        found = SpeechBackbone(source=source).preprocessing
        assert (found.sample_rate, found.normalize) == (8000, False)


def test_whisper_is_prepared_by_its_own_feature_extractor(tmp_path):
    backbone = SpeechBackbone(config=WHISPER)
    batch = batch_of(backbone, clip(0.5))
    assert batch["input_features"].shape == (1, 80, 3000)
    WhisperFeatureExtractor(chunk_length=20).save_pretrained(tmp_path)
    (tmp_path / "weights.pt").touch()
    found = SpeechBackbone(source=tmp_path / "weights.pt", config=WHISPER).preprocessing
    assert found.feature_extractor.chunk_length == 20


def test_whispers_features_are_the_mean_over_the_frames_with_signal():
    backbone = SpeechBackbone(config=WHISPER).eval()
    batch = batch_of(backbone, clip(0.5))
    with torch.no_grad():
        hidden = backbone.network(batch["input_features"]).last_hidden_state[0]
    # 50 mel frames of 10 ms, halved by the second convolution
    torch.testing.assert_close(features(backbone, clip(0.5))[0], hidden[:25].mean(0), rtol=1e-4, atol=1e-5)


def test_whispers_sinusoidal_positions_are_never_trained():
    backbone = SpeechBackbone(config=WHISPER)
    fixed = [n for n, p in backbone.named_parameters() if not p.requires_grad]
    assert fixed == ["network.embed_positions.weight"]


def test_mistakes_are_readable_errors(tmp_path):
    with pytest.raises(UserError, match=r"unknown model\.config\.model_type 'wav2vec'\. Did you mean 'wav2vec2'\?"):
        build("wav2vec")
    with pytest.raises(UserError, match="unknown key of the wav2vec2 architecture 'layer_drop'"):
        build(config={"layer_drop": 0.1})
    with pytest.raises(UserError, match="names no architecture"):
        SpeechBackbone()
    build().save_preprocessing(tmp_path)
    with pytest.raises(UserError, match="holds a 'wav2vec2' network, but this model is 'hubert'"):
        build("hubert", source=tmp_path)
