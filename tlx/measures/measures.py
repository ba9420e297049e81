"""Further numbers of a run, by choice: `measures: [drift, recovery, train, flops]`.

drift     `cka/<layer group>`: likeness of each layer group's features before and after (tlx.callbacks.drift)
recovery  `recoverable/…`, `recovered/…`: a fresh linear probe on the source task, on features before and after
train     `train/…`: scores on the training examples, and `gap/…`: how much better they are than those on test
flops     `cost.flops_train`, `cost.flops_example`: operations of the training, and of one example's forward pass
"""

import math
from typing import Any

from tlx.advice.flops import flops_per_example, training_flops
from tlx.callbacks.drift import DriftMeter
from tlx.data.loaders import eval_loader
from tlx.data.sampling import training_length
from tlx.layer_groups import HEAD
from tlx.measures.source import SourceProbe, source_probe
from tlx.module import TransferModule, score
from tlx.tasks.metrics import direction

DRIFT_EXAMPLES = 256  # of the validation part: CKA compares all pairs of them


class Measures:
    """The measures that a run's config asks for. `before` and `after` are called with the module on its device."""

    def __init__(self, config: dict[str, Any], module: TransferModule, loaders: dict[str, Any]) -> None:
        self.config, self.loaders, asked = config, loaders, config["measures"]
        self.drift: DriftMeter | None = None
        self.probe: SourceProbe | None = source_probe(config, module) if "recovery" in asked else None
        if "drift" in asked and len(loaders["validation"].dataset) >= 4:
            data = loaders["validation"].dataset
            batch = data.collate([data[i] for i in range(min(len(data), DRIFT_EXAMPLES))])
            groups = [group for group in module.plan.groups if group.name != HEAD]
            self.drift = DriftMeter(groups, batch, lambda m, b: m(b))

    def before(self, module: TransferModule) -> dict[str, float]:
        """What is measured before the training; metrics by name."""
        if self.drift is not None:
            self.drift.measure_before(module)
        return _named("recoverable", self.probe.scores(module)) if self.probe is not None else {}

    def after(self, module: TransferModule, test: dict[str, float]) -> dict[str, float]:
        """What is measured after it; `test` are the scores on test."""
        found: dict[str, float] = {}
        if self.drift is not None:
            found |= _named("cka", self.drift.measure_after(module))
        if self.probe is not None:
            found |= _named("recovered", self.probe.scores(module))
        if "train" in self.config["measures"]:
            data = self.loaders["train"].dataset  # without an epoch its examples come as they are, not augmented
            loader = eval_loader(data, self.config["trainer"]["eval_batch_size"])
            scores = score(module, module.task, loader, forward=module).compute()
            gaps = {n: s - test[n] if direction(n) == "higher" else test[n] - s for n, s in scores.items()}
            found |= _named("train", scores) | _named("gap", gaps)
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def cost(self, module: TransferModule, steps: int | None) -> dict[str, float]:
        """Operations of the training, which took so many optimiser steps; None: a solver's, which are not counted."""
        if "flops" not in self.config["measures"]:
            return {}
        data, options = self.loaders["train"].dataset, self.config["trainer"]
        most = options["batch_size"] * options["devices"]
        starts = module.plan.boundaries(*training_length(self.config, len(data)))
        batch = data.collate([data[i] for i in range(min(len(data), most))])
        example = {"flops_example": flops_per_example(module, batch, None)}
        if steps is None:
            return example
        ends = [min(end, steps) for end in [*starts[1:], steps]]
        lengths = [max(0, end - start) for start, end in zip(starts, ends, strict=True)]
        return example | {"flops_train": training_flops(module, batch, lengths, most * options["accumulate"])}


def _named(prefix: str, values: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in values.items()}
