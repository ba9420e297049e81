"""What a training's first step would fail at is refused before anything starts."""

import pytest
import torch

from tlx.sweeps.first_step import _smallest_batch, check_optimizer


def test_a_batch_of_one_with_batch_normalisation_is_refused(tlx) -> None:
    for words, cause in [
        (["dataset.train_size=33", "trainer.batch_size=1"], r"trainer\.batch_size=1, and"),
        (["dataset.train_size=33", "trainer.batch_size=1", "trainer.devices=2"], r"trainer\.batch_size=1, and"),
        (["dataset.train_size=33", "trainer.batch_size=1", "trainer.accumulate=8"], r"trainer\.batch_size=1, and"),
        (["dataset.train_size=33", "trainer.batch_size=1", "strategy=gradual_unfreezing"], r"trainer\.batch_size=1"),
    ]:
        message = tlx.train(*words).complaint
        assert "a batch of one example cannot be trained on" in message
        assert cause.replace("\\", "") in message
        assert not tlx.runs.exists()


def test_batches_of_one_train_what_has_no_batch_normalisation_or_leaves_it_frozen(tlx) -> None:
    one = ["dataset.train_size=12", "trainer.batch_size=1"]
    assert tlx.record(*one, "strategy=feature_extraction")["status"] == "completed"
    # Batches of 4 and 1: the last joins the one before it.
    assert tlx.record("dataset.train_size=13", "trainer.batch_size=4")["status"] == "completed"


@pytest.mark.parametrize(
    ("count", "batch", "devices", "accumulate", "smallest"),
    [(33, 32, 1, 1, 33), (33, 1, 1, 1, 1), (1, 32, 1, 1, 1), (34, 32, 1, 1, 2), (9, 2, 2, 1, 2), (1, 8, 2, 1, 1)],
)
def test_the_smallest_batch_of_any_process(count, batch, devices, accumulate, smallest) -> None:
    options = {"batch_size": batch, "devices": devices, "accumulate": accumulate}
    assert _smallest_batch({"trainer": options}, count) == smallest


class Module:
    """As much of a planned module as an optimiser is built from."""

    lr, weight_decay = 1e-3, 0.0

    def __init__(self, make_optimizer) -> None:
        self.make_optimizer, self.plan = make_optimizer, self

    def optimizer_groups(self, module, lr, weight_decay):
        return [{"params": [torch.nn.Parameter(torch.ones(3, 3))], "lr": lr, "weight_decay": weight_decay}]


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Adamax", "RMSprop", "Adagrad", "NAdam", "Rprop", "LBFGS"])
def test_torchs_optimisers_pass(name) -> None:
    kind = getattr(torch.optim, name)
    check_optimizer(Module((lambda groups: kind(groups[0]["params"])) if name == "LBFGS" else kind))


class Broken(torch.optim.SGD):
    def step(self, closure=None):
        first, second = (0.9,)
        return first + second


def test_an_optimiser_that_fails_in_its_first_step_is_refused() -> None:
    from tlx.errors import UserError

    for make, reason in [
        (lambda groups: torch.optim.Adam(groups, betas=(0.9,)), "IndexError"),
        (Broken, "ValueError: not enough values to unpack"),
        (lambda groups: torch.optim.SGD(groups, lr="fast"), "TypeError"),
    ]:
        with pytest.raises(UserError, match=f"the optimizer cannot be used: {reason}"):
            check_optimizer(Module(make))
