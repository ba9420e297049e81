"""What is remarkable about examples, in sentences: one of each kind for a table, the one that says most."""

from tlx.record.remarks import largest, remarks


def sentences(about: dict, size: object = None) -> list[str]:
    return [remark.sentence for remark in remarks(about, size)]


def test_each_finding_is_a_sentence_with_its_numbers() -> None:
    assert sentences({}) == []
    (said,) = sentences({"unlabelled": {"test": 3}})
    assert said.startswith("3 test examples have no label") and "dataset.label_names" in said
    (said,) = sentences({"untrained": {"pos ": {"test": 12, "validation": 2, "nearest": "pos"}}})
    assert "'pos '" in said and "12 examples of test" in said and "nearest that is trained is 'pos'" in said
    (said,) = sentences({"undrawn": ["rare"]}, 25)
    assert said == "dataset.train_size=25 draws no example of 'rare', which it cannot learn."
    assert len(sentences({"absent": {"test": list("abcdefgh")}})[0].split("'")) == 11, "five are named, three counted"
    (said,) = sentences({"overlap": {"test": {"examples": 52, "of": 139, "other_label": 5}}})
    assert said == "52 of 139 test examples are in training, too, 5 of them with another label (dataset.overlap)."
    assert sentences({"overlap": {"dropped": 2}}) == [
        "2 training examples were left out because validation or test hold them, too."
    ]
    groups = {"column": "speaker", "train": 6, "test": 5, "validation": 2, "shared": {"test": 4}}
    (said,) = sentences({"groups": groups})
    assert said.startswith("4 of 5 groups (speaker) of test are in training, too")
    assert sentences({"groups": groups | {"shared": {}}}) == []


def test_of_several_runs_the_one_that_says_most_speaks() -> None:
    def found(number: int) -> list:
        return remarks({"overlap": {"test": {"examples": number, "of": 100, "other_label": 0}}})

    assert largest([found(3), found(3)]) == ["3 of 100 test examples are in training, too (dataset.overlap)."]
    assert largest([found(3), found(7), []]) == [
        "in 2 of 3 runs, at most: 7 of 100 test examples are in training, too (dataset.overlap)."
    ]
    assert largest([]) == []
