"""Reading tensors from files, without ever unpickling arbitrary objects."""

import json
import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tlx.errors import UserError

# In a folder, the first of these that exists is read; safetensors first.
FILES = ("backbone.safetensors", "model.safetensors", "pytorch_model.bin", "model.pt", "model.pth")
SUFFIXES = (".safetensors", ".npz", ".pt", ".pth", ".th", ".bin", ".ckpt")
# Keys under which training scripts nest the weights, and prefixes that wrappers add.
NESTED = ("state_dict", "model", "model_state_dict")
PREFIXES = ("module.", "_orig_mod.", "model.")


def find_weights(path: Path) -> Path:
    """The weights file in a folder, or the file itself.

    Raises:
        UserError: nothing is there, or nothing we read.
    """
    if path.is_dir():
        for name in FILES:
            if (path / name).is_file():
                return path / name
        raise UserError(f"no weights file in {path}: looked for {', '.join(FILES)}.")
    if not path.is_file():
        raise UserError(f"no such weights file or folder: {path}.")
    if path.suffix not in SUFFIXES:
        raise UserError(f"cannot read weights from '{path.name}': known endings are {', '.join(SUFFIXES)}.")
    return path


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint file or folder by name, on the CPU; wrappers' prefixes and nesting are removed.

    Raises:
        UserError: no such file, a damaged file, or one that needs unpickling of arbitrary objects.
    """
    file = find_weights(path)
    state: Any
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(file)
        elif file.suffix == ".npz":
            # Opened here, since numpy leaves a damaged file open.
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        if isinstance(error, pickle.UnpicklingError) or (isinstance(error, ValueError) and "pickle" in str(error)):
            raise UserError(
                f"{file} was refused: it is damaged or holds more than tensors, and reading it could run any code. "
                f"Save it as safetensors where you trust it. ({str(error).splitlines()[0]})"
            ) from error
        raise UserError(f"{file} cannot be read as weights: {type(error).__name__}: {error}") from error
    if not isinstance(state, dict):
        raise UserError(
            f"{file} holds no tensors by name but a {type(state).__name__}: save the network's state_dict()."
        )
    for key in NESTED:
        if isinstance(state.get(key), dict):
            state = state[key]
            break
    state = {name: tensor for name, tensor in state.items() if isinstance(name, str) and isinstance(tensor, Tensor)}
    while prefix := next((p for p in PREFIXES if state and all(name.startswith(p) for name in state)), None):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def fit_names(tensors: dict[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """The same tensors under the names that a network's state dict has, where the file only spells them differently.

    A prefix that `read_state_dict` took for a wrapper's is put back if it is the network's own (`self.model = …`).
    Batch norm's counters, which PyTorch before 0.4.1 did not save, start at 0, as torch's own loading has it.
    """
    fitting = dict(tensors)
    if not any(name in fitting for name in names):
        for prefix in PREFIXES:
            renamed = {prefix + name: tensor for name, tensor in tensors.items()}
            if any(name in renamed for name in names):
                fitting = renamed
                break
    for name in names:
        if name.endswith("num_batches_tracked") and name not in fitting:
            mean = name.removesuffix("num_batches_tracked") + "running_mean"
            if mean in fitting:
                fitting[name] = torch.tensor(0)
    return fitting


def read_json(file: Path) -> dict:
    """A JSON object in a file; empty when there is no such file.

    Raises:
        UserError: the file is damaged.
    """
    if not file.is_file():
        return {}
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON: {error}") from error
