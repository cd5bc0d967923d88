import logging
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from pixsearch.config import (
    DataOptions,
    DatasetOptions,
    RunOptions,
    StageOptions,
    TrainOptions,
)
from pixsearch.training.data import open_training_data
from tests.datasets.conftest import refcoco_root
from tests.training.runs import write_world

__all__ = ["refcoco_root"]


def options_for(folder: Path) -> TrainOptions:
    """Half of the world's images in `shown.jsonl` as well, which is evaluated."""
    write_world(folder)
    lines = (folder / "train.jsonl").read_text().splitlines(keepends=True)
    (folder / "shown.jsonl").write_text("".join(lines[: len(lines) // 2]))
    source = DatasetOptions(reader="trajectories", root=str(folder))
    return TrainOptions(
        stage=StageOptions(name="tiny", steps=4, trainable=[], mixture={"squares": 1.0}),
        data=DataOptions(
            sources={"squares": source},
            eval_images={"shown": replace(source, split="shown")},
            exclude_eval_images=True,
        ),
        run=RunOptions(output_dir=str(folder / "run"), held_out=0),
    )


def images_drawn(options: TrainOptions, **data: object) -> set[str | None]:
    changed = replace(options, data=replace(options.data, **data))
    mixture = open_training_data(changed).mixture
    return {mixture[place].image_id for place in range(60)}


def test_evaluated_images_are_not_drawn_if_asked(tmp_path: Path) -> None:
    options = options_for(tmp_path)
    every = images_drawn(options, exclude_eval_images=False)
    evaluated = images_drawn(
        options, exclude_eval_images=False, sources={"squares": options.data.eval_images["shown"]}
    )
    assert images_drawn(options) == every - (evaluated - {None})
    assert 1 < len(evaluated) < len(every)


def test_a_source_of_evaluated_images_alone_is_refused(tmp_path: Path) -> None:
    options = options_for(tmp_path)
    lines = (tmp_path / "train.jsonl").read_text().splitlines(keepends=True)
    with_image = [line for line in lines if '"image": null' not in line]
    (tmp_path / "train.jsonl").write_text("".join(with_image))
    with pytest.raises(ValueError, match=r"data\.sources\.squares: every example shows an image"):
        images_drawn(options, eval_images=options.data.sources)


def test_an_evaluation_split_is_no_source(tmp_path: Path) -> None:
    wrong = DatasetOptions(reader="crag_mm", root=str(tmp_path), split="public_test")
    with pytest.raises(ValueError, match="crag_mm: 'public_test' is not for training"):
        images_drawn(options_for(tmp_path), sources={"squares": wrong})


def evaluated_refs(root: Path, **fields: object) -> DatasetOptions:
    """A set like RefCOCOg, in whose test is an object of RefCOCO's train with some other fields."""
    (ref,) = [
        ref for ref in pickle.loads((root / "refs(unc).p").read_bytes()) if ref["image_id"] == 8
    ]
    other = root.parent / "refcocog"
    other.mkdir()
    changed = ref | {"split": "test", "ref_id": 900} | fields
    (other / "refs(umd).p").write_bytes(pickle.dumps([changed], protocol=2))
    return DatasetOptions(reader="refcoco", root=str(other), split="test")


OTHER_WORDS = [{"sent": "the tall one", "sent_id": 901}]
IN_COMMON = {
    "an object": ({"sentences": OTHER_WORDS}, {7}, (1, 0, 1)),
    "words": ({"ann_id": 900}, {7}, (0, 1, 1)),
    "an image": ({"ann_id": 900, "sentences": OTHER_WORDS}, {7, 8}, (0, 0, 1)),
}


@pytest.mark.parametrize("case", IN_COMMON)
def test_evaluated_objects_and_expressions_are_not_drawn(
    tmp_path: Path, refcoco_root: Path, caplog, case: str
) -> None:
    fields, drawn, counts = IN_COMMON[case]
    caplog.set_level(logging.INFO)
    train = DatasetOptions(reader="refcoco", root=str(refcoco_root))
    evaluated = {"test": evaluated_refs(refcoco_root, **fields)}
    found = images_drawn(
        options_for(tmp_path / "world"),
        sources={"squares": train},
        eval_images=evaluated,
        exclude_eval_images=False,
    )
    names = {f"COCO_train2014_{number:012}" for number in drawn}
    assert {Path(str(image)).stem for image in found} == names
    objects, words, images = counts
    told = f"{objects} have an object, {words} their words and {images} (counted alone) an image"
    assert told in caplog.text
