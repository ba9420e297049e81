"""Rules that say which layer groups are trained when: pure functions, checked as such."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.errors import UserError
from tlx.layer_groups import LayerGroup
from tlx.plan import ParameterPlan
from tlx.strategies.freezing import FrozenBackbone, Gradual, NoFreezing, Partial, ProbeThenAll


def groups(count: int) -> list[LayerGroup]:
    """`count` − 1 groups of a backbone and the head on top."""
    names = [f"layer{i}" for i in range(count - 1)] + ["head"]
    return [LayerGroup(name, (f"{name}.weight",), depth=depth) for depth, name in enumerate(names)]


counts = st.integers(2, 20)


@given(counts)
def test_the_two_extremes(count: int) -> None:
    everything = {g.name for g in groups(count)}
    assert [p.trainable for p in NoFreezing().phases(groups(count))] == [everything]
    assert [p.trainable for p in FrozenBackbone().phases(groups(count))] == [{"head"}]
    probe, rest = ProbeThenAll(share=0.3, lr_factor=0.1).phases(groups(count))
    assert (probe.trainable, probe.share, probe.lr_factor) == ({"head"}, 0.3, 1.0)
    assert (rest.trainable, rest.share, rest.lr_factor) == (everything, None, 0.1)


@given(counts, st.integers(1, 8))
def test_gradual_unfreezing_adds_the_next_groups_below(count: int, per_phase: int) -> None:
    listed = groups(count)
    phases = Gradual(groups_per_phase=per_phase).phases(listed)
    assert phases[0].trainable == {"head"} and phases[-1].trainable == {g.name for g in listed}
    assert len(phases) == 1 + -(-(count - 1) // per_phase)
    names = [g.name for g in listed]
    for before, after in pairwise(phases):
        added = after.trainable - before.trainable
        assert 1 <= len(added) <= per_phase
        # Always the groups directly below what is trained already.
        assert after.trainable == set(names[-len(after.trainable) :])


@given(counts, st.floats(0.05, 0.95), st.integers(1, 5))
def test_shares_add_up_and_the_last_phase_takes_the_rest(count: int, share: float, per_phase: int) -> None:
    phases = Gradual(groups_per_phase=per_phase, share=share).phases(groups(count))
    assert sum(p.share for p in phases[:-1] if p.share) == pytest.approx(share)
    assert phases[-1].share is None and len({p.share for p in phases[:-1]}) == 1
    plan = ParameterPlan(groups(count), phases)
    starts = plan.boundaries(10_000, 100)
    assert starts[-1] == round(share * 10_000)


def test_phases_may_have_a_length_in_epochs_or_steps_and_rates_that_fall() -> None:
    epochs = Gradual(epochs_per_phase=0.5).phases(groups(4))
    assert [(p.share, p.epochs, p.steps) for p in epochs] == [(None, 0.5, None)] * 3 + [(None, None, None)]
    steps = Gradual(steps_per_phase=7, lr_factor=0.5).phases(groups(4))
    assert [p.steps for p in steps] == [7, 7, 7, None]
    assert [p.lr_factor for p in steps] == [1.0, 0.5, 0.25, 0.125]
    assert ParameterPlan(groups(4), epochs).boundaries(100, 20) == [0, 10, 20, 30]
    assert ParameterPlan(groups(4), steps).boundaries(100, 20) == [0, 7, 14, 21]


@given(counts, st.floats(0, 1))
def test_a_share_of_the_backbone_is_frozen_from_the_stem(count: int, ratio: float) -> None:
    (phase,) = Partial(ratio=ratio).phases(groups(count))
    names = [g.name for g in groups(count)]
    frozen = round(ratio * (count - 1))
    assert phase.trainable == set(names[frozen:]) and "head" in phase.trainable


def test_partial_freezing_by_name() -> None:
    listed = groups(5)
    assert Partial(until="layer2").phases(listed)[0].trainable == {"layer2", "layer3", "head"}
    assert Partial(until="head").phases(listed)[0].trainable == {"head"}
    assert Partial(frozen=["layer0", "layer3"]).phases(listed)[0].trainable == {"layer1", "layer2", "head"}
    assert Partial(frozen=[]).phases(listed)[0].trainable == {g.name for g in listed}


def test_a_group_that_is_not_there_is_named_with_the_nearest() -> None:
    for rule in (Partial(until="leyer2"), Partial(frozen=["layer1", "leyer2"])):
        with pytest.raises(UserError, match=r"'leyer2'\. Did you mean 'layer2'"):
            rule.phases(groups(4))


@pytest.mark.parametrize(
    ("rule", "options", "message"),
    [
        (Partial, {}, "exactly one of"),
        (Partial, {"until": "layer1", "ratio": 0.5}, "exactly one of"),
        (Partial, {"ratio": 1.5}, "ratio=1.5 must lie in"),
        (Gradual, {"groups_per_phase": 0}, "groups_per_phase=0 must be at least 1"),
        (Gradual, {"share": 1.0}, "share=1.0 must lie between"),
        (Gradual, {"epochs_per_phase": 1, "steps_per_phase": 5}, "not both"),
        (Gradual, {"epochs_per_phase": 0}, "epochs_per_phase=0 must be positive"),
        (Gradual, {"steps_per_phase": -3}, "steps_per_phase=-3 must be positive"),
        (Gradual, {"lr_factor": 0.0}, "lr_factor=0.0 must be positive"),
        (ProbeThenAll, {"share": 0.0}, "share=0.0 must lie between"),
        (ProbeThenAll, {"lr_factor": -1.0}, "lr_factor=-1.0 must be positive"),
    ],
)
def test_what_cannot_be_is_refused(rule: type, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        rule(**options)
