"""A folder to try strategies in: small data of each modality, and a registry of random networks.

What a strategy does to weights does not depend on what they know.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from tlx.assembly import assemble
from tlx.config.composer import Composer
from tlx.fit.seeding import seed_everything
from tlx.registry import entries

MODELS = {"tiny_vision": "local_image", "tiny_text": "local_text", "tiny_speech": "local_audio"}
SIZES = {"train": 24, "validation": 6, "test": 6}
EPOCHS, BATCH = 4, 8
PER_EPOCH = SIZES["train"] // BATCH
STEPS = EPOCHS * PER_EPOCH  # 12: enough for the phases of all presets


def image(label: int, rng: np.random.Generator) -> bytes:
    """A png of noise, the brighter the higher the label."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(rng.integers(0, 100 + 70 * label, (20, 20), dtype=np.uint8)).save(data, "PNG")
    return data.getvalue()


def text(label: int, rng: np.random.Generator) -> str:
    """Six words of the label's three."""
    return " ".join(rng.choice(["red green blue", "one two three", "cat dog owl"][label].split(), 6))


def audio(label: int, rng: np.random.Generator) -> bytes:
    """A wav of a tone in noise, the higher the higher the label."""
    import soundfile

    wave = np.sin(np.arange(2400) * (0.1 + 0.2 * label)) + rng.normal(0, 0.1, 2400)
    data = io.BytesIO()
    soundfile.write(data, (wave / 4).astype(np.float32), 8000, format="WAV")
    return data.getvalue()


MAKE = {"local_image": image, "local_text": text, "local_audio": audio}


def furnish(compose: Composer, root: Path, models: dict[str, str] = MODELS) -> None:
    """Write data for each of these models' modalities into `root`, and the models into its registry."""
    rng = np.random.default_rng(0)
    for model, name in models.items():
        folder = root / name
        folder.mkdir()
        for split, size in SIZES.items():
            labels = [i % 3 for i in range(size)]
            column = name.removeprefix("local_")
            rows = {column: [MAKE[name](label, rng) for label in labels], "label": [f"class {i}" for i in labels]}
            pd.DataFrame(rows).to_parquet(folder / f"{split}.parquet")
        seed_everything(99)
        config = composed(compose, root, model, "strategy=scratch", "model.path=null")
        data, module = assemble(config)
        with torch.no_grad():
            # timm's residual branches start at zero, so that nothing would flow through them.
            for parameter in module.backbone.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        card = {"dataset": config["dataset"], "labels": list(data.spec.label_names)}
        entries.add(root / "registry", model, module, card)


def words(root: Path, model: str, *overrides: str) -> list[str]:
    """The overrides of a run of one of the models on its data, all of it within `root`; `overrides` win."""
    return [
        f"model={model}",
        f"dataset={MODELS[model]}",
        f"dataset.path={root / MODELS[model]}",
        f"paths.registry={root / 'registry'}",
        f"paths.cache={root / 'cache'}",
        f"paths.runs={root / 'runs'}",
        f"trainer.max_epochs={EPOCHS}",
        f"trainer.batch_size={BATCH}",
        *overrides,
    ]


def composed(compose: Composer, root: Path, model: str, *overrides: str) -> dict[str, Any]:
    """The config of such a run."""
    return compose(words(root, model, *overrides)).config
