"""Region queries against the gold boxes of CRAG-MM-Diagnostics (arXiv 2607.21155).

A JSONL file of its samples without their images, a line for each:

    {"id", "metadata": {"target_roi_bbox": [x1, y1, x2, y2], "image_size": [width, height],
                        "target_object_name"}}

These are the fields that its code reads (McGill-NLP/crag-mm-diagnostics, data_loader.py). Its
recall also accepts the name in the address of the entity's article; which field has it the code
does not say, and `metadata.wikipedia_url` is taken where there is one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pixsearch.config import QueryType
from pixsearch.datasets.files import JsonLines, require
from pixsearch.datasets.questions import AnnotatedQuestion
from pixsearch.evaluation.gold import decode_rle
from pixsearch.evaluation.metrics.regions import Box, box_iou, first_rank, is_alike, is_same
from pixsearch.evaluation.prediction import AskedQuery, Prediction
from pixsearch.retrieval.crops import mask_box

RANKS = (1, 5, 10, 20, 30)  # of recall, as the diagnostics' paper reports them
GOOD_IOU = 0.5

RULES = (
    "recall: any region query has the entity's name, case aside, among its first passages. "
    "official_recall: the first region query has a name there that is like it, or like that of its "
    "article, by difflib to 0.85, as in McGill-NLP/crag-mm-diagnostics; that counts images, here "
    "the entities that they show count, each once"
)


@dataclass(frozen=True, kw_only=True)
class GoldBox:
    """
    Attributes:
        box: in shares of the image's width and height.
        entity: the name of what it shows.
        article: the name in the address of the entity's article; None where there is none.
    """

    box: Box
    entity: str
    article: str | None

    @property
    def names(self) -> tuple[str, ...]:
        return (self.entity,) if self.article is None else (self.entity, self.article)


def read_gold_boxes(path: Path) -> dict[str, GoldBox]:
    """Boxes by interaction id.

    Raises:
        ValueError: a line is broken, has no box, or an id stands twice; names file and line.
    """
    lines, found = JsonLines(path), {}
    for index, line in enumerate(lines):
        where = lines.where(index)
        require(line, "id", "metadata", where=where)
        if line["id"] in found:
            raise ValueError(f"{where}: {line['id']!r} occurs twice; remove one line")
        found[line["id"]] = _gold_box(line["metadata"], where)
    return found


def _gold_box(metadata: Any, where: str) -> GoldBox:
    require(metadata, "target_roi_bbox", "image_size", "target_object_name", where=where)
    width, height = _numbers(metadata, "image_size", 2, where)
    left, top, right, bottom = _numbers(metadata, "target_roi_bbox", 4, where)
    if left >= right or top >= bottom or width <= 0 or height <= 0:
        raise ValueError(
            f"{where}: target_roi_bbox {metadata['target_roi_bbox']!r} of image_size "
            f"{metadata['image_size']!r} has no area; mend it"
        )
    entity, address = metadata["target_object_name"], metadata.get("wikipedia_url")
    if not isinstance(entity, str):
        raise ValueError(f"{where}: target_object_name {entity!r} is no text; mend it")
    return GoldBox(
        box=_relative((left, top, right, bottom), width, height),
        entity=entity,
        article=_article(address) if address else None,
    )


def region_figures(
    questions: Sequence[AnnotatedQuestion],
    predictions: Mapping[str, Prediction],
    k: int,
    *,
    boxes: Mapping[str, GoldBox],
) -> dict[str, Any]:
    """Over the questions that have a box; a question without a region query found nothing.

    The recalls follow `RULES`; beyond k passages nothing was asked for, so that there is none. The
    IoU is that of the boxes around a searched mask and of the gold; `first` is the first region
    query's, `best` the highest, over the questions that made one.

    Args:
        k: passages per search.
    """
    gold = [
        (boxes[question.id], _regions(predictions.get(question.id)))
        for question in questions
        if question.id in boxes
    ]
    overlaps = [_overlaps(queries, box.box) for box, queries in gold if queries]
    return {
        "n": len(gold),
        "num_with_region_query": len(overlaps),
        "num_boxes_of_no_question": len(boxes) - len(gold),
        "first_iou": _mean([found[0] for found in overlaps]),
        "best_iou": _mean([max(found) for found in overlaps]),
        "share_good_iou": _mean([float(max(found) >= GOOD_IOU) for found in overlaps]),
        **_recalls(gold, [rank for rank in RANKS if rank <= k]),
    }


def _recalls(
    gold: Sequence[tuple[GoldBox, Sequence[AskedQuery]]], ranks: Sequence[int]
) -> dict[str, dict[str, float | None]]:
    """Over all questions; `of_searched` over those that made a region query."""
    ours = [
        [first_rank(query.passage_ids, [box.entity], matches=is_same) for query in queries]
        for box, queries in gold
    ]
    official = [
        [first_rank(query.passage_ids, box.names, matches=is_alike) for query in queries[:1]]
        for box, queries in gold
    ]
    kinds = {
        "recall": ours,
        "recall_of_searched": [found for found in ours if found],
        "official_recall": official,
    }
    return {
        name: {f"@{k}": _share_within(k, found) for k in ranks} for name, found in kinds.items()
    }


def _share_within(k: int, found: Sequence[Sequence[int | None]]) -> float | None:
    """Of questions, one of whose queries has the entity in the first k places."""
    return _mean([float(any(rank and rank <= k for rank in ranks)) for ranks in found])


def _regions(prediction: Prediction | None) -> list[AskedQuery]:
    """Region queries that searched with a mask."""
    queries = prediction.queries if prediction else ()
    return [
        query
        for query in queries
        if query.type is QueryType.region and query.mask is not None and query.empty_mask is None
    ]


def _overlaps(queries: Sequence[AskedQuery], gold: Box) -> list[float]:
    """IoU of each query's box with the gold one, both as shares of the image's sides."""
    found = []
    for query in queries:
        rows, columns = map(float, query.mask["size"])
        left, top, right, bottom = map(float, mask_box(decode_rle(query.mask)))
        found.append(box_iou(_relative((left, top, right, bottom), columns, rows), gold))
    return found


def _relative(box: Box, width: float, height: float) -> Box:
    left, top, right, bottom = box
    return left / width, top / height, right / width, bottom / height


def _article(address: str) -> str:
    """
    >>> _article("https://en.wikipedia.org/wiki/Toyota_Prius_%28XW20%29")
    'Toyota Prius (XW20)'
    """
    return unquote(address.rsplit("/", maxsplit=1)[-1]).replace("_", " ")


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _numbers(metadata: Mapping[str, Any], field: str, count: int, where: str) -> list[float]:
    value = metadata[field]
    is_list = isinstance(value, list) and len(value) == count
    if not is_list or not all(isinstance(each, (int, float)) for each in value):
        raise ValueError(f"{where}: {field} {value!r} is no list of {count} numbers; mend it")
    return [float(each) for each in value]
