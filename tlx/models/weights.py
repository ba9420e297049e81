"""Reading tensors from files, without ever unpickling arbitrary objects."""

import pickle
from pathlib import Path

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
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(file)
        elif file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                state = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, ValueError) as error:
        raise UserError(
            f"{file} was refused: it holds more than tensors, and reading it could run any code. "
            f"Save it as safetensors where you trust it. ({str(error).splitlines()[0]})"
        ) from error
    except Exception as error:
        raise UserError(f"{file} cannot be read as weights: {type(error).__name__}: {error}") from error
    for key in NESTED:
        if key in state and isinstance(state[key], dict):
            state = state[key]
            break
    state = {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}
    for prefix in PREFIXES:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state
