"""Every yaml of configs/strategy on each of the three tiny models, in the Trainer that a run uses.

The registry's entries are random networks: what a strategy does to weights does not depend on what they know.
"""

import io
from pathlib import Path

import lightning as L
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from PIL import Image

from tlx.assembly import assemble, make_loaders
from tlx.callbacks.phases import PhaseSchedule
from tlx.fit.recording import Recording
from tlx.fit.seeding import seed_everything
from tlx.fit.trainer import make_trainer
from tlx.models.build import build_network
from tlx.plan import apply_phase
from tlx.registry import entries

NAMES = sorted(path.stem for path in (Path(__file__).resolve().parents[2] / "configs/strategy").glob("*.yaml"))
MODELS = {"tiny_vision": "local_image", "tiny_text": "local_text", "tiny_speech": "local_audio"}
# What is known not to work: (strategy, model) -> why. A line goes when the test passes.
CELLS = [(s, m) for s in NAMES for m in MODELS]
SIZES = {"train": 24, "validation": 6, "test": 6}
EPOCHS, BATCH = 4, 8
STEPS = EPOCHS * SIZES["train"] // BATCH  # 12: enough for the phases of all presets


def image(label, rng):
    data = io.BytesIO()
    Image.fromarray(rng.integers(0, 100 + 70 * label, (20, 20), dtype=np.uint8)).save(data, "PNG")
    return data.getvalue()


def text(label, rng):
    return " ".join(rng.choice(["red green blue", "one two three", "cat dog owl"][label].split(), 6))


def audio(label, rng):
    wave = np.sin(np.arange(2400) * (0.1 + 0.2 * label)) + rng.normal(0, 0.1, 2400)
    data = io.BytesIO()
    soundfile.write(data, (wave / 4).astype(np.float32), 8000, format="WAV")
    return data.getvalue()


@pytest.fixture(scope="module")
def place(compose, tmp_path_factory):
    """A folder with data of each modality and a registry of random networks."""
    root = tmp_path_factory.mktemp("strategies")
    rng = np.random.default_rng(0)
    for make in (image, text, audio):
        folder = root / f"local_{make.__name__}"
        folder.mkdir()
        for split, size in SIZES.items():
            labels = [i % 3 for i in range(size)]
            rows = {make.__name__: [make(label, rng) for label in labels], "label": [f"class {i}" for i in labels]}
            pd.DataFrame(rows).to_parquet(folder / f"{split}.parquet")
    for model in MODELS:
        seed_everything(99)
        config = composed(compose, root, model, "scratch", "model.path=null")
        data, module = assemble(config)
        with torch.no_grad():
            # timm's residual branches start at zero, so that nothing would flow through them.
            for parameter in module.backbone.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
        card = {"dataset": config["dataset"], "labels": list(data.spec.label_names)}
        entries.add(root / "registry", model, module, card)
    return root


def composed(compose, root, model, strategy, *overrides):
    return compose(
        [
            f"model={model}",
            f"strategy={strategy}",
            f"dataset={MODELS[model]}",
            f"dataset.path={root / MODELS[model]}",
            f"paths.registry={root / 'registry'}",
            f"paths.cache={root / 'cache'}",
            f"trainer.max_epochs={EPOCHS}",
            f"trainer.batch_size={BATCH}",
            *overrides,
        ]
    ).config


class Watching(L.Callback):
    """Lets a Watch see the phases that the Trainer goes through, and keeps the losses."""

    def __init__(self, watch):
        self.watch, self.losses, self.phases = watch, [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        schedule = next(c for c in trainer.callbacks if isinstance(c, PhaseSchedule))
        if schedule.phase != self.watch.phase:
            self.watch.enter(schedule.phase)
            self.phases.append((trainer.global_step, schedule.phase))
        self.starts = schedule.starts

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.watch.stepped()
        self.losses.append(float(outputs["loss"]))

    def on_train_end(self, trainer, pl_module):
        self.watch.leave()


def fit(contract, config, folder):
    """Train as a run does; (module, watching callback, trainer)."""
    seed_everything(config["seed"])
    data, module = assemble(config)
    loaders = make_loaders(config, data, module)
    watching = Watching(contract.Watch(module, module.plan))
    trainer = make_trainer(config, folder, [watching])
    trainer.fit(module, loaders["train"], loaders["validation"])
    return module, watching, trainer


def test_all_strategy_yamls_are_found():
    assert len(NAMES) >= 10
    assert {"scratch", "full", "feature_extraction", "lora"} <= set(NAMES)


@pytest.mark.parametrize(("strategy", "model"), CELLS)
def test_a_strategy_trains_what_it_says_and_repeats(contract, compose, place, strategy, model, tmp_path):
    config = composed(compose, place, model, strategy)
    module, watching, trainer = fit(contract, config, tmp_path / "a")
    plan = module.plan
    held = [id(p) for group in trainer.optimizers[0].param_groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in module.parameters())
    assert watching.starts == plan.boundaries(STEPS, STEPS // EPOCHS)
    assert watching.phases == list(zip(watching.starts, range(len(plan.phases)), strict=True))
    assert not watching.watch.unmoved
    assert len(watching.losses) == STEPS * (config["strategy"]["longer"] or 1)  # nothing ends before its schedule does
    assert np.isfinite(watching.losses).all()

    again, repeated, _ = fit(contract, config, tmp_path / "b")
    assert repeated.losses == watching.losses
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, module.state_dict()[name]), name
    if strategy == "full":  # seeds are no strategy's business: once is enough
        ones = [fit(contract, config | {"seed": 1}, tmp_path / folder)[1].losses for folder in "cd"]
        assert ones[0] == ones[1] != watching.losses


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("strategy", NAMES)
def test_a_strategy_starts_from_the_weights_it_names_and_counts_what_it_trains(
    contract, compose, place, strategy, model, tmp_path
):
    config = composed(compose, place, model, strategy)
    seed_everything(0)
    data, module = assemble(config)
    loaders = make_loaders(config, data, module)
    batch = next(iter(loaders["validation"]))
    base = build_network(config["model"], place / "registry" / model, list)
    base.load(place / "registry" / model)
    same = torch.allclose(contract.features(module.backbone, batch), contract.features(base, batch), atol=1e-6)
    assert same == (config["strategy"]["init"] not in ("scratch", "shuffled")), "before the first step"
    assert (module.backbone.load_report is None) == (config["strategy"]["init"] == "scratch")

    trained = set()
    for phase in range(len(module.plan.phases)):
        apply_phase(module, module.plan, phase)
        trained |= {n for n, p in module.named_parameters() if p.requires_grad}
    record = Recording(config | {"run": {"identity": "none"}}, tmp_path)
    record.describe(module, data, frozen="")
    sizes = {n: p.numel() for n, p in module.named_parameters()}
    assert record.counts["trainable"] == sum(sizes[n] for n in trained)
    assert record.counts["parameters"] == sum(sizes.values())
    assert record.counts["trainable_share"] == pytest.approx(record.counts["trainable"] / record.counts["parameters"])

    for phase in {0, len(module.plan.phases) // 2}:
        first, second = (contract.frozen_outputs(module, phase, batch) for _ in range(2))
        assert all(torch.equal(first[layer], second[layer]) for layer in first)
