"""Encyclopedic-VQA: questions about species and landmarks whose answers stand in Wikipedia.

Layout under `root`: `<split>.csv`; images of iNaturalist 2021 in `root/inaturalist`, with its
`train.json` and `val.json`, by which images are named; those of Google Landmarks v2 in
`root/landmarks`, each in folders by the first three characters of its id, in `train`, `index`,
`test` or neither of them.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.datasets.files import image_key, read_json, require
from pixsearch.datasets.questions.question import AnnotatedQuestion, OfficialFields
from pixsearch.datasets.questions.records import (
    LazyQuestions,
    load_question_image,
    questions_of_records,
)
from pixsearch.datasets.questions.releases import Rows

INATURALIST, LANDMARKS = "inaturalist", "landmarks"  # of the column dataset_name
_FIELDS = (
    *("question", "answer", "dataset_image_ids", "dataset_name", "question_type"),
    *("wikipedia_url", "wikipedia_title", "evidence", "wikipedia_url_used_in_train"),
)
_SOURCES = {INATURALIST: "iNaturalist 2021", LANDMARKS: "Google Landmarks v2"}


def load(root: Path, split: str) -> LazyQuestions:
    """The questions in the file's order, by which they are numbered: they have no ids.

    Each is asked of the first of its images, of which there are up to five. `answers` are what `|`
    parts; an answer of several has `&&` between them. `entity_id` is the article's address, the key
    of the official knowledge base; of a question of two hops, the first article's.

    Args:
        split: train, val or test.

    Raises:
        ValueError: a file is missing or broken.
    """
    rows = Rows([root / f"{split}.csv"])
    return questions_of_records(
        [record | {"id": f"{split}-{row}"} for row, record in enumerate(rows)],
        partial(_question, root=root, names=_inaturalist_names(root, rows)),
        id_field="id",
        fields=_FIELDS,
        where=rows.where,
        files=rows.paths,
    )


def _inaturalist_names(root: Path, rows: Sequence[dict[str, Any]]) -> dict[str, str]:
    """File names of the images that are asked of, by their ids."""
    asked = {_first_image(row) for row in rows if row.get("dataset_name") == INATURALIST}
    files = [root / INATURALIST / name for name in ("train.json", "val.json")]
    found: dict[str, str] = {}
    for path in (file for file in files if asked and file.is_file()):
        content = read_json(path)
        require(content, "images", where=str(path))
        for number, image in enumerate(content["images"]):
            require(image, "id", "file_name", where=f"{path}: image {number}")
            if str(image["id"]) in asked:
                found[str(image["id"])] = image["file_name"]
    return found


def _first_image(record: dict[str, Any]) -> str:
    return (record.get("dataset_image_ids") or "").split("|")[0]


def _question(
    record: dict[str, Any], where: str, *, root: Path, names: dict[str, str]
) -> AnnotatedQuestion:
    path = _image_path(record, where, root, names)
    id, source = record["id"], _SOURCES[record["dataset_name"]]
    address, title = record["wikipedia_url"].split("|")[0], record["wikipedia_title"]
    return AnnotatedQuestion(
        id=id,
        question=record["question"],
        answers=tuple(record["answer"].split("|")) if record["answer"] else (),
        image_id=image_key(path),
        load_image=partial(load_question_image, path, question=id, source=source),
        image_file=str(path),
        entity_id=address or None,
        supporting=(title,) if title else (),
        labels=tuple(
            (label, record[label]) for label in ("question_type", "wikipedia_url_used_in_train")
        ),
        official=OfficialFields(evidence=(record["evidence"],) if record["evidence"] else ()),
    )


def _image_path(record: dict[str, Any], where: str, root: Path, names: dict[str, str]) -> Path:
    image, kind = _first_image(record), record["dataset_name"]
    if kind not in _SOURCES or not image:
        raise ValueError(f"{where}: image {image!r} of {kind!r}; there are: {', '.join(_SOURCES)}")
    if kind == LANDMARKS:
        place = Path(*image[:3]) / f"{image}.jpg"
        folders = [root / LANDMARKS / part for part in ("train", "index", "test", "")]
        paths = [folder / place for folder in folders]
        return next((path for path in paths if path.is_file()), paths[0])
    if image not in names:
        raise ValueError(
            f"{where}: image {image} is in neither train.json nor val.json of "
            f"{root / INATURALIST}; fetch iNaturalist 2021's lists of images"
        )
    return root / INATURALIST / names[image]
