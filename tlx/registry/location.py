"""Where a model's weights are: a local folder or file, a registry entry, or a snapshot from the hub. No torch here."""

import hashlib
import os
import re
from fnmatch import fnmatch
from pathlib import Path

from tlx.record.hashes import file_hash, folder_hash, visible_files
from tlx.errors import UserError

WEIGHT_FILES = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.th", "*.ckpt", "*.npz", "*.h5", "*.msgpack", "*.onnx")

# What lies beside a file of weights and shapes the network and its inputs, by the names that transformers gives it.
SHAPING = (
    *("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model"),
    "sentencepiece.bpe.model",
)


def locate(path: str, revision: str | None, registry: Path) -> Path:
    """The local place of `path`: itself, the entry of `registry:NAME`, or a download of `hub:owner/name`.

    Raises:
        UserError: nothing there; what to do.
    """
    if path.startswith("registry:"):
        from tlx.registry.entries import find

        return find(registry, path.removeprefix("registry:"))
    if path.startswith("hub:"):
        return _snapshot(path.removeprefix("hub:"), revision)
    local = Path(path).expanduser()
    if not local.exists():
        hint = (
            f" For a model of the hub write model.path=hub:{path}."
            if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", path)
            else ""
        )
        raise UserError(f"no such file or folder: model.path={path}.{hint} (registry entries: registry:NAME)")
    return local


def _snapshot(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "pytorch_model.bin"]
    offline = os.environ.get("HF_HUB_OFFLINE") == "1"
    try:
        # What was downloaded before needs no network; a first download does.
        try:
            folder = snapshot_download(name, revision=revision, allow_patterns=wanted, local_files_only=True)
        except Exception:
            if offline:
                raise
            folder = snapshot_download(name, revision=revision, allow_patterns=wanted, etag_timeout=5)
    except Exception as error:
        raise UserError(
            f"the model '{name}' is not on this machine and the hub cannot be reached ({type(error).__name__}). "
            f"Download it where there is a network (`hf download {name} --local-dir DIR`), copy DIR here and give "
            "model.path=DIR."
        ) from error
    return Path(folder)


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
