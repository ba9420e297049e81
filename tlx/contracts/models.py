"""What every model must do: groups, freezing, training, features that are the input's own, weights that come back."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tlx.contracts.contract import Broken, close, hold, some
from tlx.contracts.samples import batch_of, examples_for, features_of
from tlx.contracts.training import frozen_outputs, planned_module, train_phases
from tlx.errors import UserError
from tlx.layer_groups import HEAD
from tlx.models.backbone import Backbone
from tlx.strategies.freezing import Gradual
from tlx.strategies.lora import LoRA
from tlx.strategies.strategy import TransferStrategy

# Turned up where frozen layers must not be random: masking, LayerDrop and functional dropout live in containers.
RANDOMNESS = {"layerdrop": 0.5, "encoder_layerdrop": 0.5, "dropout": 0.3, "mask_time_prob": 0.5}


def turned_up(model: dict[str, Any]) -> dict[str, Any]:
    """The keys of a model's config that are to be replaced so that its network is as random as it can be."""
    if not model.get("config"):
        return {}
    from transformers import AutoConfig

    known = AutoConfig.for_model(model["config"]["model_type"])
    return {"config": model["config"] | {key: value for key, value in RANDOMNESS.items() if hasattr(known, key)}}


def padding_is_signal(backbone: Backbone) -> bool:
    """Whether it has a group-norm front end: trained without a mask, the zeros after a clip change its statistics."""
    return getattr(getattr(backbone.network, "config", None), "feat_extract_norm", None) == "group"


def groups_cover_everything(backbone: Backbone) -> str:
    """Every parameter and buffer of the network is in exactly one layer group, and the head in one of its own."""
    module = planned_module(backbone, TransferStrategy())
    listed = [name for group in module.plan.groups for name in (*group.parameters, *group.buffers)]
    there = {n for n, _ in (*module.named_parameters(), *module.named_buffers())}
    twice = sorted({name for name in listed if listed.count(name) > 1})
    hold(not twice, f"in two layer groups: {some(twice)}. Let one expression of `layer_groups` take each.")
    left = sorted(there - set(listed))
    hold(not left, f"in no layer group: {some(left)}. Add a line to the model's `layer_groups`.")
    hold(module.plan.groups[-1].name == HEAD, "the head is not the last layer group")
    return f"{len(module.plan.groups) - 1} groups and the head, {sum(p.numel() for p in module.parameters()):,} numbers"


def frozen_rests_and_trained_moves(backbone: Backbone, strategy: TransferStrategy) -> None:
    """A few steps in the first, the middle and the last phase of a strategy that trains everything in the end."""
    module = planned_module(backbone, strategy)
    batch = batch_of(backbone, examples_for(backbone))
    last = len(module.plan.phases) - 1
    hold(
        module.plan.phases[last].trainable == {g.name for g in module.plan.groups},
        "the last phase does not train every layer group",
    )
    watch = train_phases(module, batch, sorted({0, min(1, last), last // 2, last}))
    hold(
        not watch.unmoved,
        f"trained, but never with a gradient: {some(watch.unmoved)}. Do the features hang on these layers?",
    )


def adapters_alone_are_trained(backbone: Backbone) -> None:
    """With LoRA the features are at first those of the network, and a few steps train the adapters and the head."""
    batch = batch_of(backbone, examples_for(backbone))
    with torch.no_grad():
        for parameter in backbone.parameters():  # residual branches that start at zero let nothing through
            parameter.add_(0.02 * torch.randn_like(parameter))
    base = features_of(backbone, batch)
    module = planned_module(backbone, TransferStrategy(adapter=LoRA(rank=2)))
    close(features_of(backbone, batch), base, "untrained adapters change the features")
    watch = train_phases(module, batch, [0])
    hold(not watch.unmoved, f"adapters without a gradient: {some(watch.unmoved)}")
    trained = [n for g in module.plan.groups if g.name in module.plan.ever_trainable for n in g.parameters]
    others = [n for n in trained if "lora_" not in n and not n.startswith("task.")]
    hold(not others, f"trained beside the adapters and the head: {some(others)}")
    hold(not torch.allclose(features_of(backbone, batch), base), "trained adapters change no feature")


def frozen_prefix_repeats_itself(backbone: Backbone) -> None:
    """While the module is in train mode, the layers that a phase freezes give the same output every time."""
    module = planned_module(backbone, TransferStrategy(freezing=Gradual()))
    batch = batch_of(backbone, examples_for(backbone))
    phases = len(module.plan.phases)
    for phase in sorted({0, 1, phases // 2, phases - 2} & set(range(phases - 1))):
        first, *others = (frozen_outputs(module, phase, batch) for _ in range(4))
        hold(first, f"the frozen prefix of phase {phase} has no layer in it: do the layer groups follow the network?")
        for other in others:
            left = sorted(other.keys() ^ first.keys())
            hold(not left, f"{some(left)}: frozen in phase {phase}, and left out at random")
            for layer in first:
                hold(
                    torch.equal(first[layer], other[layer]),
                    f"{layer} is frozen in phase {phase} and random: dropout that is not a layer of its own must ask "
                    "self.training of the layer that it belongs to",
                )
    module.plan.phases = module.plan.phases[:1]
    frozen_outputs(module, 0, batch)  # into phase 0: the head alone is trained
    hold(
        torch.equal(backbone(batch), backbone(batch)),
        "wholly frozen, the backbone is random in train mode: dropout that is no layer must ask self.training",
    )


def features_are_the_examples_own(backbone: Backbone) -> str:
    """Features are finite vectors of the stated width, of the input alone and not of what else is in the batch."""
    raw = examples_for(backbone)
    if padding_is_signal(backbone):
        raw = [raw[0], (raw[1][0][: len(raw[0][0])], raw[1][1])]
    together = features_of(backbone, batch_of(backbone, raw))
    shape = (len(raw), backbone.feature_dim)
    hold(
        tuple(together.shape) == shape,
        f"the features of {len(raw)} examples have the shape {tuple(together.shape)} where {shape} is stated",
    )
    hold(torch.isfinite(together).all(), "the features of random inputs are not finite")
    hold((together - together[:1]).abs().max() > 1e-6, "the features do not depend on the input")
    for row, value in enumerate(raw):
        alone = features_of(backbone, batch_of(backbone, [value]))
        why = "the features of an example depend on what else is in the batch: is padding read?"
        close(alone[0], together[row], why, rtol=1e-4, atol=1e-5)
    return f"{backbone.feature_dim} features"


def state_comes_back(backbone: Backbone, other: Backbone, stranger: dict[str, Tensor], folder: Path) -> None:
    """Weights that are saved and loaded give the same features in `other`, a differently seeded network of the same
    kind; those of a `stranger` are refused, and change nothing.
    """
    batch = batch_of(backbone, examples_for(backbone))
    torch.save(backbone.network.state_dict(), folder / "weights.pt")
    wanted = features_of(backbone, batch)
    hold(
        not torch.allclose(features_of(other, batch), wanted),
        "two networks with random weights of different seeds give the same features: do they hang on the network?",
    )
    report = other.load(folder / "weights.pt")
    hold(
        (report.share, report.missing, report.unused) == (1.0, (), ()),
        f"saved weights do not all come back: {report.share:.0%}; missing {some(report.missing)}",
    )
    hold(torch.equal(features_of(other, batch), wanted), "with the saved weights another network gives other features")

    torch.save(stranger, folder / "stranger.pt")
    try:
        other.load(folder / "stranger.pt")
    except UserError as error:
        hold("% of the backbone's" in str(error), f"weights of another network are refused for another reason: {error}")
    else:
        raise Broken("weights of another network are loaded without a word")
    hold(torch.equal(features_of(other, batch), wanted), "a refused file changed the weights")
