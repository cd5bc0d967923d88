"""WebQA: questions of the open web with texts and images as evidence.

Layout under `root`: `WebQA_train_val.json` and `WebQA_test.json`, `imgs.tsv` and `imgs.lineidx`.
"""

from functools import partial
from pathlib import Path
from typing import Any

from pixsearch.datasets.files import read_json
from pixsearch.datasets.questions.question import AnnotatedQuestion, OfficialFields
from pixsearch.datasets.questions.records import LazyQuestions, questions_of_json
from pixsearch.datasets.questions.webqa_images import load_webqa_image, webqa_image_id

_FILES = {
    "train": "WebQA_train_val.json",
    "val": "WebQA_train_val.json",
    "test": "WebQA_test.json",
}
_WITHHELD = ("test",)
_ALWAYS = ("Q", "split", "Qcate")
_ANSWERS = ("A", "img_posFacts", "txt_posFacts")


def load(root: Path, split: str) -> LazyQuestions:
    """The questions in the file's order.

    A question whose evidence is one image is asked of that image. One that compares several images,
    or rests on texts, has none: WebQA's images are what is to be found, not what is asked about.
    `supporting` are ids of images and snippets, as the official answer file names its sources.

    Args:
        split: train, val, or test, whose answers and evidence are withheld.

    Raises:
        ValueError: the file is missing or broken, or there is no such split.
    """
    if split not in _FILES:
        raise ValueError(f"WebQA has no split {split!r}; there are: {', '.join(_FILES)}")
    path = root / _FILES[split]
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: a {type(content).__name__}, not the object of WebQA's questions")
    records = [record for record in content.values() if _in_split(record, split)]
    fields = _ALWAYS if split in _WITHHELD else (*_ALWAYS, *_ANSWERS)
    return questions_of_json(
        path, records, partial(_question, root=root), id_field="Guid", fields=fields
    )


def _in_split(record: Any, split: str) -> bool:
    """Whether a record is of the split; one that cannot be told is kept, to be told of."""
    return not isinstance(record, dict) or record.get("split", split) == split


def _question(record: dict[str, Any], where: str, *, root: Path) -> AnnotatedQuestion:
    images, texts = record.get("img_posFacts", []), record.get("txt_posFacts", [])
    id = record["Guid"]
    image_id, load_image = None, None
    if len(images) == 1 and not texts:
        number = int(images[0]["image_id"])
        image_id = webqa_image_id(root, number)
        load_image = partial(load_webqa_image, root, number, question=id)
    return AnnotatedQuestion(
        id=id,
        question=_unquoted(record["Q"]),
        answers=tuple(_unquoted(answer) for answer in record.get("A", ())),
        image_id=image_id,
        load_image=load_image,
        supporting=tuple(
            str(fact[key])
            for facts, key in ((images, "image_id"), (texts, "snippet_id"))
            for fact in facts
        ),
        labels=(("Qcate", record["Qcate"]),),
        official=OfficialFields(
            evidence=tuple(
                fact[key] for facts, key in ((images, "caption"), (texts, "fact")) for fact in facts
            )
        ),
    )


def _unquoted(text: str) -> str:
    """Without the quotes that stand around most of WebQA's texts.

    >>> _unquoted('"Is the dome green?"')
    'Is the dome green?'
    """
    stripped = text.strip()
    quoted = len(stripped) > 1 and stripped[0] == stripped[-1] == '"'
    return stripped[1:-1].strip() if quoted else stripped
