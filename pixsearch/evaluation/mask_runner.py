"""Runs a benchmark of masks in one or both modes, each process its share of the samples.

- OUTPUT/masks/MODE.jsonl (and its parts): what each sample's masks have in common with its target,
  gone on with after a kill;
- OUTPUT/results.json and OUTPUT/scores/MODE.jsonl: a pure function of these and the annotations.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from pixsearch.config import EvaluateOptions, MaskMode
from pixsearch.evaluation.answering import OF_ONE_REQUEST
from pixsearch.evaluation.checkpoints import model_digest, warn_of_another
from pixsearch.evaluation.mask_answers import ImageQuestion, MaskModel
from pixsearch.evaluation.mask_benchmark import MaskBenchmark
from pixsearch.evaluation.mask_records import MaskAnswer, MaskSample
from pixsearch.evaluation.mask_results import MASKS, mask_card, write_mask_results
from pixsearch.evaluation.parted_lines import PartedLines
from pixsearch.evaluation.processes import Place, preparing, take_device
from pixsearch.evaluation.segmentation import in_chunks
from pixsearch.evaluation.workbench import Workbench, deciding
from pixsearch.generation.baseline import is_plain
from pixsearch.generation.features import RecentFeatures
from pixsearch.generation.opening import open_model
from pixsearch.model.features import ImageFeatures
from pixsearch.model.pixsearch import PixSearch

logger = logging.getLogger(__name__)

BATCHES_PER_CHUNK = 4  # engine batches of questions whose images are held in memory at a time


def run_masks(
    options: EvaluateOptions,
    benchmark: MaskBenchmark,
    place: Place,
    workbench: Workbench | None = None,
) -> dict[str, Any] | None:
    """Answer this process's share in each mode, and score everything if all is there.

    Args:
        workbench: a loaded model; by default the checkpoint is loaded, and no searcher.

    Returns:
        The results; None where other processes are still at work.

    Raises:
        ValueError: the checkpoint has no masks, no mode is asked for, or what is saved does not
            fit.
    """
    if options.official_missing:
        _check_official_missing(options, benchmark)
    output_dir = Path(options.output_dir)
    stores: list[PartedLines] = []
    if options.score == "after":
        stores = _generate(options, benchmark, place, workbench)
    with preparing(output_dir):
        if any(store.is_short_of(benchmark.by_id) for store in stores):
            return None
        results = write_mask_results(
            output_dir, benchmark, official_missing=options.official_missing
        )
    logger.info("%s\n%s", output_dir, mask_card(results))
    return results


def _check_official_missing(options: EvaluateOptions, benchmark: MaskBenchmark) -> None:
    """See that an official script leaves something out of what is scored.

    Raises:
        ValueError: none does.
    """
    if benchmark.measure_without_missing is None:
        raise ValueError(
            "official_missing=true: no script that we know leaves a missing mask out of "
            f"{benchmark.name} (Sa2VA's does for RefCOCO's kin); leave it false"
        )
    if MaskMode.free_running not in options.mask_modes:
        raise ValueError(
            "official_missing=true: no mask is missing where the answer is given; add "
            "free_running to mask_modes, or leave it false"
        )


def _generate(
    options: EvaluateOptions,
    benchmark: MaskBenchmark,
    place: Place,
    workbench: Workbench | None,
) -> list[PartedLines]:
    """Save what is not saved yet of this process's share, both modes image by image."""
    stores = _open_stores(options, benchmark, place)
    share = place.share(benchmark.samples)
    done = {mode: store.done for mode, store in stores.items()}
    todo = [one for one in share if any(one.id not in ids for ids in done.values())]
    if todo:
        model, features = _model_of(options, workbench)
        masks = MaskModel(
            model=model,
            options=options.generation,
            features=features,
            keeps_logits=benchmark.measure.needs_logits,
        )
        answering = _Answering(masks=masks, benchmark=benchmark, keep_masks=options.keep_masks)
        questions = max(len(sample.questions) for sample in todo)
        size = max(1, BATCHES_PER_CHUNK * options.generation.batch_size // questions)
        with tqdm(total=len(todo), desc=benchmark.name, disable=place.rank > 0) as progress:
            for chunk in in_chunks(todo, size):
                answering.open_images(chunk)
                for mode, store in stores.items():
                    left = [sample for sample in chunk if sample.id not in done[mode]]
                    for line in answering.lines(mode, left):
                        store.append(line)
                progress.update(len(chunk))
    return [*stores.values()]


def _model_of(
    options: EvaluateOptions, workbench: Workbench | None
) -> tuple[PixSearch, dict[str, ImageFeatures]]:
    """The model on this process's device, with room for the encoded images of a chunk."""
    if workbench is not None:
        assert isinstance(workbench.model, PixSearch)
        return workbench.model, workbench.features
    take_device()
    model = open_model(options.checkpoint)
    assert isinstance(model, PixSearch)
    return model, RecentFeatures(2 * BATCHES_PER_CHUNK * options.generation.batch_size)


def _open_stores(
    options: EvaluateOptions, benchmark: MaskBenchmark, place: Place
) -> dict[MaskMode, PartedLines]:
    if not options.mask_modes:
        raise ValueError(f"mask_modes=[]: choose among {', '.join(MaskMode)}")
    if is_plain(options.checkpoint):
        raise ValueError(
            f"{options.checkpoint} is a plain model, which has no masks: {benchmark.name} needs a "
            "PixSearch checkpoint"
        )
    folder = Path(options.output_dir) / MASKS
    run = {
        "checkpoint": model_digest(options.checkpoint),
        "has_masks": True,
        "benchmark": benchmark.identity(),
        "generation": deciding(options.generation),
    }
    with preparing(Path(options.output_dir)):
        warn_of_another(folder, options.checkpoint, run)
        stores = {
            mode: PartedLines(
                folder / f"{mode.value}.jsonl",
                place,
                id_field="id",
                manifest={"run": run, "mode": mode.value},
            )
            for mode in dict.fromkeys(options.mask_modes)
        }
        if options.retry_failed:
            for store in stores.values():
                store.drop(lambda line: line["failed"] is not None)
    return stores


@dataclass(kw_only=True, eq=False)
class _Answering:
    """Makes the lines of samples, whatever happens to one of them."""

    masks: MaskModel
    benchmark: MaskBenchmark
    keep_masks: bool
    _images: dict[str, Image.Image] = field(default_factory=dict)
    _unreadable: dict[str, str] = field(default_factory=dict)  # sample → why

    def open_images(self, samples: Sequence[MaskSample]) -> None:
        """Decode the images of a chunk, each once."""
        self._images, self._unreadable = {}, {}
        for sample in samples:
            try:
                if sample.image_id not in self._images:
                    self._images[sample.image_id] = sample.load_image()
            except (ValueError, OSError) as error:
                self._unreadable[sample.id] = str(error)

    def lines(self, mode: MaskMode, samples: Sequence[MaskSample]) -> Iterator[dict[str, Any]]:
        """One line for each sample, soon after it is finished."""
        readable = []
        for sample in samples:
            if sample.id in self._unreadable:
                yield _failed(sample, self._unreadable[sample.id])
            else:
                readable.append(sample)
        answered = self._forced if mode is MaskMode.teacher_forced else self._free
        yield from answered(readable)

    def _forced(self, samples: Sequence[MaskSample]) -> Iterator[dict[str, Any]]:
        for sample in samples:
            try:
                answers = [self.masks.teacher_forced(asked) for asked in self._asked(sample)]
                yield self._line(sample, answers)
            except OF_ONE_REQUEST as error:
                yield _failed(sample, str(error))

    def _free(self, samples: Sequence[MaskSample]) -> Iterator[dict[str, Any]]:
        owners = {question.id: sample for sample in samples for question in sample.questions}
        found: dict[str, dict[str, MaskAnswer | Exception]] = {sample.id: {} for sample in samples}
        asked = [each for sample in samples for each in self._asked(sample)]
        for question_id, answer in self.masks.free_running(asked):
            sample = owners[question_id]
            found[sample.id][question_id] = answer
            if len(found[sample.id]) == len(sample.questions):
                yield self._free_line(sample, found.pop(sample.id))

    def _free_line(
        self, sample: MaskSample, found: Mapping[str, MaskAnswer | Exception]
    ) -> dict[str, Any]:
        in_order = [found[question.id] for question in sample.questions]
        failures = [each for each in in_order if isinstance(each, Exception)]
        if failures:
            return _failed(sample, str(failures[0]))
        answers = [each for each in in_order if isinstance(each, MaskAnswer)]
        try:
            said = {"answers": [answer.text for answer in answers]}
            return self._line(sample, answers) | said
        except OF_ONE_REQUEST as error:
            return _failed(sample, str(error))

    def _line(self, sample: MaskSample, answers: Sequence[MaskAnswer]) -> dict[str, Any]:
        measure = self.benchmark.measure
        line = {
            "id": sample.id,
            "image_id": sample.image_id,
            "failed": None,
            "phrases": [phrase for answer in answers for phrase in answer.phrases],
            **measure.compare(sample, answers),
        }
        if self.keep_masks:
            line["masks"] = measure.saved_masks(sample, answers)
        return line

    def _asked(self, sample: MaskSample) -> list[ImageQuestion]:
        image = self._images[sample.image_id]
        return [
            ImageQuestion(question=each, image_id=sample.image_id, load_image=lambda: image)
            for each in sample.questions
        ]


def _failed(sample: MaskSample, reason: str) -> dict[str, Any]:
    logger.warning("%s: no masks: %s", sample.id, reason)
    return {"id": sample.id, "image_id": sample.image_id, "failed": reason}
