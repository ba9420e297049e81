"""Hashes of values in memory: raw inputs, encoded examples, tensors."""

import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor


def digest_of(value: Any) -> bytes:
    """SHA-256 of one value, 32 bytes."""
    digest = hashlib.sha256()
    feed(digest, value)
    return digest.digest()


def feed(digest: Any, value: Any) -> None:
    """Add a value to a hash, with what tells it from others of the same bytes."""
    if isinstance(value, dict):
        for key in sorted(value):
            digest.update(key.encode())
            feed(digest, value[key])
    elif isinstance(value, Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        flat = value.detach().cpu().contiguous().flatten()
        digest.update(flat.view(torch.uint8).numpy() if flat.numel() else b"")
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype}{value.shape}".encode())
        if value.dtype == object:  # rows of a nested list, as parquet returns them
            for row in value:
                feed(digest, row)
        else:
            digest.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, bytes):
        digest.update(b"%d bytes;" % len(value))
        digest.update(value)
    elif isinstance(value, (tuple, list)) and not all(isinstance(v, (str, int, float)) for v in value):
        digest.update(f"{len(value)} values;".encode())
        for part in value:
            feed(digest, part)
    else:
        digest.update(f"{value!r};".encode())
