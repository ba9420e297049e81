"""Golden tables: what becomes of every parameter of each architecture family: its layer group, depth, rate and decay.

A parameter that falls into another group trains at another rate, silently. After a change that is meant, write the
tables anew with TLX_WRITE_GOLDEN=1 and look at the difference.
"""

import csv
import io
import os
import re
from pathlib import Path

import pytest

from tlx.strategies.learning_rates import Discriminative
from tlx.strategies.strategy import TransferStrategy

FOLDER = Path(__file__).resolve().parent / "golden"
# One yaml of each family, at full depth.
NAMES = [
    "bert_base",
    "roberta_base",
    "electra_small",
    "distilbert",
    "gpt2",
    "t5_small",
    "wav2vec2_base",
    "hubert_base",
    "wavlm_base",
    "whisper_tiny",
    "resnet18",
    "efficientnet_b0",
    "convnext_tiny",
    "vit_small",
    "tiny_vision",
    "squeezenet",
    "cifar_resnet20",
    "speech_embedding",
]
# Vectors that are stored with more than one dimension decay, as in transformers' Trainer, unless their network says no:
# weight normalisation's magnitude should, being the size of the weight.
DECAYING_VECTORS = {
    "wav2vec2_base": ["encoder.pos_conv_embed.conv.parametrizations.weight.original0"],
    "hubert_base": ["encoder.pos_conv_embed.conv.parametrizations.weight.original0"],
    "wavlm_base": [
        *(f"encoder.layers.{i}.attention.gru_rel_pos_const" for i in range(12)),
        "encoder.pos_conv_embed.conv.parametrizations.weight.original0",
    ],
}


def table(contract, name):
    """(the rows as csv, the rows, the parameters) under strategy=discriminative with decay 0.8 and a base rate of 1."""
    strategy = TransferStrategy(learning_rates=Discriminative(decay=0.8))
    module = contract.plan(contract.models.full_size(name), strategy, classes=2)
    rows = module.plan.rows(module)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["parameter", "group", "depth", "lr", "decay"])
    for row in rows:
        decay = "fixed" if row["name"] in module.plan.fixed else "yes" if row["decay"] else "no"
        name = row["name"].removeprefix("backbone.network.")
        writer.writerow([name, row["group"], row["depth"], f"{row['lr_factor']:.6g}", decay])
    return text.getvalue(), rows, dict(module.named_parameters())


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_has_the_depth_rate_and_decay_of_the_golden_table(contract, name):
    got, rows, parameters = table(contract, name)
    file = FOLDER / f"{name}.csv"
    if os.environ.get("TLX_WRITE_GOLDEN") == "1":
        FOLDER.mkdir(exist_ok=True)
        file.write_text(got)
        pytest.fail(f"{file.name} written, look at the diff")
    assert got == file.read_text(), "TLX_WRITE_GOLDEN=1 writes the tables anew"

    depths = [row["depth"] for row in rows]
    assert depths == sorted(depths)
    assert set(depths) == set(range(max(depths) + 1))
    decaying = [row["name"] for row in rows if row["decay"]]
    norms = [n for n in decaying if re.search(r"(norm|bn\d|ln_\w+)\.\w+$|bias$|gamma$", n, re.IGNORECASE)]
    assert not norms, "norms, biases and layer scales do not decay"
    vectors = [n for n in decaying if sum(size > 1 for size in parameters[n].shape) < 2]
    assert sorted(n.removeprefix("backbone.network.") for n in vectors) == sorted(DECAYING_VECTORS.get(name, []))


def test_there_is_a_table_for_each_name_and_none_besides():
    assert sorted(path.stem for path in FOLDER.glob("*.csv")) == sorted(NAMES)
