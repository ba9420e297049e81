"""Tokenizers: from a folder, or a byte-pair vocabulary trained on a data set's own texts."""

from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerFast

from tlx.errors import UserError
from tlx.models.backbone import folder_of

FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model", "tokenizer.model")
SPECIAL = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}


def load_tokenizer(source: Path) -> PreTrainedTokenizerFast:
    """The fast tokenizer in a folder, or beside a weights file.

    Raises:
        UserError: there is none.
    """
    folder = folder_of(source)
    # Without this, transformers makes a tokenizer that knows no word from config.json alone.
    if not any((folder / name).is_file() for name in FILES):
        raise UserError(
            f"no tokenizer in {folder}: weights for text need one of {', '.join(FILES)} beside them. "
            "Copy the tokenizer's files there, or say model.path=null for random weights and a new vocabulary."
        )
    try:
        found = AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"no tokenizer in {folder}: {str(error).splitlines()[0]}") from error
    if not isinstance(found, PreTrainedTokenizerFast):
        raise UserError(f"the tokenizer in {folder} is no fast one: save it again so that tokenizer.json exists.")
    return found


def check_vocabulary(tokenizer: PreTrainedTokenizerFast, network: Any) -> None:
    """Check that the network has an embedding for every token.

    Raises:
        UserError: it has not, as where tokens were added to the tokenizer alone.
    """
    try:
        rows = len(network.get_input_embeddings().weight)
    except (NotImplementedError, AttributeError):  # no table with a row for each token
        return
    without = sorted((i, token) for token, i in tokenizer.get_vocab().items() if i >= rows)
    if without:
        shown = ", ".join(f"{token} ({i})" for i, token in without[:5])
        raise UserError(
            f"the tokenizer has {len(tokenizer)} tokens, the network's embedding {rows} rows: there is none for {shown}"
            + (f" and {len(without) - 5} more" if len(without) > 5 else "")
            + ". Call model.resize_token_embeddings(len(tokenizer)) and save the model again, or use the tokenizer "
            "that belongs to it."
        )


def train_tokenizer(texts: list[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A lower-casing byte-pair tokenizer (Sennrich et al. 2016, arXiv:1508.07909) with BERT's special tokens.

    The same texts give the same vocabulary; `tokenizers`' WordPiece trainer breaks ties by hash order and does not.

    Raises:
        UserError: no texts.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    if not texts:
        raise UserError("a tokenizer cannot be trained on no texts.")
    tokenizer = Tokenizer(models.BPE(unk_token=SPECIAL["unk"]))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL.values()),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    cls, sep = SPECIAL["cls"], SPECIAL["sep"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in (cls, sep)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{f"{kind}_token": token for kind, token in SPECIAL.items()},
    )
