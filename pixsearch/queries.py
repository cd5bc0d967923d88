"""What is asked of the knowledge source, and what comes back: where generation meets retrieval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool
from PIL import Image

from pixsearch.config import Control, PolicyOptions, QueryType, RegionCrop


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """One search. Build it with `Query.of_text`, `Query.of_image` or `Query.of_region`.

    Attributes:
        question: what is to be answered, for image and region queries: it chooses among the chunks
            of a document that was found (`FromDocument.nearest`) and finds nothing by itself.
    """

    type: QueryType
    text: str | None = None
    image: Image.Image | None = None
    mask: Bool[np.ndarray, "height width"] | None = None
    question: str | None = None

    @classmethod
    def of_text(cls, text: str) -> "Query":
        return cls(type=QueryType.text, text=text)

    @classmethod
    def of_image(cls, image: Image.Image, *, question: str | None = None) -> "Query":
        return cls(type=QueryType.image, image=image, question=question)

    @classmethod
    def of_region(
        cls,
        image: Image.Image,
        mask: Bool[np.ndarray, "height width"],
        *,
        question: str | None = None,
    ) -> "Query":
        """A region of `image`; the mask has the image's own height and width in pixels.

        Raises:
            ValueError: mask and image differ in size.
        """
        if mask.shape != (image.height, image.width):
            raise ValueError(
                f"the mask is {mask.shape[0]}x{mask.shape[1]}, "
                f"its image {image.height}x{image.width} (height x width)"
            )
        return cls(type=QueryType.region, image=image, mask=mask, question=question)


@dataclass(frozen=True, kw_only=True)
class Passage:
    """One text that a search returned.

    Attributes:
        id: the document's id in the knowledge base.
        text: the words that are injected.
        score: similarity to the query, higher is nearer.
    """

    id: str
    title: str
    text: str
    score: float = 0.0


class SearchFailed(OSError):
    """The knowledge source did not answer: it is away, too slow, busy, or its reply is no reply.

    Not for what is wrong with the options or the index, which is a `ValueError`.

    Attributes:
        is_temporary: asking again may help.
        retry_after: seconds before which it will not.
        status: of HTTP, where a server answered with one.
    """

    def __init__(
        self,
        reason: str,
        *,
        is_temporary: bool = True,
        retry_after: float = 0.0,
        status: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.is_temporary = is_temporary
        self.retry_after = retry_after
        self.status = status


Search = Callable[[Sequence[Query]], list[list[Passage]]]
"""All that generation knows of retrieval: queries in, for each its passages, nearest first."""


@runtime_checkable
class AnySearcher(Protocol):
    """What is asked of a searcher; pixsearch.retrieval has one.

    One that takes several calls at a time, each in a thread of its own, says how many as
    `calls_at_a_time`; others are asked one after the other.
    """

    def search(
        self, queries: Sequence[Query], k: int, *, region_crop: RegionCrop
    ) -> list[list[Passage]]: ...


def check_k(k: int) -> None:
    """See that a search asks for something.

    Raises:
        ValueError: it does not.
    """
    if k < 1:
        raise ValueError(f"k={k}: ask for at least one passage")


def has_words(text: str | None) -> bool:
    """Whether there is anything to search by."""
    return bool(text and text.strip())


def refuse_control(policy: PolicyOptions) -> None:
    """See that a policy asks for no control experiment, which needs a benchmark's gold.

    Raises:
        ValueError: it does.
    """
    if policy.control is not Control.none:
        raise ValueError(
            f"policy.control={policy.control}: control experiments need a benchmark; use "
            "scripts/evaluate.py"
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchUnderPolicy:
    """A searcher with a policy's number of passages and its crop of regions; a `Search`."""

    searcher: AnySearcher
    policy: PolicyOptions

    @property
    def calls_at_a_time(self) -> int:
        """See `AnySearcher`."""
        return calls_at_a_time(self.searcher)

    def __call__(self, queries: Sequence[Query]) -> list[list[Passage]]:
        policy = self.policy
        return self.searcher.search(queries, k=policy.k, region_crop=policy.region_crop)


def search_under(policy: PolicyOptions, searcher: AnySearcher) -> Search:
    """The searcher with a policy's number of passages and its crop of regions."""
    return SearchUnderPolicy(searcher=searcher, policy=policy)


def calls_at_a_time(search: Search | AnySearcher) -> int:
    """How many calls a searcher takes at a time, each in a thread of its own."""
    return getattr(search, "calls_at_a_time", 1)
