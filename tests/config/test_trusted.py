"""What a yaml may name: parts of runs and the user's own code, never a function that happens to be installed."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tlx.config.instantiate import instantiate
from tlx.config.names import hold_targets, resolve
from tlx.config.trusted import is_users_own
from tlx.errors import UserError


@pytest.mark.parametrize(
    "dotted",
    [
        "os.system",
        "posix.system",
        "subprocess.run",
        "shutil.rmtree",
        "builtins.eval",
        "functools.partial",
        "antigravity.webbrowser",  # its import opens a browser
        "torch.load",
        "torch.hub.load",
        "torch.utils.cpp_extension.load_inline",
        "pandas.read_pickle",
        "numpy.load",
        "hydra.utils.instantiate",
        "yaml.unsafe_load",
        "tlx.cache.listing.clear_all",
        "tlx.registry.entries.add",
        "tlx.config.names.resolve",
        "tlx.config.instantiate.instantiate",
        "timm.models.load_state_dict",  # unpickles
        "timm.models.load_checkpoint",
        "timm.models.save_for_hf",  # writes
        "timm.utils.log.setup_default_logging",
        "timm.utils.summary.update_summary",
        "timm.optim.create_optimizer_v2",
        "torchvision.models.get_weight",
        "torchvision.models._utils.handle_legacy_interface",
        "torchaudio.models.wav2vec2.utils.import_huggingface_model",
        "tlx.data.fingerprint.fingerprint",  # writes to a file of one's choice
        "tlx.record.hashes._write_cache",
        "tlx.data.made.make_bundled",
        "tlx.data.made.shutil",  # a module that one of ours has imported
        "tlx.data.made.resolve",  # and a function
        "transformers.dynamic_module_utils.get_class_from_dynamic_module",
        "lightning.pytorch.loggers.wandb.Path",  # what a module of loggers has imported
        "lightning.pytorch.Trainer",
        "lightning.pytorch.callbacks.LambdaCallback",
    ],
)
def test_functions_that_no_run_is_made_of(dotted: str) -> None:
    before = set(sys.modules)
    with pytest.raises(UserError, match="not allowed"):
        resolve(dotted, "optimizer._target_")
    assert "antigravity" not in set(sys.modules) - before


@pytest.mark.parametrize(
    "dotted",
    [
        "tlx.models.vision.VisionBackbone",
        "tlx.schedules.linear",
        "torch.optim.AdamW",
        "torch.nn.Linear",
        "timm.create_model",
        "timm.models.resnet18",
        "timm.optim.Lamb",
        "torchvision.models.resnet18",
        "torchvision.models.detection.fasterrcnn_resnet50_fpn",
        "torchvision.models.quantization.resnet18",
        "torchaudio.models.wav2vec2_base",
        "torchaudio.models.Conformer",
        "transformers.BertModel",
        "lightning.pytorch.loggers.TensorBoardLogger",
        "lightning.pytorch.loggers.MLFlowLogger",
    ],
)
def test_parts_of_runs(dotted: str) -> None:
    assert resolve(dotted, "model._target_").__name__ == dotted.rpartition(".")[2]


@pytest.mark.parametrize(
    "node",
    [
        {"_target_": "timm.create_model", "model_name": "test_resnet", "checkpoint_path": "evil.pth"},
        {"_target_": "timm.create_model", "_args_": ["test_resnet", False, None, None, "evil.pth"]},
        {"_target_": "timm.create_model", "_args_": "${oc.decode:'[test_resnet, false, null, null, evil.pth]'}"},
        {"_target_": "timm.create_model", "model_name": "test_resnet", "pretrained": True},
        {"_target_": "timm.create_model", "model_name": "test_resnet", "pretrained_cfg": {"file": "evil.pth"}},
        {"_target_": "timm.models.resnet18", "cache_dir": "."},
        {"_target_": "torchvision.models.resnet18", "weights": "DEFAULT"},
        {"_target_": "torchvision.models.resnet18", "pretrained": True},
        {"_target_": "torch.nn.Sequential", "_args_": [{"_target_": "timm.models.resnet18", "pretrained": True}]},
    ],
)
def test_builders_load_no_weights(node: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"not allowed: (a yaml's networks|give a list)"):
        instantiate(node, "model")
    with pytest.raises(UserError, match="not allowed"):
        hold_targets({"module": node}, "model")


def test_what_says_that_nothing_is_loaded_may_stay() -> None:
    node = {"_target_": "timm.create_model", "model_name": "test_resnet", "pretrained": False, "checkpoint_path": None}
    assert isinstance(instantiate(node, "model"), torch.nn.Module)


def test_options_of_a_vision_backbone_load_none_either() -> None:
    node = {"_target_": "tlx.models.vision.VisionBackbone", "arch": "test_resnet"}
    with pytest.raises(UserError, match=r"model\.options\.checkpoint_path=evil\.pth is not allowed"):
        instantiate(node | {"options": {"checkpoint_path": "evil.pth"}}, "model")


def test_the_users_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_rules_for_trust.py").write_text("from os import system\ndef mine():\n    return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert is_users_own("my_rules_for_trust")
    assert resolve("my_rules_for_trust.mine", "x")() == 1
    with pytest.raises(UserError, match="not allowed"):
        resolve("my_rules_for_trust.system", "x")
    assert not any(map(is_users_own, ("os", "torch", "tlx", "no_such_module")))


def test_an_installed_package_that_depends_on_tlx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed elsewhere, as seen by the machinery of packages; one that does not depend on tlx is refused."""
    for name, needs in (("tlx_plugin_for_test", "tlx>=0.1"), ("other_plugin_for_test", "tlx-like")):
        (tmp_path / f"{name}.py").write_text("def part():\n    return 1\n")
        info = tmp_path / f"{name}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\nRequires-Dist: {needs}\n")
        (info / "top_level.txt").write_text(name)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("tlx.config.trusted.installed", lambda place: place.is_relative_to(tmp_path))
    assert resolve("tlx_plugin_for_test.part", "x")() == 1
    with pytest.raises(UserError, match="not allowed"):
        resolve("other_plugin_for_test.part", "x")
