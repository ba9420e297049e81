"""Every yaml of configs/model, built small and offline: groups, freezing, training, features, weights."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    AutoModel,
    BertForSequenceClassification,
    DistilBertForMaskedLM,
    ElectraForPreTraining,
    T5ForConditionalGeneration,
    Wav2Vec2ForPreTraining,
    WhisperForConditionalGeneration,
)

from tlx.contracts import models as contracts
from tlx.strategies.freezing import Gradual
from tlx.strategies.strategy import TransferStrategy

YAML = {p.stem: p.read_text() for p in (Path(__file__).resolve().parents[2] / "configs" / "model").glob("*.yaml")}
NAMES = sorted(YAML)
STRATEGIES = {"full": TransferStrategy, "gradual_unfreezing": lambda: TransferStrategy(freezing=Gradual())}

TRANSFORMERS = [
    n for n in NAMES if re.search(r"^(_target_: tlx.models.(text|speech)|defaults: \[(text|speech)_enc)", YAML[n], re.M)
]
HEADS = {
    "bert": BertForSequenceClassification,
    "electra": ElectraForPreTraining,
    "distilbert": DistilBertForMaskedLM,
    "t5": T5ForConditionalGeneration,
    "wav2vec2": Wav2Vec2ForPreTraining,
    "whisper": WhisperForConditionalGeneration,
}


def saved_by_transformers(contract, name, folder):
    """A random small model of this yaml's architecture, saved by transformers with what its preprocessing needs."""
    backbone = contract.build(name)
    backbone.save_preprocessing(folder)  # tokenizer or feature extractor; config.json is written over below
    settings = contract.models.config(name)["config"] | {"vocab_size": backbone.network.config.vocab_size}
    torch.manual_seed(3)
    # "eager": the plainest code, for comparison.
    config = AutoConfig.for_model(**settings, attn_implementation="eager")
    if hasattr(backbone.network.config, "pad_token_id"):
        config.pad_token_id = backbone.network.config.pad_token_id
    whole = AutoModel.from_config(config).eval()
    whole.save_pretrained(folder)
    return settings, whole


def transformers_features(whole, batch):
    """The mean of the last hidden states over what is no padding, as transformers' users compute it."""
    encoder = whole.get_encoder() if whole.config.is_encoder_decoder else whole
    mask = batch["attention_mask"]
    with torch.no_grad():
        if "input_features" in batch:
            hidden = encoder(batch["input_features"]).last_hidden_state
            return torch.stack([h[: -(-int(m.sum()) // 2)].mean(0) for h, m in zip(hidden, mask, strict=True)])
        if "input_values" in batch:
            assert bool(mask.all()) or getattr(whole.config, "feat_extract_norm", "layer") == "group"
            return encoder(batch["input_values"]).last_hidden_state.mean(1)
        hidden = encoder(input_ids=batch["input_ids"], attention_mask=mask).last_hidden_state
        return torch.stack([h[m.bool()].mean(0) for h, m in zip(hidden, mask, strict=True)])


def test_all_model_yamls_are_found():
    assert len(NAMES) >= 22
    assert {"timm", "text_encoder", "speech_encoder"} <= set(NAMES)


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_frozen_rests_and_what_is_trained_moves(contract, name, strategy):
    contracts.frozen_rests_and_trained_moves(contract.build(name), STRATEGIES[strategy]())


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_and_buffer_is_in_one_layer_group(contract, name):
    contracts.groups_cover_everything(contract.build(name))


@pytest.mark.parametrize("name", NAMES)
def test_adapters_start_from_the_network_they_adapt_and_alone_are_trained(contract, name):
    contracts.adapters_alone_are_trained(contract.build(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_prefix_gives_the_same_twice_in_train_mode(contract, name):
    random = contract.build(name, **contracts.turned_up(contract.models.config(name)))
    contracts.frozen_prefix_repeats_itself(random)


@pytest.mark.parametrize("name", NAMES)
def test_features_are_vectors_that_do_not_depend_on_the_batch(contract, name):
    contracts.features_are_the_examples_own(contract.build(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_state_dict_comes_back_and_a_foreign_one_is_refused(contract, name, tmp_path):
    stranger = contract.build("gpt2" if name != "gpt2" else "whisper_tiny").network.state_dict()
    contracts.state_comes_back(contract.build(name), contract.build(name, seed=7), stranger, tmp_path)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_folder_of_transformers_gives_what_transformers_gives(contract, name, tmp_path):
    small, whole = saved_by_transformers(contract, name, tmp_path)
    pooling = {"pooling": "mean"} if contract.build(name).modality == "text" else {}
    backbone = contract.from_path(name, tmp_path, **pooling)
    assert (backbone.load_report.share, backbone.load_report.missing) == (1.0, ())
    raw = contract.raw(backbone)
    batch = contract.batch(backbone, raw)
    got = contract.features(backbone, batch)
    for row, value in enumerate(raw):
        alone = contract.batch(backbone, [value])
        if not contracts.padding_is_signal(backbone):
            torch.testing.assert_close(got[row], transformers_features(whole, alone)[0], rtol=1e-4, atol=1e-5)
        else:
            single = contract.features(backbone, alone)
            torch.testing.assert_close(single, transformers_features(whole, alone), rtol=1e-4, atol=1e-5)

    torch.save({f"module.{n}": t for n, t in whole.state_dict().items()}, tmp_path / "last.pt")
    for file in ("model.safetensors", "last.pt"):
        if file == "last.pt":
            (tmp_path / "config.json").unlink()  # the yaml alone tells the architecture
        again = contract.from_path(name, tmp_path / file, config=small, **pooling)
        assert again.load_report.share == 1.0
        assert torch.equal(contract.features(again, batch), got)


@pytest.mark.parametrize(
    "name", ["tiny_text", "electra_small", "distilbert", "t5_small", "wav2vec2_base", "whisper_tiny"]
)
def test_the_trunk_is_taken_out_of_a_model_with_a_task_head(contract, name, tmp_path):
    small, trunk = saved_by_transformers(contract, name, tmp_path)
    whole = HEADS[trunk.config.model_type](trunk.config).eval()
    whole.save_pretrained(tmp_path)
    wanted = contract.from_path(name, tmp_path)
    batch = contract.batch(wanted, contract.raw(wanted, 1))
    features = contract.features(wanted, batch)
    torch.testing.assert_close(features, transformers_features(whole.base_model, batch), rtol=1e-4, atol=1e-5)
    again = contract.from_path(name, tmp_path / "model.safetensors", config=small)
    assert again.load_report.share == 1.0
    assert torch.equal(contract.features(again, batch), features)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_what_the_registry_keeps_beside_the_weights_builds_the_same_again(contract, name, tmp_path):
    backbone = contract.build(name)
    backbone.save_preprocessing(tmp_path)
    save_file({n: t.contiguous() for n, t in backbone.network.state_dict().items()}, tmp_path / "backbone.safetensors")
    again = contract.from_path(name, tmp_path)
    assert again.load_report.share == 1.0
    assert again.preprocessing.key() == backbone.preprocessing.key()
    batch = contract.batch(backbone, contract.raw(backbone))
    assert torch.equal(contract.features(again, batch), contract.features(backbone, batch))
