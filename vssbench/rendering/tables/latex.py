"""LaTeX: booktabs tables that go into a paper unedited."""

from __future__ import annotations

from vssbench.rendering.tables.columns import Column
from vssbench.rendering.tables.summary import Row, Section, SummaryTable, interval_text, kbps_text, printable

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
    "α": r"$\alpha$",
    "λ": r"$\lambda$",
}

PREAMBLE = "\\documentclass{article}\n\\usepackage[T1]{fontenc}\n\\usepackage{booktabs}\n\\begin{document}\n"


def escape(text: str) -> str:
    """The text as LaTeX for T1-encoded pdflatex; letters beyond Latin-1 become '?'.

    >>> escape("50% & a_b")
    '50\\\\% \\\\& a\\\\_b'
    >>> escape("[5cm] at the start of a row is no option of the line break before it")[:6]
    '{}[5cm'
    """
    safe = "".join(_ESCAPES.get(c, c if ord(c) < 256 else "?") for c in printable(text)).replace("--", "-{}-")
    return "{}" + safe if safe.startswith(("[", "*")) else safe


def summary_latex(summary: SummaryTable) -> str:
    """The summary as a tabular: a line per method under a line per dataset and codec; best bold, second underlined."""
    with_interval = summary.has_intervals
    spec = "l" + "".join("rl" if c.key == "miou" and with_interval else "r" for c in summary.columns)
    heads = ["Method"]
    for column in summary.columns:
        wide = column.key == "miou" and with_interval
        heads.append(rf"\multicolumn{{2}}{{c}}{{{escape(column.title)}}}" if wide else escape(column.title))
    lines = [
        "% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}",
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
    ]
    lines.append(" & ".join(heads) + r" \\")
    for section in summary.sections:
        lines += [r"\midrule", _section_line(section, len(spec)), r"\midrule"]
        lines += [_method_line(row, summary) for row in section.rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _section_line(section: Section, width: int) -> str:
    parts = [section.dataset, section.codec, kbps_text(section.kbps)]
    return rf"\multicolumn{{{width}}}{{l}}{{\textit{{{escape(', '.join(p for p in parts if p))}}}}} \\"


def _method_line(row: Row, summary: SummaryTable) -> str:
    cells = [escape(row.method)]
    for column in summary.columns:
        cells.append(_number(row, column))
        if column.key == "miou" and summary.has_intervals:
            cells.append(rf"{{\footnotesize {interval_text(row, column)}}}")
    return " & ".join(cells) + r" \\"


def _number(row: Row, column: Column) -> str:
    text = escape(column.text(row.values[column.key]))
    mark = row.marks.get(column.key)
    return rf"\textbf{{{text}}}" if mark == "best" else rf"\underline{{{text}}}" if mark == "second" else text


def standalone(tabular: str) -> str:
    """A complete document around a tabular, to look at it."""
    return f"{PREAMBLE}\\begin{{center}}\n{tabular}\\end{{center}}\n\\end{{document}}\n"
