"""Text backbones: any transformers encoder or decoder."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tlx.data.text import TextPreprocessing
from tlx.errors import UserError, unknown
from tlx.layer_groups import Layers
from tlx.models.backbone import Backbone, folder_of
from tlx.models.hugging_face import build_config, build_network, read_pretrained
from tlx.models.layers import anatomy

POOLINGS = ("mean", "cls", "last")


class TextBackbone(Backbone):
    """A transformers text network; features (B, hidden size) pooled from the last hidden states (B, T, hidden size).

    `config` names the architecture where no folder does (`model_type: bert` and what differs from its defaults) and
    overrides single keys of a folder's config. `pooling`: "mean" over real tokens, "cls" (the first of them), or "last"
    (for decoders). The tokenizer comes from the weights' folder; without weights, `tokenizer.vocab_size` trains a
    byte-pair vocabulary on the data set's training texts.

    Raises:
        UserError: unknown pooling or model type, no tokenizer to be had, damaged folder.
    """

    modality: ClassVar[str] = "text"
    network: Any
    preprocessing: TextPreprocessing

    def __init__(
        self,
        source: Path | None = None,
        config: dict[str, Any] | None = None,
        tokenizer: dict[str, Any] | None = None,
        pooling: str = "mean",
        max_length: int = 128,
        layer_groups: Layers | None = None,
        lora_targets: str | None = None,
        texts: Callable[[], list[str]] | None = None,
    ) -> None:
        super().__init__()
        from tlx.models.tokenizer import load_tokenizer, train_tokenizer

        if pooling not in POOLINGS:
            raise unknown("pooling", pooling, POOLINGS)
        settings = build_config(source, config)
        if source is not None:
            # A vocabulary trained here would give the weights' embeddings to other words.
            self.tokenizer = load_tokenizer(source)
            if not (folder_of(source) / "config.json").is_file() and self.tokenizer.pad_token_id is not None:
                settings.pad_token_id = self.tokenizer.pad_token_id
        elif texts is not None and (tokenizer or {}).get("vocab_size"):
            self.tokenizer = train_tokenizer(texts(), int(tokenizer["vocab_size"]))  # type: ignore[index]
            settings.update({"vocab_size": len(self.tokenizer), "pad_token_id": self.tokenizer.pad_token_id})
            for key in ("bos_token_id", "eos_token_id"):
                setattr(settings, key, None)
        else:
            raise UserError(
                "this text model has no tokenizer: give model.path=FOLDER (with tokenizer files), or "
                "model.tokenizer.vocab_size=N to train one on the data set's own texts."
            )
        self.network = build_network(settings)
        self.feature_dim = int(settings.hidden_size)
        self.pooling = pooling
        self.preprocessing = TextPreprocessing(self.tokenizer, min(max_length, _positions(self.network, max_length)))
        self.layers, self.lora_targets = anatomy(settings, layer_groups, lora_targets)

    def read_weights(self, path: Path) -> dict[str, Tensor]:
        return read_pretrained(path, self.network)

    def token_rows(self, examples: Iterable[Any]) -> tuple[nn.Embedding, set[int]] | None:
        """The table of the network's word embeddings; special tokens and padding are always among its rows."""
        table = self.network.get_input_embeddings()
        if type(table) is not nn.Embedding:  # an adapter's wrapper, or a table of another kind
            return None
        ids = {*self.tokenizer.all_special_ids, self.preprocessing.pad_id}
        for example in examples:
            ids.update(example["input_ids"])
        return table, ids

    def save_preprocessing(self, folder: Path) -> None:
        """Keep the tokenizer and the architecture beside the weights, as transformers' own folders do."""
        self.tokenizer.save_pretrained(folder)
        self.network.config.save_pretrained(folder)

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        mask = batch["attention_mask"]
        # GPT-2 would add the embedding of word 0 for segment 0, RoBERTa has one segment, others know none.
        segments = ("token_type_ids",) if getattr(self.network.config, "type_vocab_size", 0) > 1 else ()
        inputs = {k: batch[k] for k in ("input_ids", "attention_mask", *segments) if k in batch}
        hidden = self.network(**inputs).last_hidden_state
        rows = torch.arange(len(hidden), device=hidden.device)
        if self.pooling == "cls":
            return hidden[rows, mask.argmax(1)]  # some tokenizers pad on the left
        if self.pooling == "last":
            return hidden[rows, mask.shape[1] - 1 - mask.flip(1).argmax(1)]
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


def _positions(network: nn.Module, default: int) -> int:
    """The longest input in tokens that the network has position embeddings for; `default` where it has no limit."""
    table = getattr(getattr(network, "embeddings", None), "position_embeddings", None)
    if isinstance(table, nn.Embedding) and table.padding_idx is not None:
        return table.num_embeddings - table.padding_idx - 1  # RoBERTa counts from the padding token's id on
    return getattr(network.config, "max_position_embeddings", None) or default
