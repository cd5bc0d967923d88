"""Counts and lengths over the examples that were read, a table for each thing counted."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from pixsearch.config import QueryType
from pixsearch.rendering import TokenKind
from pixsearch.training.inspection.look import Looked

MANY_SEARCHES = 4  # this many and more are one column
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells as text, the first of each row its dataset."""

    title: str
    heading: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def statistics(looked: Sequence[Looked], *, max_length: int) -> list[Table]:
    """The tables over some examples: a row for each dataset, and one for all if there are several.

    Args:
        max_length: tokens above which training refuses an example.
    """
    groups: dict[str, list[Looked]] = {}
    for one in looked:
        groups.setdefault(one.dataset, []).append(one)
    if len(groups) > 1:
        groups[ALL] = list(looked)
    examples = ("dataset", "drawn", "different", "with an image", "turns", "too long", "errors")
    tokens = ("dataset", "all", "of the image", "supervised", "of evidence")
    numbers = (*map(str, range(MANY_SEARCHES)), f"{MANY_SEARCHES}+")
    searches = ("dataset", *numbers, *(f"by {kind}" for kind in QueryType), "no target")
    masks = ("dataset", "masks of an example", "share of the image in %", "empty")
    columns = {
        f"Examples (too long: above stage.max_length={max_length} tokens)": (
            examples,
            lambda group: _examples(group, max_length),
        ),
        "Tokens of an example (least / median / 95th percentile / most)": (tokens, _tokens),
        "Searches: examples with so many of them, and searches by type": (searches, _searches),
        "Masks (least / median / 95th percentile / most)": (masks, _masks),
    }
    return [
        Table(
            title=title,
            heading=heading,
            rows=tuple((name, *row(group)) for name, group in groups.items()),
        )
        for title, (heading, row) in columns.items()
    ]


def spread(values: Sequence[int | float], digits: int = 0) -> str:
    """Least, median, 95th percentile and most; a dash for no values.

    >>> spread(range(101)), spread([])
    ('0 / 50 / 95 / 100', '-')
    """
    if not len(values):
        return "-"
    found = np.percentile(values, (0, 50, 95, 100))
    return " / ".join(f"{value:.{digits}f}" for value in found)


def _examples(group: Sequence[Looked], max_length: int) -> list[str]:
    read = [one.example for one in group if one.example]
    turns = [len(example.conversation.messages) // 2 for example in read]
    lengths = [len(one.rendered) for one in group if one.rendered]
    numbers = (
        len(group),
        len({(one.dataset, one.example.id) for one in group if one.example}),
        sum(example.conversation.has_image for example in read),
    )
    too_long = sum(length > max_length for length in lengths)
    errors = sum(one.error is not None for one in group)
    return [*map(str, numbers), spread(turns), str(too_long), str(errors)]


def _tokens(group: Sequence[Looked]) -> list[str]:
    rendered = [one.rendered for one in group if one.rendered]
    return [
        spread([len(one) for one in rendered]),
        spread([one.token_kind.count(TokenKind.IMAGE) for one in rendered]),
        spread([sum(one.supervised) for one in rendered]),
        spread([one.token_kind.count(TokenKind.EVIDENCE) for one in rendered]),
    ]


def _searches(group: Sequence[Looked]) -> list[str]:
    of_each = [one.searches for one in group if one.example]
    numbers = Counter(min(len(searches), MANY_SEARCHES) for searches in of_each)
    searches = list(chain.from_iterable(of_each))
    types = Counter(search.type for search in searches)
    counts = [numbers[number] for number in range(MANY_SEARCHES + 1)]
    forced = sum(not search.supervised for search in searches)
    return [str(count) for count in (*counts, *(types[kind] for kind in QueryType), forced)]


def _masks(group: Sequence[Looked]) -> list[str]:
    shares = [share for one in group for share in one.mask_shares]
    percents = spread([100 * share for share in shares], digits=1)
    empty = sum(share == 0 for share in shares)
    return [spread([len(one.mask_shares) for one in group if one.example]), percents, str(empty)]
