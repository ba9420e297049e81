"""The drawing of the rooms: one above the other, each with what it is for, and its imports of rooms below."""

import ast
from html import escape

from reference_pages.imports import ORDER, ROOT, graph, room

ROW, LEFT, WIDTH = 26, 110, 870  # of the drawing, in its own units
EVERYWHERE = ("errors", "private")  # whatever imports these is not worth an arc


def purpose(name: str) -> str:
    """The first sentence of a room's, or a file's, docstring."""
    place = ROOT / "tlx" / name
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    if name == "tlx":
        file = ROOT / "tlx" / "__init__.py"
    text = ast.get_docstring(ast.parse(file.read_text()))
    assert text, f"{file} says nothing of itself"
    return text.partition("\n")[0]


def rooms_drawing() -> str:
    """An SVG: the topmost room first; an arc leads down from a room to each one that it imports."""
    order = ORDER[::-1]
    uses: dict[str, set[str]] = {name: set() for name in order}
    for name, others in graph().items():
        uses[room(name)] |= {room(other) for other in others} - {room(name), *EVERYWHERE}
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {ROW * len(order) + 8}" font-size="12" '
        'font-family="sans-serif" role="img" aria-label="The rooms of tlx, each above those that it imports">',
        f'<rect width="{WIDTH}" height="{ROW * len(order) + 8}" fill="white"/>',
    ]
    middle = {name: ROW * row + ROW / 2 + 4 for row, name in enumerate(order)}
    for name in order:
        for other in sorted(uses[name], key=order.index):
            start, end = middle[name], middle[other]
            reach = LEFT - 18 - (LEFT - 30) * ((end - start) / (ROW * len(order))) ** 0.6
            lines.append(
                f'<path d="M {LEFT} {start} C {reach:.0f} {start}, {reach:.0f} {end}, {LEFT} {end}" fill="none" '
                'stroke="#5b7ea4" stroke-width="0.7" stroke-opacity="0.5"/>'
            )
    for name in order:
        is_room = (ROOT / "tlx" / name).is_dir()
        label = f"{name}/" if is_room else "tlx/__init__.py" if name == "tlx" else f"{name}.py"
        fill = "#e3ecf5" if is_room else "#f4f4f4"
        lines += [
            f'<rect x="{LEFT}" y="{middle[name] - 11}" width="118" height="22" rx="4" fill="{fill}" stroke="#5b7ea4"/>',
            f'<text x="{LEFT + 8}" y="{middle[name] + 4}" fill="#1a1a1a">{label}</text>',
            f'<text x="{LEFT + 130}" y="{middle[name] + 4}" fill="#444444">{escape(purpose(name))}</text>',
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"
