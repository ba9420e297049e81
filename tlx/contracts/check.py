"""`tlx check`: every yaml of a user's folder of configs through the contracts of its group."""

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from tlx.config.composer import Composer, composer
from tlx.contracts import try_data, try_model, try_parts, try_strategy
from tlx.contracts.folder import KNOWN, Folder, Yaml, misspelt
from tlx.contracts.tally import FAILED, SKIPPED, Tally
from tlx.contracts.workshop import MODELS, furnish
from tlx.fit.quiet import quiet_lightning

# Each tries the contracts of one yaml, with a furnished folder to work in.
TRY: dict[str, Callable[[Composer, Yaml, Path, Tally], None]] = {
    "model": try_model.try_model,
    "strategy": try_strategy.try_strategy,
    "dataset": try_data.try_dataset,
    "experiment": try_data.try_experiment,
    "optimizer": try_parts.try_optimizer,
    "scheduler": try_parts.try_scheduler,
    "trainer": try_parts.try_trainer,
    "logger": try_parts.try_logger,
    "hydra/launcher": try_parts.try_hydra,
    "hydra/sweeper": try_parts.try_hydra,
}
UNFURNISHED = ("dataset", "experiment", "hydra/launcher", "hydra/sweeper")  # they need no models to be tried on
TRIED_ON = ("tiny_vision", "tiny_text")
assert set(TRY) == set(KNOWN)


def check_folder(found: Folder, say: Callable[[str], None], show_traceback: bool = False) -> Tally:
    """Try the contracts of every yaml in a folder; `say` is called with a line for each yaml and contract.

    With `show_traceback` an error that nobody has put in words shows where it comes from.
    """
    tally = Tally(say, show_traceback)
    for name, why in found.strays:
        tally.subject = name
        lost = name.endswith(".yml") or misspelt(Path(name).parent.as_posix()) is not None
        tally.note(FAILED if lost else SKIPPED, "is a choice of a group", why)
    with _quietly(), tempfile.TemporaryDirectory(prefix="tlx-check-") as place:
        shop = Path(place)
        if any(yaml.group not in UNFURNISHED for yaml in found.yamls):
            with composer() as ours:
                furnish(ours, shop, {name: MODELS[name] for name in TRIED_ON})
        with composer(str(found.place)) as compose:
            for number, yaml in enumerate(found.yamls):
                tally.subject = f"{yaml.group}/{yaml.name}"
                work = shop / f"work{number}"
                work.mkdir()
                TRY[yaml.group](compose, yaml, work, tally)
    return tally


@contextmanager
def _quietly() -> Iterator[None]:
    """What is remarkable about toy runs is not: no warnings of tlx here, and afterwards everything as it was."""
    quiet_lightning()
    log, threads = logging.getLogger("tlx"), torch.get_num_threads()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
        torch.set_num_threads(threads)
