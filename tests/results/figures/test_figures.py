"""What each figure shows, by its numbers; and what it says when the records lack it."""

import json

import pytest

from tlx.results.collect import collect
from tlx.results.figures import KINDS, Absent
from tlx.results.figures.palette import BASELINE, looks
from tlx.results.figures.paper import draw
from tlx.results.findings import findings
from tlx.results.table import build_table


def picture(kind: str, study, **options):
    return KINDS[kind].picture(findings(collect(study.folder), **options))


def reason(kind: str, study, **options) -> str:
    with pytest.raises(Absent) as caught:
        picture(kind, study, **options)
    return str(caught.value)


def test_every_kind_draws_a_full_study(rich_study) -> None:
    found = findings(collect(rich_study.folder))
    for kind, figure in KINDS.items():
        if kind == "profiles":  # this study has one data set
            continue
        shown = figure.picture(found)
        assert shown.rows and shown.notes, kind
        assert all("panel" in row for row in shown.rows), kind
        spec = figure.chart(shown)  # altair checks it against vega-lite's schema
        assert spec["layer"] and "datasets" not in spec, kind


def test_seeds_shows_every_score_and_rings_the_collapsed_one(study) -> None:
    study.runs("scratch", [0.70, 0.71, 0.72, 0.70, 0.71])
    study.runs("full", [0.90, 0.91, 0.92, 0.90, 0.10])
    shown = picture("seeds", study)
    full = {row["seed"]: row for row in shown.rows if row["series"] == "full"}
    assert [full[str(seed)]["score"] for seed in range(5)] == [0.90, 0.91, 0.92, 0.90, 0.10]
    assert [seed for seed, row in full.items() if "why" in row] == ["4"]
    assert full["0"]["mean"] == pytest.approx(0.746)
    assert "Ringed" in " ".join(shown.notes)


def test_learning_curves(rich_study) -> None:
    shown = picture("learning-curves", rich_study)
    assert list(shown.panels) == ["2_per_class", "10_per_class"]
    last = [row for row in shown.rows if row["series"] == "full"][-1]
    assert last["n"] == 3 and last["low"] < last["mean"] < last["high"] and last["step"] == 120
    for folder in rich_study.folder.glob("*/metrics.csv"):
        folder.unlink()
    assert "dataset.val_size" in reason("learning-curves", rich_study)


def test_learning_curves_of_another_metric_name_those_there_are(study) -> None:
    folder = study.run("full", 0, metrics={"test/f1": 0.5})
    (folder / "metrics.csv").write_text("step,val/accuracy\n1,0.5\n")
    assert "hold no val/f1, only val/accuracy" in reason("learning-curves", study, metric="f1")


def test_one_seed_has_no_band_and_says_so(study) -> None:
    for strategy in ("scratch", "full"):
        (study.run(strategy) / "metrics.csv").write_text("step,val/accuracy\n1,0.5\n2,0.6\n")
    shown = picture("learning-curves", study)
    assert not any("low" in row for row in shown.rows)
    assert "one seed only" in " ".join(shown.notes)


def test_sample_efficiency_needs_two_sizes(rich_study, study) -> None:
    shown = picture("sample-efficiency", rich_study)
    assert list(shown.panels) == [""]
    full = [row for row in shown.rows if row["series"] == "full"]
    assert [(row["labels"], row["size"], row["n"]) for row in full] == [
        (20, "2_per_class", 3),
        (100, "10_per_class", 3),
    ]
    said = [note for note in shown.notes if "scratch needs" in note]  # tlx.results.sample_efficiency says it
    assert any(note.startswith("gradual_unfreezing reaches scratch's score on 100 labels") for note in said)
    assert not any(note.startswith("shuffled") for note in said)
    alone = study.beside("alone")
    alone.runs("full", [0.1, 0.2], counts={"train_labels": 20})
    assert "dataset.train_size=" in reason("sample-efficiency", alone)


def test_sizes_are_ticks_of_their_own_panels_only(study) -> None:
    """Beside a panel with 20, 50 and 200 labels, one with 25 and 75 made "75" a tick of both, and hid the 50."""
    for dataset, sizes in (("digits", (20, 50, 200)), ("trec", (25, 75))):
        for size in sizes:
            for strategy in ("scratch", "full"):
                study.runs(strategy, [0.5, 0.6], dataset=dataset, train_size=size, counts={"train_labels": size})
    shown = picture("sample-efficiency", study)
    axes = {one.get_title(): one.get_xticks().tolist() for one in draw(KINDS["sample-efficiency"], shown).axes}
    assert axes == {"digits": [20, 50, 200], "trec": [25, 75]}
    assert '"values"' not in json.dumps(KINDS["sample-efficiency"].chart(shown))


def test_the_heads_of_probe_and_control_are_solved_alike(study) -> None:
    for strategy, score in {"scratch": 0.5, "logistic_probe": 0.7, "random_features": 0.6}.items():
        study.runs(strategy, [score, score + 0.1 + 0.01 * score, score + 0.05], solver={"C": 1.0, "converged": True})
    shown = picture("controls", study)
    assert [row["difference"] for row in shown.rows] == ["logistic_probe − random_features"]
    assert not any("was trained" in note for note in shown.notes)


def test_controls_take_the_gain_apart(study) -> None:
    scores = {"scratch": 0.5, "shuffled": 0.55, "full": 0.8, "feature_extraction": 0.7, "random_features": 0.3}
    for strategy, score in scores.items():
        study.runs(strategy, [score, score + 0.1 + 0.01 * score, score + 0.05])
    shown = picture("controls", study)
    gained = {row["difference"]: row["gain"] for row in shown.rows}
    assert list(gained) == [
        "full − scratch",
        "shuffled − scratch",
        "full − shuffled",
        "feature_extraction − random_features",
    ]
    assert gained["full − scratch"] == pytest.approx(gained["shuffled − scratch"] + gained["full − shuffled"])
    assert "scratch_long" in shown.notes[1]
    assert "The head of random_features was trained, by an earlier version" in shown.notes[2]
    assert (
        "filled: sure (it leaves out 0, at 0.05 after Holm's correction over the gains of the table for differences to "
        "scratch and over the 2 of this figure for the others), hollow: not." in shown.notes[0]
    )
    table = {row["strategy"]: row for row in build_table(collect(study.folder)).rows}
    for row in shown.rows[:2]:  # what the table has judged is drawn as the table says it
        own = table[row["difference"].split(" ")[0]]
        assert (row["low"], row["high"], row["verdict"]) == (
            own["gain_low_holm"],
            own["gain_high_holm"],
            own["verdict"],
        )
    bare = study.beside("bare")
    bare.runs("full", [0.5])
    assert "strategy=scratch,full,scratch_long,random_features,shuffled" in reason("controls", bare)


def test_no_control_is_beaten_by_survivors(study) -> None:
    ten = list("0123456789")
    study.runs("scratch", [0.31, 0.32, 0.30, 0.33, 0.29], labels=ten)
    study.runs("shuffled", [0.30, 0.32, 0.31, 0.33, 0.30], labels=ten)
    for seed, score in enumerate((0.95, 0.96, 0.955), start=2):
        study.run("full", seed, score, labels=ten)
    for seed in (0, 1):
        study.run("full", seed, status="failed", error={"type": "Diverged", "message": "nan"}, labels=ten)
    shown = picture("controls", study)
    verdicts = {row["difference"]: (row["verdict"], row["sure"]) for row in shown.rows}
    assert verdicts["full − shuffled"] == verdicts["full − scratch"] == ("no evidence", False)
    assert (
        "Seeds failed in tiny_vision × full × digits × 2_per_class: differences are of the survivors, and none is sure "
        "by those alone." in shown.notes
    )


def test_a_control_that_learnt_nothing_is_named(study) -> None:
    more = {"labels": list("0123456789"), "counts": {"test_labels": 500}}
    study.runs("scratch", [0.31, 0.32, 0.30, 0.33, 0.29], **more)
    study.runs("shuffled", [0.10, 0.11, 0.09, 0.10, 0.10], **more)
    study.runs("full", [0.70, 0.72, 0.71, 0.73, 0.70], **more)
    control = "seeds of tiny_vision × shuffled × digits × 2_per_class collapsed"
    strong = f"5 of 5 {control}: a difference to it says that it learnt nothing, not what the other one has beyond it."
    assert strong in picture("controls", study).notes
    other = study.beside("other")
    other.runs("scratch", [0.31, 0.32, 0.30, 0.33, 0.29], **more)
    other.runs("shuffled", [0.30, 0.11, 0.29, 0.30, 0.31], **more)
    weak = f"1 of 5 {control}: part of a difference to it says that these learnt nothing."
    assert weak in picture("controls", other).notes


def test_controls_have_one_axis_in_all_panels(study) -> None:
    """Panels beside each other are compared by eye: half a point must not look like fifty."""
    for size, gap in ((2, 0.5), (20, 0.02)):
        study.runs("scratch", [0.3, 0.31, 0.32], train_size=size)
        study.runs("shuffled", [0.3 + gap, 0.31 + gap, 0.33 + gap], train_size=size)
    shown = picture("controls", study)
    canvas = draw(KINDS["controls"], shown)
    assert len({axes.get_xlim() for axes in canvas.axes}) == 1 and len(canvas.axes) == 2


def test_forgetting_against_gain(rich_study, study) -> None:
    shown = picture("forgetting", rich_study)
    assert {row["series"] for row in shown.rows} == {"feature_extraction", "full", "gradual_unfreezing", "lora"}
    assert all(row["low"] < row["gain"] < row["high"] for row in shown.rows)
    assert [row["recovered"] for row in shown.rows] == pytest.approx([0.8] * len(shown.rows))
    bare = study.beside("bare")
    bare.runs("scratch", [0.5])
    bare.runs("full", [0.6])
    assert "registry:NAME" in reason("forgetting", bare)
    assert "strategy=scratch" in reason("forgetting", rich_study, baseline="none")


def test_drift_is_one_minus_cka_in_the_order_of_the_plan(rich_study, study) -> None:
    shown = picture("drift", rich_study)
    full = [row for row in shown.panels["2_per_class"] if row["series"] == "full"]
    assert [row["group"] for row in full] == ["stem", "block1", "block2", "block3"]
    assert [row["drift"] for row in full] == pytest.approx([0.0, 0.08, 0.16, 0.24])
    assert "measures=[drift]" in reason("drift", _bare(study))


def test_unfreezing_draws_equal_schedules_once(rich_study, study) -> None:
    shown = picture("unfreezing", rich_study)
    assert [len(panel.split(", ")) for panel in shown.panels] == [5, 2, 1]
    gradual = shown.panels["gradual_unfreezing"]
    rates = {row["group"]: row["lr"] for row in gradual if "lr" in row}
    assert rates["head"] == pytest.approx(0.001) and rates["stem"] == pytest.approx(0.001 / 16)
    stem = [row for row in gradual if row["group"] == "stem"]
    assert [("lr" in row) for row in stem] == [False] * 4 + [True]
    assert stem[-1]["end"] == 100 and stem[0]["start"] == 0
    assert "force=true" in reason("unfreezing", _bare(study))


def test_the_pareto_front(study) -> None:
    for strategy, seconds, score in (("a", 1, 0.5), ("b", 2, 0.7), ("c", 3, 0.6), ("d", 4, 0.9)):
        study.run(strategy, 0, score, seconds={"train": seconds, "total": seconds + 1})
    shown = picture("cost", study)
    assert {row["series"]: row["front"] for row in shown.rows} == {"a": "yes", "b": "yes", "c": "no", "d": "yes"}
    assert [row["cost"] for row in shown.rows] == [2, 3, 4, 5] and shown.x == "seconds of a run"
    lower = study.beside("lower")
    for strategy, seconds, loss in (("a", 1, 0.5), ("b", 2, 0.7)):
        lower.run(strategy, 0, metrics={"test/loss": loss}, seconds={"total": seconds})
    assert {r["series"]: r["front"] for r in picture("cost", lower, metric="loss").rows} == {"a": "yes", "b": "no"}


def test_seconds_are_of_the_whole_run_and_written_as_seconds(study) -> None:
    """A probe's training takes a tenth of a second, the encoding before it ten; half of the runs found that done."""
    for seed in range(2):
        study.run(
            "probe",
            seed,
            0.8,
            seconds={"train": 0.1, "encode": 10 * seed, "total": 0.2 + 10 * seed},
            seconds_alone={"total": 10.2},
        )
        study.run("full", seed, 0.9, seconds={"train": 0.3, "total": 0.4}, seconds_alone={"total": 0.4})
    shown = picture("cost", study)
    assert {row["series"]: row["cost"] for row in shown.rows} == {"probe": 10.2, "full": 0.4}
    canvas = draw(KINDS["cost"], shown)
    canvas.canvas.draw()
    (axes,) = canvas.axes
    assert axes.xaxis.get_major_formatter()(0.1) == "0.1"
    assert '"~s"' not in json.dumps(KINDS["cost"].chart(shown))


def test_flops_are_preferred_where_every_row_has_them(rich_study) -> None:
    assert picture("cost", rich_study).x == "FLOPs of training"


def test_profiles_over_data_sets(study) -> None:
    for place, dataset in enumerate(("digits", "letters")):
        for strategy, more in (("scratch", 0.0), ("full", 0.1)):
            study.runs(strategy, [0.1 * seed + 0.3 * place + more for seed in range(5)], dataset=dataset)
    study.runs("lora", [0.9, 0.8], dataset="letters")
    shown = picture("profiles", study)
    assert shown.series == ["scratch", "full"] and shown.notes[-1].endswith("hence left out: lora.")
    curves = {name: [row["share"] for row in shown.rows if row["series"] == name] for name in shown.series}
    assert all(a >= b for a, b in zip(curves["full"], curves["scratch"], strict=True))
    assert curves["scratch"][0] == 0.9 and curves["full"][-1] == 0.0, "the least score is not above itself"
    # of ten scores the middle six count: scipy.stats.trim_mean cuts ⌊10/4⌋ at each end
    assert shown.notes[1].startswith("Interquartile mean over all runs [95 %, for these tasks]: scratch 0.350 [0.")
    # of the 20 pairs of two seeds a run of full beats the 10 with seeds below its own, and ties with 4, one higher
    assert shown.notes[2].startswith("Probability that a run is better than one of scratch: full 0.600 [0.")
    assert KINDS["profiles"].chart(shown)["layer"] and draw(KINDS["profiles"], shown).axes
    alone = study.beside("alone")
    alone.runs("full", [0.1, 0.2])
    assert "of one data set" in reason("profiles", alone)


def test_profiles_where_lower_is_better(study) -> None:
    for dataset in ("digits", "letters"):
        for strategy, loss in (("scratch", 1.0), ("full", 0.5)):
            for seed in range(2):
                study.run(strategy, seed, dataset=dataset, metrics={"test/loss": loss + seed / 10})
    shown = picture("profiles", study, metric="loss")
    assert shown.y == "share of runs below" and "full 1.000." in shown.notes[2]
    assert "Interquartile mean over all runs; fewer than 3 seeds a task, so no intervals: scratch 1.0" in shown.notes[1]


def test_looks_are_told_apart_by_more_than_colour() -> None:
    found = looks(["scratch", *"abcdefghij"], "scratch")
    assert found["scratch"].colour == BASELINE
    assert len({(look.colour, look.dash) for look in found.values()}) == 11


def _bare(study):
    bare = study.beside("bare")
    bare.runs("full", [0.5, 0.6])
    return bare
