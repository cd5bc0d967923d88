"""What was found for a query is kept for when it is asked again."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from PIL import Image

from pixsearch.config import RegionCrop
from pixsearch.queries import Passage, Query

Find = Callable[[list[Query]], list[list[Passage]]]


@dataclass(frozen=True, kw_only=True)
class ResultKey:
    """All that decides what a search finds.

    Attributes:
        index: says which indexes are searched, and how.
        image, mask: sha256, None without one.
    """

    index: str
    type: str
    text: str | None
    question: str | None
    image: str | None
    mask: str | None
    k: int
    region_crop: RegionCrop


@dataclass(frozen=True, kw_only=True)
class CacheCounts:
    """What came of the queries so far.

    Attributes:
        hits: found here.
        misses: searched for.
        evictions: results that were dropped to make room.
        entries: results that are here now.
    """

    hits: int
    misses: int
    evictions: int
    entries: int


class ResultCache:
    """The results of the queries asked last, for any number of threads.

    A query is the same if its words, its pixels, its mask, k and the crop are, and the indexes; an
    image is known by the sha256 of its pixels. What failed is not kept.

    Args:
        entries: results that are kept, the one that was asked for least recently goes first.
        index: of one searcher; results of another index are never returned.
    """

    def __init__(self, entries: int, *, index: str) -> None:
        assert entries > 0
        self._entries = entries
        self._index = index
        self._results: OrderedDict[ResultKey, tuple[Passage, ...]] = OrderedDict()
        self._lock = threading.Lock()
        self._hits = self._misses = self._evictions = 0

    def search(
        self, queries: Sequence[Query], k: int, region_crop: RegionCrop, find: Find
    ) -> list[list[Passage]]:
        """What is known of each query; all others are found in one call, each once."""
        keys = [result_key(query, k, region_crop, index=self._index) for query in queries]
        known = self._known(keys)
        missing = {key: query for key, query in zip(keys, queries, strict=True) if key not in known}
        if missing:
            found = find(list(missing.values()))
            known |= self._kept(dict(zip(missing, map(tuple, found), strict=True)))
        return [list(known[key]) for key in keys]

    def counts(self) -> CacheCounts:
        with self._lock:
            return CacheCounts(
                hits=self._hits,
                misses=self._misses,
                evictions=self._evictions,
                entries=len(self._results),
            )

    def _known(self, keys: Sequence[ResultKey]) -> dict[ResultKey, tuple[Passage, ...]]:
        with self._lock:
            known = {key: self._results[key] for key in keys if key in self._results}
            for key in known:
                self._results.move_to_end(key)
            found = sum(key in known for key in keys)
            self._hits += found
            self._misses += len(keys) - found
        return known

    def _kept(
        self, found: dict[ResultKey, tuple[Passage, ...]]
    ) -> dict[ResultKey, tuple[Passage, ...]]:
        with self._lock:
            self._results |= found
            while len(self._results) > self._entries:
                self._results.popitem(last=False)
                self._evictions += 1
        return found


def result_key(query: Query, k: int, region_crop: RegionCrop, *, index: str) -> ResultKey:
    """The key of a query's result."""
    return ResultKey(
        index=index,
        type=query.type.value,
        text=query.text,
        question=query.question,
        image=None if query.image is None else image_sha256(query.image),
        mask=None if query.mask is None else _mask_sha256(query.mask),
        k=k,
        region_crop=region_crop,
    )


def image_sha256(image: Image.Image) -> str:
    """Of all that decides an image's colours: mode, size, palette, transparency and pixels."""
    described = (image.mode, image.size, image.getpalette(), image.info.get("transparency"))
    digest = hashlib.sha256(repr(described).encode())
    digest.update(image.tobytes())
    return digest.hexdigest()


def _mask_sha256(mask: Bool[np.ndarray, "height width"]) -> str:
    return hashlib.sha256(repr(mask.shape).encode() + np.packbits(mask).tobytes()).hexdigest()
