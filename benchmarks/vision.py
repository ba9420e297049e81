"""What playing frozen layers back saves on images: probes and partial fine-tuning against plain Lightning.

`make bench` runs this. SqueezeNet with its ImageNet weights, and a ResNet-18 with random ones (as fast as any), on
caltech20: 960 / 160 / 480 images, of 128 × 128 pixels and, for the ResNet, 64 × 64. The peer has the same network and
pixels, and evaluates as often. `benchmarks/warm.py` says what is needed; the weights are in `weights` beside the data.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import timm
import torch
from peers import PlainLightning, study
from rows import Found, Job, Row, Turn, bench
from safetensors.torch import save_file
from warm import DATA, missing, study_in_laps
from warm import study as tlx

SEEDS, PROBE_EPOCHS, PARTIAL_EPOCHS = 5, 10, 5
WEIGHTS = DATA / "weights" / "squeezenet1_0_imagenet.npz"
CALTECH = ["dataset=caltech20", f"dataset.path={DATA / 'caltech20'}"]
PROBE = ["strategy=feature_extraction", f"trainer.max_epochs={PROBE_EPOCHS}"]
PARTIAL = ["strategy=partial", f"trainer.max_epochs={PARTIAL_EPOCHS}"]
FUSED = "AdamW, fused, clipped, linear schedule"
PLAIN = "AdamW, default, not clipped, constant rate"
EVERY = "each epoch, test at the end"

Measure = Callable[[Turn], Found]


def squeezenet(folder: Path) -> list[str]:
    """The words that choose it."""
    return ["model=squeezenet", f"model.path={WEIGHTS}"]


def resnet18(folder: Path) -> list[str]:
    """The words that choose it, with weights that are made here, the same in every process."""
    file = folder / "resnet18.safetensors"
    if not file.is_file():
        torch.manual_seed(0)
        save_file(timm.create_model("resnet18", num_classes=0).state_dict(), file)
    return ["model=resnet18", f"model.path={file}", "model.size=64"]


def chosen(
    model: Callable[[Path], list[str]], words: Sequence[str], measure: Callable[[Sequence[str]], Measure]
) -> Measure:
    """What `measure` gives for these words and the model's, which are known once there is a folder."""
    return lambda turn: measure([*model(turn.folder), *CALTECH, *words])(turn)


def job(title: str, ours: Row, model: Callable[[Path], list[str]], words: Sequence[str], seeds: int, goal: str) -> Job:
    """tlx against plain Lightning, on one network and one strategy."""
    epochs = PROBE_EPOCHS if words is PROBE else PARTIAL_EPOCHS
    theirs = chosen(model, words, partial(_lightning, epochs=epochs, seeds=seeds))
    return Job(
        title,
        {"tlx": ours, "plain Lightning": Row(theirs, PLAIN, "none", EVERY, long=True)},
        [("plain Lightning", "tlx", goal)],
    )


def _lightning(words: Sequence[str], epochs: int, seeds: int) -> Measure:
    return study(PlainLightning, words, epochs, seeds)


def jobs() -> dict[str, Job]:
    """Two networks, two strategies."""
    found = {}
    for name, model in (("SqueezeNet", squeezenet), ("ResNet-18", resnet18)):
        title = f"probe study: {SEEDS} seeds × {PROBE_EPOCHS} epochs, {name}, caltech20"
        ours = Row(chosen(model, PROBE, partial(tlx, name="played", seeds=SEEDS)), FUSED, "none", EVERY)
        found[f"{model.__name__}_probes"] = job(title, ours, model, PROBE, SEEDS, "≥ 20")
        title = f"partial fine-tuning: the upper half, {PARTIAL_EPOCHS} epochs, {name}, caltech20"
        ours = Row(chosen(model, PARTIAL, _in_laps), FUSED, "none", EVERY, long=True)
        found[f"{model.__name__}_partial"] = job(title, ours, model, PARTIAL, 1, "≥ 1.5")
    return found


def _in_laps(words: Sequence[str]) -> Measure:
    return study_in_laps(words, "played", ["trainer.max_epochs=2"], PARTIAL_EPOCHS / 2)


if __name__ == "__main__":
    lacking = missing("caltech20")
    bench("vision", jobs(), lacking or (None if WEIGHTS.is_file() else f"{WEIGHTS} is not there."))
