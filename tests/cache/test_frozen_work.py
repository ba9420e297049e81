"""Frozen layers played back in whole runs: same results as computed, and when they are not used."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tlx.cache import frozen_work
from tlx.cache.frozen_work import FrozenWork, depths
from tlx.data.loaders import Examples
from tlx.layer_groups import HEAD, group_layers
from tlx.models.backbone import Backbone
from tlx.module import TransferModule
from tlx.plan import ParameterPlan, Phase
from tlx.strategies.freezing import FrozenBackbone, Partial
from tlx.strategies.strategy import TransferStrategy
from tlx.tasks.classification import Classification

STRATEGIES = sorted(p.stem for p in (Path(__file__).resolve().parents[2] / "configs" / "strategy").glob("*.yaml"))
ALWAYS_TRAINED = {"full", "scratch", "scratch_long", "shuffled", "mixout", "discriminative", "l2_sp", "ewc"}


@pytest.fixture
def small_networks_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frozen_work, "WORTH", {"cpu": 0.0})


@pytest.mark.parametrize(
    "strategy", [pytest.param(s, marks=pytest.mark.slow if s in ALWAYS_TRAINED - {"full"} else ()) for s in STRATEGIES]
)
def test_the_same_scores_as_computed(tlx, small_networks_count, strategy: str) -> None:
    runs = {
        mode: tlx.record(f"strategy={strategy}", "trainer.max_epochs=12", f"cache={mode}") for mode in ("off", "on")
    }
    off, on = runs["off"]["metrics"], runs["on"]["metrics"]
    assert off.keys() == on.keys()
    for name, value in off.items():
        assert on[name] == pytest.approx(value, abs=2e-4 if name.endswith("loss") else 1e-9), name
    assert runs["on"]["cache"]["used"] == (strategy not in ALWAYS_TRAINED), runs["on"]["cache"]
    assert not runs["off"]["cache"]["used"] and runs["off"]["cache"]["reasons"] == ["cache=off"]
    assert runs["off"]["identity"] != runs["on"]["identity"], "the mode is part of the identity"


def test_every_strategy_is_looked_at() -> None:
    assert len(STRATEGIES) >= 12 and set(STRATEGIES) > ALWAYS_TRAINED


def test_cold_and_warm_runs_are_the_same_run(tlx, tmp_path: Path) -> None:
    given = ["strategy=feature_extraction", f"paths.cache={tmp_path / 'cache'}", "force=true"]
    cold, warm = tlx.record(*given), tlx.record(*given)
    assert cold["cache"]["encoded"] > 0 and warm["cache"]["encoded"] == 0
    assert cold["metrics"] == warm["metrics"] and cold["checkpoint"] == warm["checkpoint"]
    # What the first run did for the second counts as the second's, too.
    assert warm["seconds_alone"]["total"] > warm["seconds"]["total"]
    assert cold["seconds_alone"]["total"] == pytest.approx(cold["seconds"]["total"], abs=0.5)


def test_seeds_and_strategies_share_what_is_the_same(tlx, tmp_path: Path) -> None:
    given = ["dataset.train_size=null", f"paths.cache={tmp_path / 'cache'}"]
    first = tlx.record("strategy=feature_extraction", "seed=0", *given)
    other_seed = tlx.record("strategy=feature_extraction", "seed=1", *given)
    assert first["cache"]["encoded"] > 0 and other_seed["cache"]["encoded"] == 0
    assert first["metrics"] != other_seed["metrics"]


def test_augmented_examples_are_computed(tlx) -> None:
    record = tlx.record("strategy=feature_extraction", "dataset.augmentation={shift:0.1}")
    assert not record["cache"]["used"]
    assert record["cache"]["reasons"] == ["training examples are augmented"]


def test_without_room_it_computes(tlx, tmp_path: Path) -> None:
    record = tlx.record("strategy=feature_extraction", "cache_limit=0", f"paths.cache={tmp_path / 'cache'}")
    assert not record["cache"]["used"] and "cache_limit" in record["cache"]["reasons"][0]
    assert record["status"] == "completed"


def test_on_a_full_disk_it_computes(tlx, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(frozen_work.Writer, "add", full)
    record = tlx.record("strategy=feature_extraction", f"paths.cache={tmp_path / 'cache'}")
    assert record["status"] == "completed" and not record["cache"]["used"]
    assert record["cache"]["reasons"] == ["the disk is full"]
    assert not list((tmp_path / "cache" / "features").glob("*.draft"))


def test_what_was_trained_once_is_never_played_back() -> None:
    plan = ParameterPlan.of(Net(), Net().groups())
    plan.phases = [Phase(frozenset({"head"})), Phase(frozenset({"b", "head"})), Phase(frozenset({"head"}))]
    assert depths(plan) == [2, 1, 1]


def test_drift_and_bf16_can_be_asked_for_together(tlx) -> None:
    record = tlx.record("strategy=feature_extraction", "cache=bf16", "measures=[drift]")
    assert record["cache"]["used"] and 0 <= record["cache"]["largest_difference"] < 0.05
    shares = {n: v for n, v in record["metrics"].items() if n.startswith("cka/")}
    assert shares and all(v == pytest.approx(1, abs=1e-5) for v in shares.values()), "nothing moved"


def test_the_list_and_its_clearing(tlx, tmp_path: Path) -> None:
    place = tmp_path / "cache"
    tlx.record("strategy=feature_extraction", f"paths.cache={place}")
    listed = tlx("cache", "list", "--folder", str(place))
    assert listed.code == 0 and "train examples at task (float32)" in listed.out
    stores = len(listed.out.splitlines()) - 2
    assert stores >= 4 and "scores of tiny_vision" in listed.out
    assert tlx("cache", "clear", "--folder", str(place)).out.startswith(f"removed {stores} stores")
    assert tlx("cache", "list", "--folder", str(place)).out.startswith("nothing is kept")
    assert "Did you mean 'list'?" in tlx("cache", "lst").complaint


class Net(nn.Module):
    """Two layers and a head, with a setting that is no tensor."""

    def __init__(self, power: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.head = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.power = power

    def groups(self) -> list:
        return group_layers(self, [(n, rf"{n}\.") for n in ("a", "b", "head")])


class Layer(nn.Linear):
    """A layer whose settings decide what it computes."""

    power = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) ** self.power


class Plain:
    """Preprocessing of vectors as they are."""

    def key(self) -> str:
        return "plain"

    def length(self, example: torch.Tensor) -> int:
        return 1

    def collate(self, examples: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"x": torch.stack(examples)}


class Small(Backbone):
    """Three layers in a row."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(Layer(3, 8), Layer(8, 8), Layer(8, 4))
        self.feature_dim, self.layers = 4, [("layer", r"(\d)\.")]

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.network(batch["x"])


def planned(strategy: TransferStrategy, kind: type[Backbone] = Small) -> TransferModule:
    backbone = kind()
    task = Classification(4, ["a", "b"])
    plan = strategy.plan(backbone, task)
    return TransferModule(backbone, task, plan, 0.1, 0.0, torch.optim.SGD, lambda step, total: 1.0)


class Clips:
    """Preprocessing of clips (T,): padded with silence."""

    def key(self) -> str:
        return "clips"

    def length(self, example: torch.Tensor) -> int:
        return len(example)

    def collate(self, examples: list[torch.Tensor]) -> dict[str, torch.Tensor]:
        longest = max(map(len, examples))
        padded = [nn.functional.pad(e, (0, longest - len(e))) for e in examples]
        return {"x": torch.stack(padded), "length": torch.tensor([len(e) for e in examples])}


class Frames(Backbone):
    """A layer that makes a frame of ten samples, and one on every frame; the mean over a clip's own frames."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.ModuleList([nn.Conv1d(1, 8, 10, 10), nn.Linear(8, 4)])
        self.feature_dim, self.layers, self.passes = 4, [("layer", r"(\d)\.")], 0

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        self.passes += 1
        frames = self.network[1](self.network[0](batch["x"][:, None]).transpose(1, 2))
        own = (torch.arange(frames.shape[1]) < batch["length"][:, None] // 10).unsqueeze(-1)
        return (frames * own).sum(1) / own.sum(1)


EXAMPLES = Examples(list(torch.randn(5, 3, generator=torch.Generator().manual_seed(0))), np.zeros(5, int), Plain())


def encoded(module: TransferModule, root: Path, examples: Examples = EXAMPLES) -> int:
    """How many examples a run with this module encodes, given what others have kept."""
    work = FrozenWork(module, module.plan, {"train": examples}, root, "on", 10**9)
    batch = examples.collate([examples[i] for i in range(len(examples))])
    module.eval()
    assert torch.allclose(work.logits(batch, "train"), module(batch), atol=1e-6)
    return work.encoded


def test_any_change_of_what_is_frozen_makes_other_values(tmp_path: Path, small_networks_count) -> None:
    frozen = TransferStrategy(freezing=Partial(until="layer2"))
    assert encoded(planned(frozen), tmp_path) == 5
    assert encoded(planned(frozen), tmp_path) == 0
    above, weights, settings = planned(frozen), planned(frozen), planned(frozen)
    with torch.no_grad():
        above.backbone.network[2].weight += 1
        weights.backbone.network[1].bias += 1e-6
    settings.backbone.network[0].power = 2
    assert encoded(above, tmp_path) == 0, "what is trained does not matter"
    assert encoded(weights, tmp_path) == 5
    assert encoded(settings, tmp_path) == 5
    assert encoded(planned(TransferStrategy(freezing=FrozenBackbone())), tmp_path) == 5, "another boundary"
    others = Examples([example + 1 for example in EXAMPLES.examples], EXAMPLES.labels, EXAMPLES.preprocessing)
    assert encoded(planned(frozen), tmp_path, others) == 5


@pytest.mark.parametrize("freezing", [FrozenBackbone(), Partial(until="layer1")])
def test_clips_of_as_many_frames_are_encoded_together(tmp_path: Path, small_networks_count, freezing) -> None:
    draw = torch.Generator().manual_seed(0)
    clips = [torch.randn(20 + i, generator=draw) for i in torch.randperm(60, generator=draw).tolist()]
    module = planned(TransferStrategy(freezing=freezing), Frames)
    assert encoded(module, tmp_path, Examples(clips, np.zeros(60, int), Clips())) == 60
    assert module.backbone.passes < 45, "what looks for the boundary and tries it included"


def test_random_numbers_of_the_run_are_left_alone(tmp_path: Path, small_networks_count) -> None:
    module = planned(TransferStrategy(freezing=FrozenBackbone()))
    before = torch.get_rng_state()
    encoded(module, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)
    assert HEAD in module.plan.phases[0].trainable


def test_what_it_is_said_to_hold(tmp_path: Path, small_networks_count) -> None:
    encoded(planned(TransferStrategy(freezing=Partial(until="layer2"))), tmp_path)
    (meta,) = (tmp_path / "features").glob("*/meta.json")
    about = json.loads(meta.read_text())["about"]
    assert about["boundary"] == "backbone.network.2" and about["examples"] == 5 and about["difference"] < 1e-6
