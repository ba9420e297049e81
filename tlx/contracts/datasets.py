"""What every data set must do: load, with labels of its own, parts that share no example, and the same each time."""

from pathlib import Path
from typing import Any

import numpy as np

from tlx.config.instantiate import instantiate
from tlx.contracts.contract import Left, hold, some
from tlx.data.dataset import Data, Dataset, Part, encode
from tlx.data.preprocessing import Preprocessing

PARTS = ("train", "validation", "test")


def labels_and_parts(dataset: Dataset, data: Data) -> str:
    """Two labels or more, each with a training example; parts whose sizes are those stated and that share none."""
    spec, parts = data.spec, {name: getattr(data, name) for name in PARTS}
    sizes = {name: len(part) for name, part in parts.items()}
    hold(spec.sizes == sizes, f"the parts have {sizes} examples where {spec.sizes} are stated")
    names = spec.label_names
    hold(len(set(names)) == len(names) >= 2, f"two labels or more are needed, each once, and there are: {some(names)}")
    ids = [i for part in parts.values() for i in part.ids]
    hold(len(ids) == len(set(ids)), "an example is in two parts: is `dataset.columns.id` unique?")
    for name, part in parts.items():
        hold(part.labels.dtype == np.int64, f"the labels of {name} are {part.labels.dtype}")
        fits = len(part.labels) and 0 <= part.labels.min() <= part.labels.max() < len(names)
        hold(fits, f"the labels of {name} are not those of {some(names)}")
    rare = [names[i] for i in range(len(names)) if i not in set(data.train.labels.tolist())]
    hold(not rare, f"labels without a training example: {some(rare)}")
    untrained = sorted({"unlabelled", "untrained", "undrawn"} & set(data.about))
    hold(not untrained, f"not all labels of the data are trained ({some(untrained)})")
    hold((data.test.groups is None) == (dataset.groups is None), "dataset.groups and the groups of the parts differ")
    if data.test.groups is not None:
        both = set(data.test.groups) & set(data.train_pool.groups or ())
        stated = data.about["groups"]["shared"].get("test", 0)
        hold(len(both) == stated, f"{len(both)} groups are in training and test, and {stated} are said to be")
    return f"{len(names)} labels, {' + '.join(str(sizes[name]) for name in PARTS)} examples"


def is_encoded(data: Data, preprocessing: Preprocessing) -> None:
    """A handful of examples of each part becomes a batch without a value that is no number."""
    for name in PARTS:
        part = getattr(data, name)
        few = part.take(np.arange(0, len(part), max(1, len(part) // 5))[:5])
        assert isinstance(few, Part)
        batch = preprocessing.collate(encode(few, preprocessing))
        hold(all(len(tensor) == len(few) for tensor in batch.values()), f"examples of {name} were lost in encoding")
        for key, tensor in batch.items():
            hold(not tensor.is_floating_point() or not tensor.isnan().any(), f"{key} of {name} holds what is no number")


def can_be_drawn_from(config: dict[str, Any], data: Data, cache: Path) -> None:
    """Two examples per class can be drawn, and validation and test stay what they are.

    Raises:
        Left: a class has fewer.
    """
    names = data.spec.label_names
    rare = [names[i] for i, n in enumerate(np.bincount(data.train_pool.labels, minlength=len(names))) if n < 2]
    if rare:
        raise Left(f"fewer than 2 training examples of {some(rare)}")
    few = instantiate(config | {"train_size": "2_per_class"}, "dataset").load(seed=1, cache=cache)
    drawn = np.bincount(few.train.labels).tolist()
    hold(drawn == [2] * len(names), f"of 2 per class {drawn} were drawn")
    same = (few.test.ids, few.validation.ids) == (data.test.ids, data.validation.ids)
    hold(same, "validation and test are others when fewer training examples are drawn")


def is_the_same_twice(config: dict[str, Any], data: Data, cache: Path) -> None:
    """Loaded once more the parts are the same, and so is the fingerprint that the identity of runs is made of."""
    dataset: Dataset = instantiate(config, "dataset")
    again = dataset.load(0, cache)
    hold(again.spec == data.spec, "loaded twice the data set is not the same")
    # With a memory of its own each reads the files; what tlx makes would be made anew in each.
    places = [cache, cache] if dataset.make else [cache / "one", cache / "other"]
    prints = [instantiate(config, "dataset").fingerprint(place) for place in places]
    hold(prints[0] == prints[1], "the fingerprint of the data changes, so that no run would ever be found to be done")
