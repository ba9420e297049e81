"""Batch normalisation's statistics from training inputs, and the control that has them."""

import pytest
import torch
from torch import nn

from tlx.errors import UserError
from tlx.network.calibration import calibrate, statistics


class Examples:
    def __init__(self, inputs: torch.Tensor) -> None:
        self.inputs = inputs

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, number: int) -> torch.Tensor:
        return self.inputs[number]

    def collate(self, examples: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"input": torch.stack(examples)}


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 5), nn.BatchNorm1d(5)
        )

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.layers(batch["input"])


class Module(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = Network()


def test_what_leaves_a_norm_has_mean_0_and_variance_1() -> None:
    torch.manual_seed(0)
    module, examples = Module().train(), Examples(3 + 5 * torch.randn(600, 4))
    weights = [p.clone() for p in module.parameters()]
    calibrate(module.backbone, examples)
    assert all(part.training for part in module.modules()), "the modes are as they were"
    assert module.backbone.layers[1].momentum == 0.1
    assert all(torch.equal(a, b) for a, b in zip(weights, module.parameters(), strict=True))
    out = module.eval().backbone({"input": examples.inputs})  # by the statistics that were kept, without dropout
    torch.testing.assert_close(out.mean(0), torch.zeros(5), atol=0.02, rtol=0)
    torch.testing.assert_close(out.std(0), torch.ones(5), atol=0.02, rtol=0)
    first = {name: buffer.clone() for name, buffer in module.named_buffers()}
    calibrate(module.backbone, examples)
    assert all(torch.equal(first[name], buffer) for name, buffer in module.named_buffers()), "it begins anew"
    assert sorted(f"backbone.{n}" for n in statistics(module.backbone)) == sorted(first)


def test_one_example_has_no_variance() -> None:
    with pytest.raises(UserError, match="two training examples or more"):
        calibrate(Module().backbone, Examples(torch.randn(1, 4)))


def test_random_features_are_calibrated_solved_and_can_be_loaded(tlx) -> None:
    from tlx.results import load_model

    record = tlx.record("strategy=random_features", "dataset.train_size=2_per_class", "dataset.val_size=100")
    assert record["metrics"]["test/accuracy"] > 0.25, "with a trained head and norms that saw nothing: 0.14"
    assert record["solver"]["converged"] and record["frozen"]["before"] == record["frozen"]["after"]
    (folder,) = (tlx.runs / "adhoc").glob("*random_features*")
    network = load_model(folder).backbone
    norms = [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]
    assert norms and all(norm.running_mean.abs().max() > 0 for norm in norms)
