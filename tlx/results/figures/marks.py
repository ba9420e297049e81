"""Encodings that several charts share: the colour, dash and mark of a series."""

from typing import Any

import altair as alt

from tlx.results.figures.figure import Picture

DATA = "rows"  # the name under which a chart finds its rows


def base(height: float) -> Any:
    """An empty chart as wide as its place on the page; `height` in inches."""
    return alt.Chart(alt.NamedData(DATA), width="container", height=round(96 * height))


def colour(picture: Picture) -> alt.Color:
    """Each series in its colour; the page shows the legend."""
    found = picture.looks
    scale = alt.Scale(domain=list(found), range=[look.colour for look in found.values()])
    return alt.Color("series:N", scale=scale, legend=None)


def dash(picture: Picture) -> alt.StrokeDash:
    found = picture.looks
    scale = alt.Scale(domain=list(found), range=[list(look.dash) for look in found.values()])
    return alt.StrokeDash("series:N", scale=scale, legend=None)


def mark(picture: Picture) -> alt.Shape:
    found = picture.looks
    scale = alt.Scale(domain=list(found), range=[look.mark for look in found.values()])
    return alt.Shape("series:N", scale=scale, legend=None)


def axis(title: str, span: tuple[float, float] | None = None, **more: Any) -> dict[str, Any]:
    """Title and range of a quantitative axis; without a span it follows the panel's data and leaves out 0."""
    scale = alt.Scale(zero=False, nice=True) if span is None else alt.Scale(domain=list(span), nice=False, zero=False)
    return {"title": title, "scale": scale, **more}


def layers(*charts: Any) -> dict[str, Any]:
    """The specification of charts drawn over each other; altair checks it."""
    return alt.layer(*charts).to_dict()


def tip(field: str, title: str, format: str | None = None) -> alt.Tooltip:
    """One line of a tooltip; `field` as `name:Q` or `name:N`."""
    return alt.Tooltip(field, title=title) if format is None else alt.Tooltip(field, title=title, format=format)
