"""Bodies of requests, read and checked before the searcher sees anything of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Annotated, Any

import numpy as np
from jaxtyping import Bool
from PIL import Image
from pydantic import BaseModel, Field, StrictInt

from pixsearch.config import QueryType, RegionCrop, ServerOptions
from pixsearch.queries import Query
from pixsearch.retrieval.rle import decode_mask
from pixsearch.retrieval.wire import query_type, words_of
from pixsearch.web.images import PixelBudget, decode_image
from pixsearch.web.refusals import TooLarge

Box = Annotated[list[float], Field(min_length=4, max_length=4)]

LISTS = ("queries", "images", "regions", "questions")
NEEDS = {
    QueryType.text: ("queries",),
    QueryType.image: ("images",),
    QueryType.region: ("images", "regions"),
}


class RunLengths(BaseModel):
    """A mask as COCO has it, compressed (a string) or not."""

    size: Annotated[list[StrictInt], Field(min_length=2, max_length=2)]
    counts: str | list[StrictInt]


class RetrieveRequest(BaseModel):
    """The body of `/retrieve`; Search-R1's clients send the first, `topk` and `return_scores`.

    Attributes:
        queries: words; null or left out where a query is an image or a region.
        topk: passages per query; null or 0: the server's default.
        modality: text, image or region; a list has one for each query.
        images: base64 or data URLs.
        regions: `[left, top, right, bottom]` in pixels, right and bottom excluded, or RLE.
        questions: what is to be answered, for images and regions; null where it is not said.
        region_crop: how regions are cut out.
    """

    queries: list[str | None] | None = None
    topk: Annotated[int, Field(ge=0)] | None = None
    return_scores: bool = False
    modality: str | list[str] = QueryType.text.value
    images: list[str | None] | None = None
    regions: list[Box | RunLengths | None] | None = None
    questions: list[str | None] | None = None
    region_crop: RegionCrop = RegionCrop.masked_crop


class RerankRequest(BaseModel):
    """The body of `/rerank`: documents as `/retrieve` gave them, one list for each query."""

    queries: list[str]
    documents: list[list[dict[str, Any]]]
    rerank_topk: Annotated[int, Field(ge=0)] | None = None
    return_scores: bool = False


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """What `/retrieve` was asked."""

    queries: tuple[Query, ...]
    k: int
    region_crop: RegionCrop
    return_scores: bool


@dataclass(frozen=True, kw_only=True)
class Reranking:
    """What `/rerank` was asked; `documents` are returned as they came.

    Attributes:
        passages: the words of each document.
    """

    queries: tuple[str, ...]
    documents: tuple[tuple[dict[str, Any], ...], ...]
    passages: tuple[tuple[str, ...], ...]
    k: int
    return_scores: bool


def read_retrieval(body: bytes, options: ServerOptions) -> Retrieval:
    """What a body of `/retrieve` asks.

    Raises:
        ValueError: it is no such request, or one of its queries is none.
        TooLarge: there are too many queries, passages or pixels.
    """
    request = RetrieveRequest.model_validate_json(body)
    k = _top_k(request.topk, options, "topk")
    num_queries = _num_queries(request)
    _refuse_above(num_queries, options.max_queries, "queries")
    types = _types(request.modality, num_queries)
    lists = {name: _entries(request, name, num_queries) for name in LISTS}
    budget = PixelBudget(
        per_image=options.max_image_megapixels, left=options.max_request_megapixels
    )
    queries = []
    for place, type in enumerate(types):
        given = {name: entries[place] for name, entries in lists.items()}
        for words in (given["queries"], given["questions"]):
            _refuse_above(len(words or ""), options.max_query_characters, "characters")
        queries.append(_query(type, given, place, budget))
    return Retrieval(
        queries=tuple(queries),
        k=k,
        region_crop=request.region_crop,
        return_scores=request.return_scores,
    )


def read_reranking(body: bytes, options: ServerOptions) -> Reranking:
    """What a body of `/rerank` asks.

    Raises:
        ValueError: it is no such request.
        TooLarge: there are too many documents.
    """
    request = RerankRequest.model_validate_json(body)
    if len(request.documents) != len(request.queries):
        raise ValueError(
            f"documents has {len(request.documents)} lists for {len(request.queries)} queries"
        )
    _refuse_above(sum(map(len, request.documents)), options.max_queries, "documents")
    return Reranking(
        queries=tuple(request.queries),
        documents=tuple(tuple(found) for found in request.documents),
        passages=tuple(tuple(_contents(one) for one in found) for found in request.documents),
        k=_top_k(request.rerank_topk, options, "rerank_topk"),
        return_scores=request.return_scores,
    )


def _top_k(asked: int | None, options: ServerOptions, name: str) -> int:
    k = asked or options.topk
    _refuse_above(k, options.max_topk, name)
    return k


def _refuse_above(count: int, limit: int, name: str) -> None:
    if count > limit:
        raise TooLarge(f"{name}: {count} are more than the {limit} that this server takes")


def _num_queries(request: RetrieveRequest) -> int:
    """As many as the modalities, if they are listed; else as the list that the modality needs."""
    if isinstance(request.modality, list):
        return len(request.modality)
    is_text = query_type(request.modality) is QueryType.text
    name = "queries" if is_text else "images"
    needed = getattr(request, name)
    if needed is None:
        raise ValueError(f"{name} is missing, which modality={request.modality} needs")
    return len(needed)


def _entries(request: RetrieveRequest, name: str, num_queries: int) -> list[Any]:
    entries = getattr(request, name)
    if entries is None:
        return [None] * num_queries
    if len(entries) != num_queries:
        raise ValueError(f"{name} has {len(entries)} entries for {num_queries} queries")
    return entries


def _types(modality: str | list[str], num_queries: int) -> list[QueryType]:
    names = modality if isinstance(modality, list) else [modality] * num_queries
    return [query_type(name) for name in names]


def _query(type: QueryType, given: dict[str, Any], place: int, budget: PixelBudget) -> Query:
    """The query that the entries `given` in the lists make.

    Raises:
        ValueError: one is missing, is too many, or cannot be read.
    """
    may_ask = type is not QueryType.text
    for name, value in given.items():
        if name == "questions" and may_ask:
            continue
        if (value is not None) is not (name in NEEDS[type]):
            state = "missing" if value is None else "given"
            raise ValueError(
                f"{name}[{place}] is {state}: a query by {type} is {' and '.join(NEEDS[type])}"
            )
    if not may_ask:
        return Query.of_text(given["queries"])
    question = given["questions"]
    image = _named(f"images[{place}]", decode_image, given["images"], budget)
    if type is QueryType.image:
        return Query.of_image(image, question=question)
    mask = _named(f"regions[{place}]", _mask, given["regions"], image)
    return Query.of_region(image, mask, question=question)


def _named(name: str, read: Callable[..., Any], *arguments: Any) -> Any:
    """What `read` returns; what it refuses is told with the name of the thing."""
    try:
        return read(*arguments)
    except ValueError as error:
        raise type(error)(f"{name}: {error}") from error


def _mask(region: list[float] | RunLengths, image: Image.Image) -> Bool[np.ndarray, "height width"]:
    if isinstance(region, list):
        return _box_mask(region, image)
    if region.size != [image.height, image.width]:
        raise ValueError(f"the RLE is {region.size}, its image [{image.height}, {image.width}]")
    mask = decode_mask(region.size, region.counts)
    if not mask.any():
        raise ValueError("the mask is empty")
    return mask


def _box_mask(box: Sequence[float], image: Image.Image) -> Bool[np.ndarray, "height width"]:
    """All pixels that a box touches."""
    left, top, right, bottom = box
    if not (0 <= left < right <= image.width and 0 <= top < bottom <= image.height):
        raise ValueError(
            f"the box {list(box)} is not [left, top, right, bottom] inside "
            f"{image.width}x{image.height} pixels"
        )
    mask = np.zeros((image.height, image.width), dtype=bool)
    mask[floor(top) : ceil(bottom), floor(left) : ceil(right)] = True
    return mask


def _contents(document: dict[str, Any]) -> str:
    """The words of a document, bare or as `/retrieve` wraps one that has a score."""
    inner = document.get("document", document)
    return words_of(inner if isinstance(inner, dict) else {})
