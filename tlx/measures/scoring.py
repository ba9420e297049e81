"""A run's scores before and after its training: on its own task, on the source task, and by its measures."""

from typing import Any

from tlx.cache.frozen_work import FrozenWork
from tlx.fit.evaluation import device_of, evaluate, moved
from tlx.fit.recording import Recording
from tlx.layer_groups import HEAD
from tlx.measures.measures import Measures
from tlx.measures.source import SourceMeter
from tlx.module import TransferModule
from tlx.tasks.classification import ClassificationMeter


class Scoring:
    """Measures a run's module, which it moves to its device for as long; `meter` scores the source task, if any.

    `untrained` are the scores on validation before the training.
    """

    def __init__(
        self,
        config: dict[str, Any],
        module: TransferModule,
        loaders: dict[str, Any],
        meter: SourceMeter | None,
        record: Recording,
    ) -> None:
        self.module, self.loaders, self.meter, self.record = module, loaders, meter, record
        self.device, self.measures = device_of(config), Measures(config, module, loaders)

    def before(self, work: FrozenWork, beside: "Scoring | None") -> None:
        """Score the untrained module; what the scoring `beside` it knows of the same weights is not found out again."""
        with moved(self.module, self.device):
            work.prepare(("train", "validation"))
            self.untrained = evaluate(self.module, self.loaders, "validation").compute()
            if self.meter is not None:
                if beside and beside.meter:
                    self.meter.before = dict(beside.meter.before)
                self.meter.measure_before(self.module)
                self.record.shared += self.meter.spared
            self.further = self.measures.before(self.module)

    def after(self, validation: dict[str, float] | None) -> ClassificationMeter:
        """Score the chosen weights, once on test, and note all scores; returns what test has seen.

        `validation` are their scores on validation, where they are known.
        """
        module, meter, record = self.module, self.meter, self.record
        forgotten: dict[str, float] = {}
        with record.clock("evaluate"), moved(module, self.device):
            validation = validation or evaluate(module, self.loaders, "validation").compute()
            test = evaluate(module, self.loaders, "test")
            if meter is not None:
                # Where nothing but the head was trained, as the hashes said, the source's scores are as before.
                untouched = module.plan.ever_trainable == {HEAD}
                forgotten = meter.measure_unchanged() if untouched else meter.measure_after(module)
        with record.clock("measure"), moved(module, self.device):
            tested = test.compute()
            further = self.further | self.measures.after(module, tested)
            record.cost |= self.measures.cost(module, None if "solver" in record.details else record.counts["steps"])
        record.add_metrics("before/val", self.untrained)
        record.add_metrics("val", validation)
        record.add_metrics("test", tested)
        if meter is not None:
            record.add_metrics("source", {f"{n}_before": v for n, v in meter.before.items()})
            record.add_metrics("source", {f"{n}_after": v for n, v in meter.after.items()})
            record.add_metrics("forgetting", forgotten)
        record.metrics |= further
        return test
