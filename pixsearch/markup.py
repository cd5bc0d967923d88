"""Pieces of HTML: escaped text, tables, embedded images. No file or address is referred to."""

import base64
from collections.abc import Sequence
from html import escape
from io import BytesIO

from PIL import Image

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; padding: 0 1rem;
       color: #1d2430; background: #fff }
h2 { margin-top: 2.2rem; border-bottom: 1px solid #d5dae2; padding-bottom: .2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .22rem .6rem; text-align: right; border-bottom: 1px solid #e6e9ee }
th:first-child, td:first-child { text-align: left }
.note { color: #596273; font-size: .9em }
.tag { background: #dfe6f2; border-radius: 3px; padding: 0 .35rem; font-size: .85em }
article { display: grid; grid-template-columns: 340px 1fr; gap: 1.2rem; padding: 1rem 0;
          border-bottom: 1px solid #e6e9ee }
article img { max-width: 100%; border-radius: 4px }
figure { display: inline-block; margin: 0 1rem 1rem 0 }
@media (max-width: 800px) { article { grid-template-columns: 1fr } }
"""


def page(title: str, body: Sequence[str], *, style: str = "") -> str:
    """A whole document.

    Args:
        style: rules of this kind of page, behind those of all.
    """
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head>\n<body>"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def text(words: object, css_class: str = "", tag: str = "span") -> str:
    """An element of escaped text.

    >>> text("<b>", "note")
    '<span class="note">&lt;b&gt;</span>'
    """
    of_class = f' class="{escape(css_class)}"' if css_class else ""
    return f"<{tag}{of_class}>{escape(str(words))}</{tag}>"


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the heading is escaped, the cells are HTML already."""
    head = "".join(text(cell, tag="th") for cell in heading)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def drawing(png: bytes, description: str) -> str:
    """A PNG in the page itself."""
    content = base64.b64encode(png).decode("ascii")
    return (
        f'<figure><img alt="{escape(description)}" style="max-width: 100%" '
        f'src="data:image/png;base64,{content}"></figure>'
    )


def picture(image: Image.Image, description: str, css_class: str = "") -> str:
    """An image in the page itself, as JPEG."""
    buffer = BytesIO()
    image.convert("RGB").save(buffer, format="JPEG", quality=85)
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<img class="{escape(css_class)}" alt="{escape(description)}" '
        f'src="data:image/jpeg;base64,{content}">'
    )
