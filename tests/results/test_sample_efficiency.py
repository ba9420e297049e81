"""How many labels a strategy needs, from a sweep over train_size."""

import pytest

from tlx.errors import UserError
from tlx.results import collect, efficiency_frame, sample_efficiency

SIZES = {"1_per_class": 10, "4_per_class": 40, "16_per_class": 160}


def sweep(study, strategy: str, scores: list[float], **more) -> None:
    for (size, labels), score in zip(SIZES.items(), scores, strict=True):
        seeds = [score - 0.01, score, score + 0.01]
        study.runs(strategy, seeds, train_size=size, counts={"train_labels": labels}, **more)


def test_scratch_needs_k_times_as_many(study) -> None:
    sweep(study, "scratch", [0.5, 0.6, 0.7])
    sweep(study, "full", [0.6, 0.7, 0.8])
    sweep(study, "lora", [0.9, 0.9, 0.9])
    sweep(study, "mixout", [0.3, 0.3, 0.3])
    found = {one.settings["strategy"]: one for one in sample_efficiency(collect(study.folder))}
    assert found.keys() == {"full", "lora", "mixout"}
    assert found["full"].ratio[0] == pytest.approx(4)
    assert found["full"].sentence.startswith("full reaches scratch's score on 160 labels with 40 labels: ")
    assert "scratch needs 4.0 times as many" in found["full"].sentence
    assert "at most 10 labels: scratch needs at least 16.0 times as many" in found["lora"].sentence
    assert found["mixout"].sentence == "mixout does not reach scratch's score on 160 labels with up to 160 labels."
    frame = efficiency_frame(list(found.values())).set_index("strategy")
    assert frame.loc["full", "labels"] == pytest.approx(40) and frame.loc["full", "n"] == 3


def test_an_interval_does_not_end_where_measuring_stops(study) -> None:
    """10 labels were the fewest and 160 the most: nothing was seen beyond."""
    sweep(study, "scratch", [0.5, 0.6, 0.7])
    for strategy, scores in (
        ("early", [0.695, 0.75, 0.8]),
        ("first", [0.705, 0.75, 0.8]),
        ("late", [0.5, 0.6, 0.701]),
        ("never", [0.5, 0.6, 0.699]),
    ):
        for (size, labels), score in zip(SIZES.items(), scores, strict=True):
            noisy = [score - 0.03, score, score + 0.03]
            study.runs(strategy, noisy, train_size=size, counts={"train_labels": labels})
    found = {one.settings["strategy"]: one.sentence for one in sample_efficiency(collect(study.folder))}
    assert "labels [≤ 10, 40]" in found["early"] and ", ≥ 16.0] times as many" in found["early"]
    assert "at most 10 labels [≤ 10, " in found["first"], "by the mean only"
    assert ", > 160]: scratch needs 1.0 [< 1.0, " in found["late"]
    assert "up to 160 labels by its mean; its 95 % interval allows for it from 81 on." in found["never"]


def test_no_labels_are_no_point_of_a_curve(study) -> None:
    sweep(study, "scratch", [0.5, 0.6, 0.7])
    sweep(study, "full", [0.6, 0.7, 0.8])
    for strategy in ("scratch", "full"):
        study.runs(strategy, [0.1, 0.1, 0.1], train_size=0, counts={"train_labels": 0})
        study.runs(strategy, [0.1, 0.1, 0.1], train_size="uncounted")
    (found,) = sample_efficiency(collect(study.folder))
    assert list(found.curve) == [10, 40, 160] and found.ratio[0] == pytest.approx(4)


def test_a_curve_of_survivors_says_so(study) -> None:
    sweep(study, "scratch", [0.5, 0.6, 0.7])
    sweep(study, "full", [0.6, 0.7, 0.8])
    sweep(study, "lora", [0.6, 0.7, 0.8])
    (whole,) = {one.failed for one in sample_efficiency(collect(study.folder))}
    assert whole == ()
    error = {"type": "Diverged", "message": "nan"}
    for strategy, size in (("full", "4_per_class"), ("scratch", "16_per_class")):
        study.run(strategy, 3, train_size=size, status="failed", error=error)
    found = {one.settings["strategy"]: one.sentence for one in sample_efficiency(collect(study.folder))}
    goal = "scratch on 160 labels (1 of 4)."
    assert found["full"].endswith(f" This is of survivors: seeds failed in full on 40 labels (1 of 4), {goal}")
    assert found["lora"].endswith(f" This is of survivors: seeds failed in {goal}")


def test_one_seed_has_no_interval(study) -> None:
    for strategy, scores in (("scratch", [0.5, 0.6, 0.7]), ("full", [0.6, 0.7, 0.8])):
        for (size, labels), score in zip(SIZES.items(), scores, strict=True):
            study.run(strategy, 0, score, train_size=size, counts={"train_labels": labels})
    (found,) = sample_efficiency(collect(study.folder))
    assert (
        found.sentence == "full reaches scratch's score on 160 labels with 40 labels: scratch needs 4.0 times as many."
    )


def test_a_score_as_the_goal(study) -> None:
    sweep(study, "scratch", [0.5, 0.6, 0.7])
    sweep(study, "full", [0.6, 0.7, 0.8])
    by_name = {one.settings["strategy"]: one for one in sample_efficiency(collect(study.folder), goal=0.65)}
    assert by_name["scratch"].crossing.labels == pytest.approx(80, rel=0.01)
    assert by_name["full"].crossing.labels == pytest.approx(20, rel=0.01)
    assert by_name["full"].sentence.startswith("full reaches test/accuracy 0.65 with 20 labels [")
    assert by_name["full"].ratio == (None, None, None)


def test_each_curve_is_compared_with_its_own_scratch(study) -> None:
    for dataset, more in (("digits", 0.0), ("letters", 0.1)):
        sweep(study, "scratch", [0.5 + more, 0.6 + more, 0.7 + more], dataset=dataset)
        sweep(study, "full", [0.6, 0.7, 0.8], dataset=dataset)
    found = {one.settings["dataset"]: one.ratio[0] for one in sample_efficiency(collect(study.folder))}
    assert found["digits"] == pytest.approx(4) and found["letters"] == pytest.approx(1)


def test_what_cannot_be_said_is_refused(study) -> None:
    study.runs("full", [0.5, 0.6], counts={"train_labels": 20})
    with pytest.raises(UserError, match="two numbers of labels or more: sweep dataset"):
        sample_efficiency(collect(study.folder))
    sweep(study.beside("other"), "full", [0.6, 0.7, 0.8])
    with pytest.raises(UserError, match="no scratch runs to take a goal from: add strategy=scratch"):
        sample_efficiency(collect(study.folder.with_name("other")))
    with pytest.raises(UserError, match="unknown metric 'test/acuracy'"):
        sample_efficiency(collect(study.folder), "acuracy")
