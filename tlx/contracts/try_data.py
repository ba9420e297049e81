"""The contracts of one data set's yaml, and of one experiment's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tlx.config.composer import Composed, Composer
from tlx.config.instantiate import instantiate
from tlx.contracts import datasets, experiments
from tlx.contracts.contract import Left
from tlx.contracts.folder import Yaml
from tlx.contracts.tally import Tally
from tlx.contracts.try_model import build_random
from tlx.data.dataset import Data, Dataset
from tlx.errors import UserError
from tlx.sweeps.study import compose_all

MODELS = {"text": "tiny_text", "image": "tiny_vision", "audio": "tiny_speech"}
GRID = "BasicSweeper"


def try_dataset(compose: Composer, yaml: Yaml, work: Path, tally: Tally) -> None:
    """Compose, load, and look at labels, parts, draws and fingerprint."""
    fine, config = tally.tries("composes", _composed, compose, yaml.name)
    if not fine:
        return
    node, cache = config["dataset"], work / "cache"
    loaded, data = tally.tries("loads", _load, node, cache)
    if not loaded:
        return
    dataset: Dataset = instantiate(node, "dataset")
    tally.tries("labels and parts", datasets.labels_and_parts, dataset, data)
    preprocessing = build_random(config["model"], None).preprocessing
    tally.tries("is encoded", datasets.is_encoded, data, preprocessing)
    tally.tries("can be drawn from", datasets.can_be_drawn_from, node, data, cache)
    tally.tries("is the same twice", datasets.is_the_same_twice, node, data, cache)


def _composed(compose: Composer, name: str) -> dict[str, Any]:
    node = compose.unresolved([f"dataset={name}"]).get("dataset")
    if not (isinstance(node, dict) and node.get("_target_")):
        raise UserError("the yaml describes no data set: begin with one of ours, as `defaults: [local_text, _self_]`.")
    model = MODELS.get(node.get("modality"), "tiny_text")  # type: ignore[arg-type]
    if still_open := [key for key, value in node.items() if value == "???"]:
        raise Left(f"it leaves {', '.join(still_open)} open (???), for yamls that begin with it")
    return compose([f"dataset={name}", f"model={model}", "model.path=null", "strategy=scratch"]).config


def _load(node: dict[str, Any], cache: Path) -> Data:
    dataset = instantiate(node, "dataset")
    if isinstance(dataset, Dataset) and not (dataset.path or dataset.make):
        raise Left("its path is null: it is loaded with dataset.path=FOLDER")
    try:
        return dataset.load(seed=0, cache=cache)
    except UserError as error:
        if str(getattr(dataset, "path", "")).startswith("hub:") and "hub" in str(error):
            raise Left(str(error)) from error
        raise


def try_experiment(compose: Composer, yaml: Yaml, work: Path, tally: Tally) -> None:
    """Compose every run, and see that it is a study."""
    tally.tries("overrides alone", experiments.holds_overrides_only, yaml.file.read_text(encoding="utf-8"))
    fine, runs = tally.tries("composes", _runs, compose, yaml.name)
    if not fine:
        return
    tally.tries("is a study", experiments.is_a_study, yaml.name, runs)
    tally.tries("seeds", _seeds, runs)
    tally.tries("baselines", _baselines, runs)


def _runs(compose: Composer, name: str) -> Sequence[Composed]:
    given = [f"experiment={name}"]
    sweeper = compose.sweeper(given)["_target_"]
    if sweeper.rpartition(".")[2] != GRID:
        compose.unresolved(given)
        raise Left(f"a search ({sweeper}): its cells come about while it runs")
    return compose_all(compose, given, multirun=True)


def _seeds(runs: Sequence[Composed]) -> None:
    if all(len(seeds) == 1 for seeds in experiments.seeds_of(runs).values()):
        raise Left("each cell has one seed: tables will have no spread and no intervals")
    experiments.has_several_seeds(runs)


def _baselines(runs: Sequence[Composed]) -> None:
    if not any(run.choices["strategy"] == experiments.BASELINE for run in runs):
        raise Left(f"no cell of it is {experiments.BASELINE}: tables will have no gains, unless you name --baseline")
    experiments.has_baselines(runs)
