"""What is sent to a server of passages and what it replies: Search-R1's `/retrieve`, and beyond it.

    {"queries": ["who made it?"], "topk": 3, "return_scores": true}
    -> {"result": [[{"document": {"id": "e1", "contents": "\\"Title\\"\\nwords"}, "score": 0.7}]]}

Without `return_scores` the inner lists hold the documents themselves. Queries by image and region:

    {"modality": "region", "images": [base64], "regions": [box or RLE], "topk": 3}

`modality` may be a list, one per query; `queries`, `images` and `regions` then have null in the
places that need none. `questions`, beside images and regions, is what is to be answered: it chooses
the chunk of a document, and counts where the server fuses it (`Query.question`).
"""

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

from PIL import Image

from pixsearch.config import QueryType, RegionCrop
from pixsearch.queries import Passage, Query
from pixsearch.retrieval.rle import encode_mask


def query_parts(query: Query) -> dict[str, Any]:
    """One query as the request's lists hold it, without loss."""
    image = None if query.image is None else _encode_image(query.image)
    region = None if query.mask is None else encode_mask(query.mask)
    return {
        "modality": query.type.value,
        "queries": query.text,
        "images": image,
        "regions": region,
        "questions": query.question,
    }


def request_of(
    parts: Sequence[dict[str, Any]], *, k: int, region_crop: RegionCrop
) -> dict[str, Any]:
    """The request that asks several queries, each as `query_parts` gave it."""
    names = ("modality", "queries", "images", "regions", "questions")
    lists = {name: [part[name] for part in parts] for name in names}
    return {**lists, "topk": k, "region_crop": region_crop.value, "return_scores": True}


def passages_of(reply: Any, *, num_queries: int, k: int) -> list[list[Passage]]:
    """The passages of a reply with scores.

    Raises:
        ValueError: it is no such reply, or not one to so many queries.
    """
    results = reply.get("result") if isinstance(reply, dict) else None
    if not isinstance(results, list) or len(results) != num_queries:
        raise ValueError(f'it is not {{"result": a list of {num_queries} lists}}')
    for found in results:
        if not isinstance(found, list) or len(found) > k:
            raise ValueError(f"a result is not a list of at most {k} passages")
    return [[_passage(one) for one in found] for found in results]


def document_of(passage: Passage) -> dict[str, str]:
    """A passage as Search-R1's clients read one, with its title and words apart as well."""
    titled = f'"{passage.title}"\n{passage.text}'
    return {
        "id": passage.id,
        "contents": titled if passage.title else passage.text,
        "title": passage.title,
        "text": passage.text,
    }


def words_of(document: dict[str, Any]) -> str:
    """What a reranker reads of a document: title and text where it has both, else its contents.

    Raises:
        ValueError: it has neither.
    """
    title, text, contents = (document.get(name) for name in ("title", "text", "contents"))
    if isinstance(title, str) and isinstance(text, str):
        return titled(title, text)
    if not isinstance(contents, str):
        raise ValueError('a document is {"contents": str}, or {"document": {"contents": str}}')
    return contents


def titled(title: str, text: str) -> str:
    """The words of a passage, as a reranker reads them."""
    return f"{title}\n{text}"


def result_of(passages: Sequence[Passage], *, with_scores: bool) -> list[dict[str, Any]]:
    """One query's result: documents, or documents with scores."""
    if with_scores:
        return [{"document": document_of(one), "score": float(one.score)} for one in passages]
    return [document_of(one) for one in passages]


def query_type(name: str) -> QueryType:
    """The type of query that a modality names.

    Raises:
        ValueError: none.
    """
    try:
        return QueryType(name)
    except ValueError as error:
        raise ValueError(f"modality {name!r} is unknown: use {', '.join(QueryType)}") from error


def _passage(one: Any) -> Passage:
    try:
        document, score = one["document"], one["score"]
        id, title, text = (document[name] for name in ("id", "title", "text"))
    except (KeyError, TypeError) as error:
        raise ValueError("a passage lacks document (id, title, text) or score") from error
    if not all(isinstance(value, str) for value in (id, title, text)):
        raise ValueError("a passage's id, title or text is no string")
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise ValueError(f"a passage's score is {score!r}, not a finite number")
    return Passage(id=id, title=title, text=text, score=float(score))


def _encode_image(image: Image.Image) -> str:
    """PNG: the server sees the very pixels. Hardly compressed, which is ten times as fast."""
    file = io.BytesIO()
    image.convert("RGB").save(file, format="PNG", compress_level=1)
    return base64.b64encode(file.getvalue()).decode("ascii")
