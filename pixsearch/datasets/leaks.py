"""What of an evaluation split has got into training data.

The same session, question, expression or annotation blocks; the same image is counted. Questions
and expressions are compared by hashes, in one pass over either side.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path

from pixsearch.datasets.exclusion import known_image
from pixsearch.datasets.files import require
from pixsearch.datasets.questions.question import AnnotatedQuestion
from pixsearch.datasets.refcoco import read_refs

_NO_IMAGE = "no image"
_OF_A_REF = ("ref_id", "ann_id", "file_name", "sentences")


class LeakReason(StrEnum):
    """What the two sides have in common."""

    session = "session"  # the same conversation
    question = "question"  # the same words about the same image, or about none
    annotation = "annotation"  # the same annotated object
    expression = "expression"  # the same words for something in the same image
    image = "image"


_COUNTED = frozenset({LeakReason.image})  # RefCOCO's test images lie in COCO train


@dataclass(frozen=True, kw_only=True)
class Leak:
    """Something to be trained on that has to do with something held out.

    Attributes:
        held_out_id: one of those held out that it has this in common with.
        blocking: it must not be trained on; else it is counted.
    """

    question_id: str
    held_out_id: str
    reason: LeakReason
    blocking: bool


@dataclass(frozen=True, kw_only=True)
class Expression:
    """Words for something in an image, as a segmentation set has them.

    Attributes:
        id: of the expression, for the report.
        annotation_id: of the object in the set's source (COCO), where it is known.
    """

    id: str
    text: str
    image_id: str
    annotation_id: str | None = None


def find_leaks(
    questions: Iterable[AnnotatedQuestion],
    held_out: Iterable[AnnotatedQuestion],
    *,
    by_content: bool = False,
) -> list[Leak]:
    """What questions have in common with those that are held out, each reason once a question.

    Session ids are compared as they are: both sides must take them from one data set.

    Args:
        by_content: decode every image and compare pixels too; else images are the same if their
            ids are, or their official numbers (`known_image`).

    Raises:
        ValueError: an image cannot be decoded, `by_content`.
    """
    kept_out = KeptOut(by_content=by_content)
    for question in held_out:
        kept_out.add(question)
    return list(kept_out.leaks_of(questions))


class KeptOut:
    """What is held out, found by what others may have in common with it; hashes alone are held.

    Args:
        by_content: see `find_leaks`.
        embedded_by_content: do so for images that lie inside other files: their ids name the file,
            and each split has its own.
    """

    def __init__(self, *, by_content: bool = False, embedded_by_content: bool = False) -> None:
        self._images = _Images(by_content, embedded_by_content)
        self._known: dict[int, str] = {}

    def add(self, question: AnnotatedQuestion) -> None:
        """
        Raises:
            ValueError: its image is compared by its pixels and cannot be decoded.
        """
        _note(self._known, question.id, _question_keys(question, self._images))

    def add_images(self, images: Iterable[str], held_out_id: str) -> None:
        """Images of which nothing is asked here.

        Args:
            images: as `known_image` names them.
        """
        for image in images:
            _note(self._known, held_out_id, [_key(LeakReason.image, image)])

    def leaks_of(
        self, questions: Iterable[AnnotatedQuestion], *, skip_broken: bool = False
    ) -> Iterator[Leak]:
        """As `find_leaks`, one after the other.

        Args:
            skip_broken: compare an image that cannot be decoded by its id alone.

        Raises:
            ValueError: an image is compared by its pixels and cannot be decoded.
        """
        images = self._images
        asked = (
            (question.id, _question_keys(question, images, skip_broken)) for question in questions
        )
        return _leaks(asked, self._known)


def find_expression_leaks(
    expressions: Iterable[Expression], held_out: Iterable[Expression]
) -> list[Leak]:
    """What the expressions of a segmentation set have in common with those that are held out."""
    known = _index((expression.id, _expression_keys(expression)) for expression in held_out)
    return list(_leaks(((each.id, _expression_keys(each)) for each in expressions), known))


def count_leaks(leaks: Iterable[Leak]) -> dict[LeakReason, int]:
    """How many there are of each reason; those that do not occur are 0."""
    counted = Counter(leak.reason for leak in leaks)
    return {reason: counted[reason] for reason in LeakReason}


def expressions_of_refs(path: Path, split: str) -> Iterator[Expression]:
    """The expressions of a split of RefCOCO, RefCOCO+ or RefCOCOg.

    Args:
        path: `refs(…).p`, read as pixsearch.datasets.refcoco does.

    Raises:
        ValueError: the file is broken.
    """
    for ref in read_refs(path):
        require(ref, "split", where=f"{path}: a reference")
        if ref["split"] == split:
            require(ref, *_OF_A_REF, where=f"{path}: a reference")
            for sentence in ref["sentences"]:
                require(sentence, "sent", "sent_id", where=f"{path}: reference {ref['ref_id']}")
                yield Expression(
                    id=f"{ref['ref_id']}/{sentence['sent_id']}",
                    text=sentence["sent"],
                    image_id=ref["file_name"],
                    annotation_id=str(ref["ann_id"]),
                )


def normalised_text(text: str) -> str:
    """Words alone: case, accents' spelling, punctuation and spaces make no other question.

    >>> normalised_text("  What's THAT, a cup? ")
    'what s that a cup'
    """
    return " ".join(re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold()))


_Key = tuple[LeakReason, int]


class _Images:
    """Keys of images. Pixels are hashed once an image, if at all."""

    def __init__(self, by_content: bool, embedded_by_content: bool) -> None:
        self._by_content = by_content
        self._embedded_by_content = embedded_by_content
        self._hashes: dict[str, str] = {}

    def keys(self, question: AnnotatedQuestion, skip_broken: bool) -> list[str]:
        if question.image_id is None:
            return []
        known = known_image(question.image_id)
        is_embedded = question.image_file is None and self._embedded_by_content
        if not (self._by_content or is_embedded):
            return [known]
        try:
            return [known, self._content(question)]
        except ValueError:
            if skip_broken:
                return [known]
            raise

    def _content(self, question: AnnotatedQuestion) -> str:
        assert question.image_id is not None
        assert question.load_image is not None
        if question.image_id not in self._hashes:
            image = question.load_image()
            digest = blake2b(image.tobytes(), digest_size=16).hexdigest()
            self._hashes[question.image_id] = f"{image.width}x{image.height}/{digest}"
        return self._hashes[question.image_id]


def _question_keys(
    question: AnnotatedQuestion, images: _Images, skip_broken: bool = False
) -> list[_Key]:
    keys = []
    if question.session_id is not None:
        keys.append(_key(LeakReason.session, question.session_id))
    shown = images.keys(question, skip_broken)
    words = normalised_text(question.question)
    keys += [_key(LeakReason.question, words, image) for image in shown or [_NO_IMAGE]]
    keys += [_key(LeakReason.image, image) for image in shown]
    return keys


def _expression_keys(expression: Expression) -> list[_Key]:
    keys = []
    if expression.annotation_id is not None:
        keys.append(_key(LeakReason.annotation, expression.annotation_id))
    image = known_image(expression.image_id)
    keys.append(_key(LeakReason.expression, normalised_text(expression.text), image))
    keys.append(_key(LeakReason.image, image))
    return keys


def _key(reason: LeakReason, *parts: str) -> _Key:
    """The reason and sixteen bytes that stand for it and the texts: millions are held."""
    digest = blake2b("\0".join((reason, *parts)).encode(), digest_size=16).digest()
    return reason, int.from_bytes(digest, "big")


def _index(held_out: Iterable[tuple[str, list[_Key]]]) -> dict[int, str]:
    """The first of those held out with each key."""
    known: dict[int, str] = {}
    for id, keys in held_out:
        _note(known, id, keys)
    return known


def _note(known: dict[int, str], id: str, keys: Iterable[_Key]) -> None:
    for _, key in keys:
        known.setdefault(key, id)


def _leaks(questions: Iterable[tuple[str, list[_Key]]], known: dict[int, str]) -> Iterator[Leak]:
    for id, keys in questions:
        found: dict[LeakReason, str] = {}
        for reason, key in keys:
            if key in known:
                found.setdefault(reason, known[key])
        for reason, other in found.items():
            blocking = reason not in _COUNTED
            yield Leak(question_id=id, held_out_id=other, reason=reason, blocking=blocking)
