"""A loaded checkpoint with its searcher, and by what the answers that they give are known."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixsearch.config import SCHEDULING, EvaluateOptions, GenerationOptions, to_dict
from pixsearch.evaluation.benchmark import Benchmark
from pixsearch.evaluation.checkpoints import model_digest
from pixsearch.evaluation.processes import take_device
from pixsearch.evaluation.question_benchmark import QuestionBenchmark
from pixsearch.evaluation.stored_features import StoredFeatures
from pixsearch.generation.baseline import PlainModel
from pixsearch.generation.features import RecentFeatures
from pixsearch.generation.opening import open_model
from pixsearch.line_store import digest
from pixsearch.model.features import ImageFeatures
from pixsearch.model.pixsearch import PixSearch
from pixsearch.retrieval.info import KnowledgeSource, SourceInfo
from pixsearch.retrieval.opening import open_searcher

SHARED_IMAGES = 1024  # whose features stay in memory; at SAM-H's size about 6 GB

AnsweredBenchmark = Benchmark | QuestionBenchmark


@dataclass(kw_only=True, eq=False)
class Workbench:
    """What all policies of a checkpoint share: one loaded model, one searcher, encoded images."""

    model: PixSearch | PlainModel
    searcher: KnowledgeSource
    features: dict[str, ImageFeatures] = field(
        default_factory=lambda: RecentFeatures(SHARED_IMAGES)
    )

    @classmethod
    def open(cls, options: EvaluateOptions, *, fingerprint: str = "") -> "Workbench":
        """Load checkpoint and index; they stay loaded for the next policy of a multirun.

        Args:
            fingerprint: of the benchmark's files; the features of other images are never reused.
        """
        parts = [to_dict(options.retrieval), to_dict(options.benchmark)]  # names of its images
        parts.append({"feature_store": options.feature_store, "fingerprint": fingerprint})
        checkpoint = model_digest(options.checkpoint)
        key = digest([checkpoint, *parts])
        if key not in _opened:
            _opened.clear()
            take_device()
            model = open_model(options.checkpoint)
            searcher = open_searcher(options.retrieval)
            _opened[key] = cls(
                model=model,
                searcher=searcher,
                features=_features(options, model, checkpoint, fingerprint),
            )
        return _opened[key]


def _features(
    options: EvaluateOptions, model: PixSearch | PlainModel, checkpoint: str, fingerprint: str
) -> dict[str, ImageFeatures]:
    """In memory, and on disk where the options name a place.

    Args:
        checkpoint, fingerprint: digests of the checkpoint and of the benchmark's files.
    """
    if options.feature_store is None or isinstance(model, PlainModel):
        return RecentFeatures(SHARED_IMAGES)
    names = digest([checkpoint, to_dict(options.benchmark), fingerprint])
    folder = Path(options.feature_store) / names[:20]
    return StoredFeatures(SHARED_IMAGES, folder=folder, device=model.device)


_opened: dict[str, Workbench] = {}  # at most one, by content of checkpoint and options


def run_identity(
    options: EvaluateOptions, benchmark: AnsweredBenchmark, workbench: Workbench
) -> dict[str, Any]:
    """All that decides the predictions of a folder, the policy aside."""
    source = workbench.searcher.info()
    return {
        "checkpoint": model_digest(options.checkpoint),
        "has_masks": isinstance(workbench.model, PixSearch),
        "benchmark": benchmark.identity(),
        "index": _index_digest(source),
        "knowledge_base": source.corpus_sha256,
        "num_documents": source.num_documents,
        "retrieval": source.settings,
        "generation": deciding(options.generation),
        "seed": control_seed(options, benchmark),
    }


def deciding(generation: GenerationOptions) -> dict[str, Any]:
    """The options by which answers differ; someone short of memory may go on in smaller batches."""
    fields = to_dict(generation)
    return {name: value for name, value in fields.items() if name not in SCHEDULING}


def _index_digest(source: SourceInfo) -> str:
    """Of the manifests as they are written to their files."""
    return digest([json.dumps(one, indent=2) + "\n" for _, one in sorted(source.manifests.items())])


def control_seed(options: EvaluateOptions, benchmark: AnsweredBenchmark) -> int:
    """By which control experiments draw."""
    own = benchmark.seed if isinstance(benchmark, Benchmark) else 0
    return own if options.seed is None else options.seed
