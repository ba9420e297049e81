"""Which files of a folder are weights, which shape the network and its inputs, and the hash of either. No torch here."""

import hashlib
from fnmatch import fnmatch
from pathlib import Path

from tlx.record.hashes import file_hash, folder_hash, visible_files

WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.th", "*.ckpt", "*.npz", "*.h5", "*.msgpack", "*.onnx")

# What lies beside a file of weights and shapes the network and its inputs, by the names that transformers gives it.
SHAPING = (
    *("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model"),
    "sentencepiece.bpe.model",
)


def weights_hash(place: Path, cache: Path | None, weights: bool = True) -> str:
    """Content hash of a weights file or folder; with `weights=False` only what shapes the input (tokenizer, config).

    Of a file that is what lies beside it (SHAPING).
    """
    if place.is_file():
        if weights:
            return file_hash(place, cache)
        beside = [place.parent / name for name in SHAPING]
        found = [f"{file.name} {file_hash(file, cache)}" for file in beside if file.is_file()]
        return hashlib.sha256("\n".join(found).encode()).hexdigest() if found else ""
    # Cards and readmes say things about the weights; they change nothing.
    skip = ["card.json", "head.safetensors", "*.md", ".*", *(() if weights else WEIGHT_FILES)]
    shaping = [f for f in visible_files(place) if not any(fnmatch(f.name, pattern) for pattern in skip)]
    return folder_hash(place, cache, skip=skip) if shaping else ""
