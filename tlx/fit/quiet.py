"""Keeping libraries from talking over the table: their banners and tips, not their warnings about results."""

import logging
import warnings


def quiet_lightning() -> None:
    """Silence Lightning's start-up banner, tips and hints on worker counts in this process."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for message in (
        r".*does not have many workers.*",  # in-memory data needs none
        r".*smaller than the logging interval.*",
        r".*Experiment logs directory .* exists and is not empty.*",
        r".*isinstance\(treespec, LeafSpec\)` is deprecated.*",
        r".*Checkpoint directory .* exists and is not empty.*",
        r".*GPU available but not used.*",
        r".*lr_scheduler\.step\(\)` before `optimizer\.step.*",
        r".*in eval mode at the start of training.*",  # that is what frozen means
        r".*find_unused_parameters=True was specified.*",  # LayerDrop leaves out parameters in some steps only
        r".*recommended to use `self.log\(.*, sync_dist=True\)`.*",  # validation scores are gathered before
        r".*You are using `torch.load` with `weights_only.*",
    ):
        warnings.filterwarnings("ignore", message=message)
