"""Queries of all types about the drawn world, in one list."""

from pixsearch.queries import Query

from .test_searcher import image_queries, region_queries, text_queries


def mixed_queries() -> list[Query]:
    """A region, a text and an image about each thing, in turn."""
    trios = zip(region_queries(), text_queries(), image_queries(), strict=True)
    return [query for trio in trios for query in trio]
