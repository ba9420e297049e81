"""Write a table in LaTeX: booktabs, decimals under each other, the best in bold, ↑ where better than the baseline."""

import re
from itertools import groupby

from tlx.results.layout import GAIN, KEY, SCORE, Block, best_note, blocks
from tlx.results.table import Table

# What a column of each kind is made of. All numbers of a kind have the same decimals, so that flush sides align them:
# a score is mean, ± and deviation with n, a gain is its value and its interval.
PARTS = {KEY: ["l"], SCORE: ["r", "@{ }c", "@{ }l"], GAIN: ["r", "@{ }l"]}


def to_latex(table: Table) -> str:
    """A `table` environment for `\\usepackage{booktabs}`; sections are set inside one tabular."""
    lines = [r"% needs \usepackage{booktabs}"]
    found = blocks(table, arrows=True)
    caption = " ".join([*table.notes, *best_note(table, found)])
    for header, group in groupby(found, key=lambda block: block.header):
        parts = list(group)
        kinds = parts[0].kinds
        columns = [column for kind in kinds for column in PARTS.get(kind, ["r"])]
        lines += [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{escape(caption)}}}",
            rf"\begin{{tabular}}{{{''.join(columns)}}}",
            r"\toprule",
            " & ".join(_heading(name, kind) for name, kind in zip(header, kinds, strict=True)) + r" \\",
        ]
        for block in parts:
            lines.append(r"\midrule")
            if block.title:
                lines += [rf"\multicolumn{{{len(columns)}}}{{l}}{{\textit{{{escape(block.title)}}}}} \\", r"\midrule"]
            lines += [_line(block, number) for number in range(len(block.lines))]
        lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def _heading(name: str, kind: str) -> str:
    span = len(PARTS.get(kind, ["r"]))
    return escape(name) if span == 1 else rf"\multicolumn{{{span}}}{{c}}{{{escape(name)}}}"


def _line(block: Block, number: int) -> str:
    cells: list[str] = []
    for column, (text, kind) in enumerate(zip(block.lines[number], block.kinds, strict=True)):
        if kind == SCORE:
            place = number, column
            cells += _score(text, r"\textbf" if place in block.best else r"\underline" if place in block.near else "")
        elif kind == GAIN:
            gain, _, ends = text.partition(" ")
            cells += [_signed(gain), _signed(ends)]
        else:
            cells.append(escape(text) if kind == KEY else _signed(text))
    line = " & ".join(cells)
    return ("{}" if line.startswith("[") else "") + line + r" \\"  # \\ would take a bracket for its argument


def _score(text: str, command: str) -> list[str]:
    """`0.913 ± 0.012 (5)†` as three cells."""
    mean, _, rest = text.partition(" ")
    sign, std = (r"$\pm$", rest[2:]) if rest.startswith("± ") else ("", rest)
    shown = escape(mean)
    return [f"{command}{{{shown}}}" if command else shown, sign, escape(std)]


def _signed(text: str) -> str:
    """Signed numbers are set as mathematics, so that a minus is one."""
    return re.sub(r"[+-]\d+(\.\d+)?", r"$\g<0>$", escape(text))


def escape(text: str) -> str:
    """The text as LaTeX sets it: no character is a command."""
    return "".join(_TEX.get(character, character) for character in text)


_TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "|": r"\textbar{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "–": "--",
    "…": r"\dots{}",
    "≤": r"$\leq$",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
    "§": r"$^{\S}$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "<": "$<$",
    ">": "$>$",
} | {character: "\\" + character for character in "&%$#_{}"}
