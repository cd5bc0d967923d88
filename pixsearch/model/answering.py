"""`PixSearch.answer`: the model, a searcher and a policy in one call.

The one place where the model looks down to generation; it is imported when it is called.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool
from PIL import Image
from transformers import PreTrainedModel

from pixsearch.config import GenerationOptions, PolicyOptions
from pixsearch.queries import AnySearcher, refuse_control, search_under


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What the model says to a question.

    Attributes:
        text: the answer without what stands before the last search.
        phrases, masks: what it grounded, in order; masks in the image's own pixels.
        trajectory: all of it, with searches and evidence: pixsearch.generation's `Trajectory`.
    """

    text: str
    phrases: tuple[str, ...]
    masks: tuple[Bool[np.ndarray, "height width"], ...]
    trajectory: Any


def answer(
    model: PreTrainedModel,
    image: Image.Image | None,
    question: str,
    searcher: AnySearcher,
    policy: PolicyOptions | None = None,
    generation: GenerationOptions | None = None,
) -> Answer:
    """See `PixSearch.answer`."""
    from pixsearch.generation import Engine, Request

    policy = policy or PolicyOptions()
    refuse_control(policy)
    engine = Engine(
        model, search_under(policy, searcher), policy, generation or GenerationOptions()
    )
    trajectory = engine.generate([Request(id="answer", question=question, image=image)])[0]
    return Answer(
        text=trajectory.answer_text,
        phrases=tuple(grounded.phrase for grounded in trajectory.grounded),
        masks=tuple(grounded.mask for grounded in trajectory.grounded),
        trajectory=trajectory,
    )
