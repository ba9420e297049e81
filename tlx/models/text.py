"""Text backbones: any transformers encoder or decoder."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tlx.data.text import TextPreprocessing
from tlx.errors import UserError, one_line, unknown
from tlx.layer_groups import Layers
from tlx.models.backbone import Backbone, folder_of
from tlx.models.hugging_face import build_config, build_network, hidden_size, read_pretrained
from tlx.models.layers import ANATOMY, anatomy
from tlx.network.modes import in_eval_mode

POOLINGS = ("mean", "cls", "last")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
READ = 1e-4  # of the largest hidden state: a difference over which is none of rounding


class TextBackbone(Backbone):
    """A transformers text network; features (B, hidden size) pooled from the last hidden states (B, T, hidden size).

    `config` names the architecture where no folder does (`model_type: bert` and what differs from its defaults) and
    overrides single keys of a folder's config. `pooling`: "mean" over real tokens, "cls" (the first of them), or "last"
    (for decoders). The tokenizer comes from the weights' folder; without weights, `tokenizer.vocab_size` trains a
    byte-pair vocabulary on the data set's training texts. The features of a text do not depend on those beside it: see
    `forward`.

    Raises:
        UserError: unknown pooling or model type, no tokenizer to be had or one with more tokens than the network has
            embeddings, damaged folder, a network that does not read token ids.
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
        from tlx.models.tokenizer import check_vocabulary, load_tokenizer, train_tokenizer

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
        self.feature_dim = hidden_size(settings)
        self.pooling = pooling
        self.preprocessing = TextPreprocessing(self.tokenizer, min(max_length, _positions(self.network, max_length)))
        self.layers, self.lora_targets = anatomy(settings, layer_groups, lora_targets)
        check_vocabulary(self.tokenizer, self.network)
        # Those of our own table are known to leave padding out.
        self.reads_padding = settings.model_type not in ANATOMY and padding_is_read(self.network)

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
        """(B, feature_dim) of `input_ids`, `attention_mask` and, where there are any, `token_type_ids`, each (B, T).

        Padding may stand on either side: rows are moved to begin with their first token, because learned positions
        count from the beginning of a row. A network that reads padding all the same (a convolution, a Fourier
        transform) is given texts of one length at a time.
        """
        batch = _from_the_first_token({k: batch[k] for k in INPUTS if k in batch})
        if not self.reads_padding:
            return self._features(batch)
        lengths = batch["attention_mask"].sum(1)
        features: Tensor | None = None
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero()[:, 0]
            found = self._features({k: v[rows, :length] for k, v in batch.items()})
            features = found.new_empty(len(lengths), found.shape[1]) if features is None else features
            features = features.index_copy(0, rows, found)
        assert features is not None
        return features

    def _features(self, batch: dict[str, Tensor]) -> Tensor:
        mask = batch["attention_mask"]
        # GPT-2 would add the embedding of word 0 for segment 0, RoBERTa has one segment, others know none.
        segmented = getattr(self.network.config, "type_vocab_size", 0) > 1
        inputs = {k: v for k, v in batch.items() if segmented or k != "token_type_ids"}
        hidden = self.network(**inputs).last_hidden_state
        if self.pooling == "cls":
            return hidden[:, 0]
        if self.pooling == "last":
            rows = torch.arange(len(hidden), device=hidden.device)
            return hidden[rows, mask.shape[1] - 1 - mask.flip(1).argmax(1)]
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


def _from_the_first_token(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The rows (B, T) of a batch, each moved to the left by what is masked before its first token."""
    mask = batch["attention_mask"]
    first = mask.argmax(1, keepdim=True)
    places = (torch.arange(mask.shape[1], device=mask.device) + first) % mask.shape[1]
    return {name: values.gather(1, places) for name, values in batch.items()}


@torch.no_grad()
def padding_is_read(network: Any) -> bool:
    """Whether what is masked after a text changes its last hidden states, by a text of three tokens.

    Raises:
        UserError: the network cannot compute from token ids.
    """
    device = next(network.parameters()).device
    if device.type == "meta":
        return False
    rows = min(16, int(getattr(network.config, "vocab_size", 16)))
    text = torch.arange(1, 4, device=device)[None] % rows
    # Any other tokens behind the text: an embedding of zeros, as untrained networks have for padding, would hide it.
    longer = torch.cat([text, torch.arange(4, 10, device=device)[None] % rows], 1)
    mask = (torch.arange(longer.shape[1], device=device) < text.shape[1]).long()[None]
    with in_eval_mode(network), torch.random.fork_rng():
        try:
            alone = network(input_ids=text, attention_mask=torch.ones_like(text)).last_hidden_state
            padded = network(input_ids=longer, attention_mask=mask).last_hidden_state[:, : text.shape[1]]
        except Exception as error:  # each architecture has its own ways
            raise UserError(
                f"a '{network.config.model_type}' network cannot be used as a text encoder: from the token ids of a "
                f"short text it does not come to hidden states ({type(error).__name__}: {one_line(error)})."
            ) from error
    return bool((padded - alone).abs().max() > READ * alone.abs().max())


def _positions(network: nn.Module, default: int) -> int:
    """The longest input in tokens that the network has position embeddings for; `default` where it has no limit."""
    table = getattr(getattr(network, "embeddings", None), "position_embeddings", None)
    if isinstance(table, nn.Embedding) and table.padding_idx is not None:
        return table.num_embeddings - table.padding_idx - 1  # RoBERTa counts from the padding token's id on
    stated = getattr(network.config, "max_position_embeddings", None)
    return stated if isinstance(stated, int) and stated > 0 else default  # XLNet, of relative positions, says -1
