"""Train and eval mode in somebody else's module: eval mode is for what has nothing trained below it."""

from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tlx.callbacks.phases import GradualUnfreezing, PhaseSchedule
from tlx.layer_groups import LayerGroup, by_parameters, group_layers
from tlx.models.backbone import Backbone
from tlx.plan import ParameterPlan, Phase


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


class Modes(L.Callback):
    """The names of the modules in eval mode while each batch is trained on."""

    def __init__(self) -> None:
        self.off: list[set[str]] = []

    def on_before_optimizer_step(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self.off.append({name for name, part in pl_module.named_modules() if not part.training})


def fit(module: L.LightningModule, phases: PhaseSchedule, loader: Any, epochs: int = 2) -> list[set[str]]:
    modes = Modes()
    L.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[phases, modes],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(module, loader)
    return modes.off


class Head(L.LightningModule):
    """A backbone, a dropout of the model's own and a head; what the step does depends on the module's own mode."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False), nn.Dropout(0.5), nn.Linear(4, 4)
        )
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(4, 2)
        self.features: list[Tensor] = []

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        assert self.training
        self.features.append(self.dropout(torch.ones(50)))
        return nn.functional.cross_entropy(self.head(self.dropout(self.backbone(batch[0]))), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def data() -> DataLoader:
    x = torch.randn(16, 4)
    return DataLoader(TensorDataset(x, (x[:, 0] > 0).long()), batch_size=4)


def two(module: nn.Module) -> list[LayerGroup]:
    return group_layers(module, [("backbone", r"backbone\."), ("head", r"head\.")])


def three(module: nn.Module) -> list[LayerGroup]:
    return group_layers(module, [("low", r"backbone\.0"), ("high", r"backbone\.3"), ("head", r"head\.")])


def test_a_models_own_dropout_before_the_head_is_on() -> None:
    module = Head()
    statistics = module.backbone[1].running_mean.clone()
    off = fit(module, GradualUnfreezing(two, epochs_per_phase=1), data())
    inside = {"backbone", *(f"backbone.{i}" for i in range(4))}
    assert off == [inside] * 4 + [set()] * 4
    assert all((f == 0).any() for f in module.features)
    assert not torch.equal(statistics, module.backbone[1].running_mean)


def test_between_frozen_layers_dropout_and_statistics_rest() -> None:
    module = Head()
    off = fit(module, GradualUnfreezing(three, epochs_per_phase=1), data(), epochs=3)
    frozen = {"backbone", *(f"backbone.{i}" for i in range(4))}
    # In the second phase what lies between a frozen and a trained layer is on.
    assert off == [frozen] * 4 + [{"backbone.0"}] * 4 + [set()] * 4


def test_groups_written_by_hand_need_not_name_modules() -> None:
    module = Head()
    by_hand = [
        LayerGroup("backbone", tuple(n for n, _ in module.named_parameters() if n.startswith("backbone."))),
        LayerGroup("head", ("head.weight", "head.bias"), depth=1),
    ]
    off = fit(module, GradualUnfreezing(by_hand, steps_per_phase=7), data())
    assert off[0] == {"backbone", *(f"backbone.{i}" for i in range(4))} and off[7] == set()
    plan = ParameterPlan.of(module, by_hand)
    plan.phases = [Phase(frozenset({"head"}))]
    before = module.backbone[1].running_mean.clone()
    fit(module, PhaseSchedule(plan), data())
    assert torch.equal(before, module.backbone[1].running_mean)


def test_what_somebody_froze_in_eval_mode_stays_in_eval_mode() -> None:
    module = Head()
    module.backbone[1] = nn.BatchNorm1d(4)
    module.backbone[1].requires_grad_(False).eval()
    module.add_module("teacher", nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).requires_grad_(False).eval())
    kept = module.backbone[1].running_mean.clone()

    def groups(module: nn.Module) -> list[LayerGroup]:
        return group_layers(module, [("backbone", r"backbone\."), ("teacher", r"teacher\."), ("head", r"head\.")])

    off = fit(module, GradualUnfreezing(groups, epochs_per_phase=1, own_freezing="keep"), data())
    teacher = {"teacher", "teacher.0", "teacher.1"}
    assert off[-1] == {"backbone.1", *teacher}
    assert torch.equal(kept, module.backbone[1].running_mean)


def test_a_module_used_in_two_places_is_on_where_one_of_them_is_trained() -> None:
    shared = nn.Dropout(0.5)
    net = nn.ModuleDict({n: nn.ModuleDict({"linear": nn.Linear(2, 2), "dropout": shared}) for n in ("low", "high")})
    low, high = by_parameters(net, group_layers(net, [("low", r"low\."), ("high", r"high\.")]))
    assert set(low.modules) == {"", "low", "low.linear", "low.dropout"}
    assert set(high.modules) == {"", "high", "high.linear", "low.dropout"}


class Own(Backbone):
    """A backbone of tlx, in somebody's module."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4))
        self.layers = [("layer", r"(\d+)\.")]


def test_within_a_backbone_of_tlx_containers_follow_the_lowest_group() -> None:
    module = nn.ModuleDict({"backbone": Own(), "head": nn.Linear(4, 2)})
    head = LayerGroup("head", ("head.weight", "head.bias"), modules=("head",), depth=3)
    groups = [*(g.within("backbone") for g in module["backbone"].layer_groups()), head]
    low, high, top = by_parameters(module, groups, apart=(Backbone,))
    assert set(low.modules) == {"", "backbone", "backbone.network", "backbone.network.0", "backbone.network.1"}
    assert set(high.modules) == {"", "backbone", "backbone.network.2"}
    assert set(top.modules) == {"", "head"}


def test_a_detector_returns_losses_in_every_phase() -> None:
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
    from torchvision.ops import MultiScaleRoIAlign

    class Detector(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            body = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.ReLU())
            body.out_channels = 8
            self.model = FasterRCNN(
                body,
                min_size=32,
                max_size=32,
                rpn_anchor_generator=AnchorGenerator(((8, 16),), ((1.0,),)),
                box_roi_pool=MultiScaleRoIAlign(["0"], 2, 0),
                box_head=nn.Sequential(nn.Flatten(), nn.Linear(32, 8), nn.ReLU()),
                box_predictor=FastRCNNPredictor(8, 2),
            )

        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            images, targets = batch
            return sum(self.model(images, targets).values())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=1e-3)

    def groups(module: nn.Module) -> list[LayerGroup]:
        parts = [("body", r"model\.backbone"), ("rpn", r"model\.rpn"), ("box", r"model\.roi_heads")]
        return group_layers(module, parts)

    target = {"boxes": torch.tensor([[4.0, 4.0, 20.0, 20.0]]), "labels": torch.tensor([1])}
    examples = [(torch.rand(3, 32, 32), target)] * 6
    loader = DataLoader(examples, batch_size=2, collate_fn=lambda rows: tuple(map(list, zip(*rows, strict=True))))
    module = Detector()
    statistics = module.model.backbone[1].running_mean.clone()
    off = fit(module, GradualUnfreezing(groups, steps_per_phase=3), loader, epochs=3)
    assert len(off) == 9 and not any({"", "model", "model.roi_heads"} & names for names in off)
    assert all({"model.backbone", "model.backbone.1"} <= names for names in off[:6]) and off[6:] == [set()] * 3
    assert not torch.equal(statistics, module.model.backbone[1].running_mean)
