"""How large a request may be, and how long its sequence may grow."""

from collections.abc import Sequence

from pixsearch.chat import Text
from pixsearch.config import MAX_SIDE_RATIO, GenerationOptions
from pixsearch.generation.records import Request
from pixsearch.queries import Passage, SearchFailed

TEXT_TOKENS = 2048  # prompt, evidence and answer, beside the tokens of the image


def max_length(
    options: GenerationOptions, *, num_image_tokens: int, num_positions: int | None
) -> int:
    """`generation.max_length`; by default what an image takes and TEXT_TOKENS beside it.

    Args:
        num_image_tokens: of the request's image, 0 without one.
        num_positions: that the language model was made for, which the default does not exceed.

    >>> max_length(GenerationOptions(), num_image_tokens=576, num_positions=4096)
    2624
    >>> max_length(GenerationOptions(), num_image_tokens=2928, num_positions=4096)
    4096
    """
    if options.max_length is not None:
        return options.max_length
    wanted = num_image_tokens + TEXT_TOKENS
    return wanted if num_positions is None else min(wanted, num_positions)


def check_request(request: Request, options: GenerationOptions) -> None:
    """See that a request asks something, and nothing that would take all there is.

    Raises:
        ValueError: the question, or what searches go by, is empty, no token may be sampled,
            question and history are too long, or the image is too large, is little more than a
            line, or cannot be read.
    """
    fewer = request.max_new_tokens
    if fewer is not None and fewer < 1:
        raise ValueError(f"request {request.id}: max_new_tokens={fewer} is below 1")
    if not request.question.strip():
        raise ValueError(f"request {request.id}: the question is empty")
    if not request.asked.strip():
        raise ValueError(
            f"request {request.id}: search_question is empty; leave it out, or fill it"
        )
    parts = [part for message in request.history for part in message.parts]
    turns = [part.text for part in parts if isinstance(part, Text)]
    length = max(len(request.question), len(request.asked)) + sum(len(text) for text in turns)
    if length > options.max_question_characters:
        raise ValueError(
            f"request {request.id}: question and history have {length} characters, "
            f"generation.max_question_characters={options.max_question_characters}"
        )
    if request.image is not None:
        _check_image(request, options)


def _check_image(request: Request, options: GenerationOptions) -> None:
    width, height = request.image.size
    if max(width, height) > MAX_SIDE_RATIO * min(width, height):
        raise ValueError(
            f"request {request.id}: the image has {width}x{height} pixels, one side more than "
            f"{MAX_SIDE_RATIO} times the other; ask about a part of it"
        )
    if width * height > options.max_image_megapixels * 1e6:
        raise ValueError(
            f"request {request.id}: the image has {width}x{height} pixels, "
            f"generation.max_image_megapixels={options.max_image_megapixels}"
        )
    try:
        request.image.load()  # a file that was cut is found out here
    except (OSError, SyntaxError) as error:
        raise ValueError(f"request {request.id}: the image cannot be read: {error}") from error


def check_passages(passages: Sequence[Passage], options: GenerationOptions) -> None:
    """See that a searcher's passages can be tokenised, and in no time.

    Raises:
        SearchFailed: one is too long to be one.
        ValueError: the text of one is none.
    """
    for passage in passages:
        _check_text(passage)
        if len(passage.text) > options.max_passage_characters:
            raise SearchFailed(
                f"passage {passage.id} has {len(passage.text)} characters, "
                f"generation.max_passage_characters={options.max_passage_characters}",
                is_temporary=False,
            )


def _check_text(passage: Passage) -> None:
    """See that a passage has a text of whole characters; half of a surrogate pair is none."""
    try:
        passage.text.encode()
    except (AttributeError, UnicodeEncodeError) as error:
        raise ValueError(
            f"the search failed: the text of passage {passage.id} is none ({error}); mend the "
            "knowledge base, or the searcher"
        ) from error
