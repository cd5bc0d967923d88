"""What every reader of a corpus yields."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CorpusDocument:
    """A document of a corpus.

    Attributes:
        images: contents of image files, encoded as they were found.
    """

    id: str
    title: str
    contents: str
    images: tuple[bytes, ...] = ()
