"""Options of the masks that Grounding DINO and SAM find for phrases."""

from dataclasses import dataclass


@dataclass
class GroundingDinoOptions:
    """Boxes by Grounding DINO, a mask in each box by SAM, both transformers' own."""

    detector: str = "IDEA-Research/grounding-dino-base"  # folder or hub id
    detector_revision: str | None = None  # commit on the hub; null: the newest there is
    segmenter: str = "facebook/sam-vit-huge"  # folder or hub id of a SAM
    segmenter_revision: str | None = None
    box_threshold: float = 0.35  # a box shows a phrase if its best word scores more
    text_threshold: float = 0.25  # words that score more are what a box shows
    every_box: bool = False  # the mask of a phrase is that of all its boxes, not of the best

    def __post_init__(self) -> None:
        for name in ("box_threshold", "text_threshold"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ValueError(f"grounding_dino.{name}={value}: between 0 and 1 is needed")
