"""What all readers of sources return."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Article:
    """One article of a source.

    Attributes:
        text: all its words; "" if the source has none.
        image_url: address of its image, if it has one.
    """

    id: str
    title: str
    text: str
    image_url: str | None = None
