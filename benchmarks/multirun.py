"""A sweep in the style of the usual templates of Lightning and Hydra: the peer of tlx in `benchmarks/sweep.py`.

Hydra's basic launcher calls the task once a run, in one process; each run instantiates a LightningModule, a Trainer, a
ModelCheckpoint and a CSVLogger, trains, tests the best checkpoint and leaves its folder with config, log and metrics.
The work is that of tlx's run: a small ResNet, 2 digits of each class in 2 epochs, as many images to validate and test.

    python benchmarks/multirun.py -m 'seed=range(20)' hydra.sweep.dir=FOLDER
"""

import json
import logging
import time
import warnings
from pathlib import Path
from typing import Any

import hydra
import lightning as L
import timm
import torch
import torch.nn.functional as F
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy

CONFIG = {
    "seed": 0,
    "model": {"_target_": "__main__.Digits", "network": "test_resnet", "lr": 0.003},
    "data": {"per_class": 2, "validation": 216, "test": 359, "batch_size": 32},
    "callbacks": [
        {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "monitor": "val/accuracy", "mode": "max"},
    ],
    "logger": {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": "???", "name": "csv"},
    "trainer": {
        "_target_": "lightning.Trainer",
        "accelerator": "cpu",
        "max_epochs": 2,
        "deterministic": True,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    },
}


class Digits(L.LightningModule):
    """A timm network on grey images of 32 × 32 pixels, 10 classes."""

    def __init__(self, network: str, lr: float) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.network = timm.create_model(network, in_chans=1, num_classes=10)
        self.accuracy = torch.nn.ModuleDict({part: MulticlassAccuracy(10) for part in ("val", "test")})

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = F.cross_entropy(self.network(batch[0]), batch[1])
        self.log("train/loss", loss)
        return loss

    def _look(self, batch: Any, part: str) -> None:
        self.accuracy[part](self.network(batch[0]), batch[1])
        self.log(f"{part}/accuracy", self.accuracy[part], on_step=False, on_epoch=True)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._look(batch, "val")

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self._look(batch, "test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), self.hparams["lr"])


class TrainingTime(L.Callback):
    """Seconds from the first step to the end of the fit."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.began = time.monotonic()

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.seconds = time.monotonic() - self.began


def loaders(data: DictConfig, seed: int) -> tuple[DataLoader, DataLoader, DataLoader]:
    """Training, validation and test; the training images are drawn by the seed."""
    digits = load_digits()
    images = torch.tensor(digits.images / 8 - 1, dtype=torch.float32)[:, None]
    images = F.interpolate(images, size=(32, 32), mode="bicubic")
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    test, validation = order[: data.test], order[data.test : data.test + data.validation]
    rest = order[data.test + data.validation :]
    rest = rest[torch.randperm(len(rest), generator=torch.Generator().manual_seed(seed))]
    train = torch.cat([rest[labels[rest] == label][: data.per_class] for label in range(10)])
    parts = [TensorDataset(images[part], labels[part]) for part in (train, validation, test)]
    return (
        DataLoader(parts[0], data.batch_size, shuffle=True),
        DataLoader(parts[1], 128),
        DataLoader(parts[2], 128),
    )


@hydra.main(version_base="1.3", config_path=None, config_name="multirun")
def main(config: DictConfig) -> float:
    """One run; returns its test accuracy."""
    torch.set_num_threads(1)
    L.seed_everything(config.seed, verbose=False)
    folder = Path(HydraConfig.get().runtime.output_dir)
    train, validation, test = loaders(config.data, config.seed)
    model = hydra.utils.instantiate(config.model)
    timer = TrainingTime()
    callbacks = [hydra.utils.instantiate(node) for node in config.callbacks]
    logger = hydra.utils.instantiate(config.logger, save_dir=str(folder))
    trainer = hydra.utils.instantiate(config.trainer, callbacks=[*callbacks, timer], logger=logger)
    trainer.fit(model, train, validation)
    tested = trainer.test(model, test, ckpt_path="best", verbose=False, weights_only=True)
    done = {"train": timer.seconds, "ended": time.time(), "accuracy": tested[0]["test/accuracy"]}
    (folder / "done.json").write_text(json.dumps(done))
    return tested[0]["test/accuracy"]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    ConfigStore.instance().store("multirun", CONFIG)
    main()
