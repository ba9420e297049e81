"""`tlx plan`: groups, phases, rates and totals, without training."""

import itertools
import re


def test_groups_and_totals(tlx) -> None:
    outcome = tlx("plan", *tlx.quick)
    assert outcome.code == 0, outcome.err
    for word in ("stem", "block1", "block4", "head", "depth", "LR", "decay"):
        assert word in outcome.out
    assert "373,370 of 373,370 parameters are trained (100.0%); 20 labels × 1 epochs" in outcome.out
    assert "phase 0: steps 0–0 of 1" in outcome.out
    assert not tlx.runs.exists()


def test_phases(tlx) -> None:
    outcome = tlx("plan", *tlx.quick, "strategy=gradual_unfreezing", "trainer.max_epochs=30")
    phases = [(int(a), int(b)) for a, b in re.findall(r"phase \d: steps (\d+)–(\d+) of 30", outcome.out)]
    assert len(phases) == 6
    assert phases[0][0] == 0 and phases[-1][1] == 29
    assert all(end + 1 == start for (_, end), (start, _) in itertools.pairwise(phases))
    assert re.search(r"stem .*│ 5 ", outcome.out) and re.search(r"head .*│ 0–5 ", outcome.out)


def test_frozen_groups_and_rates(tlx) -> None:
    outcome = tlx("plan", *tlx.quick, "strategy=feature_extraction")
    assert "970 of 373,370 parameters are trained (0.3%)" in outcome.out  # 96 features × 10 classes + 10
    assert re.search(r"stem .*│ frozen", outcome.out)
    outcome = tlx("plan", *tlx.quick, "strategy=discriminative", "optimizer.lr=1e-2")
    rates = [float(rate) for rate in re.findall(r"│ (\d\.\d\de-\d\d) ", outcome.out)]
    assert rates[:-1] == sorted(rates[:-1]) and len(set(rates)) >= 5 and rates[-1] == 1e-2


def test_adapters(tlx) -> None:
    outcome = tlx("plan", *tlx.quick, "strategy=lora")
    assert "block1.lora" in outcome.out


def test_every_parameter(tlx) -> None:
    outcome = tlx("plan", "--full", *tlx.quick)
    assert "backbone.network.conv1.0.weight" in outcome.out and "task.head.1.bias" in outcome.out


def test_phases_that_do_not_fit(tlx) -> None:
    assert "do not fit" in tlx("plan", *tlx.quick, "strategy=gradual_unfreezing").complaint
