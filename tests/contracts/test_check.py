"""`tlx check`: a user's own yamls through the contracts; good ones pass, and each broken one says what is wrong."""

from pathlib import Path

import pytest

from tlx.contracts.folder import KNOWN, read_folder
from tlx.errors import UserError

MODEL = "defaults: [timm, _self_]\narch: test_resnet\nsize: 32\nchannels: 1\nmean: [0.5]\nstd: [0.5]\n"
REVIEWS = """defaults: [local_text, _self_]
path: {path}
columns: {{input: body, label: {label}}}
splits: {{train: train, validation: null, test: test}}
"""
STUDY = "# @package _global_\nhydra: {{sweeper: {{params: {{strategy: '{strategies}', seed: '{seeds}'}}}}}}\n"
GENTLE = """defaults: [gradual_unfreezing, _self_]
freezing: {groups_per_phase: 2, share: 0.7}
learning_rates: {_target_: tlx.strategies.learning_rates.Discriminative, decay: 0.9}
objectives: [{_target_: tlx.objectives.l2_sp.L2SP, alpha: 0.01}]
"""
NOISY = """
import torch
from torch import nn


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.top = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x):
        return self.top(torch.dropout(self.stem(x), 0.5, True))


def layers(network):
    return [("stem", "stem"), ("top", "top")]
"""


@pytest.fixture
def folder(tmp_path):
    """A function that writes yamls, by their place in a folder of configs."""

    def write(**yamls: str) -> Path:
        for name, text in yamls.items():
            file = tmp_path / "mine" / name.replace("__", "/")
            file = file.with_name(file.name + ".yaml")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return tmp_path / "mine"

    return write


@pytest.fixture
def reviews(write_texts):
    return write_texts("reviews", columns=("body", "stars"))


def lines(outcome, status: str) -> list[str]:
    return [line[9:] for line in outcome.out.splitlines() if line.startswith(f"{status} ")]


def test_what_is_good_passes(verbs, folder, reviews):
    place = folder(
        model__mine=MODEL,
        model__base="defaults: [timm, _self_]\nsize: 32\n",
        dataset__reviews=REVIEWS.format(path=reviews, label="stars"),
        optimizer__nadam="_target_: torch.optim.NAdam\n_partial_: true\nlr: ${strategy.lr}\nweight_decay: 0.01\n",
        scheduler__late="_target_: tlx.schedules.linear\n_partial_: true\nwarmup: 0.5\n",
        trainer__short="defaults: [default, _self_]\nmax_epochs: 3\n",
        logger__files="_target_: lightning.pytorch.loggers.CSVLogger\n",
        experiment__small=STUDY.format(strategies="scratch,full", seeds="0,1"),
        experiment__quick=STUDY.format(strategies="full,lora", seeds="0"),
        hydra__launcher__mine="defaults: [local, _self_]\nn_jobs: 2\n",
    )
    outcome = verbs("check", str(place))
    assert outcome.code == 0 and not lines(outcome, "failed"), outcome.out + outcome.err
    passed = lines(outcome, "ok")
    assert "model/mine: frozen means frozen" in passed and "dataset/reviews: is the same twice" in passed
    assert "optimizer/nadam: steps: 12 groups of parameters" in passed
    assert "logger/files: logs: writes files, metrics.csv" in passed and "hydra/launcher/mine: composes" in passed
    assert "experiment/small: is a study: 4 runs, 2 cells" in passed
    skipped = lines(outcome, "skipped")
    assert len(skipped) == 4, skipped
    for words in ("arch open (???)", "weights: not here: its yaml names none", "one seed", "no cell of it is scratch"):
        assert any(words in line for line in skipped), words
    assert outcome.out.splitlines()[-1] == f"{len(passed)} ok, 0 failed, 4 skipped"
    assert not list(place.parent.glob("runs*"))


@pytest.mark.slow
def test_a_good_strategy_passes(verbs, folder):
    outcome = verbs("check", str(folder(strategy__gentle=GENTLE)))
    assert outcome.code == 0 and outcome.out.splitlines()[-1] == "12 ok, 0 failed, 0 skipped", outcome.out


def test_what_is_broken_says_so(verbs, folder, reviews, tmp_path, monkeypatch):
    (tmp_path / "noisy_network.py").write_text(NOISY)
    monkeypatch.syspath_prepend(tmp_path)
    groups = "[[stem, conv1|bn1], [layer1, layer1], [layer2, layer2], [layer3, layer3]]"
    noisy = (Path(__file__).resolve().parents[2] / "configs/model/squeezenet.yaml").read_text()
    noisy = noisy.replace("tlx.models.squeezenet.build", "noisy_network.Noisy").replace("feature_dim: 512", "")
    noisy = noisy.replace("tlx.models.squeezenet.layer_groups", "noisy_network.layers").split("lora_targets")[0]
    place = folder(
        model__holed=MODEL + f"layer_groups: {groups}\n",
        model__noisy=noisy + "feature_dim: 4\nlr: {scratch: 1.0e-3, full: 1.0e-3, head: 1.0e-3, adapter: 1.0e-3}\n",
        model__empty="",
        strategy__overrun="defaults: [gradual_unfreezing, _self_]\nfreezing: {epochs_per_phase: 9}\n",
        strategy__endless="defaults: [gradual_unfreezing, _self_]\nfreezing: {share: 1.5}\n",
        dataset__wrong=REVIEWS.format(path=reviews, label="star"),
        dataset__lost=REVIEWS.format(path=reviews / "no", label="stars"),
        optimizer__still="defaults: [sgd, _self_]\nmomentm: 0.9\n",
        logger__none="_target_: torch.nn.Linear\nin_features: 1\nout_features: 1\n",
        experiment__alone=STUDY.format(strategies="scratch,full", seeds="0,1") + "dataset: {subset_seed: 3}\n",
        stratgy__x=GENTLE,
        own_parts__x="a: 1\n",
    )
    (place / "model/other.yml").write_text(MODEL)
    outcome = verbs("check", str(place))
    assert outcome.code == 1 and outcome.err == f"tlx: {len(lines(outcome, 'failed'))} contracts failed; see above.\n"
    failed = "\n".join(lines(outcome, "failed"))
    for words in (
        "model/holed: layer groups cover everything: no layer group takes the parameters layer4",
        "model/noisy: a frozen prefix repeats itself: ",
        "model/empty: composes: the yaml describes no model",
        "strategy/overrun: can be timed (tiny_vision): in 20 epochs, 6 phases do not fit into 60 optimiser steps",
        "strategy/endless: can be timed (tiny_vision): strategy.freezing.share=1.5 must lie",
        "dataset/wrong: loads: the train split has no column 'star' (did you mean 'stars'?)",
        "dataset/lost: loads: ",
        "optimizer/still: steps: ",
        "momentum",
        "logger/none: logs: logger.none._target_=torch.nn.Linear is no logger",
        "experiment/alone: is a study: dataset.subset_seed=3 in a run of seed 0",
        "stratgy/x.yaml: is a choice of a group: 'stratgy' is no group: did you mean 'strategy'?",
        "model/other.yml: is a choice of a group: Hydra reads .yaml alone: call it model/other.yaml",
    ):
        assert words in failed, (words, failed)
    assert any(line.startswith("own_parts/x.yaml") for line in lines(outcome, "skipped"))
    assert "Traceback" not in outcome.out and "a fault of tlx" not in outcome.out, outcome.out


@pytest.mark.parametrize(
    ("yamls", "words"),
    [
        ({}, "no such folder of configs"),
        ({"stratgy__x": GENTLE}, "'stratgy' is no group: did you mean 'strategy'?"),
        ({"own__x": "a: 1"}, "'own' is no group of tlx"),
        ({"loose": MODEL}, "it lies in no group"),
        ({"model__good": MODEL, "dataset__broken": "a: [1"}, "dataset/broken.yaml cannot be read as yaml"),
        ({"model__bomb": "a: &a [1]\nb: &b {c: *b}"}, "model/bomb.yaml, line 2"),
    ],
)
def test_a_folder_with_nothing_to_check(verbs, folder, tmp_path, yamls, words):
    folder(**yamls)
    assert words in verbs("check", str(tmp_path / "mine")).complaint


def test_an_empty_folder_and_a_file(verbs, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "it holds no .yaml file at all" in verbs("check", str(tmp_path / "empty")).complaint
    (tmp_path / "file.yaml").write_text(MODEL)
    assert "is a file" in verbs("check", str(tmp_path / "file.yaml")).complaint


def test_binary_content_is_named(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/odd.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"model/odd.yaml cannot be read"):
        read_folder(tmp_path)


def test_every_group_of_ours_is_known():
    root = Path(__file__).resolve().parents[2] / "configs"
    ours = {p.parent.relative_to(root).as_posix() for p in root.glob("**/*.yaml")} - {"."}
    assert ours == set(KNOWN)
