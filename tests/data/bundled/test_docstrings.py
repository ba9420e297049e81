"""The text source: what counts as a sentence, and that the label cannot be read off a name."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlx.data.bundled import docstrings
from tlx.errors import UserError

EXAMPLE = '''"""Short.

The function computes the mean of the values along an axis. It is slow, e.g. for large arrays of numbers.

Parameters
----------
x : array
    The values of which the mean is to be computed here.

>>> mean([1, 2])
1.5

.. note:: This is a directive and not a sentence that we want.

Use `mean_of` if you would rather have the mean of the other thing.
NumPy's arrays are converted to a list before they are given to pandas.
"""

class Thing:
    """An object that holds a number of other things in a list."""

    def method(self):
        """Return the number of things that this object holds."""
'''


def test_only_whole_plain_sentences_are_taken():
    found = [
        sentence
        for text in docstrings.docstrings(EXAMPLE.encode())
        for paragraph in docstrings.paragraphs(text)
        for sentence in docstrings.sentences(paragraph)
    ]
    assert found == [
        "The function computes the mean of the values along an axis.",
        "Library arrays are converted to a list before they are given to library.",
        "An object that holds a number of other things in a list.",
        "Return the number of things that this object holds.",
    ]


@pytest.mark.parametrize(
    "name", ["NumPy", "scikit-learn", "PyTorch", "torchvision", "matplotlibrc", "SymPy", "NetworkX"]
)
def test_package_names_are_masked(name):
    (sentence,) = docstrings.sentences(f"This is the part of {name} that is used to read a file.")
    assert name.lower() not in sentence.lower()
    assert docstrings.NEUTRAL in sentence


@given(st.text(max_size=200))
def test_every_sentence_taken_is_prose(paragraph):
    for sentence in docstrings.sentences(paragraph):
        assert 6 <= len(sentence.split()) <= 40
        assert sentence[0].isupper()
        assert sentence[-1] in ".!?"


def test_repeats_are_left_out_and_the_first_is_kept():
    files = [["One of a kind.", "Take 2 of it.", "Seen elsewhere."], ["Take 3 of it!", "Another one."]]
    excluded = {docstrings.key("Seen elsewhere.")}
    assert docstrings.without_repeats(files, excluded) == [["One of a kind.", "Take 2 of it."], ["Another one."]]


def test_a_package_with_too_little_prose_is_named():
    import numpy as np

    with pytest.raises(UserError, match="'tiny' as installed give 2 clean sentences; 740 are needed"):
        docstrings.divide("tiny", [["One.", "Two."]], np.random.default_rng(0))


@pytest.mark.slow
def test_no_name_gives_the_label_away_and_words_alone_do_not_solve_it(tmp_path):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    docstrings.make(tmp_path)
    parts = {split: pd.read_parquet(tmp_path / f"{split}.parquet") for split in docstrings.PER_CLASS}
    documents = [set(part["document"]) for part in parts.values()]
    assert sum(map(len, documents)) == len(set.union(*documents)) > 100
    texts = pd.concat(parts.values())["text"]
    assert not texts.str.contains("|".join(docstrings.PACKAGES), case=False).any()
    assert not texts.map(docstrings.key).duplicated().any()
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), LogisticRegression(C=10, max_iter=1000))
    model.fit(parts["train"]["text"], parts["train"]["label"])
    assert 0.4 < model.score(parts["test"]["text"], parts["test"]["label"]) < 0.8
