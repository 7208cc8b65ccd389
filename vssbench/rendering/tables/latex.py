"""LaTeX: booktabs tables that go into a paper unedited."""

from __future__ import annotations

import re

from vssbench.rendering.tables.columns import QUALITY
from vssbench.rendering.tables.text_table import Cell, Column, TextRow, TextTable
from vssbench.rendering.text import printable

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "–": r"\textendash{}",
    "—": r"\textemdash{}",
    "·": r"$\cdot$",
    "…": r"\dots{}",
    "×": r"$\times$",
    "∞": r"$\infty$",
    "α": r"$\alpha$",
    "λ": r"$\lambda$",
}
_WRAPPED = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}"}
_MINUS = re.compile(r"(?<![\w.])-(?=[\d.])")
NEEDS = "% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}"


def escape(text: str) -> str:
    """The text as LaTeX for T1-encoded pdflatex; letters beyond Latin-1 become '?'.

    >>> escape("50% & a_b")
    '50\\\\% \\\\& a\\\\_b'
    >>> escape("[5cm] at the start of a row is no option of the line break before it")[:6]
    '{}[5cm'
    """
    safe = "".join(_ESCAPES.get(c, c if ord(c) < 256 else "?") for c in printable(text)).replace("--", "-{}-")
    return "{}" + safe if safe.startswith(("[", "*")) else safe


def tabular(table: TextTable) -> str:
    """A booktabs tabular: best in bold, second best underlined.

    What a section shares stands in a line above it, and not in columns.
    """
    columns = table.columns[table.shared :]
    spec = "".join("r" if column.numeric and not column.small else "l" for column in columns)
    lines = [rf"\begin{{tabular}}{{{spec}}}", r"\toprule", *_heads(columns)]
    for rows in table.sections:
        lines.append(r"\midrule")
        if table.shared and rows:
            shared = ", ".join(filter(None, (_shared(*pair) for pair in _leading(table, rows[0]))))
            lines += [
                rf"\multicolumn{{{len(spec)}}}{{l}}{{\textit{{{escape(shared)}}}}} \\",
                r"\midrule",
            ]
        for row in rows:
            pairs = zip(columns, row.cells[table.shared :], strict=True)
            lines.append(" & ".join(_cell(*pair) for pair in pairs) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _leading(table: TextTable, row: TextRow) -> list[tuple[Column, Cell]]:
    return list(zip(table.columns[: table.shared], row.cells[: table.shared], strict=True))


def _shared(column: Column, cell: Cell) -> str:
    if not (cell.text and column.numeric):
        return cell.text
    parts = (column.heading, cell.text, column.unit) if column in QUALITY else (cell.text, column.title)
    return " ".join(filter(None, parts))


def _heads(columns: tuple[Column, ...]) -> list[str]:
    """One line of headings, over both columns where small print follows; a second one with whose numbers they are."""
    heads = []
    for column, after in zip(columns, (*columns[1:], None), strict=True):
        if column.small:
            continue
        text = escape(" ".join(filter(None, (column.heading, f"({column.unit})" if column.unit else ""))))
        heads.append(rf"\multicolumn{{2}}{{c}}{{{text}}}" if after is not None and after.small else text)
    lines = [" & ".join(heads) + r" \\"]
    if any(column.by for column in columns):
        lines.append(" & ".join(escape(column.by) for column in columns) + r" \\")
    return lines


def _cell(column: Column, cell: Cell) -> str:
    if column.small:
        return rf"{{\footnotesize {_signed(cell.text)}}}"
    text = escape(cell.text)
    return _WRAPPED.get(cell.mark, "{}").format(_signed(text) if column.numeric else text)


def _signed(text: str) -> str:
    """Numbers with a minus instead of a hyphen."""
    return _MINUS.sub("$-$", text)
