"""Runs a checkpoint over a benchmark under one policy, then scores all that the folder holds.

- OUTPUT/predictions/POLICY.jsonl: answers, gone on with after a kill;
- OUTPUT/results.json: scores, a pure function of the saved answers and the gold.

A benchmark of annotated questions is run by `question_runner`, one of masks by `mask_runner`; the
miniature's, which has scenes to segment (OUTPUT/segmentation/scenes.jsonl) and gold trajectories,
here.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pixsearch.config import Control, EvaluateOptions, to_dict
from pixsearch.evaluation.answering import answers
from pixsearch.evaluation.benchmark import Benchmark
from pixsearch.evaluation.benchmarks import open_benchmark
from pixsearch.evaluation.checkpoints import warn_of_another
from pixsearch.evaluation.controls import RegionControl, ShuffledSearch, region_control
from pixsearch.evaluation.detected_regions import open_detector_of, with_region
from pixsearch.evaluation.gold import Sample
from pixsearch.evaluation.mask_benchmark import MaskBenchmark
from pixsearch.evaluation.mask_runner import run_masks
from pixsearch.evaluation.prediction import Prediction, failed_prediction, make_prediction
from pixsearch.evaluation.processes import Place, one_run, place_in_run, take_device
from pixsearch.evaluation.question_benchmark import QuestionBenchmark
from pixsearch.evaluation.question_runner import run_questions
from pixsearch.evaluation.score import PREDICTIONS, RESULTS, SCENES, write_results
from pixsearch.evaluation.segmentation import in_chunks, segment
from pixsearch.evaluation.tables import policy_table
from pixsearch.evaluation.workbench import Workbench, control_seed, run_identity
from pixsearch.generation.answering import AnyEngine
from pixsearch.generation.opening import check_options, open_engine
from pixsearch.generation.records import Request
from pixsearch.line_store import LineStore
from pixsearch.model.pixsearch import PixSearch
from pixsearch.queries import Passage, Query, Search, search_under

logger = logging.getLogger(__name__)

BATCHES_PER_CHUNK = 8  # engine batches of questions whose images are held in memory at a time


def evaluate(options: EvaluateOptions, workbench: Workbench | None = None) -> dict[str, Any] | None:
    """Generate what is missing, score everything, write results.json; returns the results.

    Several processes may be launched (`torchrun`, `accelerate launch`); the last one scores, the
    others return None. So does a run whose answers a judge has not seen yet.

    Args:
        workbench: loaded model and searcher, to be shared by several calls.

    Raises:
        ValueError: checkpoint, index, detector, benchmark or saved predictions are missing or do
            not fit, the checkpoint cannot answer under the policy, or another process writes to the
            same folder.
    """
    if options.score not in ("after", "only"):
        raise ValueError(f"score={options.score}: choose after or only")
    if options.score == "after":
        check_options(options.checkpoint, options.policy, options.generation)
    benchmark, place = open_benchmark(options.benchmark), place_in_run()

    def open_workbench() -> Workbench:
        take_device()
        open_detector_of(options.policy)  # what it lacks is told before the checkpoint is loaded
        return workbench or Workbench.open(options, fingerprint=benchmark.fingerprint)

    with one_run(Path(options.output_dir), place):
        if isinstance(benchmark, MaskBenchmark):
            return run_masks(options, benchmark, place, workbench)
        if isinstance(benchmark, QuestionBenchmark):
            return run_questions(options, benchmark, open_workbench, place)
        return _run_miniature(options, benchmark, open_workbench, place)


def _run_miniature(
    options: EvaluateOptions,
    benchmark: Benchmark,
    open_workbench: Callable[[], Workbench],
    place: Place,
) -> dict[str, Any]:
    if place.count > 1:
        raise ValueError(f"{benchmark.name} runs in one process; start it without a launcher")
    if options.score == "after":
        generate(options, benchmark, open_workbench())
    output_dir = Path(options.output_dir)
    results = write_results(output_dir, benchmark, span=options.answer)
    only = options.policy.name if options.score == "after" else None
    logger.info("%s\n%s", output_dir / RESULTS, policy_table(results, only=only))
    return results


def generate(options: EvaluateOptions, benchmark: Benchmark, workbench: Workbench) -> None:
    """Segment the scenes and answer the questions that are not done yet; no scores."""
    output_dir = Path(options.output_dir)
    run = run_identity(options, benchmark, workbench)
    warn_of_another(output_dir / PREDICTIONS, options.checkpoint, run)
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
    if options.retry_failed:
        store.drop(lambda line: line.get("failed") is not None)
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
    for finished in answers(engine, requests):
        sample, control = by_id[finished.request_id], controls[finished.request_id]
        if finished.trajectory is None:
            logger.warning("%s: %s", sample.id, finished.failure.reason)
            yield _failed(sample, finished.failure.reason).to_json()
            continue
        prediction = make_prediction(
            sample,
            finished.trajectory,
            span=options.answer,
            unavailable=control.unavailable if control else 0,
            seconds=time.monotonic() - start,
        )
        yield prediction.to_json()


def _failed(sample: Sample, reason: str) -> Prediction:
    return failed_prediction(
        sample.id,
        reason,
        question=sample.question,
        image_id=sample.gold.image_id,
        gold=sample.gold.answer,
    )


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
