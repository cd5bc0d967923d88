"""What is encoded: the texts or the images of a knowledge base, by their place among all."""

import hashlib
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int64

from pixsearch.retrieval.knowledge_base import Document, KnowledgeBase


@runtime_checkable
class Source(Protocol):
    """Items in a fixed order, each of which becomes a vector.

    Attributes:
        rows: of each item, the row of its document in the knowledge base.
    """

    rows: Int64[np.ndarray, " count"]

    def items(self, first: int, last: int) -> Iterator[Any]:
        """The items at places `first` to `last` - 1, each read when it is asked for."""
        ...

    def size(self, item: Any) -> int:
        """How much work an item is: items of like size are encoded together."""
        ...

    def name(self, place: int) -> str:
        """An item, for an error."""
        ...

    def digest(self, first: int, last: int) -> str:
        """sha256 of what the vectors of these items hang on."""
        ...


class TextSource:
    """The texts of all documents, each with a prefix."""

    def __init__(self, knowledge_base: KnowledgeBase, prefix: str = "") -> None:
        self._knowledge_base = knowledge_base
        self._prefix = prefix
        self.rows = np.arange(len(knowledge_base))

    def items(self, first: int, last: int) -> Iterator[str]:
        documents = (self._knowledge_base.document(row) for row in range(first, last))
        return (self._prefix + document.text for document in documents)

    def size(self, item: str) -> int:
        return len(item)

    def name(self, place: int) -> str:
        return f"document {self._knowledge_base.document(place).id!r}"

    def digest(self, first: int, last: int) -> str:
        total = hashlib.sha256()
        for text in self.items(first, last):
            encoded = text.encode()
            total.update(f"{len(encoded)}\n".encode() + encoded)
        return total.hexdigest()


class ImageSource:
    """All images of all documents."""

    def __init__(
        self, knowledge_base: KnowledgeBase, num_images: Int64[np.ndarray, " num_documents"]
    ) -> None:
        """
        Args:
            num_images: of each document.
        """
        self._knowledge_base = knowledge_base
        self.rows = np.repeat(np.arange(len(num_images)), num_images)
        self._firsts = np.cumsum(num_images) - num_images

    def items(self, first: int, last: int) -> Iterator[Any]:
        return (self._knowledge_base.image(*self._found(place)) for place in range(first, last))

    def size(self, item: Any) -> int:
        return 0  # an encoder brings all images to one size

    def name(self, place: int) -> str:
        document, path = self._found(place)
        return f"image {path} of document {document.id!r}"

    def digest(self, first: int, last: int) -> str:
        """Paths and digests of files, as `KnowledgeBase.images_sha256` takes them."""
        total = hashlib.sha256()
        for place in range(first, last):
            document, path = self._found(place)
            total.update(f"{path}:{self._knowledge_base.image_digest(document, path)}\n".encode())
        return total.hexdigest()

    def _found(self, place: int) -> tuple[Document, str]:
        row = int(self.rows[place])
        document = self._knowledge_base.document(row)
        return document, document.images[place - int(self._firsts[row])]


def count_images(
    knowledge_base: KnowledgeBase, *, max_characters: int
) -> Int64[np.ndarray, " num_documents"]:
    """The number of images of each document, in one pass over all of them.

    Raises:
        ValueError: a document's title and contents are longer than `max_characters`.
    """
    counts = np.zeros(len(knowledge_base), dtype=np.int64)
    for row, document in enumerate(knowledge_base):
        if len(document.text) > max_characters:
            raise ValueError(
                f"{knowledge_base.corpus_path}: document {document.id!r} has {len(document.text)} "
                f"characters, more than build.max_document_characters={max_characters}: cut it "
                "into several or raise the limit"
            )
        counts[row] = len(document.images)
    return counts
