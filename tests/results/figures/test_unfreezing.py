"""What learns when, drawn from the plan that a run of each strategy puts into its record."""

import copy
from pathlib import Path

import pytest

from tlx.config.composer import composer
from tlx.data.sampling import training_length
from tlx.results.collect import collect
from tlx.results.figures import KINDS
from tlx.results.figures.paper import draw
from tlx.results.findings import findings

STRATEGIES = sorted(path.stem for path in (Path(__file__).resolve().parents[3] / "configs/strategy").glob("*.yaml"))


@pytest.fixture(scope="module")
def plans(quick_registry: Path):
    """Per strategy: the config, the plan as a record has it, and (phase, group) → the rate that its optimiser has."""
    from tlx.assembly import assemble

    found = {}
    with composer() as compose:
        for strategy in STRATEGIES:
            words = [f"strategy={strategy}", "dataset.train_size=2_per_class", "trainer.max_epochs=30"]
            places = [f"paths.{name}={quick_registry / name}" for name in ("registry", "cache")]
            config = compose([*words, *places]).config
            data, module = assemble(config)
            plan = module.plan
            groups = plan.optimizer_groups(module, module.lr, 0.1)
            rates = {
                (number, group["name"].split("/")[0]): group["lr"] * phase.lr_factor
                for number, phase in enumerate(plan.phases)
                for group in groups
                if group["name"].split("/")[0] in phase.trainable
            }
            summary = plan.summary(module.lr, *training_length(config, len(data.train)))
            found[strategy] = (config, summary, rates)
    return found


def write(study, plans, strategies, change=lambda plan: plan) -> None:
    for strategy in strategies:
        config, plan, _ = plans[strategy]
        changed = change(copy.deepcopy(plan))
        study.run(
            strategy, 0, 0.5, plan=changed, config={"optimizer": config["optimizer"], "strategy": config["strategy"]}
        )


def drawn(study):
    return KINDS["unfreezing"].picture(findings(collect(study.folder)))


def test_every_strategy_is_drawn_with_the_rates_of_its_optimiser(study, plans) -> None:
    write(study, plans, STRATEGIES)
    picture = drawn(study)
    panels = {name: rows for names, rows in picture.panels.items() for name in names.split(", ")}
    assert set(panels) == set(STRATEGIES)
    for strategy, (config, plan, rates) in plans.items():
        starts = [phase["start"] for phase in plan["phases"]]
        shown = {}
        for row in panels[strategy]:
            if "learns" in row:
                shown[starts.index(int(row["when"].split()[0])), row["group"]] = row.get("lr")
        if config["strategy"].get("solver"):
            assert shown == dict.fromkeys(rates) and panels[strategy][-1]["state"] == "solved", strategy
        else:
            assert shown == pytest.approx(rates), strategy
    assert any("A grey bar: solved in one go" in note for note in picture.notes)
    assert KINDS["unfreezing"].chart(picture)["layer"] and draw(KINDS["unfreezing"], picture).axes


def test_discriminative_rates_are_no_gradual_unfreezing(study, plans) -> None:
    write(study, plans, ["gradual_unfreezing", "ulmfit"])
    panels = drawn(study).panels
    assert list(panels) == ["gradual_unfreezing", "ulmfit"]
    rates = [row["lr"] for row in panels["ulmfit"] if row["end"] == 100]
    assert rates == sorted(rates) and rates[0] < 0.5 * rates[-1]


def test_the_first_records_had_a_factor_for_each_group(study, plans) -> None:
    def as_it_was(plan):
        rate = max(group["lr"] for group in plan["groups"])
        for group in plan["groups"]:
            group["lr_factor"] = group.pop("lr") / rate
        return plan

    write(study, plans, ["ulmfit"], as_it_was)
    _, _, rates = plans["ulmfit"]
    shown = {row["group"]: row["lr"] for row in drawn(study).rows if row["end"] == 100}
    assert shown == pytest.approx({group: rate for (_, group), rate in rates.items()})


def test_a_rate_that_nobody_recorded_is_none(study, plans) -> None:
    def without(plan):
        for group in plan["groups"]:
            del group["lr"]
        return plan

    write(study, plans, ["full"], without)
    picture = drawn(study)
    assert all(row["state"] == "not recorded" and "lr" not in row for row in picture.rows)
    assert draw(KINDS["unfreezing"], picture).axes
