"""Runs a checkpoint over a benchmark under one policy, then scores all that the folder holds.

- OUTPUT/predictions/POLICY.jsonl: answers, gone on with after a kill;
- OUTPUT/segmentation/scenes.jsonl: masks, shared by all policies;
- OUTPUT/results.json: scores, a pure function of the two and the gold.
"""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pixsearch.config import Control, EvaluateOptions, to_dict
from pixsearch.evaluation.benchmark import Benchmark
from pixsearch.evaluation.benchmarks import open_benchmark
from pixsearch.evaluation.checkpoints import model_digest
from pixsearch.evaluation.controls import RegionControl, ShuffledSearch, region_control
from pixsearch.evaluation.detected_regions import with_region
from pixsearch.evaluation.gold import Sample
from pixsearch.evaluation.prediction import make_prediction
from pixsearch.evaluation.score import PREDICTIONS, RESULTS, SCENES, write_results
from pixsearch.evaluation.segmentation import in_chunks, segment
from pixsearch.evaluation.tables import policy_table
from pixsearch.generation.answering import AnyEngine
from pixsearch.generation.baseline import PlainModel
from pixsearch.generation.features import RecentFeatures
from pixsearch.generation.opening import check_options, open_engine, open_model
from pixsearch.generation.records import Request
from pixsearch.line_store import LineStore, digest, one_writer
from pixsearch.model.features import ImageFeatures
from pixsearch.model.pixsearch import PixSearch
from pixsearch.queries import Passage, Query, Search, search_under
from pixsearch.retrieval.info import KnowledgeSource, SourceInfo
from pixsearch.retrieval.opening import open_searcher

logger = logging.getLogger(__name__)

BATCHES_PER_CHUNK = 8  # engine batches of questions whose images are held in memory at a time
SHARED_IMAGES = 1024  # whose features are kept for the next policy; at SAM-H's size about 6 GB


@dataclass(kw_only=True, eq=False)
class Workbench:
    """What all policies of a checkpoint share: one loaded model, one searcher, encoded images."""

    model: PixSearch | PlainModel
    searcher: KnowledgeSource
    features: dict[str, ImageFeatures] = field(
        default_factory=lambda: RecentFeatures(SHARED_IMAGES)
    )

    @classmethod
    def open(cls, options: EvaluateOptions) -> "Workbench":
        """Load checkpoint and index; they stay loaded for the next policy of a multirun."""
        parts = [to_dict(options.retrieval), to_dict(options.benchmark)]  # names of its images
        key = digest([model_digest(options.checkpoint), *parts])
        if key not in _opened:
            _opened.clear()
            model = open_model(options.checkpoint)
            _opened[key] = cls(model=model, searcher=open_searcher(options.retrieval))
        return _opened[key]


_opened: dict[str, Workbench] = {}  # at most one, by content of checkpoint and options


def evaluate(options: EvaluateOptions, workbench: Workbench | None = None) -> dict[str, Any]:
    """Generate what is missing, score everything, write results.json; returns the results.

    Args:
        workbench: loaded model and searcher, to be shared by several calls.

    Raises:
        ValueError: checkpoint, index, benchmark or saved predictions are missing or do not fit, the
            checkpoint cannot answer under the policy, or another process writes to the same folder.
        SearchFailed: a search failed, unless `policy.on_search_failure=answer_without`.
    """
    if options.score not in ("after", "only"):
        raise ValueError(f"score={options.score}: choose after or only")
    if options.score == "after":
        check_options(options.checkpoint, options.policy, options.generation)
    benchmark, output_dir = open_benchmark(options.benchmark), Path(options.output_dir)
    with one_writer(output_dir):
        if options.score == "after":
            generate(options, benchmark, workbench or Workbench.open(options))
        results = write_results(output_dir, benchmark, span=options.answer)
    only = options.policy.name if options.score == "after" else None
    logger.info("%s\n%s", output_dir / RESULTS, policy_table(results, only=only))
    return results


def generate(options: EvaluateOptions, benchmark: Benchmark, workbench: Workbench) -> None:
    """Segment the scenes and answer the questions that are not done yet; no scores."""
    output_dir = Path(options.output_dir)
    run = run_identity(options, benchmark, workbench)
    answers = LineStore(
        output_dir / PREDICTIONS / f"{options.policy.name}.jsonl",
        id_field="interaction_id",
        manifest={"run": run, "policy": to_dict(options.policy)},
    )
    if isinstance(workbench.model, PixSearch):  # a plain model has no masks
        segment(
            benchmark.scenes,
            LineStore(output_dir / SCENES, id_field="image_id", manifest={"run": run}),
            model=workbench.model,
            options=options.generation,
            features=workbench.features,
        )
    predict(options, benchmark, workbench, answers)


def predict(
    options: EvaluateOptions, benchmark: Benchmark, workbench: Workbench, store: LineStore
) -> None:
    """Append the answer to each question that has none yet."""
    todo = [sample for sample in benchmark.samples if sample.id not in store.done]
    if not todo:
        logger.info("%s: all %d answers are there", store.path, len(store.done))
        return
    engine = open_engine(
        workbench.model,
        _search_for(options, benchmark, workbench),
        options.policy,
        options.generation,
        feature_cache=workbench.features,
    )
    scenes = {scene.image_id: scene for scene in benchmark.scenes}
    with tqdm(total=len(todo), desc=options.policy.name) as progress:
        for chunk in in_chunks(todo, BATCHES_PER_CHUNK * options.generation.batch_size):
            controls = {
                sample.id: region_control(
                    options.policy.control,
                    sample.gold,
                    scenes.get(sample.gold.image_id or ""),
                    seed=control_seed(options, benchmark),
                )
                for sample in chunk
            }
            for line in _answers(engine, chunk, controls, options):
                store.append(line)
                progress.update()


def run_identity(
    options: EvaluateOptions, benchmark: Benchmark, workbench: Workbench
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
        "generation": to_dict(options.generation),
        "seed": control_seed(options, benchmark),
    }


def _index_digest(source: SourceInfo) -> str:
    """Of the manifests as they are written to their files."""
    return digest([json.dumps(one, indent=2) + "\n" for _, one in sorted(source.manifests.items())])


def control_seed(options: EvaluateOptions, benchmark: Benchmark) -> int:
    """By which control experiments draw."""
    return benchmark.seed if options.seed is None else options.seed


def _answers(
    engine: AnyEngine,
    samples: Sequence[Sample],
    controls: dict[str, RegionControl | None],
    options: EvaluateOptions,
) -> Iterator[dict[str, Any]]:
    by_id = {sample.id: sample for sample in samples}
    start = time.monotonic()
    requests = [
        with_region(_request(sample, controls[sample.id]), options.policy) for sample in samples
    ]
    for trajectory in engine.stream(requests):
        control = controls[trajectory.request_id]
        prediction = make_prediction(
            by_id[trajectory.request_id],
            trajectory,
            span=options.answer,
            unavailable=control.unavailable if control else 0,
            seconds=time.monotonic() - start,
        )
        yield prediction.to_json()


def _request(sample: Sample, control: RegionControl | None) -> Request:
    return Request(
        id=sample.id,
        question=sample.question,
        image=sample.load_image() if sample.load_image else None,
        image_id=sample.gold.image_id,
        region_override=control,
    )


def _search_for(options: EvaluateOptions, benchmark: Benchmark, workbench: Workbench) -> Search:
    """The searcher with a policy's k and crop; its passages shuffled if it is that control."""
    policy = options.policy
    search = search_under(policy, workbench.searcher)
    if policy.control is not Control.shuffled_passages:
        return search
    return ShuffledSearch(
        search, _whole_image_results(benchmark, search), seed=control_seed(options, benchmark)
    )


def _whole_image_results(benchmark: Benchmark, search: Search) -> list[list[Passage]]:
    """What each image of the benchmark finds as a whole, images in the questions' order."""
    loaders = {
        sample.gold.image_id: sample.load_image for sample in benchmark.samples if sample.load_image
    }
    return search([Query.of_image(load()) for load in loaders.values()])
