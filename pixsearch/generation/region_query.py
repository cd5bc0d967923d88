"""A region as a query, and what the policy does where its mask is empty."""

from dataclasses import dataclass, replace

from pixsearch.config import OnEmptyMask, PolicyOptions
from pixsearch.generation.records import Mask, Request, SearchRecord
from pixsearch.queries import Query


class EmptyMask(ValueError):
    """The mask of a region search is empty, and the policy says that this is an error."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """A search on its way; `query` is None if the policy skips it."""

    record: SearchRecord
    query: Query | None


def ask_region(
    request: Request, mask: Mask, record: SearchRecord, policy: PolicyOptions, *, place: int
) -> Asked:
    """The query by a mask of the request's image.

    Args:
        record: of the search, its mask not yet in it.
        place: number of region searches earlier in the answer.

    Raises:
        EmptyMask: an empty mask under `policy.on_empty_mask=error`.
        ValueError: the mask has another size than the image.
    """
    image, question = request.image, request.asked
    assert image is not None
    if mask.any():
        query = Query.of_region(image, mask, question=question)
        return Asked(record=replace(record, mask=mask), query=query)
    action = policy.on_empty_mask
    if action is OnEmptyMask.error:
        raise EmptyMask(
            f"request {request.id}: region search {place + 1} has an empty mask; set "
            "policy.on_empty_mask to whole_image or skip to go on"
        )
    whole = Query.of_image(image, question=question)
    query = whole if action is OnEmptyMask.whole_image else None
    return Asked(record=replace(record, mask=mask, empty_mask_action=action), query=query)
