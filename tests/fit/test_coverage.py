"""A part of a strategy that touches nothing is refused; one that touches a part of the network says how much."""

import json
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from tlx.errors import UserError
from tlx.objectives.ewc import EWC
from tlx.objectives.l2_sp import L2SP

PROBE = "tlx.strategies.freezing.FrozenBackbone"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_a_record_and_a_plan_say_how_much_of_the_backbone_takes_part(tlx: Any) -> None:
    record = tlx.record("strategy=mixout")
    share = record["coverage"]["mixout"]
    assert 0.9 < share < 1.0, "all convolutions, and no norm or bias"
    shown = tlx("plan", *tlx.quick, "strategy=mixout").out
    assert f"mixout touches {share:.1%} of the backbone's trained weights" in " ".join(shown.split())
    assert tlx.record("strategy=l2_sp")["coverage"] == {"l2_sp": 1.0}
    assert tlx.record("strategy=full")["coverage"] == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["strategy=feature_extraction", "strategy.mixout=0.5"], "trains no pretrained ones"),
        (["strategy=mixout", "strategy.init=scratch"], "strategy.init=scratch has none"),
        (["strategy=partial", "strategy.freezing.ratio=0.01"], "is less than half of one"),
        (
            ["strategy=partial", "strategy.freezing.ratio=null", "strategy.freezing.until=stem"],
            "is the lowest layer group",
        ),
        (["strategy=discriminative", f"strategy.freezing._target_={PROBE}"], "trains one, head"),
    ],
)
def test_a_part_that_could_touch_nothing_is_refused(tlx: Any, words: list[str], said: str) -> None:
    assert said in tlx.train(*words).complaint


def test_a_strategy_that_trains_nothing_is_refused(tlx: Any) -> None:
    groups = tlx.record("strategy=full")["plan"]["groups"]
    names = ",".join(group["name"] for group in groups)
    freezing = ["strategy=partial", "strategy.freezing.ratio=null", f"strategy.freezing.frozen=[{names}]"]
    assert "trains nothing" in tlx.train(*freezing).complaint


def gpt2(folder: Path) -> Path:
    """A tiny GPT-2 with a tokenizer of a few words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2Model, PreTrainedTokenizerFast

    words = ["<pad>", "<unk>", "a", "good", "bad", "film", ",", "number", *map(str, range(10))]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"vocab_size": len(words), "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32}
    GPT2Model(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, pad_token_id=0)).save_pretrained(folder)
    return folder


def test_gpt2_is_mixed_though_none_of_its_layers_is_an_nn_linear(tlx: Any, write_texts: Any, tmp_path: Path) -> None:
    words = ["model=text_encoder", f"model.path={gpt2(tmp_path / 'gpt2')}", "model.pooling=last"]
    words += ["dataset=local_text", f"dataset.path={write_texts()}", "dataset.train_size=null", "strategy=mixout"]
    records = [tlx.record(*words, "optimizer.lr=0.01", f"strategy.mixout={p}") for p in (0.0, 0.7, 1.0)]
    losses = [record["metrics"]["test/loss"] for record in records]
    assert len(set(losses)) == 3, losses
    assert records[0]["coverage"] == records[1]["coverage"] and records[0]["coverage"]["mixout"] > 0.5


class Foreign(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.head(self.body(batch[0])), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(callback: L.Callback) -> None:
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[callback],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Foreign(), DataLoader(TensorDataset(torch.randn(8, 4), torch.zeros(8).long()), batch_size=4))


@pytest.mark.parametrize(
    ("callback", "said"),
    [
        (L2SP(new=lambda name: name.startswith("haed.")), "`new` takes none"),
        (L2SP(new=lambda name: True), "`new` takes all"),
        (EWC(1.0, {}), "names none of the module's parameters"),
        (EWC(1.0, {"bdoy.weight": torch.ones(4, 4)}), "names none of the module's parameters"),
        (EWC(1.0, {"body.weight": torch.zeros(4, 4)}), "zero everywhere"),
        (EWC(1.0, lambda module: {"body.weight": torch.zeros(4, 4)}), "zero everywhere"),
    ],
)
def test_an_objective_that_could_touch_nothing_is_refused(callback: L.Callback, said: str) -> None:
    with pytest.raises(UserError, match=said):
        fit(callback)


def test_objectives_that_touch_something_are_not(tmp_path: Path) -> None:
    for callback in (
        L2SP(),
        L2SP(new=lambda name: name.startswith("head.")),
        L2SP(alpha=0.0),
        EWC(1.0, {"body.weight": torch.eye(4)}),
    ):
        fit(callback)


def test_earlier_records_say_nothing_of_it(tlx: Any) -> None:
    record = tlx.record("strategy=full")
    (file,) = (tlx.runs / "adhoc").glob("*/record.json")
    record.pop("coverage")
    file.write_text(json.dumps(record))
    assert tlx("table", str(tlx.runs / "adhoc")).code == 0
