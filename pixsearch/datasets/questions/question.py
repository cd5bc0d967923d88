"""One question of a question-answering data set, whichever file it came from."""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True, kw_only=True)
class OfficialFields:
    """What else the official files say that a scorer, a prompt or a teacher needs.

    Attributes:
        compared_answers: what the official scorer compares with, where these are not `answers`:
            further accepted forms (InfoSeek) or stemmed ones (OK-VQA).
        answer_range: lowest and highest number that counts as right (InfoSeek, numerical).
        choices, correct_choice: of multiple choice, and the place of the right one (A-OKVQA).
        rationales: why the answer is right, in annotators' words (A-OKVQA).
        image_words: words that an OCR system read in the image (TextVQA).
        evidence: texts of what the annotators call evidence, in the order of `supporting` (WebQA,
            MuSiQue); sentences, or parts of them (HotpotQA, Encyclopedic-VQA).
    """

    compared_answers: tuple[str, ...] = ()
    answer_range: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()
    correct_choice: int | None = None
    rationales: tuple[str, ...] = ()
    image_words: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class AnnotatedQuestion:
    """A question with the answers that its annotators accept.

    Attributes:
        id: the official one as text; unique within its data set and split.
        answers: accepted answers, the one to teach first; none where a test split withholds them.
            How often annotators gave each is kept: ten annotators make ten entries.
        image_id, load_image: as in `Example`; None for a question without an image.
        image_file: the image's own file, where it has one; None where it lies inside another.
        history: earlier turns of the same conversation, each a question and its answer.
        session_id: of the conversation; None where questions stand alone.
        entity_id: what the question is about in the knowledge source (a Wikidata id, an article's
            address), where the annotation says so.
        supporting: titles or ids of what the annotators call evidence.
        labels: the official classes of the question by their official names.
        official: what else the files say.
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
    official: OfficialFields = OfficialFields()
