"""The source task of a backbone: scored before and after adaptation with its own head, kept aside."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import nn

from tlx.callbacks.forgetting import ForgettingMeter
from tlx.data.dataset import Dataset, encode
from tlx.data.loaders import Examples, eval_loader
from tlx.errors import UserError
from tlx.identity import weights_place
from tlx.instantiate import instantiate
from tlx.module import TransferModule, score
from tlx.registry.entries import read_card
from tlx.tasks.classification import Classification

# Encoded source test sets of this process: every run of a study scores the same one.
_LOADERS: dict[tuple[str, str], Any] = {}


def source_meter(config: dict[str, Any], module: TransferModule) -> ForgettingMeter | None:
    """A meter of what is forgotten of the source task; None where the backbone brings none, or knows nothing of it.

    The source head never trains: it reads the backbone's features before and after.
    """
    place = weights_place(config)
    if (
        config["strategy"]["init"] in ("scratch", "shuffled")
        or place is None
        or not (place / "head.safetensors").is_file()
    ):
        return None
    card = read_card(place)
    dataset: Dataset = instantiate(card["dataset"], "dataset")
    head = Classification(module.backbone.feature_dim, card["labels"], dataset.metrics)
    head.load_state_dict(load_file(place / "head.safetensors"))
    head.requires_grad_(False).eval()
    loader = _loader(config, card, dataset, module)

    def scores(current: nn.Module) -> dict[str, float]:
        assert isinstance(current, TransferModule)
        head.to(current.device)
        return score(current, head, loader, forward=lambda batch: head(current.backbone(batch))).compute()

    return ForgettingMeter(scores, lower_is_better=("loss",), at_fit_end=False)


def _loader(config: dict[str, Any], card: dict[str, Any], dataset: Dataset, module: TransferModule) -> Any:
    preprocessing = module.backbone.preprocessing
    key = (str(card["dataset"]), preprocessing.key())
    if key not in _LOADERS:
        # The source's own seed drew its splits; no label of it is used to train or select here.
        data = dataset.load(0, Path(config["paths"]["cache"]))
        if list(data.spec.label_names) != card["labels"]:
            raise UserError(
                f"the source data set now has other labels than the head of {card['name']} was trained on "
                f"({', '.join(card['labels'][:8])}, …): its scores would mean nothing. Make the entry anew."
            )
        part = data.test
        _LOADERS[key] = eval_loader(Examples(encode(part, preprocessing), part.labels, preprocessing), 256)
    return _LOADERS[key]
