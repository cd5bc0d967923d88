"""One question of a question-answering data set, whichever file it came from."""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True, kw_only=True)
class AnnotatedQuestion:
    """A question with the answers that its annotators accept.

    Attributes:
        id: the official one as text; unique within its data set and split.
        answers: accepted answers, at least one, the one to teach first. How often annotators gave
            each is kept: ten annotators make ten entries.
        image_id, load_image: as in `Example`; None for a question without an image.
        image_file: the image's own file, where it has one; None where it lies inside another.
        history: earlier turns of the same conversation, each a question and its answer.
        session_id: of the conversation; None where questions stand alone.
        entity_id: what the question is about in the knowledge source (a Wikidata id, an article's
            address), where the annotation says so.
        supporting: titles or ids of what the annotators call evidence.
        labels: the official classes of the question by their official names.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    image_id: str | None = None
    load_image: Callable[[], Image.Image] | None = None
    image_file: str | None = None
    history: tuple[tuple[str, str], ...] = ()
    session_id: str | None = None
    entity_id: str | None = None
    supporting: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
