"""The renderer of a model; it needs the model's config and tokenizer, and no weights."""

from transformers import PreTrainedTokenizerFast

from pixsearch.chat import ChatRenderer
from pixsearch.config import GroundBy
from pixsearch.model.config import PixSearchConfig
from pixsearch.model.families import family_of


def renderer_of(config: PixSearchConfig, tokenizer: PreTrainedTokenizerFast) -> ChatRenderer:
    """The one renderer for a model's tokens and template."""
    fixed = family_of(config).fixed_layout
    return ChatRenderer(
        tokenizer,
        config.ids,
        num_image_tokens=fixed.num_tokens if fixed else None,
        template=config.chat_template,
        ground_by=GroundBy(config.ground_by),
    )
