"""Colours that colour-blind readers can tell apart (Okabe & Ito 2008), with a mark for each as a second sign."""

from collections.abc import Sequence
from typing import NamedTuple

BASELINE = "#7f7f7f"  # Okabe and Ito's black, as a grey that is seen on paper and on a dark screen
COLOURS = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
    "#B8A100",
)  # the last: yellow, darker
DASHES = ((1, 0), (6, 2), (2, 2), (8, 2, 2, 2))
MARKS = {"circle": "o", "square": "s", "triangle-up": "^", "diamond": "D", "cross": "P", "triangle-down": "v"}


class Look(NamedTuple):
    """How one series is drawn: colour, dash pattern (on, off, …) and vega's and matplotlib's name of its mark."""

    colour: str
    dash: tuple[int, ...]
    mark: str
    marker: str


def looks(series: Sequence[str], baseline: str | None) -> dict[str, Look]:
    """A look for each name; the baseline is grey and dashed. After seven others colours come again, dashed anew."""
    found = {}
    others = 0
    marks = list(MARKS.items())
    for name in series:
        if name == baseline:
            found[name] = Look(BASELINE, DASHES[1], "circle", "o")
            continue
        colour = COLOURS[others % len(COLOURS)]
        dash = DASHES[(others // len(COLOURS)) % len(DASHES)]
        found[name] = Look(colour, dash, *marks[others % len(marks)])
        others += 1
    return found
