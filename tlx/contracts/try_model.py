"""The contracts of one model's yaml, tried with the network as it stands there."""

import functools
from pathlib import Path
from typing import Any

import torch

from tlx.config.composer import Composer
from tlx.contracts import models
from tlx.contracts.contract import Left
from tlx.contracts.folder import Yaml
from tlx.contracts.samples import TEXTS
from tlx.contracts.tally import Tally
from tlx.errors import UserError
from tlx.models.backbone import Backbone
from tlx.models.build import build_network
from tlx.registry.location import locate
from tlx.strategies.freezing import Gradual
from tlx.strategies.strategy import TransferStrategy

# A data set of each modality, to compose a model's config with.
DATASETS = {"text": "local_text", "image": "local_image", "audio": "local_audio"}


def try_model(compose: Composer, yaml: Yaml, work: Path, tally: Tally) -> None:
    """Compose, build with random weights, try every contract of models, and load the weights that the yaml names."""
    fine, config = tally.tries("composes", composed, compose, yaml.name)
    if not fine:
        return
    place, absent = weights_of(config)
    build = functools.partial(build_random, config["model"], place)
    built, _ = tally.tries("builds", builds, build, config["model"], place, absent)
    if not built:
        return
    covered, _ = tally.tries("layer groups cover everything", lambda: models.groups_cover_everything(build()))
    if not covered:
        return
    # A forward and backward pass among them; each has a network of its own, as it changes it.
    tally.tries("features", lambda: models.features_are_the_examples_own(build()))
    full, gradual = TransferStrategy(), TransferStrategy(freezing=Gradual())
    tally.tries("trains (full)", lambda: models.frozen_rests_and_trained_moves(build(), full))
    tally.tries("frozen means frozen", lambda: models.frozen_rests_and_trained_moves(build(), gradual))
    random = functools.partial(build, **models.turned_up(config["model"]))
    tally.tries("a frozen prefix repeats itself", lambda: models.frozen_prefix_repeats_itself(random()))
    tally.tries("adapters (lora)", adapts, build)
    stranger = {"of.another.network": torch.zeros(2)}
    tally.tries("its state comes back", lambda: models.state_comes_back(build(), build(seed=7), stranger, work))
    tally.tries("weights", loads, build, place, absent)


def composed(compose: Composer, name: str) -> dict[str, Any]:
    """The config of a run with this model from random weights.

    Raises:
        Left: the yaml is there for others to begin with, and leaves a key open.
    """
    model = compose.unresolved([f"model={name}"]).get("model")
    if not (isinstance(model, dict) and model.get("_target_")):
        raise UserError("the yaml describes no model: give `_target_`, or begin with one of ours (`defaults`).")
    if still_open := [key for key, value in model.items() if value == "???"]:
        raise Left(f"it leaves {', '.join(still_open)} open (???), for yamls that begin with it")
    data = DATASETS.get(model.get("modality"), "local_image")  # type: ignore[arg-type]
    return compose([f"model={name}", f"dataset={data}", "strategy=scratch"]).config


def weights_of(config: dict[str, Any]) -> tuple[Path | None, str]:
    """Where the model's weights lie; or None and why."""
    model = config["model"]
    if not model.get("path"):
        return None, "its yaml names none (path: null)"
    try:
        return locate(model["path"], model.get("revision"), Path(config["paths"]["registry"])), ""
    except UserError as error:
        return None, "the first run makes them (pretrain)" if model.get("pretrain") else str(error)


def build_random(model: dict[str, Any], place: Path | None, seed: int = 0, **changes: Any) -> Backbone:
    """The network with random weights; `place` brings tokenizer and settings, `changes` replaces keys."""
    changed = model | changes
    if place is None and "tokenizer" in changed:
        changed["tokenizer"] = {"vocab_size": 300}  # one is trained on a few words
    torch.manual_seed(seed)
    return build_network(changed, place, lambda: TEXTS)


def builds(build: Any, model: dict[str, Any], place: Path | None, absent: str) -> str:
    """The network is built, with random weights.

    Raises:
        Left: nothing says which architecture it is.
    """
    kind = model.get("config")
    if place is None and isinstance(kind, dict) and not kind.get("model_type"):
        raise Left(f"which architecture it is stands beside its weights, and they are not here: {absent}")
    backbone = build()
    numbers = sum(p.numel() for p in backbone.parameters())
    return f"{numbers:,} weights, random ones" + (" as its own are not here" if place is None else "")


def adapts(build: Any) -> None:
    """As the contract.

    Raises:
        Left: the model names no layers for LoRA.
    """
    backbone = build()
    if not backbone.lora_targets:
        raise Left("it names no layers for LoRA (lora_targets)")
    models.adapters_alone_are_trained(backbone)


def loads(build: Any, place: Path | None, absent: str) -> str:
    """The weights that the yaml names are the network's.

    Raises:
        Left: they are not here.
    """
    if place is None:
        raise Left(f"not here: {absent}")
    report = build().load(place)
    return f"{report.share:.0%} of its tensors are in {place}"
