"""Masks in two modes that are not to be compared with each other.

`free_running`: the model writes the answer, and its masks are taken in the order in which it wrote
them. `teacher_forced`: the answer is given word for word, and its states give the masks, as LISA,
GLaMM and PLUM are scored.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from PIL import Image

from pixsearch.config import GenerationOptions, PolicyOptions
from pixsearch.evaluation.failing_alone import ends_of_each
from pixsearch.evaluation.mask_records import MaskAnswer, MaskQuestion
from pixsearch.generation.engine import Engine
from pixsearch.generation.records import Request, Trajectory
from pixsearch.model.features import ImageFeatures
from pixsearch.model.forced_masks import forced_mask_logits
from pixsearch.model.pixsearch import PixSearch
from pixsearch.queries import Passage, Query

NO_SEARCH = PolicyOptions(name="segmentation", allow=[], max_searches=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageQuestion:
    """A question with its image."""

    question: MaskQuestion
    image_id: str
    load_image: Callable[[], Image.Image]


@dataclass(kw_only=True, eq=False)
class MaskModel:
    """A loaded model that answers with masks.

    Attributes:
        features: encoded images by id, shared by both modes.
        keeps_logits: answers hold the mask decoder's logits and no masks.
    """

    model: PixSearch
    options: GenerationOptions
    features: dict[str, ImageFeatures]
    keeps_logits: bool = False
    _engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self._engine = Engine(
            self.model,
            _no_search,
            NO_SEARCH,
            self.options,
            feature_cache=self.features,
            keeps_mask_logits=self.keeps_logits,
        )

    def free_running(
        self, asked: Sequence[ImageQuestion]
    ) -> Iterator[tuple[str, MaskAnswer | Exception]]:
        """What the model writes, or why nothing, by the questions' ids, each soon after its end."""
        for place, end in ends_of_each(self._engine, [partial(_request, one) for one in asked]):
            answer = end if isinstance(end, Exception) else self._answer(end)
            yield asked[place].question.id, answer

    def teacher_forced(self, asked: ImageQuestion) -> MaskAnswer:
        """The masks of a question's phrases where the model is given the answer."""
        if asked.image_id not in self.features:
            self.features[asked.image_id] = self.model.encode_image([asked.load_image()])
        encoded = self.features[asked.image_id]
        mask_logits = forced_mask_logits(self.model, asked.question.answered, encoded)
        assert len(mask_logits) == len(asked.question.phrases)
        frame = self.model.config.segmenter_frame
        masks = ()
        if not self.keeps_logits:
            height, width = encoded.sizes[0]
            masks = (frame.to_image(mask_logits, height=height, width=width) > 0).cpu().numpy()
        return MaskAnswer(
            text="",
            phrases=asked.question.phrases,
            masks=tuple(masks),
            mask_logits=tuple(mask_logits) if self.keeps_logits else (),
            frame=frame,
        )

    def _answer(self, trajectory: Trajectory) -> MaskAnswer:
        grounded = trajectory.grounded
        return MaskAnswer(
            text=trajectory.all_text,
            phrases=tuple(each.phrase for each in grounded),
            masks=() if self.keeps_logits else tuple(each.mask for each in grounded),
            mask_logits=tuple(
                each.mask_logits for each in grounded if each.mask_logits is not None
            ),
            frame=self.model.config.segmenter_frame,
        )


def _request(asked: ImageQuestion) -> Request:
    return Request(
        id=asked.question.id,
        question=asked.question.text,
        image=asked.load_image(),
        image_id=asked.image_id,
    )


def _no_search(queries: Sequence[Query]) -> list[list[Passage]]:
    raise AssertionError(f"{len(queries)} queries under a policy that allows none")
