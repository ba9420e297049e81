"""Text: from strings to token ids, padded to the longest of the batch."""

import hashlib
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tlx.data.augmentation import Kind, Number, read_options
from tlx.errors import UserError

Encoded = dict[str, list[int]]
KNOWN_ROLES = ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "pad_token_id", "mask_token_id")


class TextPreprocessing:
    """A transformers fast tokenizer, truncation to `max_length` tokens, and dynamic padding.

    An example is a dict of equally long lists: `input_ids`, and `token_type_ids` where the tokenizer's model uses them.

    Raises:
        UserError: no fast tokenizer, no token to pad with, or a `max_length` with no room beside the special tokens.
    """

    AUGMENTATIONS: ClassVar[dict[str, Kind]] = {"token_dropping": Number(0.0, 0.99)}

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise UserError(
                f"{type(tokenizer).__name__} is not a fast tokenizer. Load it with "
                "AutoTokenizer.from_pretrained(FOLDER, use_fast=True) and save it again, so that tokenizer.json exists."
            )
        self.tokenizer = tokenizer
        self.max_length = int(max_length)
        # GPT-2 and others were trained without padding; their padded positions are masked, so any id serves.
        pads = [i for i in (tokenizer.pad_token_id, tokenizer.eos_token_id) if i is not None]
        if not pads:
            raise UserError(
                "the tokenizer has neither a pad nor an eos token: set tokenizer.pad_token and save it again."
            )
        self.pad_id = int(pads[0])
        self._check_room(pair=False)
        content = tokenizer.unk_token_id
        roles = {getattr(tokenizer, role, None) for role in KNOWN_ROLES}
        # An unknown word is content; only where the same id also has another role (GPT-2) it must stay.
        self._kept = {i for i in tokenizer.all_special_ids if i != content or i in roles}

    def key(self) -> str:
        """Hash of the tokenizer's whole state, its special tokens, the sides of padding and cut, and `max_length`."""
        return self._key

    @cached_property
    def _key(self) -> str:
        state = json.loads(self.tokenizer.backend_tokenizer.to_str())
        for passing in ("truncation", "padding"):  # left behind by the last call, not part of the tokenizer
            state.pop(passing, None)
        parts = {
            "backend": state,
            "special": {k: str(v) for k, v in self.tokenizer.special_tokens_map.items()},
            "sides": ["right", self.tokenizer.truncation_side],
            "inputs": list(self.tokenizer.model_input_names),
            "pad": [self.pad_id, self.tokenizer.pad_token_type_id],
            "max_length": self.max_length,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def encode(self, raw: Any) -> Encoded:
        """Token ids of a text, or of a (text, text) pair joined as the tokenizer's model expects.

        A text without any token (empty, and the tokenizer adds none) becomes one padding token, so that every example
        has a length of at least 1.

        Raises:
            UserError: not a text (None, NaN, a number).
        """
        return self.encode_and_tell(raw)[0]

    def encode_and_tell(self, raw: Any) -> tuple[Encoded, bool]:
        """`encode`, and whether the text has more than `max_length` tokens."""
        texts = list(raw) if isinstance(raw, (tuple, list)) else [raw]
        if len(texts) not in (1, 2) or not all(isinstance(t, str) for t in texts):
            bad = next((t for t in texts if not isinstance(t, str)), texts)
            missing = bad is None or (isinstance(bad, float) and np.isnan(bad))
            raise UserError(
                "the text is missing (an empty cell?); fill it or leave the row out."
                if missing
                else f"a text or a pair of texts is needed, not {type(bad).__name__} {str(bad)[:60]!r}."
            )
        if len(texts) == 2:
            self._check_room(pair=True)
        found = self.tokenizer(*texts, truncation=True, max_length=self.max_length, return_attention_mask=False)
        example = {name: list(found[name]) for name in ("input_ids", "token_type_ids") if name in found}
        if not example["input_ids"]:
            return {name: [self.pad_id if name == "input_ids" else 0] for name in example}, False
        return example, bool(found.encodings[0].overflowing)

    @property
    def limit(self) -> str:
        """Where longer examples are cut, in words."""
        return f"{self.max_length} tokens (model.max_length)"

    def length(self, example: Encoded) -> int:
        """Number of tokens."""
        return len(example["input_ids"])

    @classmethod
    def check_augmentation(cls, augmentation: Any) -> dict[str, Any]:
        """The options switched on (see `augment`). Raises UserError for unknown or impossible ones."""
        return read_options(augmentation, cls.AUGMENTATIONS)

    def augment(self, example: Encoded, augmentation: Any, rng: np.random.Generator) -> Encoded:
        """`token_dropping: p` leaves out each token with probability p, never a special one and never all of them."""
        options = self.check_augmentation(augmentation)
        if not options.get("token_dropping"):
            return example
        words = np.array([i not in self._kept for i in example["input_ids"]])
        dropped = words & (rng.random(len(words)) < options["token_dropping"])
        if words.any() and not (words & ~dropped).any():
            dropped[rng.choice(np.flatnonzero(words))] = False
        return {
            name: [v for v, drop in zip(values, dropped, strict=True) if not drop] for name, values in example.items()
        }

    def collate(self, examples: Sequence[Encoded]) -> dict[str, Tensor]:
        """`input_ids`, `attention_mask` (1 = real token), `token_type_ids` if any: (B, T) int64, T = the longest.

        Padding stands on the right, whatever the tokenizer's side: on the left it would move the positions of what
        follows it. (Tokenizers pad on the left so that a decoder can write on where the text ends.)
        """
        width = max(map(self.length, examples))
        fills = {"input_ids": self.pad_id, "token_type_ids": self.tokenizer.pad_token_type_id}
        batch = {name: torch.full((len(examples), width), fills[name]) for name in examples[0]}
        batch["attention_mask"] = torch.zeros(len(examples), width, dtype=torch.int64)
        for row, example in enumerate(examples):
            count = self.length(example)
            for name, values in example.items():
                batch[name][row, :count] = torch.tensor(values)
            batch["attention_mask"][row, :count] = 1
        return batch

    def _check_room(self, pair: bool) -> None:
        # The tokenizer itself says nothing and returns texts that are not truncated at all.
        special = self.tokenizer.num_special_tokens_to_add(pair=pair)
        if self.max_length <= special:
            raise UserError(
                f"max_length={self.max_length} leaves no room for the text: this tokenizer adds {special} special "
                f"tokens to a {'pair of texts' if pair else 'text'}. Give at least {special + (2 if pair else 1)}."
            )
