"""A figure alone in a file, ready for a paper: pdf, svg or png by matplotlib."""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlx.errors import UserError, unknown
from tlx.record.atomic import atomic
from tlx.results.figures import KINDS
from tlx.results.figures.figure import Absent, Figure, Picture
from tlx.results.findings import Findings
from tlx.results.out import check_out

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

FORMATS = ("pdf", "png", "svg")
STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.5,
    "axes.axisbelow": True,
    "pdf.fonttype": 42,  # text stays text that journals can check
    "svg.fonttype": "none",
    "svg.hashsalt": "tlx",  # the same records give the same bytes
    "savefig.dpi": 300,
    "text.parse_math": False,  # a $ in a name of the user's is a $; powers of ten are written out instead
}
# Files carry no date, so that they too are the same bytes again.
METADATA = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}
WIDTH = 3.3  # inches of a panel: a column of a paper


def plot(kind: str, findings: Findings, out: Path) -> list[str]:
    """Draw one figure to `out` and return what its caption should say.

    Raises:
        UserError: an unknown kind or file type, or records that lack what the figure shows.
        OSError: the file cannot be written.
    """
    suffix = check_plot(kind, out)
    figure = KINDS[kind]
    try:
        picture = figure.picture(findings)
    except Absent as why:
        raise UserError(f"there is nothing to draw for {kind}: {why}") from why
    data = io.BytesIO()
    with _style():
        drawn = draw(figure, picture)
        drawn.savefig(data, format=suffix, metadata=METADATA[suffix], bbox_inches="tight", pad_inches=0.03)
    with atomic(out) as file:
        file.write(data.getvalue())
    return picture.notes


def check_plot(kind: str, out: Path) -> str:
    """The file type of `out`: pdf, png or svg.

    Raises:
        UserError: an unknown kind of figure or file type; `out` is a folder or cannot be written.
    """
    if kind not in KINDS:
        raise unknown("kind of figure", kind, KINDS)
    check_out(out, f"{kind}.pdf")
    suffix = out.suffix.lstrip(".").lower()
    if suffix not in FORMATS:
        raise unknown("file type", out.suffix or out.name, [f".{name}" for name in FORMATS], "-o names the file.")
    return suffix


def draw(figure: Figure, picture: Picture) -> "Canvas":
    """The figure with all its panels, at most three side by side, and a legend where it needs one."""
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure as Canvas
    from matplotlib.lines import Line2D

    panels = picture.panels
    across = min(3, len(panels))
    down = math.ceil(len(panels) / across)
    height = max(figure.height(rows) for rows in panels.values())
    canvas = Canvas(figsize=(WIDTH * across + 0.3, height * down + 0.4), layout="constrained")
    grid = canvas.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for axes, (name, rows) in zip(grid.flat, panels.items(), strict=False):
        figure.draw(axes, rows, picture)
        axes.set_title(name)
    if colours := figure.colours(picture):
        bar = canvas.colorbar(colours, ax=grid, fraction=0.03 if across > 1 else 0.06, aspect=15 * down)
        bar.set_label(figure.colour_title)
        if isinstance(colours.norm, LogNorm):  # less than a decade would have no tick at all
            ends = [end for end in (colours.norm.vmin, colours.norm.vmax) if end is not None]
            bar.set_ticks(ends, labels=[f"{end:.2g}" for end in ends])
            bar.minorticks_off()
    if figure.legend and len(picture.series) > 1:
        handles = [
            Line2D([], [], color=look.colour, marker=look.marker, markersize=4, dashes=look.dash, label=name)
            for name, look in picture.looks.items()
        ]
        canvas.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 2 * across), frameon=False)
    return canvas


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(STYLE):  # type: ignore[arg-type]
        yield
