"""What tlx trains is what a bare PyTorch loop trains: the same weights after the same 20 steps."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from tlx.data.sampling import epoch_batches
from tlx.models.tokenizer import train_tokenizer

EPOCHS, BATCH, LR, DECAY, MOMENTUM, WARMUP, STEPS = 2, 6, 0.05, 0.01, 0.9, 0.1, 20
TEXTS = [" ".join(["a good film", "it was bad"][i % 2 : i % 2 + 1] + ["and so on"] * (i % 7)) for i in range(60)]


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with a text network of two layers, random weights, without dropout."""
    folder = tmp_path / "tiny"
    tokenizer = train_tokenizer(TEXTS, 300)
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    dropouts = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    torch.manual_seed(5)
    config = BertConfig(vocab_size=len(tokenizer), **sizes, **dropouts)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


class Bare(nn.Module):
    """BERT, the mean over its real tokens, a linear head."""

    def __init__(self, folder: Path, head: nn.Linear) -> None:
        super().__init__()
        self.network = AutoModel.from_pretrained(folder, add_pooling_layer=False, dtype=torch.float32)
        self.head = head

    def forward(self, batch: Any) -> Tensor:
        mask = batch["attention_mask"].unsqueeze(-1).float()
        hidden = self.network(**batch).last_hidden_state
        return self.head((hidden * mask).sum(1) / mask.sum(1))


def bare_loop(folder: Path, head: nn.Linear, texts: list[str], labels: Tensor) -> nn.Module:
    """20 steps of SGD as a page of PyTorch: clipped gradients, warm-up and decay, no decay of norms and biases."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), Bare(folder, head).train()
    matrices, vectors = ([p for p in model.parameters() if (p.ndim < 2) == flat] for flat in (False, True))
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, LR, MOMENTUM)
    step, warm = 0, round(WARMUP * STEPS)
    lengths = [len(tokenizer(text)["input_ids"]) for text in texts]
    for epoch in range(EPOCHS):
        for positions in epoch_batches(len(texts), BATCH, 0, epoch, lengths):
            for group in optimizer.param_groups:
                group["lr"] = LR * ((step + 1) / (warm + 1) if step < warm else (STEPS - step) / (STEPS - warm))
            batch = tokenizer([texts[i] for i in positions], padding=True, return_tensors="pt")
            nn.functional.cross_entropy(model(batch), labels[positions]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            step += 1
    assert step == STEPS
    return model


@pytest.mark.slow
def test_twenty_steps_of_sgd_end_in_the_weights_of_a_bare_loop(verbs, write_texts, tiny: Path) -> None:
    from tlx.assembly import assemble
    from tlx.fit.seeding import seed_everything

    rows = [(text, "bad" if "bad" in text else "good") for text in TEXTS]
    record = verbs.record(
        "model=text_encoder",
        f"model.path={tiny}",
        "dataset=local_text",
        f"dataset.path={write_texts(train=rows, validation=rows[:9], test=rows[:9])}",
        "dataset.overlap=allow",  # only the training is looked at
        "dataset.train_size=null",
        "optimizer=sgd",
        f"optimizer.lr={LR}",
        f"optimizer.weight_decay={DECAY}",
        f"scheduler.warmup={WARMUP}",
        f"trainer.max_epochs={EPOCHS}",
        f"trainer.batch_size={BATCH}",
        "trainer.head_dropout=0",
        "selection=last",
        "keep_checkpoints=last",
    )
    assert record["counts"]["steps"] == STEPS
    trained = load_file(next((verbs.runs / "adhoc").glob("*/last.safetensors")))

    seed_everything(0)
    data, module = assemble(record["config"])
    head = module.task.head[1]
    start = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    bare = bare_loop(tiny, head, list(data.train.inputs), torch.from_numpy(data.train.labels).long())
    found = {f"backbone.network.{n}": t for n, t in bare.network.state_dict().items()}
    found |= {f"task.head.1.{n}": t for n, t in head.state_dict().items()}
    assert found.keys() == trained.keys()
    for name, tensor in trained.items():
        torch.testing.assert_close(tensor, found[name], atol=1e-5, rtol=0)
    assert max((trained[name] - start[name]).abs().max() for name in trained) > 0.01  # it did train
