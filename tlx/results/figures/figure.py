"""What every figure has: its data as plain rows, an interactive chart and a drawing for paper made of them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from tlx.results.figures.palette import Look, looks
from tlx.results.findings import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

Row = dict[str, Any]


class Absent(Exception):
    """The records lack what the figure shows; the message says which option would give it."""


class NotAsked(Absent):
    """What the figure shows is not what the study asks; a page says nothing of it."""


@dataclass(frozen=True)
class Picture:
    """The data of a figure: one row a mark.

    Every row has `panel`, the name of the part of the figure in which it stands. `series` are the names that colours
    stand for; it is empty for figures whose colours mean something else. `notes` say how to read the figure, `x` and
    `y` are the titles of the axes.
    """

    rows: list[Row]
    notes: list[str]
    series: list[str] = field(default_factory=list)
    baseline: str | None = None
    x: str = ""
    y: str = ""

    @cached_property
    def panels(self) -> dict[str, list[Row]]:
        """The rows of each panel, in the order of the rows."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row["panel"], []).append(row)
        return found

    @cached_property
    def looks(self) -> dict[str, Look]:
        return looks(self.series, self.baseline)

    def span(self, *names: str, pad: float = 0.05) -> tuple[float, float]:
        """The range of these values over all panels, a little wider, so that panels can be compared."""
        found = [row[name] for row in self.rows for name in names if row.get(name) is not None]
        low, high = min(found), max(found)
        margin = pad * (high - low) or pad * abs(high) or pad
        return low - margin, high + margin


class Figure(ABC):
    """One kind of figure. `kind` is its name on the command line, `title` its heading."""

    kind: ClassVar[str]
    title: ClassVar[str]
    legend: ClassVar[bool] = True  # whether it needs one for its series
    colour_title: ClassVar[str] = ""

    @abstractmethod
    def picture(self, findings: Findings) -> Picture:
        """The figure's data.

        Raises:
            Absent: the records lack it.
        """

    @abstractmethod
    def chart(self, picture: Picture) -> dict[str, Any]:
        """The vega-lite specification of one panel, over the data named "rows"."""

    @abstractmethod
    def draw(self, axes: "Axes", rows: Sequence[Row], picture: Picture) -> None:
        """Draw the panel that has these rows."""

    def colours(self, picture: Picture) -> "ScalarMappable | None":
        """The scale of a drawing whose colours stand for numbers, under the title `colour_title`."""
        return None

    def height(self, rows: Sequence[Row]) -> float:
        """The height of a panel in inches (96 pixels each)."""
        return 2.5
