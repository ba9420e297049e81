"""What tlx uses of libraries that they do not promise to keep: all of it, in one place.

Each name is imported when somebody first asks for it, so that composing configs needs no torch. A new version of a
library may break any of them: `tests/test_private.py` uses each, and names the versions that were tried.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hydra._internal.callbacks import Callbacks
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra._internal.core_plugins.file_config_source import FileConfigSource
    from hydra._internal.hydra import Hydra
    from hydra._internal.sources_registry import SourcesRegistry
    from lightning import Trainer
    from timm.models._manipulate import group_with_matcher
    from torch import Tensor, nn
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
    from torch.nn.modules.batchnorm import _NormBase as NormBase
    from torch.nn.modules.conv import _ConvNd as Convolution
    from torch.nn.modules.conv import _ConvTransposeNd as TransposedConvolution
    from torch.optim.lr_scheduler import LRScheduler
    from torch.utils._pytree import TreeSpec, tree_flatten, tree_map, tree_unflatten

NAMES = {
    "Callbacks": "hydra._internal.callbacks:Callbacks",
    "ConfigLoaderImpl": "hydra._internal.config_loader_impl:ConfigLoaderImpl",
    "ConfigSearchPathImpl": "hydra._internal.config_search_path_impl:ConfigSearchPathImpl",
    "BasicSweeper": "hydra._internal.core_plugins.basic_sweeper:BasicSweeper",
    "FileConfigSource": "hydra._internal.core_plugins.file_config_source:FileConfigSource",
    "Hydra": "hydra._internal.hydra:Hydra",
    "SourcesRegistry": "hydra._internal.sources_registry:SourcesRegistry",
    "group_with_matcher": "timm.models._manipulate:group_with_matcher",
    "get_cpp_compiler": "torch._inductor.cpp_builder:get_cpp_compiler",
    "BatchNorm": "torch.nn.modules.batchnorm:_BatchNorm",  # of any number of dimensions
    "NormBase": "torch.nn.modules.batchnorm:_NormBase",  # and InstanceNorm
    "Convolution": "torch.nn.modules.conv:_ConvNd",
    "TransposedConvolution": "torch.nn.modules.conv:_ConvTransposeNd",
    "TreeSpec": "torch.utils._pytree:TreeSpec",
    "tree_flatten": "torch.utils._pytree:tree_flatten",
    "tree_map": "torch.utils._pytree:tree_map",
    "tree_unflatten": "torch.utils._pytree:tree_unflatten",
}


def __getattr__(name: str) -> Any:
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, own = NAMES[name].partition(":")
    return getattr(import_module(module), own)


# --- Hydra and OmegaConf


def set_values(overrides: list[Any], config: Any) -> None:
    """Set the values of read overrides in a composed config, as Hydra does when it composes one."""
    import_module("hydra._internal.config_loader_impl").ConfigLoaderImpl._apply_overrides_to_config(overrides, config)


def node_of(config: Any, key: Any) -> Any:
    """What lies at a key of a config, as a node: interpolations and missing values are not looked at."""
    return config._get_node(key)


def has_content(node: Any) -> bool:
    """Whether a node of a config is neither null nor missing."""
    return not node._is_none() and not node._is_missing()


def file_name(source: "FileConfigSource", config_path: str) -> str:
    """The name of the file that holds a config, from the source's folder on."""
    return source._normalize_file_name(config_path)


# --- Lightning


def is_accumulating(trainer: "Trainer") -> bool:
    """Whether the gradients of the last batch wait for further ones before the optimiser steps."""
    return trainer.fit_loop._should_accumulate()


def begin_pass_again(trainer: "Trainer", in_mid_epoch: bool) -> None:
    """Begin the pass over the training data once more: where it was left in mid-epoch, or at the epoch's beginning."""
    from lightning.fabric.utilities.data import _set_sampler_epoch

    loop = trainer.fit_loop
    assert loop._combined_loader is not None and loop._data_fetcher is not None
    if in_mid_epoch:
        loop._load_combined_loader_states()
    else:
        for loader in loop._combined_loader.flattened:
            _set_sampler_epoch(loader, trainer.current_epoch)
    iter(loop._data_fetcher)


def log_step_now(trainer: "Trainer") -> None:
    """Write this batch's row of metrics; Lightning writes it after the hooks of the batch's end."""
    trainer._logger_connector.update_train_step_metrics()


# --- torch


def note_rates(scheduler: "LRScheduler") -> None:
    """Let a scheduler know the learning rates that its optimiser has now, as the last ones."""
    scheduler._last_lr = [group["lr"] for group in scheduler.optimizer.param_groups]


def is_view(tensor: "Tensor") -> bool:
    """Whether a tensor is a view of another one for autograd."""
    return tensor._is_view()


def children_of(module: "nn.Module") -> list[str]:
    """The names of a module's children in order, those that occur twice as well, which named_children passes over."""
    return list(module._modules)


def compile_counters() -> Any:
    """What torch.compile counts in this process: `stats`, `graph_break`."""
    return import_module("torch._dynamo.utils").counters


def call_as_written(module: "nn.Module") -> None:
    """Undo `module.compile()`."""
    module._compiled_call_impl = None


def divides_gradients_itself(optimizer: Any) -> bool:
    """Whether a fused optimiser undoes the scale of fp16's gradients in its step alone."""
    return getattr(optimizer, "_step_supports_amp_scaling", False)


# --- transformers


def has_sdpa(kind: Any) -> bool:
    """Whether the attention of a class of networks can be torch's fused one."""
    return kind._supports_sdpa and kind._can_set_attn_implementation()


def frames_mask(network: Any, frames: int, mask: Any) -> Any:
    """(B, frames): which frames of a wav2vec-like encoder come from samples that `mask` (B, samples) shows."""
    return network._get_feature_vector_attention_mask(frames, mask)


def frames_of(network: Any, samples: int) -> int:
    """How many frames such an encoder makes of so many samples."""
    return int(network._get_feat_extract_output_lengths(samples))


# --- click


def note_prefixes(context: Any, parser: Any) -> None:
    """Tell a command's context which prefixes of options (-, --) its parser knows."""
    context._opt_prefixes.update(parser._opt_prefixes)


def put_words(context: Any, words: list[str]) -> None:
    """Put the words of a group's command line into its context: its verb, and what comes after that."""
    context._protected_args, context.args = words[:1], words[1:]


# --- optuna and Ray


def trial_id(trial: Any) -> int:
    """The number by which optuna's storage knows a trial."""
    return trial._trial_id


def ray_services() -> Any:
    """Ray's module that decides at which address its servers listen."""
    return import_module("ray._private.services")
