"""Passages in a new order, by a cross-encoder that reads each together with the query."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from safetensors import SafetensorError
from sentence_transformers import CrossEncoder
from torch import nn

from pixsearch.config import RerankerOptions
from pixsearch.precision import best_device
from pixsearch.queries import Passage
from pixsearch.retrieval.encoders.fingerprint import described_config, fingerprint
from pixsearch.retrieval.hits import SCORE_DECIMALS
from pixsearch.retrieval.wire import titled


class Reranker:
    """A model of sentence-transformers' `CrossEncoder` with one score per pair.

    Attributes:
        fingerprint: sha256 of its weights and configuration.

    Raises:
        ValueError: there is no such model, it lacks weights, or it has several scores per pair.
    """

    def __init__(self, options: RerankerOptions) -> None:
        self._batch_size = options.batch_size
        self._model = _load(options)
        if self._model.num_labels != 1:
            raise ValueError(
                f"retrieval.reranker.model={options.model}: it gives {self._model.num_labels} "
                "scores per pair, a reranker gives one"
            )
        self.fingerprint = fingerprint(
            described_config(self._model.model.config), self._model.model.state_dict()
        )

    def scores(self, query: str, passages: Sequence[str]) -> Float64[np.ndarray, " num_passages"]:
        """How well each passage answers the query; higher is better.

        Raises:
            ValueError: a score is not finite.
        """
        return self._scores([(query, passage) for passage in passages])

    def rerank(
        self, queries: Sequence[str], found: Sequence[Sequence[Passage]], k: int
    ) -> list[list[Passage]]:
        """The k best of each query's passages with the model's scores, best first.

        All pairs go through the model together. Passages with the same score keep their order.

        Raises:
            ValueError: a score is not finite.
        """
        pairs = [
            (query, titled(passage.title, passage.text))
            for query, passages in zip(queries, found, strict=True)
            for passage in passages
        ]
        scores = iter(self._scores(pairs).tolist())
        scored = [[replace(passage, score=next(scores)) for passage in each] for each in found]
        return [sorted(each, key=lambda passage: -passage.score)[:k] for each in scored]

    def _scores(self, pairs: list[tuple[str, str]]) -> Float64[np.ndarray, " num_pairs"]:
        if not pairs:
            return np.zeros(0)
        scores = self._model.predict(
            pairs,
            batch_size=self._batch_size,
            activation_fn=nn.Identity(),  # a sigmoid makes all that fits well equal
            show_progress_bar=False,
        )
        if not np.isfinite(scores).all():
            raise ValueError("a reranker's score is not finite: check the weights of its model")
        # Padding differs from batch to batch, and with it the last digits.
        return np.round(scores.astype(np.float64), SCORE_DECIMALS)


def _load(options: RerankerOptions) -> CrossEncoder:
    """The model in fp32; weights that its file lacks would be drawn by the library, unseen."""
    try:
        model = CrossEncoder(
            options.model,
            revision=options.revision,
            device=str(best_device()),
            local_files_only=Path(options.model).is_dir(),
            model_kwargs={"dtype": torch.float32},
        )
        _, report = type(model.model).from_pretrained(
            options.model, revision=options.revision, device_map="meta", output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ValueError(
            f"retrieval.reranker.model={options.model}: no cross-encoder can be loaded: {reason}"
        ) from error
    if missing := report["missing_keys"]:
        raise ValueError(
            f"retrieval.reranker.model={options.model}: {len(missing)} of its weights are missing "
            f"({min(missing)}, …): give a trained cross-encoder"
        )
    return model.eval().requires_grad_(False)
