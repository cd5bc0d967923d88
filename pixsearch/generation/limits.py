"""How long a sequence may grow where the options do not say."""

from pixsearch.config import GenerationOptions

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
