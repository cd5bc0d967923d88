"""What the generation benchmark runs: a random LLaVA and the trajectories it is forced along.

All sides get the same ids: prompt, what is sampled, evidence. So they do the same work, whatever a
random model would have said.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from PIL import Image

from pixsearch.chat import Conversation
from pixsearch.chat_templates import TEMPLATES
from pixsearch.config import BenchGenerationOptions, ChatStyle, ModelOptions, QueryType
from pixsearch.model.drawn import DrawnSizes, draw_model
from pixsearch.model.pixsearch import PixSearch
from pixsearch.queries import Passage

VOCABULARY, SPARE_ROWS = 2000, 48
TOWER_SIDE = 336  # 576 patches, as LLaVA-1.5
WORD = " lamp"  # one token
QUERY_WORDS = 6
SIZES = {
    "25m": {"width": 512, "layers": 8, "tower_width": 256, "tower_layers": 4},
    "100m": {"width": 768, "layers": 14, "tower_width": 384, "tower_layers": 8},
    "500m": {"width": 1536, "layers": 17, "tower_width": 768, "tower_layers": 9},
    "7b": {"width": 4096, "layers": 32, "tower_width": 1024, "tower_layers": 24},
    "tiny": {"width": 64, "layers": 2, "tower_width": 32, "tower_layers": 1},
}
"""name → numbers of the language model and its vision tower."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def build_model(size: str, dtype: str, *, device: str, seed: int) -> PixSearch:
    """A LLaVA of random weights. Its segmenter is as small as can be: no region is asked for."""
    sizes = DrawnSizes(
        vocabulary=VOCABULARY,
        spare_rows=SPARE_ROWS,
        tower_side=TOWER_SIDE,
        segmenter_width=64,
        segmenter_layers=1,
        segmenter_side=64,
        **SIZES[size],
    )
    words = (TEMPLATES[ChatStyle.llava_v1].system, *[WORD * 8] * 100)
    model = draw_model(sizes, ModelOptions(), words=words, seed=seed)
    return model.to(device=device, dtype=DTYPES[dtype]).eval()


@dataclass(frozen=True, kw_only=True)
class ForcedTrajectory:
    """What one answer is made of.

    Attributes:
        image: None in a trajectory of text alone.
        segments: sampled ids between two searches; all but the last end in `</search>`.
        evidence_ids: what comes back from each search.
    """

    id: str
    question: str
    prompt_ids: list[int]
    image: Image.Image | None
    segments: tuple[tuple[int, ...], ...]
    evidence_ids: list[int]

    @cached_property
    def sampled_ids(self) -> list[int]:
        return [token for segment in self.segments for token in segment]

    @property
    def num_searches(self) -> int:
        return len(self.segments) - 1

    @property
    def num_tokens(self) -> int:
        """Prompt, sampled and evidence."""
        evidence = self.num_searches * len(self.evidence_ids)
        return len(self.prompt_ids) + len(self.sampled_ids) + evidence

    def contexts(self) -> Iterator[list[int]]:
        """What stands before each segment."""
        ids = list(self.prompt_ids)
        for segment in self.segments:
            yield list(ids)
            ids += [*segment, *self.evidence_ids]


def make_trajectories(
    model: PixSearch, options: BenchGenerationOptions, *, number: int, with_image: bool = True
) -> list[ForcedTrajectory]:
    """Trajectories whose searches stand at places of their own, each about an image of its own."""
    generator = np.random.default_rng(options.seed)
    question, prompt_ids = _question_of_length(model, options.prompt_tokens, with_image)
    evidence_ids, _ = model.renderer.evidence_ids(
        passages(model, options.evidence_tokens), question=question
    )
    return [
        ForcedTrajectory(
            id=str(place),
            question=question,
            prompt_ids=prompt_ids,
            image=_noise(generator) if with_image else None,
            segments=_segments(model, options, generator),
            evidence_ids=evidence_ids,
        )
        for place in range(number)
    ]


def passages(model: PixSearch, num_tokens: int) -> list[Passage]:
    """One passage whose evidence takes so many tokens, its tags counted."""
    room = num_tokens - model.renderer.num_evidence_tokens("")
    text = WORD * room
    while len(model.renderer.plain_ids(text)) > room:
        text = text.removesuffix(WORD)
    return [Passage(id="0", title="", text=text)]


def _question_of_length(
    model: PixSearch, num_tokens: int, with_image: bool
) -> tuple[str, list[int]]:
    """A question whose prompt takes so many tokens, those of its image counted.

    Raises:
        ValueError: the prompt is longer without any question.
    """
    number = num_tokens
    while number > 0:
        question = (WORD * number).strip()
        conversation = Conversation.question(question, has_image=with_image)
        ids = model.renderer.render_prompt(conversation).input_ids
        if len(ids) <= num_tokens:
            return question, ids
        number -= len(ids) - num_tokens
    raise ValueError(f"prompt_tokens={num_tokens}: image and system words take more; raise it")


def _segments(
    model: PixSearch, options: BenchGenerationOptions, generator: np.random.Generator
) -> tuple[tuple[int, ...], ...]:
    """`generated_tokens` ids, searches closed at random places, at least a query apart."""
    ids = model.config.ids
    payload = model.renderer.payload_ids(QueryType.text, WORD * QUERY_WORDS)
    (word,) = set(model.renderer.plain_ids(WORD * 2))
    free = options.generated_tokens - options.num_searches * len(payload) - 1
    if free < 0:
        raise ValueError(
            f"generated_tokens={options.generated_tokens} has no room for "
            f"num_searches={options.num_searches} of {len(payload)} tokens"
        )
    cuts = np.sort(generator.integers(0, free + 1, options.num_searches)).tolist()
    lengths = np.diff([0, *cuts, free]).tolist()
    searched = [(*[word] * length, *payload) for length in lengths[:-1]]
    return (*searched, (*[word] * lengths[-1], ids.end))


def _noise(generator: np.random.Generator) -> Image.Image:
    shape = (TOWER_SIDE, TOWER_SIDE, 3)
    return Image.fromarray(generator.integers(0, 256, shape, dtype=np.uint8))
