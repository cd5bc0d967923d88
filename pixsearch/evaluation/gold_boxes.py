"""Region queries against the gold boxes of CRAG-MM-Diagnostics (arXiv 2607.21155).

A JSONL file, a line for each question that has a box:

    {"interaction_id", "metadata": {"target_roi_bbox": [x1, y1, x2, y2]}, "entity_name"}

`metadata.target_roi_bbox` is the official field, in pixels of the image as it is embedded. The
names of the other two are ours: the official ones are not known here, so an export gives them these
names (docs/evaluation.md). A line without `entity_name` is in no recall.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixsearch.config import QueryType
from pixsearch.datasets.files import JsonLines, require
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.gold import decode_rle
from pixsearch.evaluation.metrics.regions import Box, box_iou, first_rank
from pixsearch.evaluation.prediction import AskedQuery, Prediction
from pixsearch.retrieval.crops import mask_box

RANKS = (1, 5, 10, 20, 30)  # of recall, as the diagnostics' paper reports them
GOOD_IOU = 0.5


@dataclass(frozen=True, kw_only=True)
class GoldBox:
    """
    Attributes:
        box: in pixels of the image as it is stored.
        entity: what the box shows, by its name in the index; None where it is not said.
    """

    box: Box
    entity: str | None


def read_gold_boxes(path: Path) -> dict[str, GoldBox]:
    """Boxes by interaction id.

    Raises:
        ValueError: a line is broken, has no box, or an id stands twice; names file and line.
    """
    lines, found = JsonLines(path), {}
    for index, line in enumerate(lines):
        where = lines.where(index)
        require(line, "interaction_id", "metadata", where=where)
        require(line["metadata"], "target_roi_bbox", where=where)
        if line["interaction_id"] in found:
            raise ValueError(f"{where}: {line['interaction_id']!r} occurs twice; remove one line")
        box = _parse_box(line["metadata"]["target_roi_bbox"], where)
        found[line["interaction_id"]] = GoldBox(box=box, entity=line.get("entity_name"))
    return found


def region_figures(
    questions: Sequence[AnnotatedQuestion],
    predictions: Mapping[str, Prediction],
    *,
    boxes: Mapping[str, GoldBox],
    unsquashed: Sequence[AnnotatedQuestion],
) -> dict[str, Any]:
    """Over the questions that have a box; a question without a region query found nothing.

    Recall@k is whether any of its region queries has the gold entity among the first k passages.
    The IoU is that of the boxes around a searched mask and of the gold; `first` is the first region
    query's, `best` the highest, over the questions that made one.

    Args:
        unsquashed: the same questions with their images as they are stored; the images of those
            that made a region query are decoded for their size.
    """
    gold = [
        (place, boxes[question.id])
        for place, question in enumerate(questions)
        if question.id in boxes
    ]
    asked = {place: _regions(predictions.get(questions[place].id)) for place, _ in gold}
    overlaps = [
        _overlaps(asked[place], box.box, unsquashed[place]) for place, box in gold if asked[place]
    ]
    return {
        "n": len(gold),
        "num_with_region_query": len(overlaps),
        "num_boxes_of_no_question": len(boxes) - len(gold),
        "first_iou": _mean([found[0] for found in overlaps]),
        "best_iou": _mean([max(found) for found in overlaps]),
        "share_good_iou": _mean([float(max(found) >= GOOD_IOU) for found in overlaps]),
        **_recall([(box.entity, asked[place]) for place, box in gold if box.entity is not None]),
    }


def _recall(asked: Sequence[tuple[str, Sequence[AskedQuery]]]) -> dict[str, Any]:
    """Over the questions whose entity is known, and over those of them that made a region query."""
    ranks = [
        [first_rank(query.passage_ids, entity) for query in queries] for entity, queries in asked
    ]
    hits = {k: [any(rank and rank <= k for rank in found) for found in ranks] for k in RANKS}
    searched = [bool(found) for found in ranks]
    return {
        "num_with_entity": len(ranks),
        "recall": {f"@{k}": _mean([float(hit) for hit in hits[k]]) for k in RANKS},
        "recall_of_searched": {
            f"@{k}": _mean([float(hit) for hit, did in zip(hits[k], searched, strict=True) if did])
            for k in RANKS
        },
    }


def _regions(prediction: Prediction | None) -> list[AskedQuery]:
    """Region queries that searched with a mask."""
    queries = prediction.queries if prediction else ()
    return [
        query
        for query in queries
        if query.type is QueryType.region and query.mask is not None and query.empty_mask is None
    ]


def _overlaps(queries: Sequence[AskedQuery], gold: Box, question: AnnotatedQuestion) -> list[float]:
    """IoU of each query's box with the gold one, both as shares of the image's sides."""
    assert question.load_image is not None, f"{question.id}: a region query without an image"
    width, height = question.load_image().size
    wanted = _relative(gold, width, height)
    found = []
    for query in queries:
        rows, columns = query.mask["size"]
        left, top, right, bottom = map(float, mask_box(decode_rle(query.mask)))
        found.append(box_iou(_relative((left, top, right, bottom), columns, rows), wanted))
    return found


def _relative(box: Box, width: int, height: int) -> Box:
    left, top, right, bottom = box
    return left / width, top / height, right / width, bottom / height


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _parse_box(value: Any, where: str) -> Box:
    is_box = isinstance(value, list) and len(value) == 4
    if not is_box or not all(isinstance(side, (int, float)) for side in value):
        raise ValueError(f"{where}: target_roi_bbox {value!r} is not [x1, y1, x2, y2]; mend it")
    left, top, right, bottom = (float(side) for side in value)
    if left >= right or top >= bottom:
        raise ValueError(f"{where}: target_roi_bbox {value!r} has no area; mend it")
    return left, top, right, bottom
