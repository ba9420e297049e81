"""Each contract can fail: parts that are broken in one way each, and what is said of them."""

import pytest
import torch
from omegaconf import OmegaConf

from tlx.config.place import CONFIG_DIR
from tlx.contracts import datasets, experiments, interruption, models, steps, workshop
from tlx.contracts.contract import Broken
from tlx.contracts.try_model import build_random
from tlx.strategies.freezing import Gradual
from tlx.strategies.strategy import TransferStrategy

CODE = '''
import math

import torch
from torch import nn


class Sound(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.top = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x):
        return self.top(torch.relu(self.stem(x)))


class Unused(Sound):
    def __init__(self):
        super().__init__()
        self.stem.beside = nn.Linear(2, 2)


class Counting(Sound):
    def __init__(self):
        super().__init__()
        self.stem.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.stem.calls += 1
        return super().forward(x)


class OfTheBatch(Sound):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))


class Noisy(Sound):
    def forward(self, x):
        return self.top(torch.dropout(self.stem(x), 0.5, True))


class Unregistered(Sound):
    def __init__(self):
        super().__init__()
        self.hidden = torch.randn(4, 1, 1)

    def forward(self, x):
        return super().forward(x) + self.hidden


class Deaf(Sound):
    def forward(self, x):
        return super().forward(torch.zeros_like(x))


class Endless(Sound):
    def forward(self, x):
        return super().forward(x) / 0


def layers(network):
    return [("stem", "stem"), ("top", "top")]


class Forgetful(torch.optim.SGD):
    """Its momentum is kept outside of its state."""

    def step(self, closure=None):
        loss = closure()
        self.kept = getattr(self, "kept", 0) + 1
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data -= group["lr"] * self.kept * parameter.grad
        return loss


class Partial(torch.optim.SGD):
    """It leaves out what is no vector."""

    def step(self, closure=None):
        loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim < 2:
                    parameter.data -= group["lr"] * parameter.grad
        return loss


def no_number(step, total):
    return math.nan if step == 5 else 1.0


def negative(step, total):
    return 0.5 - step / total


def nothing(step, total):
    return 0.0
'''


@pytest.fixture
def code(tmp_path, monkeypatch):
    """The parts above, on PYTHONPATH."""
    (tmp_path / "broken_parts.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)


def build(name, seed=0):
    node = OmegaConf.to_container(OmegaConf.load(CONFIG_DIR / "model/squeezenet.yaml"))
    node |= {"module": {"_target_": f"broken_parts.{name}"}, "layer_groups": "broken_parts.layers"}
    return build_random(node | {"feature_dim": 4, "lora_targets": None}, None, seed)


def moves(name, rule=None):
    models.frozen_rests_and_trained_moves(build(name), TransferStrategy(**({"freezing": rule} if rule else {})))


def comes_back(name, folder):
    models.state_comes_back(build(name), build(name, 7), {"x": torch.zeros(2)}, folder)


def test_a_sound_model_passes(code, tmp_path):
    moves("Sound")
    moves("Sound", Gradual())
    models.groups_cover_everything(build("Sound"))
    models.features_are_the_examples_own(build("Sound"))
    models.frozen_prefix_repeats_itself(build("Sound"))
    comes_back("Sound", tmp_path)


@pytest.mark.parametrize(
    ("words", "check"),
    [
        ("never with a gradient: backbone.network.stem.beside", lambda _: moves("Unused")),
        ("stem.calls is frozen in phase 0 and moved", lambda _: moves("Counting", Gradual())),
        ("top is frozen in phase 0 and random", lambda _: models.frozen_prefix_repeats_itself(build("Noisy"))),
        ("what else is in the batch", lambda _: models.features_are_the_examples_own(build("OfTheBatch"))),
        ("do not depend on the input", lambda _: models.features_are_the_examples_own(build("Deaf"))),
        ("are not finite", lambda _: models.features_are_the_examples_own(build("Endless"))),
        ("with the saved weights another network", lambda folder: comes_back("Unregistered", folder)),
    ],
)
def test_a_broken_model_does_not(code, tmp_path, words, check):
    with pytest.raises(Broken, match=words):
        check(tmp_path)


@pytest.fixture(scope="module")
def shop(compose, tmp_path_factory):
    root = tmp_path_factory.mktemp("shop")
    workshop.furnish(compose, root, {"tiny_vision": "local_image"})
    return root


@pytest.mark.parametrize(
    ("target", "words"),
    [("Forgetful", "with its state loaded.* it makes another step"), ("Partial", "not moved by three steps: ")],
)
def test_a_broken_optimizer(code, compose, shop, target, words):
    config = workshop.composed(compose, shop, "tiny_vision", "optimizer=sgd", "strategy=full")
    config["optimizer"]["_target_"] = f"broken_parts.{target}"
    with pytest.raises(Broken, match=words):
        steps.optimizer_steps(config)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("no_number", "is nan in step 5 of 12"),
        ("negative", "is -0.08.* in step 7 of 12"),
        ("nothing", "is 0 in all of 12 steps"),
    ],
)
def test_a_broken_scheduler(code, compose, shop, target, words):
    config = workshop.composed(compose, shop, "tiny_vision", "strategy=full")
    config["scheduler"] = {"_target_": f"broken_parts.{target}", "_partial_": True}
    with pytest.raises(Broken, match=words):
        steps.rates_are_numbers(config)


def test_broken_data(compose, shop):
    from tlx.config.instantiate import instantiate

    config = workshop.composed(compose, shop, "tiny_vision", "strategy=full")["dataset"]
    dataset = instantiate(config, "dataset")
    data = dataset.load(0, shop / "cache")
    assert datasets.labels_and_parts(dataset, data) == "3 labels, 24 + 6 + 6 examples"
    data.test.ids[0] = data.train.ids[0]
    with pytest.raises(Broken, match="in two parts"):
        datasets.labels_and_parts(dataset, data)
    with pytest.raises(Broken, match="loaded twice the data set is not the same"):
        other = dict(config, split_seed=1, validation_share=0.5, splits=config["splits"] | {"validation": None})
        datasets.is_the_same_twice(other, data, shop / "cache")


def test_a_broken_study(compose):
    from tlx.sweeps.study import compose_all

    def runs(*words):
        return compose_all(compose, [*words], multirun=True)

    with pytest.raises(Broken, match="full has one seed"):
        experiments.has_several_seeds(runs("strategy=full", "seed=0"))
    with pytest.raises(Broken, match="lora has no baseline"):
        experiments.has_baselines(runs("strategy=scratch,lora", "seed=0,1")[1:])
    with pytest.raises(Broken, match="two runs of the study are the same"):
        experiments.is_a_study(None, [*runs("seed=0,1"), *runs("seed=0")])
    with pytest.raises(Broken, match="@package _global_"):
        experiments.holds_overrides_only("strategy: full\n")


def test_a_run_that_does_not_leave_or_ends_otherwise(tlx):
    from tlx.config.composer import composer
    from tlx.sweeps.execute import prepare
    from tlx.sweeps.worker import do

    def planned(study, *words):
        with composer() as fresh:
            return prepare(fresh, [*tlx.quick, "strategy=scratch", f"study={study}", *words], False)[0]

    with pytest.raises(Broken, match="asked to leave at epoch 9, batch 0, the run went on"):
        interruption.leave_at(planned("stays"), (9, 0))
    one, other = planned("stays"), planned("other", "seed=1")
    do(other)
    with pytest.raises(Broken, match="has other metrics"):
        interruption.same_end(one, other)
