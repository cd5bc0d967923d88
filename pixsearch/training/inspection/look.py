"""What is found out about one example, its image apart."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from pixsearch.chat import Searched
from pixsearch.datasets.batch import load_masks_of
from pixsearch.datasets.example import Example
from pixsearch.model.config import PixSearchConfig
from pixsearch.model.families import family_of
from pixsearch.rendering import Rendered
from pixsearch.training.inspection.draws import Drawn

Render = Callable[[Example], Rendered]


@dataclass(frozen=True, kw_only=True)
class Looked:
    """An example as training sees it, or why it sees none.

    Attributes:
        example, rendered: None where reading or rendering failed.
        mask_shares: of each mask, the pixels that it covers as a share of the image.
        error: what would stop training here.
    """

    dataset: str
    place: str
    example: Example | None = None
    rendered: Rendered | None = None
    mask_shares: tuple[float, ...] = ()
    error: str | None = None

    @property
    def searches(self) -> list[Searched]:
        messages = self.example.conversation.messages if self.example else ()
        return [
            part for message in messages for part in message.parts if isinstance(part, Searched)
        ]


def look(drawn: Drawn, render: Render) -> Looked:
    """Read, render and decode the masks of an example; what cannot be done is noted in it."""
    example, rendered, shares, error = None, None, (), None
    try:
        example = drawn.load()
        rendered = render(example)
        shares = _mask_shares(example)
    except (ValueError, OSError) as found:
        error = str(found)
    return Looked(
        dataset=drawn.dataset,
        place=drawn.place,
        example=example,
        rendered=rendered,
        mask_shares=shares,
        error=error,
    )


def without_masks(looked: Looked) -> Looked:
    """What is counted, without the decoded label map that an example holds on to."""
    if looked.example is None:
        return looked
    return replace(looked, example=replace(looked.example, load_masks=None, load_ignore=None))


def image_tokens_of(config: PixSearchConfig) -> Callable[[Example], int]:
    """Placeholders of an example's image; it is decoded where they hang on its size."""
    family = family_of(config)
    fixed = family.fixed_layout

    def count(example: Example) -> int:
        if fixed is not None or example.load_image is None:
            return fixed.num_tokens if fixed is not None else 0
        image = example.load_image()
        return family.layout((image.height, image.width)).num_tokens

    return count


def _mask_shares(example: Example) -> tuple[float, ...]:
    masks = load_masks_of(example)
    return () if masks is None else tuple(float(mask.mean()) for mask in masks)
