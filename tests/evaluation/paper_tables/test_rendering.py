"""Three ways to write one document."""

import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from pixsearch.evaluation.paper_tables.model import Cell, Column, Document, Row, Table
from pixsearch.evaluation.paper_tables.rendering import (
    html_table,
    latex_text,
    markdown_text,
    to_html,
    to_latex,
    to_markdown,
)

TABLE = Table(
    title="Table 9: things",
    corner="system",
    columns=(
        Column(name="accuracy", group="all"),
        Column(name="truthfulness", group="all"),
        Column(name="n"),
    ),
    rows=(
        Row(
            label="A & B",
            cells=(
                Cell(value=0.5, interval=(0.4, 0.6), paper=0.377, mark=1, n=8),
                Cell(value=0.25, deviation=0.01, is_signed=True),
                "8",
            ),
        ),
        Row(label="C", cells=(Cell(paper=0.1), Cell(is_signed=True), "not run")),
    ),
    notes=("sums to 90 % in print",),
)
DOCUMENT = Document(
    title="Table 9", legend="Percent.", tables=(TABLE,), protocol=(("judge", "rules"),)
)

MARKDOWN = r"""# Table 9

Percent.

## Table 9: things

| system | all: accuracy | all: truthfulness | n |
| --- | ---: | ---: | ---: |
| A &amp; B | 50.0 \[40.0, 60.0\] (37.7<sup>1</sup>) | +25.0 ± 1.0 | 8 |
| C | - (10.0) | - | not run |

1. sums to 90 % in print

## Protocol

- judge: rules
"""

LATEX = r"""% \usepackage{booktabs}
% \usepackage[T1]{fontenc}

\begin{table}
\centering
\caption{Table 9: things. Percent.}
\begin{tabular}{lrrr}
\toprule
 & \multicolumn{2}{c}{all} & \multicolumn{1}{c}{} \\
\cmidrule(lr){2-3}
system & accuracy & truthfulness & n \\
\midrule
A \& B & 50.0 {\scriptsize [40.0, 60.0]} (37.7$^{1}$) & +25.0 {\scriptsize $\pm$ 1.0} & 8 \\
C & - (10.0) & - & not run \\
\bottomrule
\end{tabular}
\par\footnotesize $^{1}$ sums to 90 \% in print
\end{table}

\begin{itemize}
\item judge: rules
\end{itemize}
"""

HTML = (
    "<h3>Table 9: things</h3><div class='scroll'><table><thead><tr><th></th>"
    '<th colspan="2">all</th><th colspan="1"></th></tr><tr><th>system</th><th>accuracy</th>'
    "<th>truthfulness</th><th>n</th></tr></thead><tbody><tr><td>A &amp; B</td>"
    '<td title="n = 8">50.0 <small>[40.0, 60.0]</small><br>'
    "<span class='paper'>37.7<sup>1</sup></span></td><td>+25.0 <small>± 1.0</small></td><td>8</td>"
    "</tr><tr><td>C</td><td>-<br><span class='paper'>10.0</span></td><td>-</td><td>not run</td>"
    "</tr></tbody></table></div><ol class=note><li>sums to 90 % in print</li></ol>"
)


def test_markdown_is_as_written_down():
    assert to_markdown(DOCUMENT) == MARKDOWN


def test_latex_is_as_written_down():
    assert to_latex(DOCUMENT) == LATEX


def test_html_is_as_written_down():
    assert html_table(TABLE) == HTML
    assert HTML in to_html(DOCUMENT)


def odd_document(words: str) -> Document:
    """Words from outside in every place that they can get to."""
    table = Table(
        title=words,
        corner=words,
        columns=(Column(name=words, group=words), Column(name=words)),
        rows=(Row(label=words, cells=(words, Cell(value=0.5, paper=0.5, mark=1))),),
        notes=(words,),
    )
    return Document(title=words, legend=words, tables=(table,), protocol=((words, words),))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found.append(tag)


def tags(page: str) -> list[str]:
    parser = Tags()
    parser.feed(page)
    return parser.found


SIGNS = st.text("ab<>&\"'|\\`*_[]#%$~^{}\n ", max_size=30).map("a".__add__)


@given(SIGNS)
def test_no_words_become_markup_of_a_page(words):
    assert tags(to_html(odd_document(words))) == tags(to_html(odd_document("plain")))


@given(SIGNS)
def test_no_words_become_commands_of_latex(words):
    written = latex_text(words)
    known = r"\\[&%$#_{}]|\\text(?:backslash|asciitilde|asciicircum)\{\}|\$[<>]\$"
    assert not re.search(r"[&%$#_{}\\~^<>\n]", re.sub(known, "", written))
    rows, same = (to_latex(odd_document(each)).count("\\\\\n") for each in (words, "a"))
    assert rows == same


@given(SIGNS)
def test_no_words_break_a_row_of_markdown(words):
    written = markdown_text(words)
    assert "\n" not in written
    assert "<" not in written
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*_\[\]]", written)
