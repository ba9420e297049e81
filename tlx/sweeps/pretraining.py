"""The bundled backbones: made by an ordinary run when somebody first needs them."""

import sys
from pathlib import Path
from typing import Any

from filelock import FileLock

from tlx.config.composer import Composer
from tlx.config.instantiate import instantiate
from tlx.errors import RunFailed
from tlx.registry.entries import PREFIX, entry_to_make
from tlx.sweeps.check import check_runs, writable
from tlx.sweeps.here import do_here, why_not_done
from tlx.sweeps.study import plan_run


def pretrain_if_missing(compose: Composer, config: dict[str, Any], choices: dict[str, Any]) -> None:
    """Make a model's registry entry by the run that its yaml describes (`pretrain`), unless it is there.

    The run is an ordinary one; it lies under <registry>/runs.
    """
    registry, name = Path(config["paths"]["registry"]), entry_to_make(config)
    if name is None:
        return
    from tlx.data.dataset import Dataset

    words = [
        f"model={choices['model']}",
        "strategy=scratch",
        "study=pretraining",
        f"register={name}",
        f"paths.runs={registry / 'runs'}",
        f"paths.registry={registry}",
        f"paths.cache={config['paths']['cache']}",
        *config["model"]["pretrain"],
    ]
    if compose(words).config["model"]["path"] != PREFIX + name:
        return  # an entry of the user's own, which the recipe does not make
    # What is wrong with the target's data is said before minutes are spent.
    dataset: Dataset = instantiate(config["dataset"], "dataset")
    dataset.load(config["seed"], Path(config["paths"]["cache"]))
    writable(registry)
    source = compose([*words, "model.path=null"])
    with FileLock(registry / f".{name}.lock"):
        if entry_to_make(config) is None:
            return  # somebody made it meanwhile
        run = plan_run(source)
        check_runs([run])
        print(f"pretraining {name} on {source.choices['dataset']} (once; kept in {registry / name})", file=sys.stderr)
        do_here(run)
        if not run.finished:
            raise RunFailed(f"pretraining {name} failed: {why_not_done(run)}")
