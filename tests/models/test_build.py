"""From a run's config to its backbone: where weights come from, and what is refused before anything is trained."""

import time
from pathlib import Path

import pytest
import torch

from tlx.config.composer import composer
from tlx.errors import UserError
from tlx.models.build import build_backbone

TEXTS = ["some words to learn from", "and a few more of them"]
SMALL = ["model=tiny_vision", "dataset=digits"]


def built(*overrides, **changes):
    with composer() as compose:
        config = compose(list(overrides)).config
    config["model"] |= changes
    torch.manual_seed(0)
    return build_backbone(config, lambda: TEXTS)


def saved(folder: Path) -> Path:
    backbone = built(*SMALL, "model.path=null", "strategy=scratch")
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.normal_()
    torch.save(backbone.network.state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


def test_the_same_path_gives_weights_or_only_an_architecture_as_the_strategy_says(tmp_path):
    file = saved(tmp_path)
    wanted = torch.load(file)["conv1.0.weight"]
    full = built(*SMALL, f"model.path={file}")
    assert full.load_report.share == 1.0
    assert torch.equal(full.network.conv1[0].weight, wanted)
    scratch = built(*SMALL, f"model.path={file}", "strategy=scratch")
    assert scratch.load_report is None
    assert not torch.equal(scratch.network.conv1[0].weight, wanted)


def test_scratch_and_pretrained_differ_and_scratch_follows_the_seed():
    one, two = (built(*SMALL, "model.path=null", "strategy=scratch") for _ in range(2))
    assert torch.equal(one.network.conv1[0].weight, two.network.conv1[0].weight)


def test_pretrained_without_a_place_says_what_to_give():
    with pytest.raises(UserError, match=r"no weights of its own: give model\.path=FOLDER_OR_FILE.*strategy=scratch"):
        built(*SMALL, "model.path=null")


def test_a_wrong_path_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no such file or folder: model\.path=.*nowhere"):
        built(*SMALL, f"model.path={tmp_path / 'nowhere'}")
    with pytest.raises(UserError, match="unknown registry entry 'nothing'"):
        built(*SMALL, "model.path=registry:nothing", f"paths.registry={tmp_path}")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="known endings are"):
        built(*SMALL, f"model.path={tmp_path / 'notes.txt'}")


def test_a_key_that_the_model_does_not_take_is_named_with_the_nearest():
    with pytest.raises(UserError, match=r"unknown key in model 'chanels'.*'channels'"):
        built(*SMALL, "model.path=null", "strategy=scratch", chanels=1)


@pytest.mark.parametrize("model", ["minilm", "resnet18", "wav2vec2_base"])
def test_the_hub_out_of_reach_is_said_at_once(model, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    dataset = {"minilm": "docstrings", "resnet18": "digits", "wav2vec2_base": "vowels"}[model]
    start = time.monotonic()
    with pytest.raises(UserError, match=r"hub cannot be reached.*hf download .* --local-dir DIR.*model\.path=DIR"):
        built(f"model={model}", f"dataset={dataset}", f"model.path=hub:nobody/{model}-of-nobody")
    assert time.monotonic() - start < 5


def test_scratch_needs_the_hub_for_a_tokenizer_only(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert built("model=resnet18", "dataset=digits", "strategy=scratch").load_report is None
    with pytest.raises(UserError, match="hub cannot be reached"):
        built("model=minilm", "dataset=docstrings", "strategy=scratch", "model.path=hub:nobody/nothing")


def test_tokenizer_texts_are_read_only_where_a_tokenizer_is_trained():
    def unread():
        raise AssertionError("the texts were read")

    with composer() as compose:
        config = compose([*SMALL, "model.path=null", "strategy=scratch"]).config
    assert build_backbone(config, unread).modality == "image"
