"""What is asked about an image and answered with masks, and what the masks should be."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Integer
from PIL import Image
from torch import Tensor

from pixsearch.chat import Conversation, Message, Part, Role, Text
from pixsearch.datasets.example import Masks
from pixsearch.datasets.templates import ask, reply
from pixsearch.evaluation.metrics.segmentation import Mask
from pixsearch.images import SegmenterFrame

NO_LABEL = 255  # in `ClassLabels`: a pixel whose class is not known, which counts for nothing

ClassLabels = Integer[np.ndarray, "height width"]
"""Each pixel's class, from 0 on, or `NO_LABEL`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskQuestion:
    """A question whose answer grounds phrases.

    Attributes:
        id: unique within a benchmark; the wording hangs on it.
        phrases: those that the answer should ground, in their order.
        answer: the words that are given to the model where it does not write its own.
    """

    id: str
    text: str
    phrases: tuple[str, ...]
    answer: tuple[Part, ...]

    @classmethod
    def of_phrases(cls, id: str, phrases: Sequence[str]) -> "MaskQuestion":
        """In the words of stage 1's training, which a hash of the id chooses."""
        return cls(
            id=id,
            text=ask(phrases, key=id),
            phrases=tuple(phrases),
            answer=reply(phrases, key=id),
        )

    @property
    def answered(self) -> Conversation:
        """The question with the answer that is given."""
        asked = Message(role=Role.USER, parts=(Text(text=self.text),))
        answer = Message(role=Role.ASSISTANT, parts=self.answer)
        return Conversation(messages=(asked, answer), has_image=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskAnswer:
    """The masks of an answer, in its order.

    Attributes:
        text: its words, as the model wrote them; empty where they were given to it.
        phrases: one for each mask.
        masks: in the image's own pixels; none where the logits were asked for.
        mask_logits: the mask decoder's, which `frame` enlarges; none unless they were asked for.
    """

    text: str
    phrases: tuple[str, ...]
    masks: tuple[Mask, ...]
    mask_logits: tuple[Float[Tensor, "low low"], ...]
    frame: SegmenterFrame

    def logits_in_image(
        self, place: int, *, height: int, width: int
    ) -> Float[np.ndarray, "height width"]:
        """Logits of one mask in the image's own pixels."""
        one = self.mask_logits[place][None]
        return self.frame.to_image(one, height=height, width=width)[0].cpu().numpy()


@dataclass(frozen=True, kw_only=True, eq=False)
class PhraseTarget:
    """The masks of a sample's phrases.

    Attributes:
        ignored: pixels that count for nothing; None if there are none.
    """

    masks: Masks
    ignored: Bool[np.ndarray, "height width"] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskSample:
    """An image with what is asked about it; image and target are decoded when called for.

    Attributes:
        image_id: of the image, unique within a benchmark; a bootstrap draws it as a whole.
        questions: asked one by one, each as if it were the only one.
        load_target: a `PhraseTarget`, or `ClassLabels` where label maps are compared.
        has_target: something in the image is meant.
        class_name: of the one class that is asked for; empty where none is.
        slices: label → value by which scores are told apart as well.
    """

    id: str
    image_id: str
    load_image: Callable[[], Image.Image]
    questions: tuple[MaskQuestion, ...]
    load_target: Callable[[], PhraseTarget | ClassLabels]
    has_target: bool = True
    class_name: str = ""
    slices: Mapping[str, str] = field(default_factory=dict)
