"""Runs a checkpoint over a benchmark under one policy, then scores all that the folder holds.

- OUTPUT/predictions/POLICY.jsonl: answers, gone on with after a kill;
- OUTPUT/results.json: scores, a pure function of the saved answers and the gold.

A benchmark of annotated questions is run by `question_runner`, one of masks by `mask_runner`; the
miniature's, which has scenes to segment (OUTPUT/segmentation/scenes.jsonl) and gold trajectories,
here.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from pixsearch.config import AnswerSpan, Control, EvaluateOptions
from pixsearch.evaluation.benchmark import Benchmark
from pixsearch.evaluation.benchmarks import open_benchmark
from pixsearch.evaluation.checkpoints import warn_of_another
from pixsearch.evaluation.controls import RegionControl, ShuffledSearch, region_control
from pixsearch.evaluation.detected_regions import detector_of, policy_identity, with_region
from pixsearch.evaluation.failing_alone import MakeRequest, ends_of_each
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
from pixsearch.trajectories.grounder import PhraseGrounder

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
        detector_of(options.policy)  # what it lacks is told before the checkpoint is loaded
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
        manifest={"run": run, **policy_identity(options.policy)},
    )
    if isinstance(workbench.model, PixSearch):  # a plain model has no masks
        scenes = LineStore(output_dir / SCENES, id_field="image_id", manifest={"run": run})
        if options.retry_failed:
            scenes.drop(_has_failed)
        segment(
            benchmark.scenes,
            scenes,
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
        store.drop(_has_failed)
    todo = [sample for sample in benchmark.samples if sample.id not in store.done]
    if not todo:
        logger.info("%s: all %d answers are there", store.path, len(store.done))
        return
    detector = detector_of(options.policy)
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
            makers = [partial(_request, one, controls[one.id], detector) for one in chunk]
            for line in _answers(engine, chunk, makers, controls, options.answer):
                store.append(line)
                progress.update()


def _has_failed(line: dict[str, Any]) -> bool:
    return line["failed"] is not None


def _answers(
    engine: AnyEngine,
    samples: Sequence[Sample],
    makers: Sequence[MakeRequest],
    controls: dict[str, RegionControl | None],
    span: AnswerSpan,
) -> Iterator[dict[str, Any]]:
    for place, end in ends_of_each(engine, makers):
        sample = samples[place]
        if isinstance(end, Exception):
            logger.warning("%s: no answer: %s", sample.id, end)
            yield _failed(sample, str(end)).to_json()
            continue
        control = controls[sample.id]
        unavailable = control.unavailable if control else 0
        prediction = make_prediction(sample, end, span=span, unavailable=unavailable)
        yield prediction.to_json()


def _failed(sample: Sample, reason: str) -> Prediction:
    return failed_prediction(
        sample.id,
        reason,
        question=sample.question,
        image_id=sample.gold.image_id,
        gold=sample.gold.answer,
    )


def _request(
    sample: Sample, control: RegionControl | None, detector: PhraseGrounder | None
) -> Request:
    request = Request(
        id=sample.id,
        question=sample.question,
        image=sample.load_image() if sample.load_image else None,
        image_id=sample.gold.image_id,
        region_override=control,
    )
    return with_region(request, detector)


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
    """What each image of the benchmark finds as a whole, images in the questions' order.

    One that cannot be read is left out; its questions fail when they are asked.
    """
    loaders = {
        sample.gold.image_id: sample.load_image for sample in benchmark.samples if sample.load_image
    }
    images = []
    for load in loaders.values():
        with suppress(ValueError, OSError):
            images.append(load())
    return search([Query.of_image(image) for image in images])
