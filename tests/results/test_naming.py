"""Dotted names of settings: parts in a list are named by their place, as overrides have it."""

from tlx.results.naming import differing, flatten, lookup

ONE = {"strategy": {"objectives": [{"alpha": 0.1, "new": None}, {"strength": 1}], "frozen": []}, "metrics": ["a", "b"]}
OTHER = {"strategy": {"objectives": [{"alpha": 0.2, "new": None}], "frozen": []}, "metrics": ["a"]}


def test_names_and_values() -> None:
    flat = flatten(ONE)
    assert flat == {
        "strategy.objectives.0.alpha": 0.1,
        "strategy.objectives.0.new": None,
        "strategy.objectives.1.strength": 1,
        "strategy.frozen": [],
        "metrics": ["a", "b"],
    }
    assert all(lookup(ONE, name) == value for name, value in flat.items())
    assert lookup(ONE, "strategy.objectives.2.alpha") is None and lookup(ONE, "metrics.0") is None
    assert flatten(ONE, parts=False)["strategy.objectives"] == ONE["strategy"]["objectives"]


def test_what_differs_has_the_names_that_flatten_gives() -> None:
    mine, theirs = flatten(ONE), flatten(OTHER)
    expected = {n for n in mine.keys() | theirs.keys() if mine.get(n) != theirs.get(n)}
    absent = {"strategy.objectives.1"}  # as a whole
    assert set(differing(ONE, OTHER)) == expected | absent == set(differing(OTHER, ONE))
