"""Encyclopedic-VQA's Wikipedia (`encyclopedic_kb_wiki.json`, or the `.zip` it comes in).

One object of 13 GB: {url: {"title", "section_titles": [...], "section_texts": [...], ...}, ...}.
"""

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pixsearch.retrieval.corpora.document import CorpusDocument
from pixsearch.retrieval.corpora.json_object import read_members
from pixsearch.retrieval.corpora.lines import text_of


def read_encyclopedic_vqa(path: Path) -> Iterator[CorpusDocument]:
    """Whole articles by their address, which the questions' `wikipedia_url` names.

    Images are addresses there (`image_urls`) and do not come along.

    Raises:
        ValueError: the file is broken, or an article is none.
    """
    with _opened(path) as file:
        for url, article in read_members(file, path):
            where = f"{path}: {url}"
            if not isinstance(article, dict):
                raise ValueError(f"{where}: a {type(article).__name__}, not an article")
            yield CorpusDocument(
                id=url, title=text_of(article, "title", where), contents=_contents(article, where)
            )


def _contents(article: dict[str, Any], where: str) -> str:
    """All sections, each below its title; the first section's is the article's own."""
    titles, texts = article.get("section_titles"), article.get("section_texts")
    if not (_are_texts(titles) and _are_texts(texts) and len(titles) == len(texts)):
        raise ValueError(f"{where}: section_titles and section_texts are no lists of equal length")
    sections = [
        text.strip() if title == article["title"] else f"{title}\n{text.strip()}"
        for title, text in zip(titles, texts, strict=True)
        if text.strip()
    ]
    return "\n\n".join(sections)


def _are_texts(found: Any) -> bool:
    return isinstance(found, list) and all(isinstance(each, str) for each in found)


@contextmanager
def _opened(path: Path) -> Iterator[io.TextIOBase]:
    try:
        if path.suffix != ".zip":
            with path.open(encoding="utf-8") as file:
                yield file
            return
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".json")]
            if len(names) != 1:
                raise ValueError(f"{path} holds {len(names)} JSON files: one is expected")
            with archive.open(names[0]) as binary:
                yield io.TextIOWrapper(binary, encoding="utf-8")
    except FileNotFoundError as error:
        raise ValueError(f"{path}: no such file; source names the corpus to import") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, UnicodeDecodeError) as error:
        reason = str(error) or "the archive ends too early"
        raise ValueError(f"{path}: {reason}; fetch the file again") from error
