"""Drives a random model along given trajectories, and keeps the logits that it gave on the way."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from pixsearch.config import GenerationOptions, PolicyOptions
from pixsearch.generation import Engine, Request, Trajectory
from pixsearch.generation.cache_budget import bytes_per_token
from pixsearch.generation.row import Row
from pixsearch.model import PixSearch
from pixsearch.queries import Passage, Query

QUESTION = "What is the name of the red cup?"


def ids_of(model: PixSearch, *parts: str) -> list[int]:
    """Ids of words and of the fields of `TokenIds`, the latter written as `:search`.

    `:end` is put at the end.
    """
    ids = []
    for part in (*parts, ":end"):
        is_token = part.startswith(":")
        ids += [getattr(model.config.ids, part[1:])] if is_token else model.renderer.plain_ids(part)
    return ids


class Scripted:
    """A `choose` that follows one script of ids per request; `None` in its place is greedy."""

    def __init__(self, scripts: dict[str, list[int]]) -> None:
        self._scripts = scripts
        self.logits: dict[tuple[str, int], Float[Tensor, " vocabulary"]] = {}

    def __call__(
        self, logits: Float[Tensor, "num_rows vocabulary"], rows: Sequence[Row]
    ) -> Int[Tensor, " num_rows"]:
        for row, row_logits in zip(rows, logits, strict=True):
            self.logits[row.request.id, len(row.rendered)] = row_logits
        return torch.tensor([self._scripts[row.request.id][row.state.sampled] for row in rows])


class RecordingSearch:
    """A searcher that returns the passages it was given, and keeps what it was asked."""

    def __init__(self, *texts: str) -> None:
        self._texts = texts or ("The Velmora cup is made in Tarnwick.",)
        self.calls: list[list[Query]] = []

    @property
    def queries(self) -> list[Query]:
        return [query for call in self.calls for query in call]

    def __call__(self, queries: Sequence[Query]) -> list[list[Passage]]:
        self.calls.append(list(queries))
        return [self._passages() for _ in queries]

    def _passages(self) -> list[Passage]:
        return [
            Passage(id=f"passage {index}", title="", text=text)
            for index, text in enumerate(self._texts)
        ]


def gib_of(model: PixSearch, num_tokens: int) -> float:
    """What the keys and values of so many tokens take."""
    config = model.config.backbone.get_text_config()
    return num_tokens * bytes_per_token(config, model.dtype) / 2**30


def picture(seed: int = 0, *, height: int = 20, width: int = 30) -> Image.Image:
    """Noise of the given size."""
    values = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def run_script(
    model: PixSearch,
    *parts: str,
    search: RecordingSearch | None = None,
    policy: PolicyOptions | None = None,
    options: GenerationOptions | None = None,
    request: Request | None = None,
) -> Trajectory:
    """One request along one script, by default about a picture."""
    request = request or Request(id="one", question=QUESTION, image=picture())
    engine = Engine(
        model,
        search or RecordingSearch(),
        policy or PolicyOptions(),
        options or GenerationOptions(),
        choose=Scripted({request.id: ids_of(model, *parts)}),
    )
    return engine.generate([request])[0]
