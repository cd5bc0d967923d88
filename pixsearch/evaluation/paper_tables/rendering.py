"""A document as Markdown, LaTeX or HTML. What comes from outside is escaped."""

import re
from collections.abc import Callable, Iterable
from html import escape

from pixsearch.config import TableFormat
from pixsearch.evaluation.paper_tables.model import Cell, Document, Row, Table
from pixsearch.markup import page, text

STYLE = """
td, th { white-space: nowrap } .paper { color: #7b8494 } small { color: #596273 }
.scroll { overflow-x: auto }
"""
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
_MARKDOWN = re.compile(r"([\\`*_|\[\]])")


def to_markdown(document: Document) -> str:
    """Tables with pipes; headings of groups stand before the columns' own."""
    parts = [f"# {markdown_text(document.title)}", markdown_text(document.legend)]
    for table in document.tables:
        heading = [
            f"{column.group}: {column.name}" if column.group else column.name
            for column in table.columns
        ]
        lines = [
            _pipes(map(markdown_text, [table.corner, *heading])),
            _pipes(["---", *["---:"] * len(heading)]),
            *(_pipes(_markdown_cells(row)) for row in table.rows),
        ]
        notes = [f"{number}. {markdown_text(note)}" for number, note in enumerate(table.notes, 1)]
        parts += [f"## {markdown_text(table.title)}", "\n".join(lines), "\n".join(notes)]
    card = [f"- {markdown_text(name)}: {markdown_text(what)}" for name, what in document.protocol]
    parts += ["## Protocol", "\n".join(card)]
    return "\n\n".join(part for part in parts if part) + "\n"


def to_latex(document: Document) -> str:
    r"""Tabulars with booktabs' rules. Titles are captions; notes and protocol stand below."""
    parts = ["% \\usepackage{booktabs}\n% \\usepackage[T1]{fontenc}"]
    parts += [_latex_table(table, document.legend) for table in document.tables]
    card = [rf"\item {latex_text(name)}: {latex_text(what)}" for name, what in document.protocol]
    parts.append("\n".join([r"\begin{itemize}", *card, r"\end{itemize}"]))
    return "\n\n".join(parts) + "\n"


def to_html(document: Document) -> str:
    """A page that refers to nothing outside itself."""
    card = "".join(f"<li>{escape(name)}: {escape(what)}</li>" for name, what in document.protocol)
    body = [
        text(document.legend, "note", "p"),
        *map(html_table, document.tables),
        text("Protocol", tag="h2"),
        f"<ul class='note'>{card}</ul>",
    ]
    return page(document.title, body, style=STYLE)


RENDERERS: dict[TableFormat, tuple[str, Callable[[Document], str]]] = {
    TableFormat.markdown: ("md", to_markdown),
    TableFormat.latex: ("tex", to_latex),
    TableFormat.html: ("html", to_html),
}
"""Format → suffix of its file, and its renderer."""


def html_table(table: Table) -> str:
    """One table with its title and notes, for a page of whatever kind."""
    groups = "".join(f'<th colspan="{span}">{escape(group)}</th>' for group, span in table.groups)
    names = "".join(f"<th>{escape(column.name)}</th>" for column in table.columns)
    rows = "".join(
        f"<tr><td>{escape(row.label)}</td>{''.join(map(_html_cell, row.cells))}</tr>"
        for row in table.rows
    )
    above = f"<tr><th></th>{groups}</tr>" if any(column.group for column in table.columns) else ""
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    return (
        f"{text(table.title, tag='h3')}<div class='scroll'><table><thead>{above}"
        f"<tr><th>{escape(table.corner)}</th>{names}</tr></thead><tbody>{rows}</tbody></table>"
        f"</div>{f'<ol class=note>{notes}</ol>' if notes else ''}"
    )


def markdown_text(words: str) -> str:
    r"""
    >>> markdown_text("a_b|<c>")
    'a\\_b\\|&lt;c&gt;'
    """
    return escape(_MARKDOWN.sub(r"\\\1", " ".join(words.split())), quote=False)


def latex_text(words: str) -> str:
    r"""
    >>> latex_text("5 % of a_b")
    '5 \\% of a\\_b'
    """
    return "".join(_LATEX.get(sign, sign) for sign in " ".join(words.split()))


def _pipes(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cells(row: Row) -> list[str]:
    cells = [
        markdown_text(cell) if isinstance(cell, str) else _markdown_cell(cell) for cell in row.cells
    ]
    return [markdown_text(row.label), *cells]


def _markdown_cell(cell: Cell) -> str:
    paper = f"({cell.written(cell.paper)}{_mark(cell)})" if cell.paper is not None else ""
    parts = (cell.written(cell.value), cell.spread.replace("[", r"\[").replace("]", r"\]"), paper)
    return " ".join(part for part in parts if part)


def _mark(cell: Cell) -> str:
    return f"<sup>{cell.mark}</sup>" if cell.mark else ""


def _latex_table(table: Table, legend: str) -> str:
    place, rules, heads = 2, [], [""]
    for group, span in table.groups:
        heads.append(rf"\multicolumn{{{span}}}{{c}}{{{latex_text(group)}}}")
        rules += [rf"\cmidrule(lr){{{place}-{place + span - 1}}}"] if group else []
        place += span
    above = [rf"{' & '.join(heads)} \\", " ".join(rules)] if rules else []
    names = [table.corner, *(column.name for column in table.columns)]
    notes = [
        rf"\par\footnotesize $^{{{number}}}$ {latex_text(note)}"
        for number, note in enumerate(table.notes, 1)
    ]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{latex_text(f'{table.title}. {legend}')}}}",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        *above,
        rf"{' & '.join(map(latex_text, names))} \\",
        r"\midrule",
        *(_latex_row(row) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *notes,
        r"\end{table}",
    ]
    return "\n".join(lines)


def _latex_row(row: Row) -> str:
    cells = [latex_text(cell) if isinstance(cell, str) else _latex_cell(cell) for cell in row.cells]
    return rf"{' & '.join([latex_text(row.label), *cells])} \\"


def _latex_cell(cell: Cell) -> str:
    mark = f"$^{{{cell.mark}}}$" if cell.mark else ""
    paper = f"({cell.written(cell.paper)}{mark})" if cell.paper is not None else ""
    spread = rf"{{\scriptsize {latex_text(cell.spread)}}}" if cell.spread else ""
    return " ".join(part for part in (cell.written(cell.value), spread, paper) if part)


def _html_cell(cell: Cell | str) -> str:
    if isinstance(cell, str):
        return f"<td>{escape(cell)}</td>"
    n = f' title="n = {cell.n}"' if cell.n is not None else ""
    spread = f" <small>{escape(cell.spread)}</small>" if cell.spread else ""
    paper = f"<br><span class='paper'>{cell.written(cell.paper)}{_mark(cell)}</span>"
    return (
        f"<td{n}>{cell.written(cell.value)}{spread}{paper if cell.paper is not None else ''}</td>"
    )
