"""Whether data sets lie where they are looked for, and all of them."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pixsearch.config import DatasetOptions, OnError, PrepareDataOptions
from pixsearch.datasets import READERS, open_dataset
from pixsearch.datasets.questions import QUESTION_READERS

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files that a data set consists of.

    Attributes:
        pattern: relative to the root; `{split}` stands for the split.
        counts: how many the official data set has, by split; elsewhere any number above 0.
    """

    pattern: str
    counts: dict[str, int] = field(default_factory=dict, hash=False)


_ADE = {"training": 20210, "validation": 2000}
_COCO = {"train2017": 118287, "val2017": 5000}
_REASON = {"train": 239, "val": 200, "test": 779}
_COCO_STUFF = (Files(pattern="{split}/*.png", counts=_COCO),)

EXPECTED: dict[str, tuple[Files, ...]] = {
    "ade20k": (
        Files(pattern="annotations/{split}/*.png", counts=_ADE),
        Files(pattern="images/{split}/*.jpg", counts=_ADE),
    ),
    "coco_folder": (Files(pattern="{split}.json"),),
    "coco_stuff": _COCO_STUFF,
    "coco_stuff_lisa143": _COCO_STUFF,
    "crag_mm": (Files(pattern="**/{split}*.parquet"),),
    "llava": (Files(pattern="{split}.json"),),
    "paco_lvis": (Files(pattern="annotations/paco_lvis_v1_{split}.json"),),
    "part_imagenet": (
        Files(pattern="annotations/{split}/*.png"),
        Files(pattern="images/{split}/*.JPEG"),
    ),
    "pascal_part": (Files(pattern="{split}.json"),),
    "reason_seg": (
        Files(pattern="{split}/*.json", counts=_REASON),
        Files(pattern="{split}/*.jpg", counts=_REASON),
    ),
    "refcoco": (Files(pattern="refs(*).p"), Files(pattern="instances.json")),
    "trajectories": (Files(pattern="{split}.jsonl"),),
}
"""By reader. Readers of questions tell themselves which file they miss. Images that an annotation
names are looked for one by one."""


def check_data(options: PrepareDataOptions) -> None:
    """Log, in one line each, what is complete and what lacks.

    Raises:
        ValueError: something lacks, or there is no such data set.
    """
    evaluated = options.data.eval_images
    sources = options.data.sources | {f"eval_images.{name}": evaluated[name] for name in evaluated}
    if unknown := [name for name in options.sets if name not in sources]:
        raise ValueError(f"sets: no data set {unknown[0]!r}; there are: {', '.join(sources)}")
    incomplete = []
    for name in options.sets or sources:
        lines = [*what_lacks(sources[name])]
        for line in lines:
            logger.warning("%s: %s", name, line)
        if lines:
            incomplete.append(name)
        else:
            logger.info("%s: complete", name)
    if incomplete:
        raise ValueError(
            f"not complete: {', '.join(incomplete)}; the lines above say what lacks, and "
            "data/README.md where it comes from"
        )


def what_lacks(options: DatasetOptions) -> Iterator[str]:
    """A line for each thing that a data set lacks."""
    root = Path(options.root)
    found = {
        files: sum(1 for _ in root.glob(files.pattern.format(split=options.split)))
        for files in EXPECTED.get(options.reader, ())
    }
    for files, count in found.items():
        official = files.counts.get(options.split, count)
        if not count:
            yield f"{root / files.pattern.format(split=options.split)} is not there"
        elif count != official:
            pattern = files.pattern.format(split=options.split)
            yield f"{root / pattern}: {count} files, the official data set has {official}"
    if all(found.values()):
        yield from _broken_examples(options)


def _opened(options: DatasetOptions) -> Sequence:
    if options.reader in QUESTION_READERS and options.reader not in READERS:
        return QUESTION_READERS[options.reader](Path(options.root), options.split)
    return open_dataset(options, on_error=OnError.quarantine)


def _is_there(image_id: str) -> bool:
    """Whether an image has a file, or lies in one: `file#key` is the id of an embedded image."""
    return os.path.isfile(image_id) or os.path.isfile(image_id.rpartition("#")[0])


def _broken_examples(options: DatasetOptions) -> Iterator[str]:
    try:
        examples = _opened(options)
    except ValueError as error:
        yield str(error)
        return
    broken: list[str] = []
    images: set[str] = set()
    for row in range(len(examples)):
        try:
            image_id = examples[row].image_id
        except ValueError as error:
            broken.append(str(error))
            continue
        if image_id is not None:
            images.add(image_id)
    if broken:
        yield f"{len(broken)} of {len(examples)} examples are broken, the first: {broken[0]}"
    missing = sorted(image for image in images if not _is_there(image))
    if missing:
        yield f"{len(missing)} of {len(images)} images are not there, the first: {missing[0]}"
